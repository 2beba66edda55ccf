//! The async client.

use std::sync::Arc;

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
use amarula_io::{Error, SendOptions, Storage};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tracing::Instrument as _;

use crate::builder::ClientBuilder;
use crate::driver::{Driver, Mailbox};
use crate::events::Events;

/// One account. Cheap to clone; all clones are the same client, and it survives reconnects.
///
/// It lives as long as any clone, [`Events`] or [`Delivery`](crate::Delivery) of it. When the last one is dropped the
/// connection is closed and the profile is free again a moment later; [`shutdown`](Self::shutdown) does it in order
/// and waits.
///
/// Methods do nothing until awaited, and a command whose future is dropped later is still carried out. Each says
/// which errors are its own; all may return [`Error::NotStarted`] and [`Error::Stopped`].
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    ready: Ready,
    running: OnceCell<Running>,
}

struct Running {
    hub: Arc<Hub>,
    /// Its sender lives in the driver's task.
    ended: watch::Receiver<()>,
}

impl Client {
    /// Settings for a client of this profile. One profile is one set of credentials: the next run with the same name
    /// and store reconnects without pairing again.
    pub fn builder(profile: &str) -> ClientBuilder {
        ClientBuilder::new(profile)
    }

    pub(crate) fn new(ready: Ready) -> Self {
        Self { inner: Arc::new(Inner { ready, running: OnceCell::new() }) }
    }

