//! Signal records: sessions, identities, prekeys.

use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::ToCompactString as _;

use super::jid_text;
use crate::crypto::PublicKey;
use crate::signal;
use crate::store::{Namespace, record::Record};
use crate::wire::{Jid, Str};

/// A Signal session with one device. Named by the canonical JID: the LID when one is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session(pub(crate) signal::SessionRecord);

impl Record for Session {
    type Key = Jid;

    const NAMESPACE: Namespace = Namespace::Session;

    fn key_text(key: &Jid) -> Str {
        jid_text(key)
    }

    fn parse_key(text: &str) -> Option<Jid> {
        text.parse().ok()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        signal::SessionRecord::decode(bytes).ok().map(Self)
    }
}

/// The Signal identity key of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(pub(crate) PublicKey);

impl Record for Identity {
    type Key = Jid;

    const NAMESPACE: Namespace = Namespace::Identity;

    fn key_text(key: &Jid) -> Str {
        jid_text(key)
    }

    fn parse_key(text: &str) -> Option<Jid> {
        text.parse().ok()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.typed().to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        PublicKey::from_typed(bytes).ok().map(Self)
    }
}

/// A private one-time prekey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PreKey(pub(crate) signal::PreKeyRecord);

impl Record for PreKey {
    type Key = u32;

    const NAMESPACE: Namespace = Namespace::PreKey;

    fn key_text(key: &u32) -> Str {
        key.to_compact_string()
    }

    fn parse_key(text: &str) -> Option<u32> {
        text.parse().ok()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        signal::PreKeyRecord::decode(bytes).ok().map(Self)
    }
}

/// A private signed prekey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignedPreKey(pub(crate) signal::SignedPreKeyRecord);

impl Record for SignedPreKey {
    type Key = u32;

    const NAMESPACE: Namespace = Namespace::SignedPreKey;

    fn key_text(key: &u32) -> Str {
        key.to_compact_string()
    }

    fn parse_key(text: &str) -> Option<u32> {
        text.parse().ok()
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        signal::SignedPreKeyRecord::decode(bytes).ok().map(Self)
    }
}

/// Names the sender keys of one device in one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SenderKeyName {
    /// Group, or `status@broadcast`.
    pub(crate) group: Jid,
    /// Canonical name of the sending device.
    pub(crate) sender: Jid,
}

/// The sender keys of one device in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SenderKey(pub(crate) signal::SenderKeyRecord);

impl Record for SenderKey {
    type Key = SenderKeyName;

    const NAMESPACE: Namespace = Namespace::SenderKey;

    fn key_text(key: &SenderKeyName) -> Str {
        compact_str::format_compact!("{}|{}", key.group, key.sender)
    }

    fn parse_key(text: &str) -> Option<SenderKeyName> {
        let (group, sender) = text.split_once('|')?;
        Some(SenderKeyName { group: group.parse().ok()?, sender: sender.parse().ok()? })
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        signal::SenderKeyRecord::decode(bytes).ok().map(Self)
    }
}
