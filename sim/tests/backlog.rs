//! What comes while the companion is away, and what its consumer has not confirmed.

mod town;

use amarula_core::engine::command::Confirm;
use amarula_core::event::{Connection, DeliveryId, Event};
use amarula_core::store::Namespace;
use amarula_sim::server::faults::DeliveryFault;
use amarula_sim::world::{ClientId, World};
use town::{MINUTE, Options, Town, assert_once, messages, texts};

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn ids(world: &World, client: ClientId) -> Vec<Option<DeliveryId>> {
    let events = world.events(client).iter();
    events.filter(|delivery| matches!(delivery.event, Event::Message(_))).map(|delivery| delivery.id).collect()
}

#[test]
fn hundreds_while_away() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let carol = town.newcomer("15550000003", "200000000003");
    town.phone_says(&bob, &alice.pn, "0");
    town.expect_texts(&alice, &["0"]);
    town.disconnect(&alice);
    for n in 1..450 {
        town.phone_says(&bob, &alice.pn, &n.to_string());
        if n % 50 == 0 {
            town.tell(&carol, &alice.pn, &format!("carol {n}"));
        }
    }
    town.run(10 * MINUTE);
    town.world.take_events(alice.client);
    let count = town.catch_up(&alice);
    assert_eq!(count, 449 + 8, "every message was in the backlog");
    assert!(town.world.saw(alice.client, |event| matches!(event,
        Event::Connection(Connection::OfflinePending { count }) if *count == 457)));
    let all = messages(&town.world, alice.client);
    let of_bob: Vec<String> = texts(&town.world, alice.client).into_iter().filter(|t| !t.contains(' ')).collect();
    assert_eq!(of_bob, numbers(1..450));
    assert!(all.iter().all(|message| message.offline));
    // All of it was there before the backlog was called through.
    let events = town.world.events(alice.client);
    let through = events.iter().position(|d| matches!(d.event, Event::Connection(Connection::CaughtUp { .. })));
    let last = events.iter().rposition(|d| matches!(d.event, Event::Message(_)));
    assert!(last < through);
    assert_once(&town.world, alice.client);
    town.run(2_000);
    assert_eq!(town.world.server.outstanding(alice.account, alice.device), 0, "everything was answered");
    town.assert_alive();
    town.world.assert_clean();
}

/// The connection breaks again and again while the backlog comes.
#[test]
fn interrupted_backlog() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.disconnect(&alice);
    for n in 0..300 {
        town.phone_says(&bob, &alice.pn, &n.to_string());
    }
    town.world.store_mut(alice.client).delay = 7;
    town.world.net.jitter = 30;
    town.connect(&alice);
    for _ in 0..12 {
        town.run(900);
        town.world.break_connection(alice.client);
    }
    let client = alice.client;
    assert!(town.world.run_until(|world| texts(world, client).len() >= 300, 10 * MINUTE));
    town.run(MINUTE);
    assert_eq!(texts(&town.world, alice.client), numbers(0..300));
    assert_once(&town.world, alice.client);
    town.world.assert_clean();
}

/// The process dies while the backlog comes. What was given out and not confirmed comes again, under the same number;
/// what was confirmed does not; nothing is missing.
#[test]
fn crash_during_the_backlog() {
    for at in [180, 230, 260, 300, 350, 420, 600] {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.disconnect(&alice);
        for n in 0..120 {
            town.phone_says(&bob, &alice.pn, &n.to_string());
        }
        town.world.store_mut(alice.client).delay = 4;
        town.connect(&alice);
        town.run(at);
        let given = ids(&town.world, alice.client);
        let confirmed = given.len() / 2;
        for id in given.iter().take(confirmed) {
            let _ = town.world.submit(alice.client, Confirm { delivery: id.unwrap() }).unwrap();
        }
        town.run(20);
        let before = texts(&town.world, alice.client);
        let before_ids = ids(&town.world, alice.client);
        town.world.take_events(alice.client);
        town.world.crash(alice.client);
        town.catch_up(&alice);
        town.run(5_000);
        let after = texts(&town.world, alice.client);
        assert_eq!(after, numbers(u32::try_from(confirmed).unwrap()..120), "crash at {at}, confirmed {confirmed}");
        let after_ids = ids(&town.world, alice.client);
        let again = before.len() - confirmed;
        assert_eq!(after_ids[..again], before_ids[confirmed..], "crash at {at}: the same entries again");
        assert_once(&town.world, alice.client);
        town.world.assert_clean();
    }
}

