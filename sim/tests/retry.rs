//! Messages that do not decrypt: asked for again, sent again, delivered once. Both ways.

mod town;

use amarula_core::event::Event;
use amarula_core::wire::{Jid, Node};
use amarula_sim::server::faults::DeliveryFault;
use town::{MINUTE, Person, Town, assert_once, enc_kinds, messages, sent_stanzas, texts, undecryptable};

/// Both have talked, so that all sessions are there and settled.
fn acquainted() -> Town {
    let mut town = Town::new();
    town.assert_alive();
    // The phones too, so that no session still waits for its first answer.
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.phone_says(&alice, &bob.pn, "hi");
    town.phone_says(&bob, &alice.pn, "hi");
    town.run(1_000);
    town.assert_alive();
    for person in [alice, bob] {
        town.world.take_events(person.client);
    }
    town
}

fn fault(town: &mut Town, n: u64, fault: DeliveryFault) {
    town.world.server.faults().on_delivery(n, fault);
}

fn asked(town: &Town, by: &Person) -> Vec<u32> {
    let receipts = sent_stanzas(&town.world, by.key(), "receipt");
    let retries = receipts.iter().flat_map(|receipt| receipt.nodes()).filter(|node| node.tag == "retry");
    retries.map(|retry| retry.get("count").unwrap().parse().unwrap()).collect()
}

#[test]
fn a_damaged_message_comes_again() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    fault(&mut town, 1, DeliveryFault::Damage);
    let id = town.phone_says(&bob, &alice.pn, "hello");
    town.expect_texts(&alice, &["hello"]);
    let failed = undecryptable(&town.world, alice.client);
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].id.as_str(), failed[0].retrying, failed[0].hidden), (id.as_str(), true, false));
    assert_eq!(failed[0].chat, bob.pn.clone().into());
    let events = town.world.events(alice.client);
    let kinds: Vec<bool> = events
        .iter()
        .filter_map(|delivery| match &delivery.event {
            Event::Undecryptable(_) => Some(false),
            Event::Message(message) => {
                assert_eq!(message.id, id, "the same message");
                Some(true)
            }
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [false, true], "first the failure, then the message");
    assert_eq!(asked(&town, &alice), [1]);
    town.assert_alive();
    town.world.assert_clean();
}

/// Every try is damaged, up to the limit: four failures are made good, the fifth is final. Later messages are not
/// concerned.
#[test]
fn damaged_again_and_again() {
    for damages in 1..=6 {
        let mut town = acquainted();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        fault(&mut town, 1, DeliveryFault::Damage);
        town.phone_says(&bob, &alice.pn, "hello");
        // Bob's own companion had its copy too; from here on the deliveries are resends.
        for n in 1..damages {
            fault(&mut town, n, DeliveryFault::Damage);
        }
        town.run(MINUTE);
        let given_up = damages >= 5;
        assert_eq!(texts(&town.world, alice.client), if given_up { &[][..] } else { &["hello"][..] }, "{damages}");
        let failed = undecryptable(&town.world, alice.client);
        assert_eq!(failed.len() as u64, damages.min(5));
        assert!(failed.iter().all(|event| event.retrying));
        assert_eq!(asked(&town, &alice), (1..=u32::try_from(damages.min(5)).unwrap()).collect::<Vec<_>>());
        if !given_up {
            town.assert_alive();
        }
        town.world.assert_clean();
    }
}

/// The first message of a session.
#[test]
fn a_damaged_prekey_message() {
    for damages in 1..=3 {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        fault(&mut town, 1, DeliveryFault::Damage);
        town.phone_says(&bob, &alice.pn, "first");
        for n in 1..damages {
            fault(&mut town, n, DeliveryFault::Damage);
        }
        town.expect_texts(&alice, &["first"]);
        assert_eq!(undecryptable(&town.world, alice.client).len() as u64, damages);
        town.assert_alive();
        town.world.assert_clean();
    }
}

/// Between two companions: the engine asks, and the engine answers.
#[test]
fn companions_ask_each_other() {
    for damages in 1..=4 {
        for first in [true, false] {
            let mut town = if first { Town::new() } else { acquainted() };
            let (alice, bob) = (town.alice.clone(), town.bob.clone());
            fault(&mut town, 1, DeliveryFault::Damage);
            let sent = town.tell(&alice, &bob.pn, "hello");
            for n in 1..damages {
                fault(&mut town, n, DeliveryFault::Damage);
            }
            town.expect_texts(&bob, &["hello"]);
            assert_eq!(messages(&town.world, bob.client)[0].id, sent.id);
            assert_eq!(asked(&town, &bob), (1..=u32::try_from(damages).unwrap()).collect::<Vec<_>>());
            let resends: Vec<_> = sent_stanzas(&town.world, alice.key(), "message")
                .into_iter()
                .filter(|stanza| stanza.get("device_fanout").is_some())
                .collect();
            assert_eq!(resends.len() as u64, damages);
            town.assert_alive();
            town.world.assert_clean();
        }
    }
}

