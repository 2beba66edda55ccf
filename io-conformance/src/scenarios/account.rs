//! The real engine, on a simulated WhatsApp.

use std::time::{Duration, Instant};

use amarula_core::address::Address;
use amarula_core::content::{Content, Outgoing};
use amarula_core::engine::command::{Logout, RequestPairingCode, SendMessage};
use amarula_core::engine::recording;
use amarula_core::error::EndReason;
use amarula_core::event::{Connection, Delivery, Event, Pairing};
use amarula_core::message::Message;
use amarula_core::wire::Jid;
use amarula_io::{Error, Storage};
use amarula_sim::ws::LoopbackServer;
use amarula_sim::{AccountId, ServerConfig};
use amarula_store::MemoryStore;

use crate::{ClientUnderTest, DriverUnderTest, EventsUnderTest, Next, Options, PATIENCE};

const OURS: &str = "15550000001";
const THEIRS: &str = "15550000002";

/// A server with our account and another's.
struct World {
    server: LoopbackServer,
    ours: AccountId,
    theirs: AccountId,
    storage: Storage,
}

impl World {
    fn new() -> Self {
        let server = LoopbackServer::start(ServerConfig::default()).expect("a loopback network");
        let (ours, theirs) = server.with_server(|server, _| {
            (server.add_account(OURS, "100000000001"), server.add_account(THEIRS, "100000000002"))
        });
        Self { server, ours, theirs, storage: MemoryStore::new().into() }
    }

    fn options(&self) -> Options {
        Options {
            root_key: Some(self.server.root_key()),
            storage: self.storage.clone(),
            ..Options::new(&self.server.url())
        }
    }

    /// The other account writes to us.
    fn write(&self, text: &str) {
        let to = Jid::pn(OURS);
        self.server.with_server(|server, now| server.phone_send_text(now, self.theirs, &to, text));
    }

    /// Waits until the other account has this text.
    fn wait_text(&self, text: &str) {
        let there = self.server.wait_for(PATIENCE, |server| {
            server.phone(self.theirs).texts().iter().any(|there| there == text).then_some(())
        });
        assert!(there.is_some(), "{text:?} did not arrive; the server objected to {:?}", self.server.violations());
    }

    /// A client that is linked to our account, and logged in.
    fn paired<D: DriverUnderTest>(&self, driver: &D) -> (D::Client, <D::Client as ClientUnderTest>::Events) {
        self.paired_with(driver, self.options())
    }

    fn paired_with<D: DriverUnderTest>(
        &self,
        driver: &D,
        options: Options,
    ) -> (D::Client, <D::Client as ClientUnderTest>::Events) {
        let client = driver.build(options).expect("builds");
        let mut events = client.connect().expect("starts");
        let qr = wait(&mut events, "a QR code", |event| match event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.clone()),
            _ => None,
        });
        // No user is as quick as this test: our answer to the server may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        self.server.with_server(|server, now| server.scan_qr(now, self.ours, &qr)).expect("a good code");
        wait(&mut events, "Paired", |event| matches!(event, Event::Pairing(Pairing::Paired { .. })).then_some(()));
        wait_open(&mut events);
        (client, events)
    }

    fn end(self, client: &impl ClientUnderTest) {
        client.shutdown().expect("ends");
        assert_eq!(self.server.violations(), []);
    }
}

fn wait<T>(events: &mut impl EventsUnderTest, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    wait_delivery(events, what, |delivery| wanted(&delivery.event))
}

fn wait_delivery<T>(
    events: &mut impl EventsUnderTest,
    what: &str,
    mut wanted: impl FnMut(&Delivery) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match events.next(deadline.saturating_duration_since(Instant::now())) {
            Next::Event(delivery) => match wanted(&delivery) {
                Some(found) => return found,
                None => seen.push(delivery.event),
            },
            other => panic!("no {what}: {other:?} after {seen:?}"),
        }
    }
}

fn wait_open(events: &mut impl EventsUnderTest) {
    wait(events, "Open", |event| matches!(event, Event::Connection(Connection::Open)).then_some(()));
}

/// The next message, with the delivery that carries it.
fn wait_message(events: &mut impl EventsUnderTest) -> (Delivery, Message) {
    wait_delivery(events, "a message", |delivery| match &delivery.event {
        Event::Message(message) => Some((delivery.clone(), (**message).clone())),
        _ => None,
    })
}

fn text(message: &Message) -> &str {
    match &message.content {
        Content::Text(text) => &text.body,
        other => panic!("{other:?}"),
    }
}

