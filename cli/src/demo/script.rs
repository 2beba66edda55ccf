//! What happens in the demo.

use amarula_core::engine::command::{ChatState, Presence};
use amarula_core::event::{Event, ReceiptKind};
use amarula_core::message::Message;
use amarula_sim::codec::Read as _;
use amarula_sim::server::faults::DeliveryFault;

use super::person::Person;
use super::stage::{Stage, Summary, failed};
use crate::problem::Result;

pub(crate) fn play(stage: &Stage<'_>) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut alice = Person::new(stage, "Alice", "15550000001", "200000000001");
    let mut bob = Person::new(stage, "Bob", "15550000002", "200000000002");
    stage.scene(&format!(
        "A simulated WhatsApp on {}, the {} driver, accounts in files. Nothing leaves this machine.",
        stage.server().url(),
        stage.driver()
    ))?;
    pair(stage, &mut alice, true)?;
    pair(stage, &mut bob, false)?;
    converse(stage, &mut alice, &mut bob, &mut summary)?;
    phones(stage, &mut alice, &mut bob, &mut summary)?;
    offline(stage, &mut alice, &mut bob, &mut summary)?;
    damaged(stage, &mut alice, &mut bob, &mut summary)?;
    alice.stop();
    bob.stop();
    Ok(summary)
}

fn pair(stage: &Stage<'_>, person: &mut Person<'_>, show: bool) -> Result<()> {
    stage.scene(&format!("{} links a device.", person.name))?;
    person.start()?;
    let qr = person.expect_qr()?;
    stage.tell(&person.client_name(), "shows a QR code")?;
    if show {
        stage.show_qr(&qr)?;
    }
    let account = person.account;
    let device = scan(stage, account, &qr)?;
    stage.tell(&person.phone_name(), &format!("scans it: device {device}"))?;
    person.expect_login()?;
    stage.tell(&person.client_name(), "has verified the account's signatures, stored its keys and logged in")
}

fn scan(stage: &Stage<'_>, account: amarula_sim::AccountId, qr: &str) -> Result<u16> {
    stage.wait("the answer to the server's QR material", |server| {
        let unpaired = server.connections().find(|(conn, _)| !server.refs(*conn).is_empty()).map(|(conn, _)| conn)?;
        let mut said = server.trace().iter().filter(|said| said.conn == unpaired && said.from_client);
        said.find(|said| said.node.tag == "iq" && said.node.text("type") == "result").map(|_| ())
    })?;
    stage.act(|server, now| server.scan_qr(now, account, qr)).map_err(|error| failed(&error.to_string()))
}

/// A text from one client to the other, seen by all four ends.
fn say(
    stage: &Stage<'_>,
    from: &Person<'_>,
    to: &mut Person<'_>,
    text: &str,
    summary: &mut Summary,
) -> Result<Message> {
    let (sent, took) = from.send(&to.address(), text)?;
    stage.tell(&from.client_name(), &format!("» {text}  ({} devices, accepted in {took} ms)", sent.devices))?;
    let message = to.expect_text(text)?;
    to.expect_on_phone(text)?;
    from.expect_on_phone(text)?;
    if message.from_me || message.id != sent.id {
        return Err(failed("the message is not the one that was sent"));
    }
    stage.tell(&to.client_name(), "« has it; so have both phones")?;
    summary.messages += 1;
    Ok(message)
}

fn expect_receipt(person: &mut Person<'_>, wanted: &ReceiptKind, id: &str, summary: &mut Summary) -> Result<()> {
    person.expect("a receipt", |event| match event {
        Event::Receipt(receipt) if receipt.kind == *wanted && receipt.ids.iter().any(|of| of == id) => Some(()),
        _ => None,
    })?;
    summary.receipts += 1;
    Ok(())
}

