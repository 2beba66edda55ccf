//! What becomes of a send: order, queues, refusals, lost acks, lost connections, cancelling, disconnecting, shutdown.

mod town;

use amarula_core::engine::command::{Connect, Disconnect, Reply, SendMessage, Shutdown};
use amarula_core::error::{EndReason, Failure, RejectReason};
use amarula_core::event::{Connection, Event};
use amarula_sim::server::faults::AckFault;
use amarula_sim::world::World;
use town::{MINUTE, Options, Town, assert_once, message, sent_stanzas, texts};

#[test]
fn queued_before_the_connection_is_open() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.disconnect(&alice);
    let refused = town.world.submit(alice.client, message(&bob.pn, "x")).unwrap_err();
    assert_eq!(refused.reason, RejectReason::NotConnected, "nothing will ever send it");
    town.connect(&alice);
    let tickets: Vec<_> = (0..5).map(|n| town.say(&alice, &bob.pn, &format!("{n}"))).collect();
    for ticket in tickets {
        town.answer(&alice, ticket).unwrap();
    }
    town.expect_texts(&bob, &["0", "1", "2", "3", "4"]);
    town.world.assert_clean();
}

/// A network that never works: the send fails in its time, and says that nothing was sent.
#[test]
fn never_connected() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.net.black_hole = true;
    town.world.break_connection(alice.client);
    town.run(1_000);
    let ticket = town.say(&alice, &bob.pn, "x");
    let began = town.world.now().0;
    assert_eq!(town.answer(&alice, ticket), Err(Failure::Timeout));
    assert_eq!(town.world.now().0 - began, 90_000);
    town.world.net.black_hole = false;
    town.reopen(&alice);
    town.run(MINUTE);
    assert!(texts(&town.world, bob.client).is_empty());
    town.assert_alive();
    town.world.assert_clean();
}

#[test]
fn order_within_a_chat_and_between_chats() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let carol = town.newcomer("15550000003", "200000000003");
    let (dora, dora_pn, _) = town.phone_only("15550000004", "200000000004");
    town.world.store_mut(alice.client).delay = 3;
    town.world.net.jitter = 40;
    let mut tickets = Vec::new();
    for n in 0..40 {
        for to in [&bob.pn, &carol.pn, &dora_pn] {
            tickets.push(town.say(&alice, to, &format!("{n}")));
        }
    }
    let mut ids = std::collections::BTreeSet::new();
    for ticket in tickets {
        assert!(ids.insert(town.answer(&alice, ticket).unwrap().id));
    }
    let wanted: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    town.expect_texts(&bob, &wanted);
    town.expect_texts(&carol, &wanted);
    assert_eq!(town.world.server.phone(dora).texts(), wanted);
    town.world.assert_clean();
}

/// A chat whose recipient cannot be resolved does not hold up the others, nor later sends to the same chat.
#[test]
fn a_slow_chat_holds_nobody_up() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let carol = town.newcomer("15550000003", "200000000003");
    town.tell(&alice, &bob.pn, "0");
    // From now on device queries stay unanswered; Bob's devices are known, Carol's are not.
    town.world.server.faults().silent_iqs.push("usync".to_owned());
    let stuck = town.say(&alice, &carol.pn, "lost");
    town.tell(&alice, &bob.pn, "1");
    assert!(town.world.reply(alice.client, stuck).is_none());
    assert_eq!(town.answer(&alice, stuck), Err(Failure::Timeout));
    town.world.server.faults().silent_iqs.clear();
    town.tell(&alice, &carol.pn, "now");
    town.expect_texts(&carol, &["now"]);
    town.expect_texts(&bob, &["0", "1"]);
    town.world.assert_clean();
}

#[test]
fn refusals_have_a_meaning() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let codes = [400, 404, 405, 421, 429, 463, 473, 475, 479, 503, 599];
    for code in codes {
        town.world.server.faults().on_message(1, AckFault::Error(code));
        let ticket = town.say(&alice, &bob.pn, "refused");
        match town.answer(&alice, ticket) {
            Err(Failure::Refused { code: told, text, .. }) => {
                assert_eq!(told, u32::from(code));
                assert_eq!(text == "refused", code == 599, "{code}: {text}");
            }
            other => panic!("{code}: {other:?}"),
        }
        // A refusal is final: nothing is tried again by itself, and nothing else is stopped by it.
        town.run(5_000);
        town.tell(&alice, &bob.pn, &format!("after {code}"));
    }
    let wanted: Vec<String> = codes.iter().map(|code| format!("after {code}")).collect();
    town.expect_texts(&bob, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    town.world.assert_clean();
}

