//! What the consumer asks for: typed commands, each answered exactly once.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::address::Address;
use crate::content::Outgoing;
use crate::error::{Failure, RejectReason};
use crate::event::DeliveryId;
use crate::wire::Str;

/// Identifies one accepted command of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// The promise of exactly one [`Completion`] that holds an `R`.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "the answer comes as Output::Done with this ticket's id"]
pub struct Ticket<R> {
    id: TicketId,
    reply: PhantomData<fn() -> R>,
}

impl<R> Ticket<R> {
    pub(crate) fn new(id: TicketId) -> Self {
        Self { id, reply: PhantomData }
    }

    /// The id that the completion will carry.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.id
    }
}

impl<R> Clone for Ticket<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Ticket<R> {}

/// The engine did not take the command; nothing happened, and here it is back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected<C> {
    /// The command.
    pub command: C,
    /// Why.
    pub reason: RejectReason,
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Completion {
    /// Which command.
    pub ticket: TicketId,
    /// How it ended.
    pub result: Result<Reply, Failure>,
}

impl Completion {
    /// The typed answer, if this completion belongs to `ticket`.
    pub fn take<R: ReplyValue>(&self, ticket: Ticket<R>) -> Option<Result<R, Failure>> {
        (self.ticket == ticket.id).then(|| R::from_result(self.result.clone()))
    }
}

/// Every kind of answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reply {
    /// Done.
    Unit,
    /// A message was accepted by the server.
    Sent(Sent),
    /// The code to type on the phone.
    PairingCode(PairingCode),
    /// Unlinked.
    LoggedOut(LoggedOut),
}

/// A type that an answer can have.
pub trait ReplyValue: Sized {
    /// Takes the value out of the general answer.
    ///
    /// # Errors
    /// The command's own failure.
    fn from_result(result: Result<Reply, Failure>) -> Result<Self, Failure>;
}

macro_rules! reply_value {
    ($type:ty, $pattern:pat => $value:expr) => {
        impl ReplyValue for $type {
            fn from_result(result: Result<Reply, Failure>) -> Result<Self, Failure> {
                match result? {
                    $pattern => Ok($value),
                    // A ticket is made with its command's own reply type, so another one cannot be in it.
                    other => unreachable!("an answer of another kind: {other:?}"),
                }
            }
        }
    };
}
reply_value!((), Reply::Unit => ());
reply_value!(Sent, Reply::Sent(sent) => sent);
reply_value!(PairingCode, Reply::PairingCode(code) => code);
reply_value!(LoggedOut, Reply::LoggedOut(done) => done);

/// The server accepted a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    /// Stanza id, the message's id in its chat.
    pub id: Str,
    /// The chat as it was really addressed (LID or phone number).
    pub to: Address,
    /// The server's stamp, unix seconds.
    pub timestamp: u64,
    /// To how many devices of the other side, and of our own account, it went encrypted.
    pub devices: u32,
}

/// A code that links this companion when typed on the phone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairingCode {
    /// Eight characters, without the dash.
    pub code: Str,
}

/// The outcome of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoggedOut {
    /// Whether the server confirmed. If not (offline), the phone still lists this device and its owner should remove
    /// it there.
    pub confirmed: bool,
}

/// Presence of this account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Shown as online; delivery receipts count as delivered on the other side.
    Available,
    /// Not shown as online.
    Unavailable,
}

/// What we are doing in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChatState {
    /// Typing.
    Composing,
    /// Recording a voice note.
    Recording,
    /// Neither.
    Paused,
}

/// Any command, as the engine queues and a recording keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant wraps the documented command of its name")]
pub enum Request {
    Connect(Connect),
    Disconnect(Disconnect),
    Shutdown(Shutdown),
    RequestPairingCode(RequestPairingCode),
    Logout(Logout),
    SendMessage(SendMessage),
    MarkRead(MarkRead),
    SetPresence(SetPresence),
    SendChatState(SendChatState),
    SubscribePresence(SubscribePresence),
    Confirm(Confirm),
}

/// A command with its answer's type.
pub trait Command: Sized {
    /// What it is answered with.
    type Reply: ReplyValue;
    /// As a general request.
    fn into_request(self) -> Request;
    /// Back from it. `None` if `request` is another command.
    fn from_request(request: Request) -> Option<Self>;
}

macro_rules! command {
    ($name:ident -> $reply:ty) => {
        impl Command for $name {
            type Reply = $reply;

            fn into_request(self) -> Request {
                Request::$name(self)
            }

            fn from_request(request: Request) -> Option<Self> {
                match request {
                    Request::$name(command) => Some(command),
                    _ => None,
                }
            }
        }
    };
}

/// Connect, and stay connected: log in if paired, else show QR codes. Answered as soon as it is under way; watch the
/// connection events for what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connect;
command!(Connect -> ());

/// Close the connection and stay away. The account stays linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disconnect;
command!(Disconnect -> ());

/// End the engine: close, let pending commits finish, answer every open command. Answered last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shutdown;
command!(Shutdown -> ());

/// Link by phone number instead of by QR (`protocol/pairing.md` §5). Needs an unpaired, connected engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestPairingCode {
    /// International number, digits only.
    pub phone: Str,
    /// A code of your own: eight characters of `123456789ABCDEFGHJKLMNPQRSTVWXYZ`. `None` makes one.
    pub custom_code: Option<Str>,
}
command!(RequestPairingCode -> PairingCode);

/// Unlink this companion from the account and forget its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Logout;
command!(Logout -> LoggedOut);

/// Send a message. Answered when the server has accepted or refused it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendMessage {
    /// The chat.
    pub to: Address,
    /// What to send.
    pub content: Outgoing,
    /// Stanza id; `None` makes one.
    pub id: Option<Str>,
    /// A reference of the caller's. With one, the send is durable: it survives a crash or a restart and is then sent
    /// again as the same stanza, never as a second message. Unique per account while the send is open.
    pub reference: Option<Str>,
}
command!(SendMessage -> Sent);

/// Tell the other side that messages were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MarkRead {
    /// The chat.
    pub chat: Address,
    /// In groups, who wrote them.
    pub sender: Option<Address>,
    /// Their ids; all of the one sender.
    pub ids: Vec<Str>,
}
command!(MarkRead -> ());

/// Show the account as online or not. Needs a push name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetPresence {
    /// Which.
    pub presence: Presence,
}
command!(SetPresence -> ());

/// Show typing in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendChatState {
    /// The chat.
    pub to: Address,
    /// What we do there.
    pub state: ChatState,
}
command!(SendChatState -> ());

/// Ask to be told when a user is online.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscribePresence {
    /// The user.
    pub to: Address,
}
command!(SubscribePresence -> ());

/// The consumer has dealt with a delivery: it leaves the inbox and is never delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Confirm {
    /// Which.
    pub delivery: DeliveryId,
}
command!(Confirm -> ());