    /// Starts the client, if it is not running: claims the profile, opens its storage, and connects, and stays
    /// connected. Returns when this is under way; what becomes of it are [events](Events). After
    /// [`disconnect`](Self::disconnect), or when a session has ended, connects again.
    ///
    /// # Errors
    /// [`Error::ProfileInUse`] and [`Error::ProfileLocked`] if somebody else has the profile; [`Error::Storage`],
    /// [`Error::Recording`], [`Error::System`], [`Error::NoRuntime`]. After all of these it can be tried again.
    pub async fn connect(&self) -> Result<Events, Error> {
        let running = self.inner.running.get_or_try_init(|| start(&self.inner.ready)).await?;
        let events = Events::new(&running.hub);
        call(&running.hub, Connect).await?;
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
    pub async fn disconnect(&self) -> Result<(), Error> {
        self.call(Disconnect).await
    }

    /// Closes the connection and makes a new one.
    ///
    /// # Errors
    /// None of its own.
    pub async fn reconnect(&self) -> Result<(), Error> {
        self.call(Disconnect).await?;
        self.call(Connect).await
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
    pub async fn shutdown(&self) -> Result<(), Error> {
        let Some(running) = self.inner.running.get() else { return Ok(()) };
        match call(&running.hub, Shutdown).await {
            Ok(()) | Err(Error::Stopped | Error::Rejected(RejectReason::ShutDown)) => {}
            Err(error) => return Err(error),
        }
        // Nothing is ever sent: it ends with the driver.
        let _ = running.ended.clone().changed().await;
        Ok(())
    }

    /// Unlinks this device from the account and forgets its keys.
    ///
    /// # Errors
    /// [`RejectReason::NotPaired`].
    pub async fn logout(&self) -> Result<LoggedOut, Error> {
        self.call(Logout).await
    }

    /// Asks for a code that links this device when typed on the phone, instead of a QR code. Needs a connected client
    /// that is not linked: wait for the first QR code event.
    ///
    /// `phone`: international, digits only. `custom_code`: eight characters of
    /// `123456789ABCDEFGHJKLMNPQRSTVWXYZ`, or `None` for a random one.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a bad number or code, or if linked already; [`Error::Failed`] if the server refuses.
    pub async fn request_pairing_code(&self, phone: &str, custom_code: Option<&str>) -> Result<PairingCode, Error> {
        self.call(RequestPairingCode { phone: phone.into(), custom_code: custom_code.map(Into::into) }).await
    }

    /// Sends a text message. Returns when the server has accepted it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, to: &Address, text: impl AsRef<str>) -> Result<Sent, Error> {
        self.send(to, Outgoing::text(text.as_ref())).await
    }

    /// Sends a message. Returns when the server has accepted it.
    ///
    /// # Errors
    /// [`Error::Rejected`]: nothing happened. [`Error::Failed`]: see [`Failure`](amarula_core::error::Failure);
    /// `Unknown` means that it left and no answer came.
    pub async fn send(&self, to: &Address, content: impl Into<Outgoing>) -> Result<Sent, Error> {
        self.send_with(to, content, SendOptions::new()).await
    }

    /// Sends a message with options: an id, or a reference that makes the send survive a restart.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`RejectReason::DuplicateReference`].
    pub async fn send_with(
        &self,
        to: &Address,
        content: impl Into<Outgoing>,
        options: SendOptions,
    ) -> Result<Sent, Error> {
        self.call(options.command(to, content.into())).await
    }

    /// Tells the other side that messages were read. `sender`: in groups, who wrote them; all of the one sender.
    ///
    /// # Errors
    /// [`Error::Rejected`] or [`Error::Failed`].
    pub async fn mark_read(
        &self,
        chat: &Address,
        sender: Option<&Address>,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), Error> {
        let ids = ids.into_iter().map(|id| id.as_ref().into()).collect();
        self.call(MarkRead { chat: chat.clone(), sender: sender.cloned(), ids }).await
    }

    /// Shows the account as online, or not.
    ///
    /// # Errors
    /// [`RejectReason::NoPushName`], [`RejectReason::NotConnected`].
    pub async fn set_presence(&self, presence: Presence) -> Result<(), Error> {
        self.call(SetPresence { presence }).await
    }

    /// Shows in a chat that we type, record, or stopped.
    ///
    /// # Errors
    /// [`RejectReason::NotConnected`].
    pub async fn send_chat_state(&self, to: &Address, state: ChatState) -> Result<(), Error> {
        self.call(SendChatState { to: to.clone(), state }).await
    }

    /// Asks to be told when a user is online.
    ///
    /// # Errors
    /// [`RejectReason::NotConnected`].
    pub async fn subscribe_presence(&self, to: &Address) -> Result<(), Error> {
        self.call(SubscribePresence { to: to.clone() }).await
    }

    /// Confirms a delivery by its id, say from another process's queue. See [`Delivery::confirm`](crate::Delivery::confirm).
    ///
    /// # Errors
    /// [`Error::Failed`] if the store failed.
    pub async fn confirm(&self, delivery: DeliveryId) -> Result<(), Error> {
        self.call(Confirm { delivery }).await
    }

    /// Gives the engine any command, also one that has no method here.
    ///
    /// # Errors
    /// [`Error::Rejected`] or [`Error::Failed`].
    pub async fn call<C: Command>(&self, command: C) -> Result<C::Reply, Error> {
        call(self.hub()?, command).await
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
pub(crate) async fn call<C: Command>(hub: &Hub, command: C) -> Result<C::Reply, Error> {
    let (sender, answer) = oneshot::channel();
    // Nobody may be waiting any more, which is no error.
    hub.port.post(Post::Command(command.into_request(), Box::new(move |result| drop(sender.send(result)))));
    let reply = answer.await.map_err(|_| Error::Stopped)??;
    C::Reply::from_result(Ok(reply)).map_err(Error::Failed)
}

async fn start(ready: &Ready) -> Result<Running, Error> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
    let (sender, mailbox) = mpsc::unbounded_channel();
    let port: Arc<dyn Port> = Arc::new(Mailbox(sender.clone()));
    let (decide, decided) = oneshot::channel();
    ready.storage.open(&ready.profile, &ready.name, Arc::clone(&port), move |session| drop(decide.send(session)));
    let storage = decided.await.map_err(|_| Error::Stopped)??;
    let events = Arc::new(EventQueue::new(ready.event_limit));
    let pilot = Pilot::new(Parts {
        config: ready.config.clone(),
        machine: ready.machine.as_deref(),
        recording: ready.recording()?,
        storage,
        events: Arc::clone(&events),
    })?;
    let (alive, ended) = watch::channel(());
    let driver = Driver::new(pilot, Arc::clone(&ready.network), sender, mailbox);
    let span = tracing::info_span!("amarula", profile = %ready.profile);
    runtime.spawn(
        async move {
            driver.run().await;
            drop(alive);
        }
        .instrument(span),
    );
    Ok(Running { hub: Arc::new(Hub { port, events }), ended })
}
