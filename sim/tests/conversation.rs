//! One-to-one conversations, through the simulated server: who gets what, under which name, and with which receipts.

mod town;

use amarula_core::Address;
use amarula_core::engine::command::{ChatState, MarkRead, Presence, SendChatState, SetPresence, SubscribePresence};
use amarula_core::error::Failure;
use amarula_core::event::{Event, ReceiptKind};
use amarula_core::wire::{Jid, Node};
use amarula_sim::SimTime;
use town::{MINUTE, Options, Town, assert_once, enc_kinds, messages, receipts, sent_stanzas, texts};

#[test]
fn two_companions_talk() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let sent = town.tell(&alice, &bob.pn, "hello");
    assert_eq!(sent.devices, 3, "their phone, their companion, our phone");
    assert_eq!(sent.to, Address::from(bob.pn.clone()));
    assert_eq!(sent.timestamp, town.world.now().secs());
    town.expect_texts(&bob, &["hello"]);
    town.expect_phone_texts(&bob, &["hello"]);
    town.tell(&bob, &alice.pn, "hello yourself");
    town.expect_texts(&alice, &["hello yourself"]);
    let message = &messages(&town.world, bob.client)[0];
    assert_eq!((&message.id, message.from_me, message.offline), (&sent.id, false, false));
    assert_eq!(message.chat, Address::from(alice.pn.clone()));
    assert_eq!(message.sender, Address::from(alice.pn.clone().with_device(alice.device)));
    assert_eq!(message.sender_alt, Some(Address::from(alice.lid.clone())));
    assert_eq!(message.push_name.as_deref(), Some("Sim"));
    town.world.assert_clean();
}

/// A phone's messages reach the other side's companion, and our companion as our own.
#[test]
fn phones_and_companions_talk() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.phone_says(&bob, &alice.pn, "from the phone");
    town.expect_texts(&alice, &["from the phone"]);
    town.expect_texts(&bob, &["from the phone"]);
    let (theirs, ours) = (messages(&town.world, alice.client), messages(&town.world, bob.client));
    assert_eq!((theirs[0].from_me, ours[0].from_me), (false, true));
    assert_eq!(theirs[0].chat, Address::from(bob.pn.clone()));
    assert_eq!(ours[0].chat, Address::from(alice.pn.clone()));
    assert_eq!(theirs[0].id, ours[0].id);
    town.tell(&alice, &bob.pn, "answer");
    town.expect_texts(&bob, &["from the phone", "answer"]);
    // Both phones have it: one as the recipient, one as the owner of the sending companion.
    let inbox = |account| town.world.server.phone(account).inbox().to_vec();
    assert!(inbox(bob.account).iter().any(|m| m.text().as_deref() == Some("answer") && !m.from_me));
    assert!(inbox(alice.account).iter().any(|m| m.text().as_deref() == Some("answer") && m.from_me));
    town.world.assert_clean();
}

/// What one companion sends, the account's other companion sees as its own, in the right chat.
#[test]
fn own_second_companion_gets_copies() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let desk = town.companion(&alice);
    let sent = town.tell(&alice, &bob.pn, "one");
    assert_eq!(sent.devices, 4, "their two, our phone, our other companion");
    town.tell(&desk, &bob.pn, "two");
    town.phone_says(&alice, &bob.pn, "three");
    town.expect_texts(&bob, &["one", "two", "three"]);
    town.expect_texts(&desk, &["one", "three"]);
    town.expect_texts(&alice, &["two", "three"]);
    for companion in [&alice, &desk] {
        for message in messages(&town.world, companion.client) {
            assert!(message.from_me, "{message:?}");
            assert_eq!(message.chat, Address::from(bob.pn.clone()));
        }
        assert_once(&town.world, companion.client);
    }
    town.phone_says(&bob, &alice.pn, "to all");
    town.expect_texts(&desk, &["one", "three", "to all"]);
    town.expect_texts(&alice, &["two", "three", "to all"]);
    town.world.assert_clean();
}

#[test]
fn notes_to_myself() {
    for migrated in [false, true] {
        let mut town = Town::with(Options { migrated, ..Options::default() });
        let alice = town.alice.clone();
        let desk = town.companion(&alice);
        let sent = town.tell(&alice, &alice.pn, "milk");
        assert_eq!(sent.devices, 2, "the phone and the other companion");
        town.expect_texts(&desk, &["milk"]);
        town.expect_phone_texts(&alice, &["milk"]);
        town.tell(&desk, &alice.lid, "bread");
        town.expect_texts(&alice, &["bread"]);
        let message = &messages(&town.world, alice.client)[0];
        let me = Address::from(if migrated { alice.lid.clone() } else { alice.pn.clone() });
        assert!(message.from_me);
        assert_eq!(message.chat, me);
        town.world.assert_clean();
    }
}

