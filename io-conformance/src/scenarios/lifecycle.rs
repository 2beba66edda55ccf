//! Beginning and end of a client.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use amarula_core::engine::command::{Connect, Presence, SetPresence, Shutdown};
use amarula_core::engine::{CommitSeq, Completion, Output, Request};
use amarula_core::error::{Failure, RejectReason};
use amarula_core::event::DeliveryId;
use amarula_io::{Error, Storage};
use amarula_store::{Fault, FaultyStore, MemoryStore};
use tungstenite::Message;

use super::start;
use super::storage::put;
use crate::peer::Peer;
use crate::script::{Script, Told, done};
use crate::{ClientUnderTest, DriverUnderTest, EventsUnderTest as _, Next, Options, PATIENCE};

/// Before `connect` and after `shutdown`, commands say so.
pub fn not_before_the_start(driver: &impl DriverUnderTest) {
    let script = Script::default();
    let options = Options { machine: Some(script.factory()), ..Options::new(&Peer::echo().url()) };
    let client = driver.build(options).expect("builds");
    assert!(matches!(client.call(Connect), Err(Error::NotStarted)));
    client.shutdown().expect("nothing to do");
    let mut events = client.connect().expect("starts");
    client.shutdown().expect("ends");
    client.shutdown().expect("ended");
    assert!(matches!(client.call(Connect), Err(Error::Stopped)));
    assert!(matches!(client.connect(), Err(Error::Stopped)));
    assert_eq!(events.next(PATIENCE), Next::End);
}

/// The second client of a profile is told who has it, and gets it when the first has ended.
pub fn one_client_per_profile(driver: &impl DriverUnderTest) {
    let memory = MemoryStore::new();
    let storage = Storage::new(memory.clone());
    let script = Script::default();
    let options = Options { storage: storage.clone(), name: Some("first".into()), ..Options::new(&Peer::echo().url()) };
    let (first, _events) = start(driver, &script, options.clone());
    let build = |storage: Storage| {
        driver.build(Options { storage, machine: Some(script.factory()), ..options.clone() }).expect("builds")
    };
    let second = build(storage);
    let error = second.connect().err();
    assert!(matches!(&error, Some(Error::ProfileInUse { holder, .. }) if holder == "first"), "{error:?}");
    // By another way to the same store.
    let error = build(memory.into()).connect().err();
    assert!(matches!(error, Some(Error::ProfileLocked { .. })), "{error:?}");
    first.shutdown().expect("ends");
    let _events = second.connect().expect("free again");
    second.shutdown().expect("ends");
}

/// When `shutdown` returns, everything is stored and the profile is free.
pub fn shutdown_waits_for_the_store(driver: &impl DriverUnderTest) {
    let memory = MemoryStore::new();
    let store = FaultyStore::new(memory.clone());
    store.on_commit(1, Fault::Slow(Duration::from_millis(300)));
    let script = Script::reacting(|_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => {
            Some(vec![Output::Commit(CommitSeq(1), put("last")), done(ticket)])
        }
        _ => None,
    });
    let options = Options { storage: store.into(), ..Options::new(&Peer::echo().url()) };
    let (client, _events) = start(driver, &script, options);
    client.call(SetPresence { presence: Presence::Available }).expect("runs");
    let empty = memory.snapshot();
    client.shutdown().expect("ends");
    assert!(memory.snapshot() != empty, "it is stored");
}

/// Dropping all handles closes the connection and frees the profile.
pub fn dropping_closes_and_frees(driver: &impl DriverUnderTest) {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let peer = Peer::websocket(move |mut socket| {
        let goodbye = loop {
            match socket.read() {
                Ok(Message::Close(_)) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        let _ = socket.flush();
        sender.lock().expect("whole").send(goodbye).expect("waits");
    });
    let script = Script::default();
    let options = Options::new(&peer.url());
    let (client, events) = start(driver, &script, options.clone());
    script.wait_opened();
    let clone = client.clone();
    drop(client);
    clone.call(SetPresence { presence: Presence::Available }).expect("a clone keeps it alive");
    drop(clone);
    assert!(closed.recv_timeout(Duration::from_millis(200)).is_err(), "so do its events");
    drop(events);
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(true));
    let again = driver.build(Options { machine: Some(script.factory()), ..options }).expect("builds");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match again.connect() {
            Ok(_) => break,
            Err(Error::ProfileInUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    }
    again.shutdown().expect("ends");
}

/// Both ways in which a command can go wrong.
pub fn rejections_and_failures_are_told(driver: &impl DriverUnderTest) {
    let script = Script::reacting(|_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => {
            Some(vec![Output::Done(Completion { ticket, result: Err(Failure::Timeout) })])
        }
        // Never answered: the shutdown below does not come back with it.
        Told::Command(_, Request::Confirm(_)) => Some(Vec::new()),
        _ => None,
    });
    let (client, _events) = start(driver, &script, Options::new(&Peer::echo().url()));
    let set = SetPresence { presence: Presence::Available };
    assert!(matches!(client.call(set), Err(Error::Failed(Failure::Timeout))));
    let waiting = {
        let client = client.clone();
        std::thread::spawn(move || client.confirm(DeliveryId(1)))
    };
    script.set_reject(Some(RejectReason::NotConnected));
    // The confirmation may have been given before or after that.
    assert!(matches!(client.call(set), Err(Error::Rejected(RejectReason::NotConnected))));
    script.set_reject(None);
    client.call(Shutdown).expect("ends");
    client.shutdown().expect("has ended");
    let answer = waiting.join().expect("no panic");
    assert!(matches!(answer, Err(Error::Stopped | Error::Rejected(_))), "{answer:?}");
}

/// Many accounts at once, each with its own connection.
pub fn many_idle_accounts(driver: &impl DriverUnderTest) {
    let peer = Peer::echo();
    let storage = Storage::new(MemoryStore::new());
    let all: Vec<_> = (0..50)
        .map(|at| {
            let script = Script::default();
            let options =
                Options { storage: storage.clone(), profile: format!("account-{at}"), ..Options::new(&peer.url()) };
            let (client, events) = start(driver, &script, options);
            (client, events, script)
        })
        .collect();
    for (at, (client, mut events, script)) in all.into_iter().enumerate() {
        script.wait_opened();
        client.call(super::frame(format!("mine is {at}"))).expect("sends");
        assert_eq!(super::next_shown(&mut events), format!("mine is {at}"));
    }
}