fn send(to: &Address, text: &str) -> SendMessage {
    SendMessage { to: to.clone(), content: Outgoing::text(text), id: None, reference: None }
}

/// The whole way: QR code, a message in, one out, and the next run needs no code.
pub fn pairs_by_qr_talks_and_comes_back(driver: &impl DriverUnderTest) {
    let world = World::new();
    let (client, mut events) = world.paired(driver);
    world.write("hello");
    let (delivery, message) = wait_message(&mut events);
    assert_eq!(text(&message), "hello");
    client.confirm(delivery.id.expect("in the inbox")).expect("stored");
    let sent = client.call(send(&message.chat, "hello yourself")).expect("accepted");
    assert!(!sent.id.is_empty());
    world.wait_text("hello yourself");
    client.shutdown().expect("ends");

    let client = driver.build(world.options()).expect("builds");
    let mut events = client.connect().expect("starts");
    wait_open(&mut events);
    client.call(send(&Address::phone(THEIRS), "back again")).expect("accepted");
    world.wait_text("back again");
    world.end(&client);
}

/// Linking by a code typed on the phone.
pub fn pairs_by_code(driver: &impl DriverUnderTest) {
    let world = World::new();
    let client = driver.build(world.options()).expect("builds");
    let mut events = client.connect().expect("starts");
    wait(&mut events, "a QR code", |event| matches!(event, Event::Pairing(Pairing::Qr { .. })).then_some(()));
    let code = client.call(RequestPairingCode { phone: OURS.into(), custom_code: None }).expect("a code");
    world.server.with_server(|server, now| server.type_code(now, world.ours, &code.code)).expect("a good code");
    wait_open(&mut events);
    world.end(&client);
}

/// What was not confirmed comes again after a restart; what was confirmed does not.
pub fn unconfirmed_messages_come_again(driver: &impl DriverUnderTest) {
    let world = World::new();
    let (client, mut events) = world.paired(driver);
    world.write("one");
    world.write("two");
    let (one, _) = wait_message(&mut events);
    let (two, message) = wait_message(&mut events);
    assert_eq!(text(&message), "two");
    client.confirm(one.id.expect("in the inbox")).expect("stored");
    client.shutdown().expect("ends");

    let client = driver.build(world.options()).expect("builds");
    let mut events = client.connect().expect("starts");
    let (again, message) = wait_message(&mut events);
    assert_eq!((again.id, text(&message)), (two.id, "two"));
    client.confirm(again.id.expect("in the inbox")).expect("stored");
    world.write("three");
    let (_, message) = wait_message(&mut events);
    assert_eq!(text(&message), "three");
    world.end(&client);
}

/// Logging out forgets the account.
pub fn logs_out(driver: &impl DriverUnderTest) {
    let world = World::new();
    let (client, mut events) = world.paired(driver);
    assert!(client.call(Logout).expect("unlinked").confirmed);
    wait(&mut events, "Ended", |event| match event {
        Event::Connection(Connection::Ended { reason: EndReason::LoggedOut, .. }) => Some(()),
        _ => None,
    });
    client.shutdown().expect("ends");
    let client = driver.build(world.options()).expect("builds");
    let mut events = client.connect().expect("starts");
    wait(&mut events, "a QR code", |event| matches!(event, Event::Pairing(Pairing::Qr { .. })).then_some(()));
    world.end(&client);
}

/// A recorded session runs again, byte for byte; an existing file is not touched.
pub fn recordings_replay(driver: &impl DriverUnderTest) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("session");
    let world = World::new();
    let options = Options { record: Some(path.clone()), ..world.options() };
    let (client, mut events) = world.paired_with(driver, options.clone());
    world.write("hello");
    let (delivery, message) = wait_message(&mut events);
    client.call(send(&message.chat, "hello yourself")).expect("accepted");
    client.confirm(delivery.id.expect("in the inbox")).expect("stored");
    client.shutdown().expect("ends");
    let bytes = std::fs::read(&path).expect("recorded");
    let summary = match recording::replay(recording::Reader::of(&bytes)) {
        Ok(summary) => summary,
        Err(error) => panic!("{error}"),
    };
    // Connect, send, confirm, shutdown.
    assert_eq!(summary.commands, 4);

    let again = driver.build(options).expect("builds");
    let error = again.connect().err();
    assert!(matches!(error, Some(Error::Recording { .. })), "{error:?}");
    assert_eq!(std::fs::read(&path).expect("still there"), bytes);
}
