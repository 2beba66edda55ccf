//! What the consumer is told.

use core::time::Duration;

use crate::address::Address;
use crate::engine::command::ChatState;
use crate::error::{DropCause, EndReason, PairingError};
use crate::message::Message;
use crate::wire::Str;

/// Names one inbox entry. Grows with every entry of a profile, across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// An event on its way to the consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Set for what waits in the inbox until it is confirmed (see [`Confirm`](crate::engine::command::Confirm)); such
    /// an event comes again after a restart.
    pub id: Option<DeliveryId>,
    /// What happened.
    pub event: Event,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The connection changed its state.
    Connection(Connection),
    /// Something of linking this device to an account.
    Pairing(Pairing),
    /// A message.
    Message(alloc::boxed::Box<Message>),
    /// A message is there that cannot be read, for now or for good.
    Undecryptable(alloc::boxed::Box<Undecryptable>),
    /// A durable send of an earlier run (one with a client reference) has its answer.
    SendFinished {
        /// The caller's reference.
        reference: Str,
        /// Stanza id.
        id: Str,
        /// How it ended.
        result: Result<crate::engine::command::Sent, crate::error::Failure>,
    },
    /// Receipts for messages.
    Receipt(Receipt),
    /// Somebody came or went.
    Presence(PresenceUpdate),
    /// Somebody types or stopped.
    ChatState(ChatStateUpdate),
    /// A LID and a phone number are the same person.
    LidMapping {
        /// The hidden id.
        lid: Address,
        /// The phone number.
        pn: Address,
    },
    /// A contact's security code changed.
    IdentityChanged {
        /// Whose.
        address: Address,
        /// Noticed from a message rather than announced by the server.
        implicit: bool,
    },
    /// A contact's or our own set of devices changed.
    DevicesChanged {
        /// Whose.
        address: Address,
    },
    /// Something that should be looked at by the operator, not by the user.
    Warning(Warning),
}

/// States of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Connection {
    /// A connection is being made.
    Connecting {
        /// Which try this is since the last good one, from 1.
        attempt: u32,
    },
    /// Logged in; sending works. The backlog is still coming.
    Open,
    /// What was sent to us while we were away is being delivered.
    OfflinePending {
        /// About how many stanzas.
        count: u32,
    },
    /// The backlog is through.
    CaughtUp {
        /// How many stanzas it had.
        count: u32,
    },
    /// The connection ended, and another try follows by itself.
    Dropped {
        /// Why.
        cause: DropCause,
        /// When the next try is made.
        retry_in: Duration,
    },
    /// The session ended; nothing is tried again by itself.
    Ended {
        /// Why, which says what to do.
        reason: EndReason,
        /// Whether the credentials are dead and were removed: only pairing again helps.
        wiped: bool,
    },
}

/// Linking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pairing {
    /// Show this as a QR code; it replaces the one before.
    Qr {
        /// The text of the code. It holds a secret: show it, do not log it.
        text: Secret,
        /// How long it is good.
        valid_for: Duration,
    },
    /// The phone confirmed, and this device is linked.
    Paired {
        /// Own phone-number address with device.
        pn: Address,
        /// Own LID address with device.
        lid: Option<Address>,
        /// Platform of the phone (`android`, `iphone`, …).
        platform: Str,
        /// Business name, if it is a business account.
        business_name: Option<Str>,
    },
    /// The attempt failed.
    Failed(PairingError),
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub Str);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A message that could not be decrypted. A resend was asked for; when it comes, it comes as a message of this id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Undecryptable {
    /// Chat.
    pub chat: Address,
    /// Who wrote it, device included.
    pub sender: Address,
    /// Its id.
    pub id: Str,
    /// Server stamp, unix seconds.
    pub timestamp: u64,
    /// Why.
    pub reason: Str,
    /// Whether another try is under way (a resend was asked for).
    pub retrying: bool,
    /// The sender said that such a failure need not be shown (reactions, edits, votes).
    pub hidden: bool,
}

/// Receipts of one kind for some messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Chat.
    pub chat: Address,
    /// Who received or read them, device included if given.
    pub from: Address,
    /// Our own other device did (it read a chat elsewhere).
    pub from_me: bool,
    /// The messages.
    pub ids: alloc::vec::Vec<Str>,
    /// What happened to them.
    pub kind: ReceiptKind,
    /// Server stamp, unix seconds.
    pub timestamp: u64,
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReceiptKind {
    /// Reached a device.
    Delivered,
    /// Reached a companion that is not in use.
    Inactive,
    /// Read.
    Read,
    /// Played (voice note, video).
    Played,
    /// Our own other device has our message.
    Sender,
    /// Anything else, by its name.
    Other(Str),
}

/// Somebody's presence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PresenceUpdate {
    /// Whose.
    pub from: Address,
    /// Online now.
    pub available: bool,
    /// When last seen, unix seconds; absent if hidden or unknown.
    pub last_seen: Option<u64>,
}

/// Somebody types, records, or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChatStateUpdate {
    /// In which chat.
    pub chat: Address,
    /// Who.
    pub from: Address,
    /// What.
    pub state: ChatState,
}

/// Something for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// A stored record could not be read and counts as absent.
    CorruptRecord {
        /// Its namespace's name.
        namespace: &'static str,
    },
    /// The store failed; the session restarts from what is durable.
    StorageFailed {
        /// The store's words.
        message: Str,
    },
    /// A stanza could not be understood.
    BadStanza {
        /// What was wrong with it.
        what: Str,
    },
    /// A message was dropped because its author may not send it (forged self-only message or wrapper).
    Forged {
        /// Who sent it.
        from: Address,
        /// What it was.
        what: &'static str,
    },
    /// Public prekeys could not be put on the server; it is tried again.
    PrekeyUploadFailed {
        /// The server's number, 0 if it gave none.
        code: u32,
    },
    /// The server's view of our prekeys is another than ours.
    PrekeysDiffer {
        /// In what.
        what: Str,
    },
    /// This WhatsApp Web version will stop working.
    VersionExpires {
        /// Unix seconds.
        at: u64,
    },
    /// The server's certificate did not verify.
    Certificate {
        /// Why.
        what: Str,
    },
    /// A limit was reached and something was given up.
    Limit {
        /// The limit's name.
        name: &'static str,
    },
}