/// The server took it, but its answer is lost: neither success nor failure.
#[test]
fn a_dropped_ack_is_unknown() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.tell(&alice, &bob.pn, "0");
    town.world.server.faults().on_message(1, AckFault::Drop);
    let began = town.world.now().0;
    let ticket = town.say(&alice, &bob.pn, "1");
    let Err(Failure::Unknown { id }) = town.answer(&alice, ticket) else { panic!("should be unknown") };
    assert_eq!(town.world.now().0 - began, 75_000);
    town.expect_texts(&bob, &["0", "1"]);
    assert_eq!(sent_stanzas(&town.world, alice.key(), "message")[1].get("id"), Some(id));
    town.tell(&alice, &bob.pn, "2");
    town.expect_texts(&bob, &["0", "1", "2"]);
    town.world.assert_clean();
}

/// The same, and the connection ends before the wait is over: the same stanza goes again, and counts once.
#[test]
fn a_dropped_ack_and_a_new_connection() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::Drop);
    let ticket = town.say(&alice, &bob.pn, "once");
    town.run(5_000);
    town.world.break_connection(alice.client);
    town.answer(&alice, ticket).unwrap();
    town.expect_texts(&bob, &["once"]);
    assert_same_stanza_twice(&town, 0);
    town.world.assert_clean();
}

#[test]
fn a_lost_message_and_a_new_connection() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.world.server.faults().on_message(1, AckFault::LoseMessage);
    let lost = town.say(&alice, &bob.pn, "first");
    town.run(5_000);
    // Half-open: nobody is told; the dead-peer check must find out.
    town.world.half_open(alice.client);
    town.answer(&alice, lost).unwrap();
    town.expect_texts(&bob, &["first"]);
    town.expect_phone_texts(&bob, &["first"]);
    assert_same_stanza_twice(&town, 0);
    assert_once(&town.world, bob.client);
    town.world.assert_clean();
}

/// Many in flight when the connection breaks: all arrive, once, in order.
#[test]
fn many_in_flight_when_the_connection_breaks() {
    for at in [5, 15, 25, 45, 65, 85, 125, 205] {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.world.store_mut(alice.client).delay = 2;
        let tickets: Vec<_> = (0..20).map(|n| town.say(&alice, &bob.pn, &format!("{n}"))).collect();
        town.run(at);
        town.world.break_connection(alice.client);
        for ticket in tickets {
            town.answer(&alice, ticket).unwrap_or_else(|failure| panic!("broken at {at} ms: {failure}"));
        }
        let wanted: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        town.expect_texts(&bob, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
        assert_once(&town.world, bob.client);
        town.world.assert_clean();
    }
}

fn assert_same_stanza_twice(town: &Town, at: usize) {
    let stanzas = sent_stanzas(&town.world, town.alice.key(), "message");
    let again: Vec<_> = stanzas.iter().filter(|stanza| stanza.get("id") == stanzas[at].get("id")).collect();
    assert_eq!(again.len(), 2, "sent again once: {stanzas:#?}");
    // Node equality covers ids, addresses and ciphertext bytes.
    assert_eq!(again[0], again[1]);
}

#[test]
fn cancel_means_do_not_tell_me() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let ticket = town.say(&alice, &bob.pn, "cancelled");
    town.world.cancel(alice.client, ticket.id());
    assert_eq!(town.world.reply(alice.client, ticket), Some(Err(Failure::Cancelled)));
    town.tell(&alice, &bob.pn, "next");
    // It went on unseen, and in its place.
    town.expect_texts(&bob, &["cancelled", "next"]);
    town.world.cancel(alice.client, ticket.id());
    town.run(1_000);
    assert_eq!(answers(&town, &ticket.id()), 1);
    town.world.assert_clean();
}

fn answers(town: &Town, ticket: &amarula_core::engine::TicketId) -> usize {
    town.world.completions(town.alice.client).iter().filter(|completion| completion.ticket == *ticket).count()
}

/// Disconnecting in the middle of a send answers it at once: not sent, or unknown if it had left; whatever was answered
/// as never sent never arrives.
#[test]
fn disconnect_in_the_middle() {
    let mut outcomes = std::collections::BTreeSet::new();
    for at in 0..40 {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.world.store_mut(alice.client).delay = 2;
        let ticket = town.say(&alice, &bob.pn, "hello");
        town.run(at * 7);
        let _ = town.world.submit(alice.client, Disconnect).unwrap();
        // As soon as the store is done, for answers keep their place behind the commits.
        town.run(10);
        let result = town.world.reply(alice.client, ticket).expect("answered at once");
        let may_arrive = match result {
            Ok(_) => "sent",
            Err(Failure::Unknown { .. }) => "unknown",
            Err(Failure::SessionEnded(EndReason::Disconnected)) => "never",
            other => panic!("{other:?}"),
        };
        outcomes.insert(may_arrive);
        town.run(MINUTE);
        town.catch_up(&alice);
        town.run(MINUTE);
        let arrived = texts(&town.world, bob.client).len();
        match may_arrive {
            "sent" => assert_eq!(arrived, 1, "at {at}"),
            "never" => assert_eq!(arrived, 0, "at {at}"),
            _ => assert!(arrived <= 1, "at {at}"),
        }
        town.assert_alive();
        town.world.assert_clean();
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["never", "sent", "unknown"]);
}

