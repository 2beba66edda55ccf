//! Sends with a client reference: they survive crashes, and stay one message.

mod town;

use amarula_core::engine::command::Sent;
use amarula_core::error::{Failure, RejectReason};
use amarula_core::event::Event;
use amarula_core::store::Namespace;
use amarula_core::wire::Str;
use amarula_sim::server::faults::AckFault;
use amarula_sim::world::{ClientId, World};
use town::{MINUTE, Town, assert_once, durable, sent_stanzas, texts};

type Finished = (Str, Str, Result<Sent, Failure>);

fn finished(world: &World, client: ClientId) -> Vec<Finished> {
    let events = world.events(client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::SendFinished { reference, id, result } => Some((reference.clone(), id.clone(), result.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_reference_is_unique_while_open() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let ticket = town.world.submit(alice.client, durable(&bob.pn, "1", "ref")).unwrap();
    let again = town.world.submit(alice.client, durable(&bob.pn, "1", "ref")).unwrap_err();
    assert_eq!(again.reason, RejectReason::DuplicateReference);
    town.answer(&alice, ticket).unwrap();
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 0);
    // When it has its answer the reference is free again.
    let ticket = town.world.submit(alice.client, durable(&bob.pn, "2", "ref")).unwrap();
    town.answer(&alice, ticket).unwrap();
    for reference in ["", &"x".repeat(201)] {
        let refused = town.world.submit(alice.client, durable(&bob.pn, "bad", reference)).unwrap_err();
        assert!(matches!(refused.reason, RejectReason::BadContent(_)));
    }
    town.expect_texts(&bob, &["1", "2"]);
    assert!(finished(&town.world, alice.client).is_empty(), "who holds a ticket is told by its answer");
    town.world.assert_clean();
}

/// A crash at every few milliseconds of a durable send. Whatever the moment: the message arrives at most once, exactly
/// once if it was ever durable, and the consumer that asks again under the same reference gets one message.
#[test]
fn crash_at_any_moment() {
    let mut restored = 0;
    for at in (0..260).step_by(4) {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.world.store_mut(alice.client).delay = 5;
        let ticket = town.world.submit(alice.client, durable(&bob.pn, "durable", "ref")).unwrap();
        town.run(at);
        let acked = town.world.reply(alice.client, ticket);
        town.world.crash(alice.client);
        let waiting = town.world.store(alice.client).count(Namespace::Outbox) == 1;
        town.run(1_000);
        town.catch_up(&alice);
        town.run(MINUTE);
        let told = finished(&town.world, alice.client);
        let arrived = texts(&town.world, bob.client);
        if waiting {
            restored += 1;
            assert_eq!(arrived, ["durable"], "crash at {at}");
            let [(reference, id, Ok(sent))] = &told[..] else { panic!("crash at {at}: {told:?}") };
            assert_eq!((reference.as_str(), id), ("ref", &sent.id));
        } else {
            assert_eq!(told, [], "crash at {at}");
            assert_eq!(arrived.len(), usize::from(acked.is_some()), "crash at {at}");
        }
        if acked.is_none() && !waiting {
            let ticket = town.world.submit(alice.client, durable(&bob.pn, "durable", "ref")).unwrap();
            town.answer(&alice, ticket).unwrap();
        }
        town.expect_texts(&bob, &["durable"]);
        town.expect_phone_texts(&bob, &["durable"]);
        assert_once(&town.world, bob.client);
        assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 0);
        // One id, one ciphertext, however often it went out.
        let stanzas = sent_stanzas(&town.world, alice.key(), "message");
        assert!(stanzas.iter().all(|stanza| *stanza == stanzas[0]), "crash at {at}: {stanzas:#?}");
        town.world.assert_clean();
    }
    assert!(restored > 5, "some crashes must fall between the commit and the ack: {restored}");
}

/// The consumer asks again at once after a restart, before the outbox was even read.
#[test]
fn asked_again_before_the_outbox_is_read() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::LoseMessage);
    let _ = town.world.submit(alice.client, durable(&bob.pn, "one", "ref")).unwrap();
    town.run(2_000);
    town.world.crash(alice.client);
    town.world.store_mut(alice.client).delay = 50;
    town.connect(&alice);
    let again = town.world.submit(alice.client, durable(&bob.pn, "one", "ref")).unwrap();
    let sent = town.answer(&alice, again).unwrap();
    town.expect_texts(&bob, &["one"]);
    let stanzas = sent_stanzas(&town.world, alice.key(), "message");
    assert_eq!(stanzas.len(), 2);
    assert_eq!(stanzas[0], stanzas[1], "the old stanza is the answer to the new request");
    assert_eq!(stanzas[0].get("id"), Some(sent.id));
    assert!(finished(&town.world, alice.client).is_empty());
    town.world.assert_clean();
}

