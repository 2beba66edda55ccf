//! The blocking client.

use std::sync::{Arc, Mutex, OnceLock, mpsc};

use amarula_core::address::Address;
use amarula_core::content::Outgoing;
use amarula_core::engine::Input;
use amarula_core::engine::command::{
    ChatState, Command, Confirm, Connect, Disconnect, LoggedOut, Logout, MarkRead, PairingCode, Presence, ReplyValue,
    RequestPairingCode, SendChatState, Sent, SetPresence, Shutdown, SubscribePresence,
};
use amarula_core::error::RejectReason;
use amarula_core::event::DeliveryId;
use amarula_io::events::EventQueue;
use amarula_io::hub::Hub;
use amarula_io::pilot::{Parts, Pilot};
use amarula_io::port::{Port, Post};
use amarula_io::setup::Ready;
use amarula_io::sync::lock;
use amarula_io::{Error, SendOptions, Storage};

use crate::account::Account;
use crate::builder::ClientBuilder;
use crate::events::Events;
use crate::latch::Latch;
use crate::reactor::Reactors;

/// One account. Cheap to clone; all clones are the same client, and it survives reconnects.
///
/// It lives as long as any clone, [`Events`] or [`Delivery`](crate::Delivery) of it. When the last one is dropped the
/// connection is closed and the profile is free again a moment later; [`shutdown`](Self::shutdown) does it in order
/// and waits.
///
/// Methods wait for their answer; call them from as many threads as you like. Each says which errors are its own; all
/// may return [`Error::NotStarted`] and [`Error::Stopped`].
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    ready: Ready,
    running: OnceLock<Running>,
    /// Held while starting.
    starting: Mutex<()>,
}

struct Running {
    hub: Arc<Hub>,
    /// Opens when the driver has ended.
    ended: Latch,
}

impl Client {
    /// Settings for a client of this profile. One profile is one set of credentials: the next run with the same name
    /// and store reconnects without pairing again.
    pub fn builder(profile: &str) -> ClientBuilder {
        ClientBuilder::new(profile)
    }

    pub(crate) fn new(ready: Ready) -> Self {
        Self { inner: Arc::new(Inner { ready, running: OnceLock::new(), starting: Mutex::default() }) }
    }

    /// Starts the client, if it is not running: claims the profile, opens its storage, and connects, and stays
    /// connected. Returns when this is under way; what becomes of it are [events](Events). After
    /// [`disconnect`](Self::disconnect), or when a session has ended, connects again.
    ///
    /// # Errors
    /// [`Error::ProfileInUse`] and [`Error::ProfileLocked`] if somebody else has the profile; [`Error::Storage`],
    /// [`Error::Recording`], [`Error::System`]. After all of these it can be tried again.
    pub fn connect(&self) -> Result<Events, Error> {
        let running = self.running()?;
        let events = Events::new(&running.hub);
        call(&running.hub, Connect)?;
        Ok(events)
    }

