//! A received (or own, from another device) message.

use bytes::Bytes;

use crate::address::Address;
use crate::content::Content;
use crate::wire::Str;

/// One message, decrypted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Its id, unique together with chat and sender.
    pub id: Str,
    /// The conversation: reply to this.
    pub chat: Address,
    /// Who wrote it, device included.
    pub sender: Address,
    /// The writer's other identity (phone number for a LID, and the other way round), if known.
    pub sender_alt: Option<Address>,
    /// Whether we wrote it (on another device of this account).
    pub from_me: bool,
    /// Server stamp, unix seconds.
    pub timestamp: u64,
    /// The name the writer gave themselves.
    pub push_name: Option<Str>,
    /// Came from the server's backlog.
    pub offline: bool,
    /// What it says.
    pub content: Content,
    /// The whole `Message` protobuf, encoded, without padding and own-device wrapper.
    pub raw: Bytes,
}

impl core::fmt::Debug for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("chat", &self.chat)
            .field("sender", &self.sender)
            .field("from_me", &self.from_me)
            .field("timestamp", &self.timestamp)
            .field("offline", &self.offline)
            .field("content", &self.content)
            .field("raw", &self.raw.len())
            .finish_non_exhaustive()
    }
}
