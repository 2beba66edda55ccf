//! Unmodified Baileys against the simulated server, over a real socket.
//!
//! Ignored: it needs node, and `npm ci` in `testvectors/interop` (or in the folder that `AMARULA_INTEROP` names). Run with
//! `cargo test -p amarula-sim --features ws --test baileys -- --ignored`.
#![cfg(feature = "ws")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use amarula_core::wire::Jid;
use amarula_sim::server::ClientProfile;
use amarula_sim::ws::LoopbackServer;
use amarula_sim::{AccountId, ServerConfig, SimTime};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

struct Peers {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    events: Vec<Value>,
    next: u64,
    auth: tempdir::Dir,
}

/// A folder that goes away with its owner.
mod tempdir {
    pub(crate) struct Dir(pub(crate) std::path::PathBuf);

    impl Dir {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Peers {
    fn start() -> Self {
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../testvectors/interop");
        let folder = std::env::var_os("AMARULA_INTEROP").map_or_else(|| PathBuf::from(ours), PathBuf::from);
        let mut child = Command::new("node")
            .args(["--import", "./guard.mjs", "peer.mjs"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if serde_json::from_str(&line).is_ok_and(|value| sender.send(value).is_err()) {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, events: Vec::new(), next: 0, auth: tempdir::Dir::new("amarula-sim-baileys") }
    }

    fn call(&mut self, client: &str, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = json!({"id": self.next, "method": method, "params": params, "client": client});
        writeln!(self.stdin.as_mut().unwrap(), "{request}").unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{client}: no answer to {method}"));
            if line["id"] == self.next {
                assert!(line["error"].is_null(), "{client} {method}: {line}");
                return line["result"].clone();
            }
            self.events.push(line);
        }
    }

    fn event(&mut self, client: &str, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let is = |event: &Value| event["client"] == client && event["event"] == name && fits(&event["data"]);
        loop {
            if let Some(at) = self.events.iter().position(is) {
                return self.events.remove(at)["data"].clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{client}: no event {name}"));
            self.events.push(line);
        }
    }

    fn text(&mut self, client: &str, text: &str) -> Value {
        self.event(client, "message", |data| data["text"] == text)
    }

    fn connect(&mut self, server: &LoopbackServer, client: &str) {
        let root: String = server.root_key().0.iter().map(|byte| format!("{byte:02x}")).collect();
        let auth = self.auth.0.join(client);
        let name = format!("User {client}");
        self.call(client, "start", json!({"authDir": auth, "url": server.url(), "rootKeyHex": root, "name": name}));
    }

    fn pair(&mut self, server: &LoopbackServer, client: &str, account: AccountId, pn: &str, by_code: bool) {
        self.connect(server, client);
        let qr = self.event(client, "qr", |_| true);
        if by_code {
            let code = self.call(client, "pairCode", json!({"phone": pn}))["code"].as_str().unwrap().to_owned();
            // Baileys tells the code before its request is out.
            let now = SimTime::default();
            server.wait_for(PATIENCE, |server| server.type_code(now, account, &code).ok()).expect("the request");
        } else {
            let qr = qr["qr"].as_str().unwrap().to_owned();
            server.with_server(|server, now| server.scan_qr(now, account, &qr)).unwrap();
        }
        self.event(client, "connection", |data| data["state"] == "open");
        let uploaded = |server: &mut amarula_sim::Server| {
            let companion = server.account(account)?.companions.get(&1)?;
            (companion.available && companion.one_time.len() == 812).then_some(())
        };
        server.wait_for(PATIENCE, uploaded).expect("prekeys and presence");
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn phone_has(server: &LoopbackServer, account: AccountId, text: &str) {
    let found = server
        .wait_for(PATIENCE, |server| server.phone(account).texts().iter().any(|found| found == text).then_some(()));
    assert!(found.is_some(), "the phone of {account:?} did not get {text:?}");
}

#[test]
#[ignore = "needs node and npm ci in testvectors/interop"]
fn two_baileys_and_their_phones() {
    let server = LoopbackServer::start(ServerConfig {
        profile: ClientProfile::Baileys,
        seed: [3; 32],
        ..ServerConfig::default()
    })
    .unwrap();
    let (pn_a, pn_b) = ("15550000001", "15550000002");
    let (jid_a, jid_b) = (Jid::pn(pn_a), Jid::pn(pn_b));
    let (a, b) = server
        .with_server(|server, _| (server.add_account(pn_a, "200000000001"), server.add_account(pn_b, "200000000002")));
    let mut peers = Peers::start();
    peers.pair(&server, "a", a, pn_a, false);
    peers.pair(&server, "b", b, pn_b, true);

    peers.call("a", "sendText", json!({"to": jid_b.to_string(), "text": "one"}));
    peers.text("b", "one");
    peers.call("b", "sendText", json!({"to": jid_a.to_string(), "text": "two"}));
    peers.text("a", "two");
    for account in [a, b] {
        phone_has(&server, account, "one");
        phone_has(&server, account, "two");
    }
    assert_eq!(server.violations(), []);

    // Phones: to the other account, and as a copy to the own companion.
    server.with_server(|server, now| server.phone_send_text(now, a, &jid_b, "from a phone"));
    peers.text("b", "from a phone");
    assert_eq!(peers.text("a", "from a phone")["fromMe"], true);

    // Retries: a phone that cannot read, a Baileys that cannot.
    server.with_server(|server, _| server.account_mut(b).unwrap().phone.refuse_next(1));
    peers.call("a", "sendText", json!({"to": jid_b.to_string(), "text": "again"}));
    phone_has(&server, b, "again");
    let device_a = jid_a.clone().with_device(1);
    peers.call("b", "corruptSession", json!({"jid": device_a.to_string(), "how": "receive"}));
    peers.call("a", "sendText", json!({"to": jid_b.to_string(), "text": "damaged"}));
    peers.text("b", "damaged");
    peers.call("b", "corruptSession", json!({"jid": jid_a.to_string(), "how": "delete"}));
    server.with_server(|server, now| server.phone_send_text(now, a, &jid_b, "lost session"));
    peers.text("b", "lost session");

    // A group of both, by LID.
    let group = server.with_server(|server, _| server.add_group("120363000000000001", "both", true, &[a, b]));
    for (from, to, text) in [("a", "b", "g1"), ("b", "a", "g2"), ("a", "b", "g3")] {
        peers.call(from, "sendText", json!({"to": group.to_string(), "text": text}));
        peers.text(to, text);
        phone_has(&server, a, text);
        phone_has(&server, b, text);
    }
    server.with_server(|server, now| server.phone_send_text(now, b, &group, "g4"));
    peers.text("a", "g4");
    peers.text("b", "g4");

    // A backlog larger than the primer.
    peers.call("b", "close", json!({}));
    for n in 0..12 {
        server.with_server(|server, now| server.phone_send_text(now, a, &jid_b, &format!("offline {n}")));
    }
    peers.connect(&server, "b");
    for n in 0..12 {
        assert_eq!(peers.text("b", &format!("offline {n}"))["offline"], true);
    }
    server.wait_for(PATIENCE, |server| (server.outstanding(b, 1) == 0).then_some(())).expect("all answered");
    peers.call("a", "logout", json!({}));
    server.wait_for(PATIENCE, |server| server.account(a)?.companions.is_empty().then_some(())).expect("unlinked");
    assert_eq!(server.violations(), []);
}