/// Messages behind a damaged one are not held up by it, nor does its resend break them.
#[test]
fn messages_behind_a_damaged_one() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    fault(&mut town, 1, DeliveryFault::Damage);
    let tickets: Vec<_> = (0..10).map(|n| town.say(&alice, &bob.pn, &format!("{n}"))).collect();
    for ticket in tickets {
        town.answer(&alice, ticket).unwrap();
    }
    let client = bob.client;
    assert!(town.world.run_until(|world| texts(world, client).len() == 10, MINUTE));
    town.run(MINUTE);
    let got = texts(&town.world, bob.client);
    assert_eq!(got[..9], ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(got[9], "0");
    assert_once(&town.world, bob.client);
    town.assert_alive();
    town.world.assert_clean();
}

/// The process dies between the failure and the resend, which is damaged too: the count goes on.
#[test]
fn the_count_survives_a_restart() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    fault(&mut town, 1, DeliveryFault::Damage);
    town.phone_says(&bob, &alice.pn, "hello");
    let client = alice.client;
    assert!(town.world.run_until(|world| !undecryptable(world, client).is_empty(), MINUTE));
    // The request has arrived, its answer has not.
    town.run(21);
    town.world.crash(alice.client);
    fault(&mut town, 1, DeliveryFault::Damage);
    town.catch_up(&alice);
    town.run(5_000);
    assert_eq!(asked(&town, &alice), [1, 2]);
    assert_eq!(texts(&town.world, alice.client).last().map(String::as_str), Some("hello"));
    town.assert_alive();
    town.world.assert_clean();
}

/// Our own copy from another device: it is not asked for again, and not brought again either.
#[test]
fn a_damaged_own_copy() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    // Alice's companion is the second delivery: Bob's is not sent to.
    fault(&mut town, 1, DeliveryFault::Damage);
    town.phone_says(&alice, &bob.pn, "mine");
    town.expect_texts(&bob, &["mine"]);
    let failed = undecryptable(&town.world, alice.client);
    assert_eq!(failed.len(), 1, "which copy was damaged: {failed:?}");
    assert!(!failed[0].retrying);
    assert_eq!(failed[0].chat, bob.pn.clone().into());
    assert_eq!(asked(&town, &alice), []);
    town.run(2_000);
    assert_eq!(town.world.server.outstanding(alice.account, alice.device), 0);
    town.phone_says(&alice, &bob.pn, "next");
    town.expect_texts(&alice, &["next"]);
    town.world.assert_clean();
}

/// The other side's phone cannot decrypt what we sent, several times; from its second request on it sends keys.
#[test]
fn a_phone_asks_us() {
    for refusals in 1..=4 {
        let mut town = acquainted();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        let before = town.world.server.phone(bob.account).texts().len();
        town.world.server.account_mut(bob.account).unwrap().phone.refuse_next(refusals);
        let sent = town.tell(&alice, &bob.pn, "hello");
        town.run(MINUTE);
        let phone = town.world.server.phone(bob.account).texts();
        assert_eq!(phone[before..], ["hello"], "{refusals} refusals");
        let resends: Vec<_> = sent_stanzas(&town.world, alice.key(), "message")
            .into_iter()
            .filter(|stanza| stanza.get("device_fanout").is_some())
            .collect();
        assert_eq!(resends.len() as u32, refusals);
        for (n, resend) in resends.iter().enumerate() {
            assert_eq!(resend.get("id").unwrap(), sent.id);
            let enc = &resend.nodes()[0];
            // The first request came without keys: the session was good. With keys it is made anew.
            let kind = if n == 0 { "msg" } else { "pkmsg" };
            assert_eq!((enc.get("type").as_deref(), enc.get("count")), (Some(kind), Some((n + 1).to_string().into())));
        }
        assert_eq!(texts(&town.world, bob.client), ["hello"], "the companion had it already");
        town.assert_alive();
        town.world.assert_clean();
    }
}

/// Our own phone asks for its copy.
#[test]
fn our_own_phone_asks_us() {
    for refusals in 1..=2 {
        let mut town = acquainted();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        let before = town.world.server.phone(alice.account).inbox().len();
        town.world.server.account_mut(alice.account).unwrap().phone.refuse_next(refusals);
        town.tell(&alice, &bob.pn, "hello");
        town.run(MINUTE);
        let copies = &town.world.server.phone(alice.account).inbox()[before..];
        assert_eq!(copies.len(), 1);
        assert!(copies[0].from_me && copies[0].text().as_deref() == Some("hello"));
        assert_eq!(copies[0].chat, bob.pn);
        town.world.assert_clean();
    }
}

fn retry_receipt(from: &Jid, id: &str, count: u32) -> Node {
    let retry = Node::new("retry").attr("v", "1").attr("count", count).attr("id", id).attr("t", "1");
    Node::new("receipt")
        .attr("from", from)
        .attr("id", id)
        .attr("type", "retry")
        .attr("t", "1")
        .child(retry)
        .child(Node::new("registration").bytes(vec![0, 0, 0, 1]))
}

