//! Back-pressure and time.

use std::time::Duration;

use amarula_core::engine::command::{Presence, SetPresence, SubscribePresence};
use amarula_core::engine::{Input, Request};
use tungstenite::Message;

use super::{next_shown, start};
use crate::peer::Peer;
use crate::script::{Script, Told, done, show};
use crate::{ClientUnderTest as _, DriverUnderTest, EventsUnderTest as _, Next, Options};

const COUNT: usize = 400;

/// Sends numbered messages, as fast as it can.
fn flood() -> Peer {
    Peer::websocket(|mut socket| {
        for at in 0..COUNT {
            // Large enough that the network cannot hide them all.
            let mut text = format!("{at:06}").into_bytes();
            text.resize(64 * 1024, b' ');
            if socket.send(Message::Binary(text.into())).is_err() {
                return;
            }
        }
        crate::peer::echo(socket);
    })
}

/// Waits until the script is given nothing more, and says how many messages it has.
fn settled(script: &Script) -> usize {
    let mut before = usize::MAX;
    loop {
        let now = script.received();
        if now == before {
            return now;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// `Appetite::Full` stops reading, and nothing else.
pub fn a_full_engine_is_not_fed(driver: &impl DriverUnderTest) {
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None::<Script>));
    let inner = std::sync::Arc::clone(&slot);
    // Every message is shown; the tenth fills the engine, and `SetPresence` empties it.
    let script = Script::reacting(move |_, told| {
        let script = inner.lock().expect("whole").clone().expect("set");
        match told {
            Told::Input(Input::Received { .. }) => {
                if script.received() + 1 == 10 {
                    script.set_full(true);
                }
                None
            }
            Told::Command(ticket, Request::SetPresence(_)) => {
                script.set_full(false);
                Some(vec![done(ticket)])
            }
            _ => None,
        }
    });
    *slot.lock().expect("whole") = Some(script.clone());
    let options = Options { event_limit: COUNT * 2, ..Options::new(&flood().url()) };
    let (client, mut events) = start(driver, &script, options);
    script.wait("the tenth message", |_, input| match input {
        Input::Received { bytes, .. } if bytes.starts_with(b"000009") => Some(()),
        _ => None,
    });
    assert_eq!(settled(&script), 10);
    client.call(SubscribePresence { to: amarula_core::address::Address::phone("1") }).expect("commands go on");
    assert_eq!(settled(&script), 10);
    client.call(SetPresence { presence: Presence::Available }).expect("wakes");
    for at in 0..COUNT {
        assert_eq!(next_shown(&mut events).trim(), format!("{at:06}"));
    }
    client.shutdown().expect("ends");
    *slot.lock().expect("whole") = None;
}

/// A consumer that does not read stops the reading; commands are answered; nothing is lost.
pub fn a_slow_consumer_stops_the_socket_only(driver: &impl DriverUnderTest) {
    let script = Script::default();
    let options = Options { event_limit: 8, ..Options::new(&flood().url()) };
    let (client, mut events) = start(driver, &script, options);
    script.wait_opened();
    assert_eq!(settled(&script), 8);
    client.call(SubscribePresence { to: amarula_core::address::Address::phone("1") }).expect("commands go on");
    assert_eq!(script.received(), 8);
    for at in 0..COUNT {
        assert_eq!(next_shown(&mut events).trim(), format!("{at:06}"));
    }
    assert_eq!(events.next(Duration::from_millis(100)), Next::TimedOut);
    client.shutdown().expect("ends");
    assert_eq!(events.next(Duration::from_secs(5)), Next::End);
}

/// A consumer that is behind and waits for an answer gets it: it may send from within its loop.
pub fn a_slow_consumer_gets_its_answers(driver: &impl DriverUnderTest) {
    let mut waiting = None;
    let script = Script::reacting(move |_, told| match told {
        Told::Command(ticket, Request::SetPresence(_)) => {
            waiting = Some(ticket);
            Some(Vec::new())
        }
        // The answer comes after many other things.
        Told::Input(Input::Received { bytes, .. }) if bytes.starts_with(b"000100") => {
            Some(std::iter::once(show(bytes)).chain(waiting.take().map(done)).collect())
        }
        _ => None,
    });
    let options = Options { event_limit: 8, ..Options::new(&flood().url()) };
    let (client, mut events) = start(driver, &script, options);
    script.wait_opened();
    assert_eq!(settled(&script), 8);
    client.call(SetPresence { presence: Presence::Available }).expect("is answered");
    assert_eq!(settled(&script), 101, "and then reading stops again");
    for at in 0..COUNT {
        assert_eq!(next_shown(&mut events).trim(), format!("{at:06}"));
    }
    client.shutdown().expect("ends");
}

/// Nobody listens: events are dropped, the socket flows.
pub fn without_consumers_nothing_stops(driver: &impl DriverUnderTest) {
    let script = Script::default();
    let options = Options { event_limit: 8, ..Options::new(&flood().url()) };
    let (client, events) = start(driver, &script, options);
    script.wait_opened();
    assert_eq!(settled(&script), 8);
    drop(events);
    script.wait("the last message", |_, input| match input {
        Input::Received { bytes, .. } if bytes.starts_with(format!("{:06}", COUNT - 1).as_bytes()) => Some(()),
        _ => None,
    });
    client.shutdown().expect("ends");
}

/// A tick comes at the asked moment: never before it, and soon after.
pub fn wakes_up_exactly(driver: &impl DriverUnderTest) {
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None::<Script>));
    let inner = std::sync::Arc::clone(&slot);
    let asked = std::sync::Arc::new(std::sync::Mutex::new(None));
    let asked_inner = std::sync::Arc::clone(&asked);
    let script = Script::reacting(move |now, told| {
        if let Told::Command(ticket, Request::SetPresence(_)) = told {
            let until = now.mono + Duration::from_millis(123);
            *asked_inner.lock().expect("whole") = Some(until);
            if let Some(script) = &*inner.lock().expect("whole") {
                script.set_until(Some(until));
            }
            return Some(vec![done(ticket)]);
        }
        None
    });
    *slot.lock().expect("whole") = Some(script.clone());
    let (client, _events) = start(driver, &script, Options::new(&Peer::echo().url()));
    client.call(SetPresence { presence: Presence::Available }).expect("sets the timer");
    let woke = script.wait("Tick", |now, input| (*input == Input::Tick).then_some(now.mono));
    let asked = asked.lock().expect("whole").expect("asked");
    assert!(woke >= asked, "{woke:?} is before {asked:?}");
    assert!(woke - asked < Duration::from_millis(500), "{woke:?} is long after {asked:?}");
    std::thread::sleep(Duration::from_millis(200));
    let ticks = script.inputs().iter().filter(|input| **input == Input::Tick).count();
    assert_eq!(ticks, 1, "and only once");
    client.shutdown().expect("ends");
    *slot.lock().expect("whole") = None;
}
