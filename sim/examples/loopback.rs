//! A simulated WhatsApp on loopback, steered by JSON lines: for trying a client of another language against it.
//!
//! `cargo run -p amarula-sim --features ws --example loopback [-- --lenient] [--migrated]`
//!
//! It prints `{"url":…,"rootKeyHex":…}`, then takes one JSON object a line: `{"do":"account","pn":…,"lid":…}`,
//! `{"do":"scan","account":0,"qr":…}`, `{"do":"code","account":0,"code":…}`, `{"do":"send","account":0,"to":…,"text":…}`,
//! `{"do":"group","id":…,"members":[0,1],"lid":true}`, `{"do":"inbox","account":0}`, `{"do":"refuse","account":0,"n":1}`,
//! `{"do":"receipts","account":0}`, `{"do":"trace"}`, `{"do":"violations"}`, and answers each with one line.

use std::io::{BufRead as _, Write as _};

use amarula_core::wire::Jid;
use amarula_sim::server::ClientProfile;
use amarula_sim::ws::LoopbackServer;
use amarula_sim::{AccountId, Server, ServerConfig, SimTime};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let config = ServerConfig {
        profile: if has("--lenient") { ClientProfile::Baileys } else { ClientProfile::Strict },
        lid_migrated: has("--migrated"),
        trace: true,
        ..ServerConfig::default()
    };
    let server = LoopbackServer::start(config)?;
    let root: String = server.root_key().0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"url": server.url(), "rootKeyHex": root}))?;
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str::<Value>(&line?) {
            Ok(request) => server.with_server(|server, now| act(server, now, &request)),
            Err(error) => json!({"error": error.to_string()}),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn act(server: &mut Server, now: SimTime, request: &Value) -> Value {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let account = AccountId(u32::try_from(request["account"].as_u64().unwrap_or_default()).unwrap_or_default());
    match text("do") {
        "account" => json!(server.add_account(text("pn"), text("lid")).0),
        "scan" => match server.scan_qr(now, account, text("qr")) {
            Ok(device) => json!(device),
            Err(error) => json!({"error": error.to_string()}),
        },
        "code" => match server.type_code(now, account, text("code")) {
            Ok(()) => json!(null),
            Err(error) => json!({"error": error.to_string()}),
        },
        "send" => match text("to").parse::<Jid>() {
            Ok(to) => json!(server.phone_send_text(now, account, &to, text("text"))),
            Err(error) => json!({"error": error.to_string()}),
        },
        "group" => {
            let members: Vec<AccountId> = request["members"]
                .as_array()
                .map(|list| list.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()).map(AccountId))
                .map(Iterator::collect)
                .unwrap_or_default();
            json!(server.add_group(text("id"), "group", request["lid"].as_bool().unwrap_or(true), &members).to_string())
        }
        "refuse" => {
            if let Some(owner) = server.account_mut(account) {
                owner.phone.refuse_next(u32::try_from(request["n"].as_u64().unwrap_or(1)).unwrap_or(1));
            }
            json!(null)
        }
        "inbox" => server
            .phone(account)
            .inbox()
            .iter()
            .map(|m| json!({"from": m.from.to_string(), "chat": m.chat.to_string(), "id": m.id, "text": m.text(), "fromMe": m.from_me}))
            .collect(),
        "receipts" => server
            .phone(account)
            .receipts()
            .iter()
            .map(|r| json!({"from": r.from.to_string(), "ids": r.ids, "type": r.kind}))
            .collect(),
        "violations" => server.violations().iter().map(|violation| json!(violation.to_string())).collect(),
        "trace" => server
            .trace()
            .iter()
            .map(|t| json!(format!("{} {} {}", t.conn.0, if t.from_client { "C>" } else { "S>" }, t.node)))
            .collect(),
        other => json!({"error": format!("unknown: {other}")}),
    }
}
