//! Our client, through either driver.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use amarula_core::address::Address;
use amarula_core::content::Content;
use amarula_core::engine::command::{ChatState, Command, Presence, Sent};
use amarula_core::event::{Connection, Event, Pairing, Receipt, ReceiptKind};
use amarula_core::message::Message;
use amarula_core::wire::Jid;
use amarula_sim::server::ClientProfile;
use amarula_sim::ws::LoopbackServer;
use amarula_store::FileStore;
use tokio::runtime::Runtime;

use crate::{PATIENCE, Person};

/// Which driver carries our client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `amarula-tokio`
    Tokio,
    /// `amarula-blocking`
    Blocking,
}

#[derive(Default)]
struct Log {
    events: Mutex<(Vec<Event>, bool)>,
    changed: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, (Vec<Event>, bool)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &Event) {
        self.lock().0.push(event.clone());
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }
}

enum Handle {
    Tokio(Runtime, amarula_tokio::Client),
    Blocking(amarula_blocking::Client, Option<JoinHandle<()>>),
}

impl Drop for Handle {
    fn drop(&mut self) {
        match self {
            Self::Tokio(runtime, client) => {
                let _ = runtime.block_on(client.shutdown());
            }
            Self::Blocking(client, reader) => {
                let _ = client.shutdown();
                let _ = reader.take().map(JoinHandle::join);
            }
        }
    }
}

/// Where clients go on living that a scenario has let go, so that they can answer to the end.
#[derive(Clone, Default)]
pub(crate) struct Pasture(Arc<Mutex<Vec<Handle>>>);

impl Pasture {
    /// Ends them.
    pub(crate) fn clear(&self) {
        let handles = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(handles);
    }
}

/// One client of ours. Every event is confirmed before it is seen.
pub struct Ours {
    handle: Option<Handle>,
    pasture: Pasture,
    log: Arc<Log>,
    settings: Settings,
    device: u16,
}

#[derive(Clone)]
struct Settings {
    driver: Driver,
    person: Person,
    folder: PathBuf,
    url: String,
    root_key: amarula_core::crypto::PublicKey,
}

macro_rules! built {
    ($builder:expr, $settings:expr) => {
        $builder
            .store(FileStore::open(&$settings.folder).expect("the store opens"))
            .url(&$settings.url)
            .root_key($settings.root_key)
            .push_name("Amarula")
            .build()
            .expect("a client")
    };
}

impl Ours {
    /// Starts a client of this person on a folder of its own.
    pub(crate) fn start(
        driver: Driver,
        person: &Person,
        folder: &Path,
        server: &LoopbackServer,
        pasture: &Pasture,
    ) -> Self {
        let settings = Settings {
            driver,
            person: person.clone(),
            folder: folder.to_owned(),
            url: server.url_for(ClientProfile::Strict),
            root_key: server.root_key(),
        };
        Self::run(settings, 0, pasture.clone())
    }