/// Several at once, to several chats, over two crashes and a broken connection.
#[test]
fn many_over_many_crashes() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let carol = town.newcomer("15550000003", "200000000003");
    town.tell(&alice, &bob.pn, "before");
    town.tell(&alice, &carol.pn, "before");
    for n in 1..=30 {
        town.world.server.faults().on_message(n, AckFault::LoseMessage);
    }
    for n in 0..15 {
        for to in [&bob, &carol] {
            let reference = format!("{}-{n}", to.pn.user);
            let _ = town.world.submit(alice.client, durable(&to.pn, &format!("{n}"), &reference)).unwrap();
        }
    }
    town.run(1_000);
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 30);
    for n in 1..=10 {
        town.world.server.faults().on_message(n, AckFault::LoseMessage);
    }
    town.world.crash(alice.client);
    town.connect(&alice);
    town.run(400);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.run(5_000);
    town.world.break_connection(alice.client);
    town.run(MINUTE);
    for person in [&bob, &carol] {
        let mut got = texts(&town.world, person.client);
        got.sort_unstable();
        let mut wanted: Vec<String> = (0..15).map(|n| n.to_string()).collect();
        wanted.push("before".to_owned());
        wanted.sort_unstable();
        assert_eq!(got, wanted, "{}", person.pn);
        assert_once(&town.world, person.client);
    }
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 0);
    let mut references: Vec<_> = finished(&town.world, alice.client).into_iter().map(|(r, ..)| r).collect();
    references.sort_unstable();
    references.dedup();
    assert_eq!(references.len(), 30, "each is told once its answer is there");
    town.world.assert_clean();
}

/// A refusal after a restart is told too, and ends it.
#[test]
fn refused_after_a_restart() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::LoseMessage);
    town.world.server.faults().on_message(2, AckFault::Error(463));
    let _ = town.world.submit(alice.client, durable(&bob.pn, "no", "ref")).unwrap();
    town.run(2_000);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.run(5_000);
    let told = finished(&town.world, alice.client);
    assert!(matches!(&told[..], [(_, _, Err(Failure::Refused { code: 463, .. }))]), "{told:?}");
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 0);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.run(5_000);
    assert_eq!(finished(&town.world, alice.client).len(), 1, "told once");
    assert!(texts(&town.world, bob.client).is_empty());
    town.assert_alive();
    town.world.assert_clean();
}

/// Unknown after the wait: the outbox keeps it, and a later session finds out, with the same stanza.
#[test]
fn unknown_is_settled_later() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::Drop);
    let ticket = town.world.submit(alice.client, durable(&bob.pn, "perhaps", "ref")).unwrap();
    assert!(matches!(town.answer(&alice, ticket), Err(Failure::Unknown { .. })));
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 1);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.run(5_000);
    assert!(matches!(&finished(&town.world, alice.client)[..], [(_, _, Ok(_))]));
    town.expect_texts(&bob, &["perhaps"]);
    town.world.assert_clean();
}

/// Disconnecting leaves it in the outbox; connecting again within the same process sends it.
#[test]
fn disconnect_and_connect_again() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::LoseMessage);
    let ticket = town.world.submit(alice.client, durable(&bob.pn, "later", "ref")).unwrap();
    town.run(2_000);
    town.disconnect(&alice);
    assert!(matches!(town.world.reply(alice.client, ticket), Some(Err(Failure::Unknown { .. }))));
    town.catch_up(&alice);
    town.run(5_000);
    assert!(matches!(&finished(&town.world, alice.client)[..], [(_, _, Ok(_))]));
    town.expect_texts(&bob, &["later"]);
    assert_eq!(town.world.store(alice.client).count(Namespace::Outbox), 0);
    town.world.assert_clean();
}