/// A session begins with `pkmsg` until the other side has answered on it, then goes on with `msg`.
#[test]
fn sessions_settle() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let kinds = |town: &Town, at: usize| {
        let stanza = &sent_stanzas(&town.world, alice.key(), "message")[at];
        let identity = stanza.nodes().iter().any(|node| node.tag == "device-identity");
        let companion = bob.pn.clone().with_device(bob.device).to_string();
        let kind = enc_kinds(stanza).into_iter().find(|(jid, _)| *jid == companion).expect("a copy").1;
        (kind, identity)
    };
    town.tell(&alice, &bob.pn, "1");
    town.tell(&alice, &bob.pn, "2");
    assert_eq!(kinds(&town, 0), ("pkmsg".to_owned(), true));
    assert_eq!(kinds(&town, 1), ("pkmsg".to_owned(), true), "nothing has come back yet");
    for device in ["companion", "phone"] {
        match device {
            "companion" => drop(town.tell(&bob, &alice.pn, "back")),
            _ => drop(town.phone_says(&bob, &alice.pn, "back")),
        }
    }
    town.phone_says(&alice, &bob.pn, "our own phone too");
    town.expect_texts(&alice, &["back", "back", "our own phone too"]);
    town.tell(&alice, &bob.pn, "3");
    assert_eq!(kinds(&town, 2), ("msg".to_owned(), false));
    assert!(enc_kinds(&sent_stanzas(&town.world, alice.key(), "message")[2]).iter().all(|(_, kind)| kind == "msg"));
    town.world.assert_clean();
}

/// The account decides the namespace on the wire, whatever the caller wrote.
#[test]
fn addressing_follows_the_account() {
    for migrated in [false, true] {
        let mut town = Town::with(Options { migrated, ..Options::default() });
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        // An unmigrated account learns the number of a LID from the first message.
        town.tell(&bob, &alice.pn, "hi");
        town.expect_texts(&alice, &["hi"]);
        for to in [&bob.pn, &bob.lid] {
            let sent = town.tell(&alice, to, "x");
            let wire = if migrated { &bob.lid } else { &bob.pn };
            assert_eq!(sent.to, Address::from(wire.clone()), "migrated: {migrated}, asked for {to}");
        }
        town.expect_texts(&bob, &["x", "x"]);
        // The phone may write in either namespace: one session, one chat partner.
        town.phone_says(&bob, &alice.lid, "by lid");
        town.phone_says(&bob, &alice.pn, "by pn");
        town.expect_texts(&alice, &["hi", "by lid", "by pn"]);
        town.tell(&alice, &bob.lid, "y");
        town.expect_texts(&bob, &["x", "x", "by lid", "by pn", "y"]);
        town.world.assert_clean();
    }
}

/// A migrated account may write to a LID that it knows nothing else of.
#[test]
fn a_lid_alone_is_enough_for_a_migrated_account() {
    let mut town = Town::with(Options { migrated: true, ..Options::default() });
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let sent = town.tell(&alice, &bob.lid, "only your lid");
    assert_eq!(sent.to, Address::from(bob.lid.clone()));
    town.expect_texts(&bob, &["only your lid"]);
    town.tell(&bob, &alice.lid, "and yours");
    town.expect_texts(&alice, &["and yours"]);
    town.world.assert_clean();
}

#[test]
fn nobody_is_there() {
    let mut town = Town::new();
    let alice = town.alice.clone();
    for nobody in [Jid::pn("15559999999"), Jid::lid("299999999999")] {
        let ticket = town.say(&alice, &nobody, "hello?");
        assert_eq!(town.answer(&alice, ticket), Err(Failure::NoRecipient), "{nobody}");
    }
    assert!(sent_stanzas(&town.world, alice.key(), "message").is_empty());
    town.assert_alive();
    town.world.assert_clean();
}

#[test]
fn delivery_and_read_receipts() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let sent = town.tell(&alice, &bob.pn, "hello");
    town.run(2_000);
    let got = receipts(&town.world, alice.client);
    let of = |device: u16, kind: ReceiptKind| {
        let from = Address::from(bob.pn.clone().with_device(device));
        got.iter().any(|r| r.from == from && r.kind == kind && r.ids == [sent.id.clone()] && !r.from_me)
    };
    assert!(of(0, ReceiptKind::Delivered) && of(bob.device, ReceiptKind::Delivered), "{got:#?}");
    assert!(got.iter().any(|r| r.from_me && r.kind == ReceiptKind::Sender), "our own phone has it: {got:#?}");
    // The companion reads it: our companion is told, and so is the reader's own phone.
    let read = MarkRead { chat: alice.pn.clone().into(), sender: None, ids: vec![sent.id.clone()] };
    let _ = town.world.submit(bob.client, read).unwrap();
    town.run(1_000);
    let got = receipts(&town.world, alice.client);
    let read = got.iter().find(|r| r.kind == ReceiptKind::Read).expect("read");
    assert_eq!((&read.chat, &read.ids, read.from_me), (&bob.pn.clone().into(), &vec![sent.id.clone()], false));
    assert!(town.world.server.phone(bob.account).receipts().iter().any(|r| r.kind == "read"));
    // Their phone reads another one.
    let sent = town.tell(&alice, &bob.pn, "again");
    let now = town.world.now();
    town.world.server.phone_read(now, bob.account, &alice.pn, None, &[&sent.id]);
    town.run(1_000);
    let got = receipts(&town.world, alice.client);
    assert!(got.iter().any(|r| r.kind == ReceiptKind::Read && r.ids == [sent.id.clone()]), "{got:#?}");
    town.world.assert_clean();
}

