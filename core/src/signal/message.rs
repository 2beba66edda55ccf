//! The pairwise messages on the wire: WhisperMessage (`msg`) and PreKeyWhisperMessage (`pkmsg`).

use alloc::vec::Vec;

use super::chain::MessageKeys;
use super::error::SignalError;
use super::limits::MAC_LEN;
use super::proto::{BadProto, fields, put_bytes, put_u32};
use crate::crypto::{PublicKey, equal, mac};

/// First byte of every message we send: version 3, and 3 is the highest we know.
pub(super) const VERSION_BYTE: u8 = 0x33;
const VERSION: u8 = 3;

impl From<BadProto> for SignalError {
    fn from(_: BadProto) -> Self {
        Self::Malformed("protobuf")
    }
}

/// Checks the version in front, and gives what follows. Only the high nibble counts (`protocol/signal.md` §3.3).
pub(super) fn after_version(bytes: &[u8]) -> Result<&[u8], SignalError> {
    let (first, rest) = bytes.split_first().ok_or(SignalError::Malformed("empty"))?;
    match first >> 4 {
        VERSION => Ok(rest),
        old @ ..VERSION => Err(SignalError::LegacyVersion(old)),
        new => Err(SignalError::UnknownVersion(new)),
    }
}

/// A required 33-byte key.
pub(super) fn required_key(key: Option<&[u8]>, name: &'static str) -> Result<PublicKey, SignalError> {
    PublicKey::from_typed(key.ok_or(SignalError::Malformed(name))?).map_err(|_| SignalError::Malformed(name))
}

/// Which message, as the `type` of `<enc>` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CiphertextKind {
    /// `msg`: the peer is known to have the session.
    Message,
    /// `pkmsg`: carries what the peer needs to make the session.
    PreKey,
}

impl CiphertextKind {
    /// The value of `<enc type>`.
    #[must_use]
    pub const fn enc_type(self) -> &'static str {
        match self {
            Self::Message => "msg",
            Self::PreKey => "pkmsg",
        }
    }
}

/// An encrypted message, ready for `<enc>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ciphertext {
    /// Which message.
    pub kind: CiphertextKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A parsed WhisperMessage, borrowed from the bytes it came in (`protocol/signal.md` §3.1). Not yet authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalMessage<'a> {
    /// The sender's ratchet key: names the chain.
    pub ratchet_key: PublicKey,
    /// The message's number on its chain, from 0.
    pub counter: u32,
    /// Number of the last message on the sender's chain before this one. Some clients send 2^32−1 for "none"; ignored.
    pub previous_counter: u32,
    /// AES-256-CBC.
    pub ciphertext: &'a [u8],
    /// What the MAC covers, as received: version byte and protobuf, unknown fields included.
    authenticated: &'a [u8],
    mac: [u8; MAC_LEN],
}

impl<'a> SignalMessage<'a> {
    /// Parses the bytes of an `<enc type="msg">`.
    ///
    /// # Errors
    /// [`SignalError::LegacyVersion`], [`SignalError::UnknownVersion`], [`SignalError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignalError> {
        after_version(bytes)?;
        let (authenticated, mac) = bytes.split_last_chunk().ok_or(SignalError::Malformed("too short"))?;
        let body = authenticated.get(1..).ok_or(SignalError::Malformed("too short"))?;
        let (mut ratchet_key, mut counter, mut previous_counter, mut ciphertext) = (None, None, 0, None);
        for field in fields(body) {
            match field? {
                (1, value) => ratchet_key = Some(value.bytes()?),
                (2, value) => counter = Some(value.u32()?),
                (3, value) => previous_counter = value.u32()?,
                (4, value) => ciphertext = Some(value.bytes()?),
                _ => {}
            }
        }
        Ok(Self {
            ratchet_key: required_key(ratchet_key, "ratchet key")?,
            counter: counter.ok_or(SignalError::Malformed("counter"))?,
            previous_counter,
            ciphertext: ciphertext.ok_or(SignalError::Malformed("ciphertext"))?,
            authenticated,
            mac: *mac,
        })
    }

    /// Whether the MAC is right, from `sender` to `receiver`. Constant time.
    #[allow(unexpected_cfgs, reason = "set by cargo-fuzz")]
    pub(super) fn verify(&self, keys: &MessageKeys, sender: &PublicKey, receiver: &PublicKey) -> bool {
        // A fuzzer cannot make MACs; without this it would never get past them.
        cfg!(fuzzing) || equal(&message_mac(keys, sender, receiver, self.authenticated), &self.mac)
    }

    /// Builds a message from `sender` (us) to `receiver`.
    pub(super) fn build(
        keys: &MessageKeys,
        sender: &PublicKey,
        receiver: &PublicKey,
        ratchet_key: &PublicKey,
        [counter, previous_counter]: [u32; 2],
        plaintext: &[u8],
    ) -> Vec<u8> {
        Self::frame(keys, sender, receiver, ratchet_key, [counter, previous_counter], &keys.encrypt(plaintext))
    }

    /// [`Self::build`] around a ciphertext.
    pub(super) fn frame(
        keys: &MessageKeys,
        sender: &PublicKey,
        receiver: &PublicKey,
        ratchet_key: &PublicKey,
        [counter, previous_counter]: [u32; 2],
        ciphertext: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(ciphertext.len() + 64 + MAC_LEN);
        out.push(VERSION_BYTE);
        put_bytes(&mut out, 1, &ratchet_key.typed());
        put_u32(&mut out, 2, counter);
        put_u32(&mut out, 3, previous_counter);
        put_bytes(&mut out, 4, ciphertext);
        let mac = message_mac(keys, sender, receiver, &out);
        out.extend_from_slice(&mac);
        out
    }
}

