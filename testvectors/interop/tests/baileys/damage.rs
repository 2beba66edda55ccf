//! Ciphertexts that cannot be read: a retry receipt, a resend, and then all is well again.

use amarula_core::event::Event;
use amarula_interop::{Baileys, Ours, Stage, scenarios};
use amarula_sim::server::faults::DeliveryFault;

scenarios!(
    baileys_cannot_read,
    baileys_lost_its_session,
    ours_cannot_read,
    damaged_first_messages,
    damaged_later_messages,
    baileys_lost_its_prekeys,
    doubled,
);

fn pair(stage: &Stage) -> (Ours, Baileys) {
    let (anna, bert) = (stage.person(), stage.person());
    (stage.ours(&anna), stage.baileys(&bert, "bert"))
}

/// One message each way.
fn exchange(ours: &Ours, baileys: &Baileys, label: &str) {
    ours.send_text(&baileys.person().jid(), &format!("{label}: ours"));
    baileys.text(&format!("{label}: ours"));
    baileys.send_text(&ours.person().jid(), &format!("{label}: Baileys"));
    let _ = ours.text(&format!("{label}: Baileys"));
}

/// Takes the news that a message of Baileys' cannot be read for now.
fn undecryptable(ours: &Ours, id: &str) {
    let retrying = ours.event("an undecryptable message", |event| match event {
        Event::Undecryptable(message) if message.id == id => Some(message.retrying),
        _ => None,
    });
    assert!(retrying, "a resend was asked for");
}

fn baileys_cannot_read(stage: &Stage) {
    corrupted(stage, "receive");
}

fn baileys_lost_its_session(stage: &Stage) {
    corrupted(stage, "delete");
}

fn corrupted(stage: &Stage, how: &str) {
    let (ours, baileys) = pair(stage);
    exchange(&ours, &baileys, "before");
    baileys.corrupt_session(&ours.jid(), how);
    let sent = ours.send_text(&baileys.person().jid(), "again");
    baileys.retry(&sent.id, "out");
    assert_eq!(baileys.text("again").id, &*sent.id);
    exchange(&ours, &baileys, "after");
}

fn ours_cannot_read(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    exchange(&ours, &baileys, "before");
    baileys.corrupt_session(&ours.jid(), "send");
    let id = baileys.send_text(&ours.person().jid(), "again");
    undecryptable(&ours, &id);
    baileys.retry(&id, "in");
    assert_eq!(ours.text("again").id, id);
    exchange(&ours, &baileys, "after");
}

fn damage_next(stage: &Stage, fault: DeliveryFault) {
    stage.server().with_server(|server, _| server.faults().on_delivery(1, fault));
}

/// The very first ciphertexts of both sides.
fn damaged_first_messages(stage: &Stage) {
    let (anna, bert, carl) = (stage.person(), stage.person(), stage.person());
    let ours = stage.ours(&anna);
    let (baileys, other) = (stage.baileys(&bert, "bert"), stage.baileys(&carl, "carl"));
    damage_next(stage, DeliveryFault::Damage);
    let sent = ours.send_text(&bert.jid(), "damaged");
    baileys.retry(&sent.id, "out");
    baileys.text("damaged");
    exchange(&ours, &baileys, "bert");

    stage.wait_settled(&anna, ours.device());
    damage_next(stage, DeliveryFault::Damage);
    let id = other.send_text(&anna.jid(), "damaged too");
    undecryptable(&ours, &id);
    assert_eq!(ours.text("damaged too").id, id);
    exchange(&ours, &other, "carl");
}

fn damaged_later_messages(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    exchange(&ours, &baileys, "before");
    damage_next(stage, DeliveryFault::Damage);
    let sent = ours.send_text(&baileys.person().jid(), "damaged");
    baileys.retry(&sent.id, "out");
    baileys.text("damaged");
    exchange(&ours, &baileys, "between");
    damage_next(stage, DeliveryFault::Damage);
    let id = baileys.send_text(&ours.person().jid(), "damaged too");
    undecryptable(&ours, &id);
    assert_eq!(ours.text("damaged too").id, id);
    exchange(&ours, &baileys, "after");
}

/// The server still hands out prekeys that Baileys no longer has: only the keys in its second retry receipt help.
fn baileys_lost_its_prekeys(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    let dropped = baileys.call("dropPreKeys", &serde_json::json!({}));
    assert_eq!(dropped["dropped"], 812);
    let sent = ours.send_text(&baileys.person().jid(), "for a lost key");
    baileys.retry(&sent.id, "out");
    baileys.text("for a lost key");
    exchange(&ours, &baileys, "after");
}

/// The server delivers a message twice: our client tells it once, and asks for nothing.
fn doubled(stage: &Stage) {
    let (ours, baileys) = pair(stage);
    for label in ["first", "second"] {
        damage_next(stage, DeliveryFault::Duplicate);
        baileys.send_text(&ours.person().jid(), label);
        ours.next_text(label);
        stage.wait_settled(ours.person(), ours.device());
    }
    baileys.send_text(&ours.person().jid(), "last");
    ours.next_text("last");
    assert!(ours.texts_left().is_empty());
}
