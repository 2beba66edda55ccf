//! Messages at rest: sent ones (for resends), received ones (until confirmed), durable sends (until acknowledged).

use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::{ToCompactString as _, format_compact};
use prost::Message as _;

use super::jid_text;
use crate::engine::gate::LENGTH_BYTES;
use crate::event::DeliveryId;
use crate::store::{Namespace, record::Record};
use crate::wire::{Document, Jid, NodeLimits, Str};

/// Names a sent message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SentKey {
    /// Bare chat JID, as the stanza named it.
    pub(crate) chat: Jid,
    /// Stanza id.
    pub(crate) id: Str,
}

/// A message as we sent it, kept for devices that could not decrypt it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct SentMessage {
    /// Encoded `Message`, without padding.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) content: Bytes,
    /// Devices it was encrypted for.
    #[prost(string, repeated, tag = "2")]
    pub(crate) devices: Vec<alloc::string::String>,
    /// Unix seconds.
    #[prost(uint64, tag = "3")]
    pub(crate) sent_at: u64,
}

impl core::fmt::Debug for SentMessage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SentMessage")
            .field("devices", &self.devices)
            .field("sent_at", &self.sent_at)
            .finish_non_exhaustive()
    }
}

impl Record for SentMessage {
    type Key = SentKey;

    const NAMESPACE: Namespace = Namespace::SentMessage;

    fn key_text(key: &SentKey) -> Str {
        format_compact!("{}|{}", key.id, jid_text(&key.chat))
    }

    fn parse_key(text: &str) -> Option<SentKey> {
        // A message id may hold anything; a JID holds no bar.
        let (id, chat) = text.rsplit_once('|')?;
        Some(SentKey { chat: chat.parse().ok()?, id: id.into() })
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        <Self as prost::Message>::decode(bytes.clone()).ok()
    }
}

/// A received message that the consumer has not confirmed.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct InboxEntry {
    /// Stanza id.
    #[prost(string, tag = "1")]
    pub(crate) id: alloc::string::String,
    /// Chat JID.
    #[prost(string, tag = "2")]
    pub(crate) chat: alloc::string::String,
    /// Sender JID with device.
    #[prost(string, tag = "3")]
    pub(crate) sender: alloc::string::String,
    /// The sender's other identity.
    #[prost(string, optional, tag = "4")]
    pub(crate) sender_alt: Option<alloc::string::String>,
    /// We wrote it on another device.
    #[prost(bool, tag = "5")]
    pub(crate) from_me: bool,
    /// Unix seconds.
    #[prost(uint64, tag = "6")]
    pub(crate) timestamp: u64,
    /// The sender's own name for themselves.
    #[prost(string, optional, tag = "7")]
    pub(crate) push_name: Option<alloc::string::String>,
    /// Came from the backlog.
    #[prost(bool, tag = "8")]
    pub(crate) offline: bool,
    /// Encoded `Message`.
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw: Bytes,
}

impl core::fmt::Debug for InboxEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InboxEntry").field("id", &self.id).field("chat", &self.chat).finish_non_exhaustive()
    }
}

impl Record for InboxEntry {
    type Key = DeliveryId;

    const NAMESPACE: Namespace = Namespace::Inbox;

    fn key_text(key: &DeliveryId) -> Str {
        // Fixed width, so that text order is number order.
        format_compact!("{:016x}", key.0)
    }

    fn parse_key(text: &str) -> Option<DeliveryId> {
        u64::from_str_radix(text, 16).ok().map(DeliveryId)
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        <Self as prost::Message>::decode(bytes.clone()).ok()
    }
}

/// A durable send whose answer is not known.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct OutboxEntry {
    /// The caller's reference.
    #[prost(string, tag = "1")]
    pub(crate) reference: alloc::string::String,
    /// Stanza id.
    #[prost(string, tag = "2")]
    pub(crate) id: alloc::string::String,
    /// Chat JID, as addressed.
    #[prost(string, tag = "3")]
    pub(crate) chat: alloc::string::String,
    /// The encoded stanza, ciphertexts included; the same bytes are sent again.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) stanza: Bytes,
    /// Devices it goes to.
    #[prost(uint32, tag = "5")]
    pub(crate) devices: u32,
    /// Order among all durable sends.
    #[prost(uint64, tag = "6")]
    pub(crate) place: u64,
}

impl core::fmt::Debug for OutboxEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OutboxEntry").field("id", &self.id).finish_non_exhaustive()
    }
}

impl OutboxEntry {
    /// The stanza goes out as it is, again and again until it is answered: better no stanza than one that no server reads.
    fn is_sound(&self) -> bool {
        let node = self.stanza.get(LENGTH_BYTES + 1..).unwrap_or_default();
        Document::parse(node, &NodeLimits::default()).is_ok_and(|document| document.root().tag() == "message")
            && self.chat.parse::<Jid>().is_ok()
    }
}

impl Record for OutboxEntry {
    type Key = Str;

    const NAMESPACE: Namespace = Namespace::Outbox;

    fn key_text(key: &Str) -> Str {
        key.to_compact_string()
    }

    fn parse_key(text: &str) -> Option<Str> {
        Some(text.into())
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        <Self as prost::Message>::decode(bytes.clone()).ok().filter(Self::is_sound)
    }
}
