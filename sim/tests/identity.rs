//! People change: phones are registered anew, devices come and go, a LID is learned late.

mod town;

use amarula_core::Address;
use amarula_core::error::EndReason;
use amarula_core::event::{Connection, Event};
use amarula_core::store::Namespace;
use amarula_core::wire::Node;
use amarula_sim::proto::text_message;
use amarula_sim::signal::pad;
use town::{MINUTE, Town, assert_once, enc_kinds, messages, sent_stanzas, texts, undecryptable};

fn changed(town: &Town) -> Vec<(Address, bool)> {
    let events = town.world.events(town.alice.client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::IdentityChanged { address, implicit } => Some((address.clone(), *implicit)),
            _ => None,
        })
        .collect()
}

fn last_kinds(town: &Town) -> Vec<(String, String)> {
    enc_kinds(sent_stanzas(&town.world, town.alice.key(), "message").last().expect("something was sent"))
}

#[test]
fn a_phone_is_registered_anew() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.assert_alive();
    town.assert_alive();
    let now = town.world.now();
    town.world.server.reregister(now, bob.account);
    town.run(2_000);
    assert_eq!(changed(&town), [(bob.lid.clone().into(), false)]);
    assert!(town.world.saw(bob.client, |event| matches!(
        event,
        Event::Connection(Connection::Ended { reason: EndReason::DeviceRemoved, wiped: true })
    )));
    // The next message goes to the new phone alone, on a new session.
    town.tell(&alice, &bob.pn, "new phone?");
    assert_eq!(town.world.server.phone(bob.account).texts(), ["new phone?"]);
    let to_bob: Vec<_> = last_kinds(&town).into_iter().filter(|(jid, _)| jid.starts_with("15550000002")).collect();
    assert_eq!(to_bob, [(bob.pn.to_string(), "pkmsg".to_owned())]);
    town.world.take_events(alice.client);
    town.phone_says(&bob, &alice.pn, "yes");
    town.expect_texts(&alice, &["yes"]);
    town.tell(&alice, &bob.pn, "good");
    assert_eq!(town.world.server.phone(bob.account).texts(), ["new phone?", "good"]);
    assert_eq!(changed(&town), [], "told once");
    assert!(undecryptable(&town.world, alice.client).is_empty());
    town.world.assert_clean();
}

/// While we are away: announcement and first message both wait for us.
#[test]
fn registered_anew_while_we_are_away() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.assert_alive();
    town.disconnect(&alice);
    town.phone_says(&bob, &alice.pn, "old phone");
    let now = town.world.now();
    town.world.server.reregister(now, bob.account);
    town.phone_says(&bob, &alice.pn, "new phone");
    town.run(MINUTE);
    town.world.take_events(alice.client);
    town.catch_up(&alice);
    town.expect_texts(&alice, &["old phone", "new phone"]);
    assert_eq!(changed(&town), [(bob.lid.clone().into(), false)]);
    town.tell(&alice, &bob.pn, "hello again");
    assert_eq!(town.world.server.phone(bob.account).texts(), ["hello again"]);
    town.world.assert_clean();
}

/// Nobody announces it: the first message of the new phone tells.
#[test]
fn noticed_from_a_message() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    // Alice has never asked for Bob's devices, so the server does not tell her of changes.
    town.phone_says(&bob, &alice.pn, "old phone");
    town.expect_texts(&alice, &["old phone"]);
    assert_eq!(changed(&town), []);
    let now = town.world.now();
    town.world.server.reregister(now, bob.account);
    town.phone_says(&bob, &alice.pn, "new phone");
    town.expect_texts(&alice, &["old phone", "new phone"]);
    assert_eq!(changed(&town), [(bob.lid.clone().into(), true)]);
    town.tell(&alice, &bob.pn, "hello again");
    assert_eq!(town.world.server.phone(bob.account).texts(), ["hello again"]);
    town.world.assert_clean();
}

/// A message is on its way to the old phone while the new one is registered.
#[test]
fn registered_anew_under_a_send() {
    for at in (0..120).step_by(7) {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        let ticket = town.say(&alice, &bob.pn, "hello");
        town.run(at);
        let now = town.world.now();
        town.world.server.reregister(now, bob.account);
        town.answer(&alice, ticket).unwrap();
        town.run(MINUTE);
        // Whatever became of the first one (the new phone may have to ask for it): the next is sound.
        town.tell(&alice, &bob.pn, "again");
        town.run(MINUTE);
        let got = town.world.server.phone(bob.account).texts();
        assert!(got.contains(&"again".to_owned()), "registered at {at}: {got:?}");
        assert!(got.iter().filter(|text| *text == "hello").count() <= 1, "{got:?}");
        town.phone_says(&bob, &alice.pn, "seen");
        town.expect_texts(&alice, &["seen"]);
        // The server takes a stanza for devices that have just ceased to exist as a fault of ours; it crossed.
        let crossing = |detail: &str| detail.contains("does not exist") || detail.contains("cannot decrypt");
        let violations = town.world.server.take_violations();
        assert!(violations.iter().all(|v| crossing(&v.detail)), "registered at {at}: {violations:#?}");
    }
}

