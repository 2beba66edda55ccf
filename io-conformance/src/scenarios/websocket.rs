//! The WebSocket.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use amarula_core::engine::command::{Disconnect, SubscribePresence};
use amarula_core::engine::{Input, OpenError};
use bytes::Bytes;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::{frame, next_shown, start};
use crate::peer::Peer;
use crate::script::Script;
use crate::{ClientUnderTest as _, DriverUnderTest, Options, PATIENCE};

/// Frames go out and come in, in order.
pub fn echoes_in_order(driver: &impl DriverUnderTest) {
    let script = Script::default();
    let (client, mut events) = start(driver, &script, Options::new(&Peer::echo().url()));
    script.wait_opened();
    for at in 0..100 {
        client.call(frame(format!("frame {at}"))).expect("sends");
    }
    for at in 0..100 {
        assert_eq!(next_shown(&mut events), format!("frame {at}"));
    }
    client.shutdown().expect("ends");
}

/// The largest frame of the protocol fits, and more.
pub fn takes_huge_messages(driver: &impl DriverUnderTest) {
    let script = Script::reacting(|_, told| match told {
        crate::script::Told::Input(Input::Received { .. }) => Some(Vec::new()),
        _ => None,
    });
    let (client, _events) = start(driver, &script, Options::new(&Peer::echo().url()));
    script.wait_opened();
    let huge = Bytes::from(vec![7; (1 << 24) + 3]);
    client.call(frame(huge.clone())).expect("sends");
    let whole = script.wait("the message", |_, input| match input {
        Input::Received { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    assert!(whole == huge, "{} bytes", whole.len());
    client.shutdown().expect("ends");
}

/// A peer that sends its bytes one by one, and its messages in fragments.
pub fn boundaries_may_be_anywhere(driver: &impl DriverUnderTest) {
    let peer = Peer::websocket(|mut socket| {
        let tcp = socket.get_mut();
        // A binary message in two fragments with a ping between them, and a second message.
        let bytes = b"\x02\x03one\x89\x00\x80\x04 two\x82\x05three";
        for byte in bytes {
            let _ = tcp.write_all(&[*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::peer::echo(socket);
    });
    let script = Script::default();
    let (client, mut events) = start(driver, &script, Options::new(&peer.url()));
    assert_eq!(next_shown(&mut events), "one two");
    assert_eq!(next_shown(&mut events), "three");
    client.shutdown().expect("ends");
}

/// Pings are answered without the engine, also while it is full; texts are dropped.
pub fn answers_pings_ignores_texts(driver: &impl DriverUnderTest) {
    let (sender, pongs) = channel();
    let sender = Mutex::new(sender);
    let peer = Peer::websocket(move |mut socket| {
        socket.send(Message::Text("no".into())).expect("sends");
        socket.send(Message::Ping("are you there".into())).expect("sends");
        if let Ok(Message::Pong(data)) = socket.read() {
            sender.lock().expect("whole").send(data).expect("waits");
        }
        socket.send(Message::Binary("after".into())).expect("sends");
        crate::peer::echo(socket);
    });
    let script = Script::default();
    let (client, mut events) = start(driver, &script, Options::new(&peer.url()));
    assert_eq!(pongs.recv_timeout(PATIENCE).as_deref(), Ok(b"are you there".as_slice()));
    assert_eq!(next_shown(&mut events), "after");
    client.shutdown().expect("ends");
}

/// What the peer says when it closes reaches the engine.
pub fn reports_the_close_code(driver: &impl DriverUnderTest) {
    let peer = Peer::websocket(|mut socket| {
        let frame = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
        let _ = socket.close(Some(frame));
        while socket.read().is_ok() {}
    });
    let script = Script::default();
    let (client, _events) = start(driver, &script, Options::new(&peer.url()));
    let conn = script.wait_opened();
    let code = script.wait("Closed", |_, input| match input {
        Input::Closed { conn: which, code } if *which == conn => Some(*code),
        _ => None,
    });
    assert_eq!(code, Some(4001));
    client.shutdown().expect("ends");
}

/// So does an end without words.
pub fn reports_a_broken_connection(driver: &impl DriverUnderTest) {
    let peer = Peer::websocket(|socket| {
        let _ = socket.get_ref().shutdown(Shutdown::Both);
    });
    let script = Script::default();
    let (client, _events) = start(driver, &script, Options::new(&peer.url()));
    let code = script.wait("Closed", |_, input| match input {
        Input::Closed { code, .. } => Some(*code),
        _ => None,
    });
    assert_eq!(code, None);
    client.shutdown().expect("ends");
}

/// A frame that was sent right before the close arrives, and the peer hears a goodbye.
pub fn sends_everything_before_closing(driver: &impl DriverUnderTest) {
    const COUNT: usize = 50;
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let peer = Peer::websocket(move |mut socket| {
        // Slow to start, so that something waits at our side.
        std::thread::sleep(Duration::from_millis(200));
        let mut frames = 0;
        let goodbye = loop {
            match socket.read() {
                Ok(Message::Binary(_)) => frames += 1,
                Ok(Message::Close(_)) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        let _ = socket.flush();
        sender.lock().expect("whole").send((frames, goodbye)).expect("waits");
    });
    let script = Script::default();
    let (client, _events) = start(driver, &script, Options::new(&peer.url()));
    script.wait_opened();
    for _ in 0..COUNT {
        client.call(frame(vec![1; 64 * 1024])).expect("sends");
    }
    client.call(Disconnect).expect("closes");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok((COUNT, true)));
    client.shutdown().expect("ends");
    assert!(!script.inputs().iter().any(|input| matches!(input, Input::Closed { .. })), "it closed that itself");
}

/// A connection that does not come about can be closed; another one is then made.
pub fn opening_can_be_given_up(driver: &impl DriverUnderTest) {
    let (sender, accepted) = channel();
    let sender = Mutex::new(sender);
    let peer = Peer::start(move |tcp| {
        // Takes the connection and never answers the upgrade.
        sender.lock().expect("whole").send(()).expect("waits");
        std::thread::sleep(PATIENCE);
        drop(tcp);
    });
    let script = Script::default();
    let (client, _events) = start(driver, &script, Options::new(&peer.url()));
    accepted.recv_timeout(PATIENCE).expect("connects");
    client.call(Disconnect).expect("closes");
    let _second = client.connect().expect("connects again");
    accepted.recv_timeout(PATIENCE).expect("connects again");
    client.shutdown().expect("ends at once");
    let late =
        |input: &Input| matches!(input, Input::Opened { .. } | Input::OpenFailed { error: OpenError::Timeout, .. });
    assert!(!script.inputs().iter().any(late));
}

/// A peer that reads nothing costs this connection in the end, and never the driver.
pub fn survives_a_peer_that_does_not_read(driver: &impl DriverUnderTest) {
    let peer = Peer::websocket(|socket| {
        std::thread::sleep(PATIENCE);
        drop(socket);
    });
    let script = Script::default();
    let (client, _events) = start(driver, &script, Options::new(&peer.url()));
    script.wait_opened();
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..64 {
        client.call(frame(megabyte.clone())).expect("is taken");
    }
    let to = amarula_core::address::Address::phone("1");
    client.call(SubscribePresence { to }).expect("commands are still answered");
    script.wait("Closed", |_, input| matches!(input, Input::Closed { .. }).then_some(()));
    client.shutdown().expect("ends");
}

/// A peer that says something, goes away and reads nothing more: what it said is heard, although writing fails first.
pub fn hears_the_last_words(driver: &impl DriverUnderTest) {
    let (sender, gone) = channel();
    let sender = Mutex::new(sender);
    let peer = Peer::websocket(move |mut socket| {
        // One frame is read; the rest of what comes is not, so that the end is a reset.
        let _ = socket.read();
        std::thread::sleep(Duration::from_millis(100));
        let _ = socket.send(Message::Binary("last words".into()));
        drop(socket);
        sender.lock().expect("whole").send(()).expect("waits");
    });
    let script = Script::default();
    let (client, mut events) = start(driver, &script, Options::new(&peer.url()));
    script.wait_opened();
    script.set_full(true);
    for _ in 0..10 {
        client.call(frame("not read")).expect("sends");
    }
    gone.recv_timeout(PATIENCE).expect("ends");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(10));
        client.call(frame("cannot arrive")).expect("is taken");
    }
    script.set_full(false);
    client.call(frame("wakes the driver")).expect("is taken");
    assert_eq!(next_shown(&mut events), "last words");
    script.wait("Closed", |_, input| matches!(input, Input::Closed { .. }).then_some(()));
    client.shutdown().expect("ends");
}