/// Not shown as online: the other side sees no second tick.
#[test]
fn an_inactive_companion_says_so() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let _ = town.world.submit(bob.client, SetPresence { presence: Presence::Unavailable }).unwrap();
    town.run(1_000);
    let sent = town.tell(&alice, &bob.pn, "hello");
    town.run(1_000);
    let got = receipts(&town.world, alice.client);
    let from = Address::from(bob.pn.clone().with_device(bob.device));
    let receipt = got.iter().find(|r| r.from == from && r.ids == [sent.id.clone()]).expect("a receipt");
    assert_eq!(receipt.kind, ReceiptKind::Inactive);
    town.world.assert_clean();
}

/// Hundreds of ids at once: lists of at most 256, none lost, none twice.
#[test]
fn reading_a_long_chat() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let ids: Vec<String> = (0..600).map(|n| town.phone_says(&bob, &alice.pn, &format!("{n}"))).collect();
    let client = alice.client;
    assert!(town.world.run_until(|world| texts(world, client).len() == 600, 5 * MINUTE));
    let all = ids.iter().map(|id| id.as_str().into()).collect();
    let _ = town.world.submit(alice.client, MarkRead { chat: bob.pn.clone().into(), sender: None, ids: all }).unwrap();
    town.run(1_000);
    let phone = town.world.server.phone(bob.account).receipts();
    let read: Vec<_> = phone.iter().filter(|r| r.kind == "read").collect();
    assert_eq!(read.iter().map(|r| r.ids.len()).collect::<Vec<_>>(), [256, 256, 88]);
    assert_eq!(read.iter().flat_map(|r| r.ids.clone()).collect::<Vec<_>>(), ids);
    let empty = MarkRead { chat: bob.pn.clone().into(), sender: None, ids: Vec::new() };
    assert!(town.world.submit(alice.client, empty).is_err());
    town.world.assert_clean();
}

#[test]
fn presence_comes_and_goes() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let _ = town.world.submit(alice.client, SubscribePresence { to: bob.pn.clone().into() }).unwrap();
    town.run(1_000);
    let seen = |town: &mut Town| -> Vec<bool> {
        let events = town.world.take_events(alice.client);
        let own = Address::from(bob.pn.clone());
        events
            .into_iter()
            .filter_map(|event| match event {
                Event::Presence(update) => {
                    assert_eq!(update.from, own);
                    assert_eq!(update.available, update.last_seen.is_none());
                    Some(update.available)
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(seen(&mut town).last(), Some(&true));
    let now = town.world.now();
    town.world.server.phone_set_online(now, bob.account, false);
    let _ = town.world.submit(bob.client, SetPresence { presence: Presence::Unavailable }).unwrap();
    town.run(1_000);
    assert_eq!(seen(&mut town).last(), Some(&false));
    let _ = town.world.submit(bob.client, SetPresence { presence: Presence::Available }).unwrap();
    town.run(1_000);
    assert_eq!(seen(&mut town).last(), Some(&true));
    town.world.assert_clean();
}

#[test]
fn typing_is_seen_both_ways() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    for state in [ChatState::Composing, ChatState::Recording, ChatState::Paused] {
        let _ = town.world.submit(alice.client, SendChatState { to: bob.pn.clone().into(), state }).unwrap();
        town.run(500);
        let seen = town.world.take_events(bob.client).into_iter().find_map(|event| match event {
            Event::ChatState(update) => Some(update),
            _ => None,
        });
        let seen = seen.expect("seen");
        assert_eq!((seen.state, &seen.chat), (state, &Address::from(alice.pn.clone())));
        assert_eq!(seen.from, Address::from(alice.pn.clone().with_device(alice.device)));
    }
    assert_eq!(town.world.server.phone(bob.account).chatstates().len(), 3);
    let conn = server_conn(&town, alice.key());
    let state = Node::new("chatstate").attr("from", &bob.pn).child(Node::new("composing").attr("media", "audio"));
    let now: SimTime = town.world.now();
    town.world.server.send_raw(now, conn, &state);
    town.run(500);
    assert!(town.world.saw(alice.client, |event| matches!(event,
        Event::ChatState(update) if update.state == ChatState::Recording && update.chat == bob.pn.clone().into())));
    town.world.assert_clean();
}

fn server_conn(town: &Town, key: amarula_sim::DeviceKey) -> amarula_sim::ConnId {
    town.world.server.connections().find(|(_, device)| *device == Some(key)).expect("connected").0
}
