//! Stores that fail, hang, or hold garbage; and memory that is small.

mod town;

use std::collections::BTreeSet;

use amarula_core::engine::command::Connect;
use amarula_core::error::{EndReason, Failure, RejectReason};
use amarula_core::event::{Connection, Event, Warning};
use amarula_core::store::Namespace;
use town::{MINUTE, Options, Person, Town, assert_once, durable, texts, undecryptable};

/// A durable send that the consumer repeats under its reference until it is settled, as the guide says.
#[track_caller]
fn insist(town: &mut Town, from: &Person, to: &Person, text: &str) {
    for _ in 0..8 {
        match town.world.submit(from.client, durable(&to.pn, text, text)) {
            Ok(ticket) => match town.answer(from, ticket) {
                Ok(_) => return,
                Err(Failure::Storage | Failure::Timeout | Failure::NotSent | Failure::Unknown { .. }) => {}
                Err(other) => panic!("{text}: {other:?} {:#?}", town.world.events(from.client)),
            },
            // It is in the outbox and under way.
            Err(rejected) => assert_eq!(rejected.reason, RejectReason::DuplicateReference, "{text}"),
        }
        let settled = |event: &Event| matches!(event, Event::SendFinished { reference, .. } if reference == text);
        town.run(MINUTE);
        if town.world.saw(from.client, settled) {
            return;
        }
    }
    panic!("{text} never went through: {:#?}", town.world.events(from.client));
}

/// A conversation in which Alice's store misbehaves; all of it must come through, once.
fn conversation(town: &mut Town) {
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    insist(town, &alice, &bob, "a1");
    town.phone_says(&bob, &alice.pn, "p1");
    insist(town, &bob, &alice, "b1");
    insist(town, &alice, &bob, "a2");
    town.phone_says(&alice, &bob.pn, "own");
    insist(town, &bob, &alice, "b2");
    town.run(MINUTE);
    town.reopen(&alice);
    town.run(MINUTE);
}

fn assert_all_there(town: &Town, what: &str) {
    // After a failed store the session starts again, and the consumer is given what it has not confirmed.
    let got: BTreeSet<String> = texts(&town.world, town.alice.client).into_iter().collect();
    let wanted = ["b1", "b2", "own", "p1"].map(str::to_owned);
    assert_eq!(got, wanted.into_iter().collect(), "{what}");
    let mut got = texts(&town.world, town.bob.client);
    got.sort_unstable();
    assert_eq!(
        got,
        ["a1", "a2", "b", "own", "p1"].map(str::to_owned).into_iter().filter(|t| t != "b").collect::<Vec<_>>(),
        "{what}"
    );
    assert_once(&town.world, town.bob.client);
    assert_eq!(town.world.server.phone(town.bob.account).texts().iter().filter(|t| *t == "a1").count(), 1, "{what}");
    assert_eq!(town.world.store(town.alice.client).count(Namespace::Outbox), 0, "{what}");
    assert_eq!(town.world.server.outstanding(town.alice.account, town.alice.device), 0, "{what}");
    assert!(undecryptable(&town.world, town.alice.client).is_empty(), "{what}");
}

#[test]
fn each_commit_of_a_conversation_fails() {
    let mut failed = 0;
    for n in 0..40 {
        let mut town = Town::new();
        town.world.store_mut(town.alice.client).fail_commit_after = Some(n);
        town.world.store_mut(town.alice.client).delay = 3;
        conversation(&mut town);
        let what = format!("commit {n}");
        if town.world.store(town.alice.client).fail_commit_after.is_none() {
            failed += 1;
            let told = |event: &Event| matches!(event, Event::Warning(Warning::StorageFailed { .. }));
            assert!(town.world.saw(town.alice.client, told), "{what}");
        }
        town.world.store_mut(town.alice.client).fail_commit_after = None;
        assert_all_there(&town, &what);
        town.assert_alive();
        town.world.assert_clean();
    }
    assert!(failed > 8, "the conversation has more commits than that: {failed}");
}

#[test]
fn each_read_of_a_conversation_fails() {
    let mut failed = 0;
    for n in 0..25 {
        let mut town = Town::with(Options { config: |config| config.limits.cache_bytes = 1024, ..Options::default() });
        let alice = town.alice.clone();
        town.world.crash(alice.client);
        town.world.store_mut(alice.client).fail_load_after = Some(n);
        town.connect(&alice);
        town.run(MINUTE);
        conversation(&mut town);
        failed += u32::from(town.world.store_mut(alice.client).fail_load_after.take().is_none());
        assert_all_there(&town, &format!("read {n}"));
        town.assert_alive();
        town.world.assert_clean();
    }
    assert!(failed > 10, "the conversation has more reads than that: {failed}");
}

/// While the store hangs nothing leaves that depends on it: no ciphertext, no receipt, no event, no answer.
#[test]
fn a_store_that_hangs() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.assert_alive();
    let before = (texts(&town.world, alice.client).len(), texts(&town.world, bob.client).len());
    town.world.store_mut(alice.client).stuck = true;
    let ticket = town.say(&alice, &bob.pn, "held back");
    town.phone_says(&bob, &alice.pn, "not shown");
    town.run(30_000);
    assert_eq!(texts(&town.world, alice.client).len(), before.0);
    assert_eq!(texts(&town.world, bob.client).iter().filter(|t| *t == "held back").count(), 0);
    assert!(town.world.reply(alice.client, ticket).is_none());
    assert!(town.world.server.outstanding(alice.account, alice.device) > 0, "no receipt");
    // The process is killed; the message was never durable, so it was never sent. The other one comes again.
    town.world.crash(alice.client);
    town.world.take_events(alice.client);
    town.catch_up(&alice);
    town.run(5_000);
    assert!(texts(&town.world, alice.client).contains(&"not shown".to_owned()));
    assert_eq!(texts(&town.world, bob.client).iter().filter(|t| *t == "held back").count(), 0);
    town.assert_alive();
    town.world.assert_clean();
}