    /// Another stream of events. Events go to one of all streams.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn events(&self) -> Result<Events, Error> {
        Ok(Events::new(self.hub()?))
    }

    /// Closes the connection and stays away. The account stays linked, and the profile claimed.
    ///
    /// # Errors
    /// None of its own.
    pub fn disconnect(&self) -> Result<(), Error> {
        self.call(Disconnect)
    }

    /// Closes the connection and makes a new one.
    ///
    /// # Errors
    /// None of its own.
    pub fn reconnect(&self) -> Result<(), Error> {
        self.call(Disconnect)?;
        self.call(Connect)
    }

    /// A hint that the network changed or the machine woke up: a reconnect that is waited for is tried at once.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn network_changed(&self) -> Result<(), Error> {
        self.hub()?.port.post(Post::Input(Input::NetworkChanged));
        Ok(())
    }

    /// Ends the client in order: closes the connection, waits until everything is stored and every command answered,
    /// and frees the profile. It cannot be started again. Fine to call twice.
    ///
    /// # Errors
    /// [`Error::Rejected`] if too many commands are open.
    pub fn shutdown(&self) -> Result<(), Error> {
        let Some(running) = self.inner.running.get() else { return Ok(()) };
        match call(&running.hub, Shutdown) {
            Ok(()) | Err(Error::Stopped | Error::Rejected(RejectReason::ShutDown)) => {}
            Err(error) => return Err(error),
        }
        running.ended.wait();
        Ok(())
    }

    /// Unlinks this device from the account and forgets its keys.
    ///
    /// # Errors
    /// [`RejectReason::NotPaired`].
    pub fn logout(&self) -> Result<LoggedOut, Error> {
        self.call(Logout)
    }

    /// Asks for a code that links this device when typed on the phone, instead of a QR code. Needs a connected client
    /// that is not linked: wait for the first QR code event.
    ///
    /// `phone`: international, digits only. `custom_code`: eight characters of
    /// `123456789ABCDEFGHJKLMNPQRSTVWXYZ`, or `None` for a random one.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a bad number or code, or if linked already; [`Error::Failed`] if the server refuses.
    pub fn request_pairing_code(&self, phone: &str, custom_code: Option<&str>) -> Result<PairingCode, Error> {
        self.call(RequestPairingCode { phone: phone.into(), custom_code: custom_code.map(Into::into) })
    }

    /// Sends a text message. Returns when the server has accepted it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&self, to: &Address, text: impl AsRef<str>) -> Result<Sent, Error> {
        self.send(to, Outgoing::text(text.as_ref()))
    }

    /// Sends a message. Returns when the server has accepted it.
    ///
    /// # Errors
    /// [`Error::Rejected`]: nothing happened. [`Error::Failed`]: see [`Failure`](amarula_core::error::Failure);
    /// `Unknown` means that it left and no answer came.
    pub fn send(&self, to: &Address, content: impl Into<Outgoing>) -> Result<Sent, Error> {
        self.send_with(to, content, SendOptions::new())
    }

    /// Sends a message with options: an id, or a reference that makes the send survive a restart.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`RejectReason::DuplicateReference`].
    pub fn send_with(&self, to: &Address, content: impl Into<Outgoing>, options: SendOptions) -> Result<Sent, Error> {
        self.call(options.command(to, content.into()))
    }

    /// Tells the other side that messages were read. `sender`: in groups, who wrote them; all of the one sender.
    ///
    /// # Errors
    /// [`Error::Rejected`] or [`Error::Failed`].
    pub fn mark_read(
        &self,
        chat: &Address,
        sender: Option<&Address>,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), Error> {
        let ids = ids.into_iter().map(|id| id.as_ref().into()).collect();
        self.call(MarkRead { chat: chat.clone(), sender: sender.cloned(), ids })
    }

    /// Shows the account as online, or not.
    ///
    /// # Errors
    /// [`RejectReason::NoPushName`], [`RejectReason::NotConnected`].
    pub fn set_presence(&self, presence: Presence) -> Result<(), Error> {
        self.call(SetPresence { presence })
    }

    /// Shows in a chat that we type, record, or stopped.
    ///
    /// # Errors
    /// [`RejectReason::NotConnected`].
    pub fn send_chat_state(&self, to: &Address, state: ChatState) -> Result<(), Error> {
        self.call(SendChatState { to: to.clone(), state })
    }

    /// Asks to be told when a user is online.
    ///
    /// # Errors
    /// [`RejectReason::NotConnected`].
    pub fn subscribe_presence(&self, to: &Address) -> Result<(), Error> {
        self.call(SubscribePresence { to: to.clone() })
    }

    /// Confirms a delivery by its id, say from another process's queue. See [`Delivery::confirm`](crate::Delivery::confirm).
    ///
    /// # Errors
    /// [`Error::Failed`] if the store failed.
    pub fn confirm(&self, delivery: DeliveryId) -> Result<(), Error> {
        self.call(Confirm { delivery })
    }

    /// Gives the engine any command, also one that has no method here.
    ///
    /// # Errors
    /// [`Error::Rejected`] or [`Error::Failed`].
    pub fn call<C: Command>(&self, command: C) -> Result<C::Reply, Error> {
        call(self.hub()?, command)
    }

    /// The profile's name.
    #[must_use]
    pub fn profile(&self) -> &str {
        self.inner.ready.profile.as_str()
    }

    /// This client's name, which others are told when they want its profile.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.ready.name
    }

    /// Where its records are.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.inner.ready.storage
    }

    /// Starts it if need be.
    fn running(&self) -> Result<&Running, Error> {
        let _starting = lock(&self.inner.starting);
        if let Some(running) = self.inner.running.get() {
            return Ok(running);
        }
        let running = start(&self.inner.ready)?;
        Ok(self.inner.running.get_or_init(|| running))
    }

    fn hub(&self) -> Result<&Arc<Hub>, Error> {
        self.inner.running.get().map(|running| &running.hub).ok_or(Error::NotStarted)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("profile", &self.profile()).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Gives a command to the driver and waits for its answer.
pub(crate) fn call<C: Command>(hub: &Hub, command: C) -> Result<C::Reply, Error> {
    let (sender, answer) = mpsc::sync_channel(1);
    // Nobody may be waiting any more, which is no error.
    hub.port.post(Post::Command(command.into_request(), Box::new(move |result| drop(sender.send(result)))));
    let reply = answer.recv().map_err(|_| Error::Stopped)??;
    C::Reply::from_result(Ok(reply)).map_err(Error::Failed)
}

fn start(ready: &Ready) -> Result<Running, Error> {
    let (place, workers) = Reactors::place().map_err(|error| Error::system("a reactor", error))?;
    let address = place.address().clone();
    let port: Arc<dyn Port> = Arc::new(address.clone());
    let (decide, decided) = mpsc::sync_channel(1);
    ready.storage.open(&ready.profile, &ready.name, Arc::clone(&port), move |session| drop(decide.send(session)));
    let storage = decided.recv().map_err(|_| Error::Stopped)??;
    let events = Arc::new(EventQueue::new(ready.event_limit));
    let _span = tracing::info_span!("amarula", profile = %ready.profile).entered();
    let pilot = Pilot::new(Parts {
        config: ready.config.clone(),
        machine: ready.machine.as_deref(),
        recording: ready.recording()?,
        storage,
        events: Arc::clone(&events),
    })?;
    let (alive, ended) = Latch::new();
    place.take(Account::new(pilot, Arc::clone(&ready.network), address, workers, alive));
    Ok(Running { hub: Arc::new(Hub { port, events }), ended })
}