fn converse(stage: &Stage<'_>, alice: &mut Person<'_>, bob: &mut Person<'_>, summary: &mut Summary) -> Result<()> {
    stage.scene("They talk.")?;
    bob.client()?.set_presence(Presence::Available)?;
    alice.client()?.set_presence(Presence::Available)?;
    let hello = say(stage, alice, bob, "Hello Bob! This is Amarula.", summary)?;
    expect_receipt(alice, &ReceiptKind::Delivered, &hello.id, summary)?;
    stage.tell(&alice.client_name(), "sees that it was delivered")?;
    bob.client()?.mark_read(&hello.chat, None, &[hello.id.to_string()])?;
    expect_receipt(alice, &ReceiptKind::Read, &hello.id, summary)?;
    stage.tell(&alice.client_name(), "sees that Bob has read it")?;
    bob.client()?.send_chat_state(&alice.address(), ChatState::Composing)?;
    alice.expect("typing", |event| match event {
        Event::ChatState(update) if update.state == ChatState::Composing => Some(()),
        _ => None,
    })?;
    stage.tell(&alice.client_name(), "sees Bob typing")?;
    say(stage, bob, alice, "Hello Alice! End to end, I hope?", summary)?;
    say(stage, alice, bob, "Double ratchet and all.", summary)?;
    Ok(())
}

fn phones(stage: &Stage<'_>, alice: &mut Person<'_>, bob: &mut Person<'_>, summary: &mut Summary) -> Result<()> {
    stage.scene("Bob goes on on his phone.")?;
    let text = "Typed on the phone.";
    let to = alice.jid();
    stage.act(|server, now| server.phone_send_text(now, bob.account, &to, text));
    stage.tell(&bob.phone_name(), &format!("» {text}"))?;
    let message = alice.expect_text(text)?;
    let copy = bob.expect_text(text)?;
    if message.from_me || !copy.from_me {
        return Err(failed("the copy of the own phone's message is not told from the message"));
    }
    summary.messages += 2;
    stage.tell(&alice.client_name(), "« has it")?;
    stage.tell(&bob.client_name(), "has its copy, as his own message")
}

fn offline(stage: &Stage<'_>, alice: &mut Person<'_>, bob: &mut Person<'_>, summary: &mut Summary) -> Result<()> {
    stage.scene("Bob's client is stopped, and started again from its files.")?;
    bob.stop();
    stage.tell(&bob.client_name(), "is shut down")?;
    let text = "Are you there?";
    let (_, took) = alice.send(&bob.address(), text)?;
    stage.tell(&alice.client_name(), &format!("» {text}  (accepted in {took} ms)"))?;
    bob.expect_on_phone(text)?;
    bob.start()?;
    let message = bob.expect_text(text)?;
    if !message.offline {
        return Err(failed("the message did not come from the backlog"));
    }
    bob.expect_login()?;
    summary.messages += 1;
    stage.tell(&bob.client_name(), "« logs in without pairing, and gets what waited for it")
}

fn damaged(stage: &Stage<'_>, alice: &mut Person<'_>, bob: &mut Person<'_>, summary: &mut Summary) -> Result<()> {
    stage.scene("A message is damaged on its way.")?;
    stage.act(|server, _| server.faults().on_delivery(1, DeliveryFault::Damage));
    let text = "This one was hit by a cosmic ray.";
    let (sent, took) = alice.send(&bob.address(), text)?;
    stage.tell(&alice.client_name(), &format!("» {text}  (accepted in {took} ms)"))?;
    let retrying = bob.expect("a damaged message", |event| match event {
        Event::Undecryptable(damaged) if damaged.id == sent.id => Some(damaged.retrying),
        _ => None,
    })?;
    if !retrying {
        return Err(failed("no resend was asked for"));
    }
    stage.tell(&bob.client_name(), "« cannot decrypt it, and asks for it again")?;
    let message = bob.expect_text(text)?;
    if message.id != sent.id {
        return Err(failed("the resend has another id"));
    }
    summary.messages += 1;
    stage.tell(&bob.client_name(), "« has it")?;
    say(stage, bob, alice, "Got it all the same. Bye!", summary)?;
    stage.wait("an empty queue", |server| {
        let left: usize = [alice.account, bob.account].into_iter().map(|account| server.outstanding(account, 1)).sum();
        (left == 0).then_some(())
    })
}