fn corrupt(town: &mut Town, namespace: Namespace) -> usize {
    let records = town.world.store_mut(town.alice.client).records_mut();
    let mine = records.iter_mut().filter(|(key, _)| key.namespace == namespace);
    // No tag of a protobuf message, and none of our own encodings.
    mine.map(|(_, value)| *value = vec![0xff; value.len().max(3)].into()).count()
}

#[test]
fn a_corrupt_account_is_left_alone() {
    let mut town = Town::new();
    let alice = town.alice.clone();
    town.assert_alive();
    town.world.crash(alice.client);
    assert_eq!(corrupt(&mut town, Namespace::Account), 1);
    let records = town.world.store(alice.client).records().clone();
    for _ in 0..2 {
        town.world.take_events(alice.client);
        let _ = town.world.submit(alice.client, Connect).unwrap();
        town.run(MINUTE);
        assert!(town.world.saw(alice.client, |event| matches!(
            event,
            Event::Connection(Connection::Ended { reason: EndReason::CorruptAccount, wiped: false })
        )));
        assert!(!town.world.saw(alice.client, |event| matches!(event, Event::Pairing(_))));
        assert!(town.world.conn(alice.client).is_none(), "no connection was tried");
    }
    assert_eq!(*town.world.store(alice.client).records(), records, "nothing was written");
    town.world.assert_clean();
}

/// Every other record counts as absent: a warning, and the conversation goes on, if need be with resends.
#[test]
fn corrupt_records_of_each_kind() {
    let mut damaged = Vec::new();
    for namespace in Namespace::ALL.iter().copied().filter(|namespace| *namespace != Namespace::Account) {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.assert_alive();
        town.phone_says(&bob, &alice.pn, "unconfirmed");
        town.world.server.faults().on_message(1, amarula_sim::server::faults::AckFault::LoseMessage);
        let _ = town.world.submit(alice.client, durable(&bob.pn, "durable", "ref")).unwrap();
        town.run(1_000);
        town.world.crash(alice.client);
        town.world.take_events(alice.client);
        if corrupt(&mut town, namespace) == 0 {
            continue;
        }
        damaged.push(namespace);
        town.phone_says(&bob, &alice.pn, "while broken");
        town.catch_up(&alice);
        town.run(5_000);
        let got = texts(&town.world, alice.client);
        assert!(got.contains(&"while broken".to_owned()), "{namespace:?}: {got:?}");
        assert_eq!(got.contains(&"unconfirmed".to_owned()), namespace != Namespace::Inbox, "{namespace:?}");
        let delivered = texts(&town.world, bob.client).contains(&"durable".to_owned());
        assert_eq!(delivered, namespace != Namespace::Outbox, "{namespace:?}");
        town.assert_alive();
        // A retry is the right answer to a lost session.
        let violations = town.world.server.take_violations();
        assert!(violations.iter().all(|v| v.detail.contains("nobody disturbed")), "{namespace:?}: {violations:#?}");
    }
    use Namespace::*;
    for kind in
        [Session, Identity, PreKey, SignedPreKey, LidOfPn, PnOfLid, DeviceList, SentMessage, Inbox, Outbox, Link]
    {
        assert!(damaged.contains(&kind), "there was nothing of {kind:?} to damage");
    }
}

/// A corrupt record that is read is reported by the name of its kind.
#[test]
fn corruption_is_reported() {
    for namespace in [Namespace::Session, Namespace::Inbox, Namespace::Link] {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.assert_alive();
        town.world.crash(alice.client);
        assert!(corrupt(&mut town, namespace) > 0);
        town.phone_says(&bob, &alice.pn, "x");
        town.catch_up(&alice);
        town.run(5_000);
        assert!(
            town.world.saw(alice.client, |event| matches!(event,
                Event::Warning(Warning::CorruptRecord { namespace: told }) if *told == namespace.name())),
            "{namespace:?}"
        );
    }
}

/// With next to no memory everything works, only with more reads.
#[test]
fn a_tiny_cache() {
    for limit in [0usize, 1024, 16 * 1024] {
        let config: fn(&mut amarula_core::config::Config) = match limit {
            0 => |config| config.limits.cache_bytes = 0,
            1024 => |config| config.limits.cache_bytes = 1024,
            _ => |config| config.limits.cache_bytes = 16 * 1024,
        };
        let mut town = Town::with(Options { config, ..Options::default() });
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        let people: Vec<Person> =
            (3..9).map(|n| town.newcomer(&format!("1555000000{n}"), &format!("20000000000{n}"))).collect();
        for round in 0..3 {
            for person in &people {
                town.tell(&alice, &person.pn, &format!("to {round}"));
                town.tell(person, &alice.pn, &format!("from {}", person.pn.user));
            }
            town.tell(&alice, &bob.pn, "x");
        }
        town.run(10_000);
        assert_eq!(texts(&town.world, alice.client).len(), 18, "limit {limit}");
        assert_once(&town.world, alice.client);
        // Beyond the limit there is only what a session always holds: account, link state, signed prekey.
        let used = town.world.engine(alice.client).cached_bytes();
        assert!(used <= limit.max(2 * 1024), "limit {limit}: {used}");
        let roomy = town.world.engine(people[0].client).cached_bytes();
        assert!(roomy > 2 * 1024, "the default keeps more: {roomy}");
        town.assert_alive();
        town.world.assert_clean();
    }
}