#[test]
fn shutdown_answers_everything_once() {
    for at in [0, 3, 30, 60, 90, 150] {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.world.store_mut(alice.client).delay = 4;
        let before = town.world.completions(alice.client).len();
        let tickets: Vec<_> = (0..10).map(|n| town.say(&alice, &bob.pn, &format!("{n}"))).collect();
        town.run(at);
        let shutdown = town.world.submit(alice.client, Shutdown).unwrap();
        town.run(MINUTE);
        let done = &town.world.completions(alice.client)[before..];
        assert_eq!(done.len(), 11, "at {at}: {done:#?}");
        assert_eq!(done.last().unwrap().ticket, shutdown.id(), "the shutdown is answered last");
        assert_eq!(done.last().unwrap().result, Ok(Reply::Unit));
        assert!(tickets.iter().all(|ticket| town.world.reply(alice.client, *ticket).is_some()));
        assert!(town.world.engine(alice.client).is_finished());
        assert!(town.world.saw(alice.client, |event| matches!(
            event,
            Event::Connection(Connection::Ended { reason: EndReason::ShutDown, wiped: false })
        )));
        let refused = town.world.submit(alice.client, Connect).unwrap_err();
        assert_eq!(refused.reason, RejectReason::ShutDown);
        // A new process goes on where this one ended.
        town.world.crash(alice.client);
        town.catch_up(&alice);
        town.assert_alive();
        town.world.assert_clean();
    }
}

/// Storage that never answers: shutdown ends all the same.
#[test]
fn shutdown_with_stuck_storage() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    town.tell(&alice, &bob.pn, "0");
    town.world.store_mut(alice.client).stuck = true;
    let ticket = town.say(&alice, &bob.pn, "1");
    town.run(1_000);
    let shutdown = town.world.submit(alice.client, Shutdown).unwrap();
    town.run(MINUTE);
    assert_eq!(town.world.reply(alice.client, shutdown), Some(Ok(())));
    assert!(matches!(town.world.reply(alice.client, ticket), Some(Err(_))), "it was never durable, so never sent");
    assert!(town.world.engine(alice.client).is_finished());
    town.expect_texts(&bob, &["0"]);
    town.world.assert_clean();
}

#[test]
fn too_many_at_once() {
    let mut town = Town::with(Options { config: |config| config.limits.open_commands = 3, ..Options::default() });
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let first: Vec<_> = (0..3).map(|n| town.say(&alice, &bob.pn, &format!("{n}"))).collect();
    let back = town.world.submit(alice.client, message(&bob.pn, "3")).unwrap_err();
    assert_eq!(back.reason, RejectReason::Busy { limit: 3 });
    assert_eq!(back.command, message(&bob.pn, "3"), "it comes back whole");
    for ticket in first {
        town.answer(&alice, ticket).unwrap();
    }
    town.tell(&alice, &bob.pn, "3");
    town.expect_texts(&bob, &["0", "1", "2", "3"]);
    town.world.assert_clean();
}

/// An id of the caller's own is used as it is.
#[test]
fn an_id_of_the_callers_own() {
    let mut town = Town::new();
    let (alice, bob) = (town.alice.clone(), town.bob.clone());
    let command = SendMessage { id: Some("MY-ID-1".into()), ..message(&bob.pn, "mine") };
    let ticket = town.world.submit(alice.client, command).unwrap();
    assert_eq!(town.answer(&alice, ticket).unwrap().id, "MY-ID-1");
    for id in ["", "with space", &"x".repeat(129)] {
        let command = SendMessage { id: Some(id.into()), ..message(&bob.pn, "bad") };
        assert!(matches!(town.world.submit(alice.client, command).unwrap_err().reason, RejectReason::BadContent(_)));
    }
    town.expect_texts(&bob, &["mine"]);
    town.world.assert_clean();
}

/// Nothing is ever sent on a world that only idles.
#[test]
fn an_idle_client_only_pings() {
    let mut town = Town::new();
    let alice = town.alice.clone();
    let open = |world: &World| world.events(alice.client).len();
    let before = open(&town.world);
    town.run(60 * MINUTE);
    assert_eq!(open(&town.world), before, "an hour without any event");
    town.assert_alive();
    town.world.assert_clean();
}