    fn run(settings: Settings, device: u16, pasture: Pasture) -> Self {
        let log = Arc::new(Log::default());
        let for_reader = Arc::clone(&log);
        let handle = match settings.driver {
            Driver::Tokio => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let client = built!(amarula_tokio::Client::builder("interop"), settings);
                let mut events = runtime.block_on(client.connect()).expect("it starts");
                runtime.spawn(async move {
                    while let Some(delivery) = events.next().await {
                        // Not confirmed before a shutdown, it comes again after it: then it is seen then.
                        if delivery.confirm().await.is_ok() {
                            for_reader.push(delivery.event());
                        }
                    }
                    for_reader.end();
                });
                Handle::Tokio(runtime, client)
            }
            Driver::Blocking => {
                let client = built!(amarula_blocking::Client::builder("interop"), settings);
                let events = client.connect().expect("it starts");
                let reader = thread::spawn(move || {
                    for delivery in events {
                        if delivery.confirm().is_ok() {
                            for_reader.push(delivery.event());
                        }
                    }
                    for_reader.end();
                });
                Handle::Blocking(client, Some(reader))
            }
        };
        Self { handle: Some(handle), pasture, log, settings, device }
    }

    /// Whose client it is.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.settings.person
    }

    /// The device number it was linked as.
    #[must_use]
    pub fn device(&self) -> u16 {
        self.device
    }

    /// Its phone-number device JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        self.person().jid().with_device(self.device)
    }

    pub(crate) fn set_device(&mut self, device: u16) {
        self.device = device;
    }

    /// Ends it in order. [`restart`](Self::restart) brings it back.
    ///
    /// # Panics
    /// If it does not end in order.
    pub fn stop(&mut self) {
        if let Some(handle) = &self.handle {
            let done = match handle {
                Handle::Tokio(runtime, client) => runtime.block_on(client.shutdown()),
                Handle::Blocking(client, _) => client.shutdown(),
            };
            done.expect("a shutdown");
        }
        self.handle = None;
    }

    /// Starts it again from its store, after [`stop`](Self::stop).
    pub fn restart(&mut self) {
        self.stop();
        *self = Self::run(self.settings.clone(), self.device, self.pasture.clone());
    }

    /// Takes the first event that fits, past or future.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn event<T>(&self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut log = self.log.lock();
        loop {
            let mut found = None;
            let at = log.0.iter().position(|event| {
                found = pick(event);
                found.is_some()
            });
            if let (Some(at), Some(found)) = (at, found) {
                log.0.remove(at);
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if log.1 || left.is_zero() {
                let events: Vec<String> = log.0.iter().map(|event| format!("{event:?}")).collect();
                drop(log);
                panic!("ours: {what}: nothing in time. Events not taken:\n  {}", events.join("\n  "));
            }
            log = self.log.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Events that fit and were not taken yet.
    pub fn left<T>(&self, pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.log.lock().0.iter().filter_map(pick).collect()
    }

    /// Texts of others that nobody waited for yet.
    #[must_use]
    pub fn texts_left(&self) -> Vec<String> {
        self.left(|event| text_of(event).filter(|(message, _)| !message.from_me).map(|(_, text)| text.to_owned()))
    }

    /// Waits for a QR code.
    #[must_use]
    pub fn qr(&self) -> String {
        self.event("a QR code", |event| match event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
            _ => None,
        })
    }

    /// Waits until it is logged in.
    pub fn wait_open(&self) {
        self.event("connection open", |event| matches!(event, Event::Connection(Connection::Open)).then_some(()));
    }

    /// Waits until the backlog is through.
    pub fn wait_caught_up(&self) {
        self.event("caught up", |event| matches!(event, Event::Connection(Connection::CaughtUp { .. })).then_some(()));
    }

    /// Asks for a pairing code.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn pairing_code(&self) -> String {
        let phone = self.person().pn().to_owned();
        let code = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.request_pairing_code(&phone, None)),
            Handle::Blocking(client, _) => client.request_pairing_code(&phone, None),
        };
        code.expect("a code").code.to_string()
    }

    /// Gives any command and waits for its answer.
    ///
    /// # Panics
    /// If it fails.
    pub fn call<C: Command>(&self, command: C) -> C::Reply {
        let reply = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.call(command)),
            Handle::Blocking(client, _) => client.call(command),
        };
        reply.unwrap_or_else(|error| panic!("ours: a command failed: {error}"))
    }

    /// Sends a text.
    ///
    /// # Panics
    /// If the server does not accept it.
    pub fn send_text(&self, to: &Jid, text: &str) -> Sent {
        let to = Address::from(to.clone());
        let sent = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.send_text(&to, text)),
            Handle::Blocking(client, _) => client.send_text(&to, text),
        };
        sent.unwrap_or_else(|error| panic!("ours: sending to {to}: {error}"))
    }

    /// Marks messages of a 1:1 chat as read.
    ///
    /// # Panics
    /// If it fails.
    pub fn mark_read(&self, chat: &Address, ids: &[&str]) {
        let done = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.mark_read(chat, None, ids)),
            Handle::Blocking(client, _) => client.mark_read(chat, None, ids),
        };
        done.expect("marked as read");
    }

    /// Shows or hides the account's presence.
    ///
    /// # Panics
    /// If it fails.
    pub fn set_presence(&self, presence: Presence) {
        let done = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.set_presence(presence)),
            Handle::Blocking(client, _) => client.set_presence(presence),
        };
        done.expect("presence");
    }

    /// Asks for somebody's presence.
    ///
    /// # Panics
    /// If it fails.
    pub fn subscribe_presence(&self, to: &Jid) {
        let to = Address::from(to.clone());
        let done = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.subscribe_presence(&to)),
            Handle::Blocking(client, _) => client.subscribe_presence(&to),
        };
        done.expect("a subscription");
    }

    /// Shows that we type, or stopped.
    ///
    /// # Panics
    /// If it fails.
    pub fn send_chat_state(&self, to: &Jid, state: ChatState) {
        let to = Address::from(to.clone());
        let done = match self.handle() {
            Handle::Tokio(runtime, client) => runtime.block_on(client.send_chat_state(&to, state)),
            Handle::Blocking(client, _) => client.send_chat_state(&to, state),
        };
        done.expect("a chat state");
    }

    /// Waits for a message of somebody else's.
    pub fn text(&self, text: &str) -> Message {
        self.message(text, false)
    }

    /// Waits for the next message of somebody else's, in the order of arrival.
    ///
    /// # Panics
    /// If it is another one than this, or none comes.
    pub fn next_text(&self, text: &str) -> Message {
        let next = self.event(&format!("the next message, {text:?}"), |event| match event {
            Event::Message(message) if !message.from_me => Some(message.clone()),
            _ => None,
        });
        assert!(matches!(&next.content, Content::Text(found) if found.body == text), "{text:?} is next, not {next:?}");
        *next
    }

    /// Waits for the copy of what another device of its account sent.
    pub fn own_copy(&self, text: &str) -> Message {
        self.message(text, true)
    }

    fn message(&self, text: &str, from_me: bool) -> Message {
        let shown: String = text.chars().take(40).collect();
        self.event(&format!("the message {shown:?}"), |event| {
            let (message, found) = text_of(event)?;
            (found == text && message.from_me == from_me).then(|| message.clone())
        })
    }

    /// Waits for a receipt of a message that we sent, from a device of `from`'s.
    pub fn receipt(&self, id: &str, kind: &ReceiptKind, from: &Jid) -> Receipt {
        self.event(&format!("the receipt {kind:?} of {id} by {from}"), |event| match event {
            Event::Receipt(receipt)
                if receipt.kind == *kind
                    && receipt.ids.iter().any(|found| found == id)
                    && receipt.from.jid() == from =>
            {
                Some(receipt.clone())
            }
            _ => None,
        })
    }

    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("it runs")
    }
}

fn text_of(event: &Event) -> Option<(&Message, &str)> {
    match event {
        Event::Message(message) => match &message.content {
            Content::Text(text) => Some((message, &text.body)),
            _ => None,
        },
        _ => None,
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let handles = &mut *self.pasture.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.extend(self.handle.take());
    }
}
