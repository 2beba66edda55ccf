//! Delivery and read receipts.

use amarula_core::engine::command::Presence;
use amarula_core::event::ReceiptKind;
use amarula_interop::{Stage, scenarios};
use serde_json::json;

scenarios!(receipts, inactive);

fn receipts(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let (ours, baileys) = (stage.ours(&anna), stage.baileys(&bert, "bert"));
    quiet_phones(stage);

    let sent = ours.send_text(&bert.jid(), "from ours");
    let got = baileys.next_text("from ours");
    let receipt = ours.receipt(&sent.id, &ReceiptKind::Delivered, &baileys.jid());
    assert_eq!((receipt.chat.jid(), receipt.from_me), (&bert.jid(), false));
    baileys.call("read", &json!({"chat": got.chat, "id": got.id}));
    let receipt = ours.receipt(&sent.id, &ReceiptKind::Read, &bert.jid());
    assert_eq!((receipt.chat.jid(), receipt.from_me), (&bert.jid(), false));

    let texts = ["one", "two", "three"];
    let ids = texts.map(|text| baileys.send_text(&anna.jid(), text));
    let chat = texts.map(|text| ours.next_text(text).chat)[0].clone();
    for id in &ids {
        baileys.receipt(id, "delivered");
    }
    ours.mark_read(&chat, &ids.each_ref().map(String::as_str));
    for id in &ids {
        baileys.receipt(id, "read");
    }
}

/// A companion that is not in use says so.
fn inactive(stage: &Stage) {
    let (anna, bert) = (stage.person(), stage.person());
    let (ours, baileys) = (stage.ours(&anna), stage.baileys(&bert, "bert"));
    quiet_phones(stage);

    ours.set_presence(Presence::Unavailable);
    let id = baileys.send_text(&anna.jid(), "nobody there");
    ours.next_text("nobody there");
    baileys.event("an inactive receipt", |name, data| {
        (name == "receiptStanza" && data["attrs"]["id"] == id.as_str() && data["attrs"]["type"] == "inactive")
            .then_some(())
    });

    baileys.call("presence", &json!({"type": "unavailable"}));
    let unavailable = |server: &mut amarula_sim::Server| {
        (!server.account(bert.account())?.companions.get(&baileys.device())?.available).then_some(())
    };
    stage.server().wait_for(amarula_interop::PATIENCE, unavailable).expect("Baileys is unavailable");
    let sent = ours.send_text(&bert.jid(), "nobody there either");
    baileys.next_text("nobody there either");
    ours.receipt(&sent.id, &ReceiptKind::Inactive, &baileys.jid());
}

/// Only the companions' own receipts are to be seen.
fn quiet_phones(stage: &Stage) {
    stage.server().with_server(|server, _| {
        for id in server.accounts().map(|(id, _)| id).collect::<Vec<_>>() {
            server.account_mut(id).expect("an account").phone.set_auto_receipts(false);
        }
    });
}