fn message_mac(keys: &MessageKeys, sender: &PublicKey, receiver: &PublicKey, message: &[u8]) -> [u8; MAC_LEN] {
    let full = mac::hmac_sha256(keys.mac_key(), &[&sender.typed(), &receiver.typed(), message]);
    let mut out = [0; MAC_LEN];
    out.copy_from_slice(&full[..MAC_LEN]);
    out
}

/// A parsed PreKeyWhisperMessage, borrowed from the bytes it came in (`protocol/signal.md` §3.2). Its outer fields
/// are never authenticated by themselves: they are right if the inner message decrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PreKeyMessage<'a> {
    /// Registration id of the sender; 0 when it says none.
    pub registration_id: u32,
    /// Id of our one-time prekey it used. `None` also when the field is 0, which is no usable id.
    pub pre_key_id: Option<u32>,
    /// Id of our signed prekey it used.
    pub signed_pre_key_id: u32,
    /// The sender's base key: names the session.
    pub base_key: PublicKey,
    /// The sender's identity, as it claims.
    pub identity_key: PublicKey,
    /// The message inside.
    pub message: SignalMessage<'a>,
}

impl<'a> PreKeyMessage<'a> {
    /// Parses the bytes of an `<enc type="pkmsg">`.
    ///
    /// # Errors
    /// [`SignalError::LegacyVersion`], [`SignalError::UnknownVersion`], [`SignalError::Malformed`], also for the
    /// message inside.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignalError> {
        let body = after_version(bytes)?;
        let (mut pre_key_id, mut base_key, mut identity_key, mut message) = (0, None, None, None);
        let (mut registration_id, mut signed_pre_key_id) = (0, None);
        for field in fields(body) {
            match field? {
                (1, value) => pre_key_id = value.u32()?,
                (2, value) => base_key = Some(value.bytes()?),
                (3, value) => identity_key = Some(value.bytes()?),
                (4, value) => message = Some(value.bytes()?),
                (5, value) => registration_id = value.u32()?,
                (6, value) => signed_pre_key_id = Some(value.u32()?),
                _ => {}
            }
        }
        Ok(Self {
            registration_id,
            pre_key_id: (pre_key_id != 0).then_some(pre_key_id),
            signed_pre_key_id: signed_pre_key_id.ok_or(SignalError::Malformed("signed prekey id"))?,
            base_key: required_key(base_key, "base key")?,
            identity_key: required_key(identity_key, "identity key")?,
            message: SignalMessage::parse(message.ok_or(SignalError::Malformed("inner message"))?)?,
        })
    }
}

/// The outer fields of a prekey message that we send.
pub(super) struct PreKeyHeader<'a> {
    pub(super) registration_id: u32,
    pub(super) pre_key_id: Option<u32>,
    pub(super) signed_pre_key_id: u32,
    pub(super) base_key: &'a PublicKey,
    pub(super) identity_key: &'a PublicKey,
}

impl PreKeyHeader<'_> {
    /// Wraps a WhisperMessage.
    pub(super) fn wrap(&self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() + 100);
        out.push(VERSION_BYTE);
        if let Some(id) = self.pre_key_id {
            put_u32(&mut out, 1, id);
        }
        put_bytes(&mut out, 2, &self.base_key.typed());
        put_bytes(&mut out, 3, &self.identity_key.typed());
        put_bytes(&mut out, 4, message);
        put_u32(&mut out, 5, self.registration_id);
        put_u32(&mut out, 6, self.signed_pre_key_id);
        out
    }
}