/// Requests that must not be served: acknowledged, and nothing is sent.
#[test]
fn requests_that_are_refused() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let (carol, carol_pn, _) = town.phone_only("15550000003", "200000000003");
    let sent = town.tell(&alice, &bob.pn, "secret");
    town.run(2_000);
    let before = sent_stanzas(&town.world, alice.key(), "message").len();
    let stranger = carol_pn.clone();
    let requests = [
        ("an unknown message", retry_receipt(&bob.pn, "3EB0UNKNOWN", 1)),
        ("a stranger", retry_receipt(&stranger, &sent.id, 1)),
        ("a device that does not exist", retry_receipt(&bob.pn.clone().with_device(77), &sent.id, 1)),
        ("nobody", retry_receipt(&Jid::pn("15558888888"), &sent.id, 1)),
        ("too often", retry_receipt(&bob.pn, &sent.id, 5)),
        ("far too often", retry_receipt(&bob.pn, &sent.id, u32::MAX)),
        ("ourselves", retry_receipt(&alice.pn.clone().with_device(alice.device), &sent.id, 1)),
        ("our phone, for no chat", retry_receipt(&alice.pn, &sent.id, 1)),
        ("the server", retry_receipt(&Jid::server(), &sent.id, 1)),
        ("a group", retry_receipt(&Jid::group("120363000000000001"), &sent.id, 1)),
        ("no retry child", Node::new("receipt").attr("from", &bob.pn).attr("id", &sent.id).attr("type", "retry")),
        (
            "keys that are none",
            retry_receipt(&bob.pn, &sent.id, 2)
                .child(Node::new("keys").child(Node::new("identity").bytes(vec![1; 32]))),
        ),
    ];
    for (what, request) in requests {
        let now = town.world.now();
        town.world.server.inject(now, alice.key(), request);
        town.run(5_000);
        assert_eq!(sent_stanzas(&town.world, alice.key(), "message").len(), before, "served: {what}");
        assert_eq!(town.world.server.outstanding(alice.account, alice.device), 0, "not acknowledged: {what}");
    }
    assert!(town.world.server.phone(carol).inbox().is_empty());
    town.assert_alive();
    town.world.assert_clean();
}

/// Keys in a request that were not signed by the identity they name.
#[test]
fn forged_keys_make_no_session() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let sent = town.tell(&alice, &bob.pn, "secret");
    town.run(2_000);
    let before = sent_stanzas(&town.world, alice.key(), "message").len();
    let leaf = |tag: &str, bytes: Vec<u8>| Node::new(tag).bytes(bytes);
    let skey = Node::new("skey")
        .child(leaf("id", vec![0, 0, 1]))
        .child(leaf("value", vec![9; 32]))
        .child(leaf("signature", vec![7; 64]));
    let key = Node::new("key").child(leaf("id", vec![0, 0, 1])).child(leaf("value", vec![9; 32]));
    let keys =
        Node::new("keys").child(leaf("type", vec![5])).child(leaf("identity", vec![8; 32])).child(key).child(skey);
    let now = town.world.now();
    town.world.server.inject(now, alice.key(), retry_receipt(&bob.pn, &sent.id, 2).child(keys));
    town.run(5_000);
    assert_eq!(sent_stanzas(&town.world, alice.key(), "message").len(), before);
    town.tell(&alice, &bob.pn, "still the old session");
    let kinds = enc_kinds(sent_stanzas(&town.world, alice.key(), "message").last().unwrap());
    assert!(kinds.iter().all(|(_, kind)| kind == "msg"), "{kinds:?}");
    town.assert_alive();
    town.world.assert_clean();
}

/// The same stanza twice: answered as the server asks, told once. The server objects to a second receipt of one
/// stanza; that cannot be helped, for the second stanza must be answered too.
#[test]
fn duplicates_are_told_once() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    for n in 0..5 {
        fault(&mut town, 1, DeliveryFault::Duplicate);
        town.phone_says(&bob, &alice.pn, &n.to_string());
        town.run(1_000);
    }
    town.expect_texts(&alice, &["0", "1", "2", "3", "4"]);
    assert_once(&town.world, alice.client);
    assert!(undecryptable(&town.world, alice.client).is_empty());
    assert_eq!(asked(&town, &alice), []);
    let violations = town.world.server.take_violations();
    assert!(violations.iter().all(|v| v.detail.contains("a second time")), "{violations:#?}");
    town.assert_alive();
    town.world.assert_clean();
}

/// Out of order on the wire.
#[test]
fn delayed_messages() {
    let mut town = acquainted();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    fault(&mut town, 1, DeliveryFault::Delay);
    for n in 0..4 {
        town.tell(&bob, &alice.pn, &n.to_string());
    }
    town.expect_texts(&alice, &["1", "0", "2", "3"]);
    assert!(undecryptable(&town.world, alice.client).is_empty());
    assert_once(&town.world, alice.client);
    town.assert_alive();
    town.world.assert_clean();
}