#[test]
fn the_inbox_keeps_what_is_not_confirmed() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    for text in ["a", "b", "c"] {
        town.phone_says(&bob, &alice.pn, text);
    }
    town.expect_texts(&alice, &["a", "b", "c"]);
    let first = messages(&town.world, alice.client);
    let given = ids(&town.world, alice.client);
    let _ = town.world.submit(alice.client, Confirm { delivery: given[1].unwrap() }).unwrap();
    town.run(1_000);
    assert_eq!(town.world.store(alice.client).count(Namespace::Inbox), 2);
    // Within one run nothing comes twice, whatever the connection does.
    town.world.break_connection(alice.client);
    town.reopen(&alice);
    town.disconnect(&alice);
    town.catch_up(&alice);
    town.expect_texts(&alice, &["a", "b", "c"]);
    // A new process is given the rest again, as it was.
    town.world.take_events(alice.client);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.expect_texts(&alice, &["a", "c"]);
    let again = messages(&town.world, alice.client);
    assert_eq!((&again[0], &again[1]), (&first[0], &first[2]));
    assert_eq!(ids(&town.world, alice.client), [given[0], given[2]]);
    town.confirm_all(&alice);
    assert_eq!(town.world.store(alice.client).count(Namespace::Inbox), 0);
    town.world.take_events(alice.client);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.expect_texts(&alice, &[]);
    // Numbers grow over all of it.
    town.phone_says(&bob, &alice.pn, "d");
    town.expect_texts(&alice, &["d"]);
    assert!(ids(&town.world, alice.client)[0] > given[2]);
    town.world.assert_clean();
}

/// Confirming the unknown, or twice, does no harm.
#[test]
fn confirm_is_idempotent() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.phone_says(&bob, &alice.pn, "a");
    town.expect_texts(&alice, &["a"]);
    for delivery in [DeliveryId(0), DeliveryId(u64::MAX)] {
        let _ = town.world.submit(alice.client, Confirm { delivery }).unwrap();
    }
    town.run(100);
    assert_eq!(town.world.store(alice.client).count(Namespace::Inbox), 1);
    town.confirm_all(&alice);
    town.confirm_all(&alice);
    assert_eq!(town.world.store(alice.client).count(Namespace::Inbox), 0);
    town.assert_alive();
    town.world.assert_clean();
}

#[test]
fn without_an_inbox_events_come_once() {
    let mut town = Town::with(Options { config: |config| config.inbox = false, ..Options::default() });
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.phone_says(&bob, &alice.pn, "a");
    town.expect_texts(&alice, &["a"]);
    assert_eq!(ids(&town.world, alice.client), [None]);
    assert_eq!(town.world.store(alice.client).count(Namespace::Inbox), 0);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    town.expect_texts(&alice, &["a"]);
    town.assert_alive();
    town.world.assert_clean();
}

/// More unconfirmed entries than one page of the inbox holds.
#[test]
fn a_full_inbox() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    for n in 0..600 {
        town.phone_says(&bob, &alice.pn, &n.to_string());
    }
    let client = alice.client;
    assert!(town.world.run_until(|world| texts(world, client).len() == 600, 5 * MINUTE));
    town.run(1_000);
    town.world.take_events(alice.client);
    town.world.crash(alice.client);
    town.catch_up(&alice);
    assert_eq!(texts(&town.world, alice.client), numbers(0..600));
    assert_once(&town.world, alice.client);
    town.world.assert_clean();
}

/// The server brings everything again that it has no answer to; the consumer sees it once.
#[test]
fn redelivered_after_lost_receipts() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    for n in 0..10 {
        town.phone_says(&bob, &alice.pn, &n.to_string());
    }
    // Nothing of ours arrives any more: the receipts are lost.
    town.run(21);
    town.world.half_open(alice.client);
    town.run(5_000);
    town.reopen(&alice);
    town.run(2 * MINUTE);
    assert_eq!(texts(&town.world, alice.client), numbers(0..10));
    assert_eq!(town.world.server.outstanding(alice.account, alice.device), 0);
    town.world.assert_clean();
}

/// Received, durable, and the process dies before the receipt is sent.
#[test]
fn redelivered_after_a_crash_before_the_receipt() {
    for delay in [0, 1, 5] {
        for at in 19..30 {
            let mut town = Town::new();
            let (alice, bob) = (town.alice.clone(), town.bob.clone());
            town.phone_says(&bob, &alice.pn, "before");
            town.expect_texts(&alice, &["before"]);
            town.confirm_all(&alice);
            town.world.take_events(alice.client);
            town.world.store_mut(alice.client).delay = delay;
            town.phone_says(&bob, &alice.pn, "x");
            town.run(at);
            town.world.crash(alice.client);
            town.world.take_events(alice.client);
            town.catch_up(&alice);
            town.expect_texts(&alice, &["x"]);
            assert_once(&town.world, alice.client);
            town.assert_alive();
            town.world.assert_clean();
        }
    }
}

/// Deliveries that the network lost come after the next login, in their old order.
#[test]
fn lost_deliveries_come_later() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.phone_says(&bob, &alice.pn, "0");
    town.expect_texts(&alice, &["0"]);
    for n in [1, 3] {
        // Each message makes two deliveries: Alice's companion is the first.
        town.world.server.faults().on_delivery(n, DeliveryFault::Lose);
    }
    for n in 1..4 {
        town.phone_says(&bob, &alice.pn, &n.to_string());
    }
    town.run(5_000);
    assert_eq!(texts(&town.world, alice.client), ["0", "3"]);
    town.world.break_connection(alice.client);
    town.reopen(&alice);
    town.expect_texts(&alice, &["0", "3", "1", "2"]);
    assert_once(&town.world, alice.client);
    town.world.assert_clean();
}