#[test]
fn a_device_is_added_and_removed() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    assert_eq!(town.tell(&alice, &bob.pn, "1").devices, 3);
    town.world.take_events(alice.client);
    let desk = town.companion(&bob);
    let told = |town: &Town| {
        let client = town.alice.client;
        town.world.saw(client, |event| {
            matches!(event,
            Event::DevicesChanged { address } if *address == town.bob.lid.clone().into())
        })
    };
    assert!(told(&town));
    assert_eq!(town.tell(&alice, &bob.pn, "2").devices, 4, "the new companion too");
    town.expect_texts(&desk, &["2"]);
    town.world.take_events(alice.client);
    let now = town.world.now();
    town.world.server.unlink(now, bob.account, desk.device);
    town.run(2_000);
    assert!(told(&town));
    let removed = bob.lid.clone().with_device(desk.device).to_string();
    assert_eq!(town.world.store(alice.client).get(Namespace::Session, &removed), None, "its session is gone");
    assert_eq!(town.tell(&alice, &bob.pn, "3").devices, 3);
    town.expect_texts(&bob, &["1", "2", "3"]);
    town.world.assert_clean();
}

/// The same for our own account.
#[test]
fn our_own_devices_change() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    assert_eq!(town.tell(&alice, &bob.pn, "1").devices, 3);
    let desk = town.companion(&alice);
    assert_eq!(town.tell(&alice, &bob.pn, "2").devices, 4);
    town.expect_texts(&desk, &["2"]);
    let now = town.world.now();
    town.world.server.unlink(now, alice.account, desk.device);
    town.run(2_000);
    assert_eq!(town.tell(&alice, &bob.pn, "3").devices, 3);
    town.expect_texts(&bob, &["1", "2", "3"]);
    town.world.assert_clean();
}

/// The list changes while we are away and while we send: sends go through, and the next one is right.
#[test]
fn the_list_changes_behind_our_back() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.tell(&alice, &bob.pn, "1");
    town.disconnect(&alice);
    let desk = town.companion(&bob);
    town.connect(&alice);
    // Open, and the news not yet read.
    town.tell(&alice, &bob.pn, "2");
    town.run(5_000);
    town.tell(&alice, &bob.pn, "3");
    town.expect_texts(&bob, &["1", "2", "3"]);
    assert_eq!(texts(&town.world, desk.client).last().map(String::as_str), Some("3"));
    town.world.assert_clean();
}

/// The server's word that our view is stale (a phash of its own) makes us look again.
#[test]
fn a_different_phash_refreshes() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.tell(&alice, &bob.pn, "1");
    let queries = |town: &Town| {
        let iqs = sent_stanzas(&town.world, town.alice.key(), "iq");
        iqs.iter().filter(|iq| iq.get("xmlns").as_deref() == Some("usync")).count()
    };
    let before = queries(&town);
    town.tell(&alice, &bob.pn, "2");
    assert_eq!(queries(&town), before, "known and fresh: not asked again");
    town.world.server.faults().on_message(1, amarula_sim::server::faults::AckFault::WrongPhash);
    town.tell(&alice, &bob.pn, "3");
    town.tell(&alice, &bob.pn, "4");
    assert!(queries(&town) > before);
    town.expect_texts(&bob, &["1", "2", "3", "4"]);
    town.world.assert_clean();
}

/// A session made under the phone number, before the LID was known, moves to the LID; nothing is lost on either side of
/// the move, and both names lead to it.
#[test]
fn a_lid_is_learned_late() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let by_number = |town: &mut Town, id: &str, text: &str| {
        let now = town.world.now();
        let padded = pad(&text_message(text), 4);
        let enc = town.world.server.phone_encrypts(now, bob.account, alice.key(), &padded).expect("a session");
        let stanza = Node::new("message")
            .attr("from", &bob.pn)
            .attr("id", id)
            .attr("t", now.secs())
            .attr("type", "text")
            .child(enc);
        town.world.server.inject(now, alice.key(), stanza);
        town.run(1_000);
    };
    by_number(&mut town, "A1", "one");
    by_number(&mut town, "A2", "two");
    let at = |town: &Town, jid: &amarula_core::wire::Jid| {
        town.world.store(town.alice.client).get(Namespace::Session, &jid.to_string()).is_some()
    };
    assert!(at(&town, &bob.pn) && !at(&town, &bob.lid), "the session is under the number");
    // With its next message the other side names its LID.
    town.phone_says(&bob, &alice.pn, "three");
    town.expect_texts(&alice, &["one", "two", "three"]);
    assert!(!at(&town, &bob.pn) && at(&town, &bob.lid), "it has moved");
    assert!(town.world.saw(alice.client, |event| matches!(event,
        Event::LidMapping { lid, pn } if *lid == bob.lid.clone().into() && *pn == bob.pn.clone().into())));
    // One that was under way by the old name still finds it, and so do we.
    by_number(&mut town, "A4", "four");
    town.expect_texts(&alice, &["one", "two", "three", "four"]);
    town.tell(&alice, &bob.pn, "answer");
    let phone = bob.pn.to_string();
    assert!(last_kinds(&town).contains(&(phone, "msg".to_owned())), "on the same session: {:?}", last_kinds(&town));
    assert_eq!(town.world.server.phone(bob.account).texts(), ["answer"]);
    assert!(undecryptable(&town.world, alice.client).is_empty());
    assert_once(&town.world, alice.client);
    assert_eq!(changed(&town), []);
    assert!(messages(&town.world, alice.client).iter().all(|message| !message.from_me));
    town.world.assert_clean();
}
