//! One session, and its storage form: field-compatible with the official SessionStructure (`protocol/signal.md` §8.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::chain::{
    Chain, DerivedKeys, KeySource, STORED_KEY, Secret, Skipped, SkippedKey, put_chain, put_skipped, read_chain,
};
use super::error::SignalError;
use super::limits::RECEIVER_CHAINS;
use super::proto::{BadProto, Value, fields, put_bytes, put_message, put_u32, put_u32_nonzero, put_varint};
use crate::crypto::{KeyPair, PrivateKey, PublicKey};

/// The version of every session here.
const SESSION_VERSION: u32 = 3;

/// A session with one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SessionState {
    pub(super) local_identity: PublicKey,
    pub(super) remote_identity: PublicKey,
    pub(super) root: Secret,
    pub(super) previous_counter: u32,
    /// Missing only in imported sessions.
    pub(super) sender: Option<SenderChain>,
    /// Oldest first.
    pub(super) receivers: Vec<ReceiverChain>,
    /// While set, we send prekey messages.
    pub(super) pending: Option<PendingPreKey>,
    pub(super) remote_registration_id: u32,
    pub(super) local_registration_id: u32,
    /// The initiator's base key: the session's name.
    pub(super) base_key: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SenderChain {
    pub(super) pair: KeyPair,
    /// `None` only in imported sessions: the next message received makes one.
    pub(super) chain: Option<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ReceiverChain {
    pub(super) ratchet_key: PublicKey,
    /// `None`: closed, only skipped keys are left.
    pub(super) chain: Option<Chain>,
    pub(super) skipped: Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PendingPreKey {
    pub(super) pre_key_id: Option<u32>,
    pub(super) signed_pre_key_id: u32,
    pub(super) base_key: PublicKey,
    /// Unix seconds. Kept for the official library, which uses it; 0 in sessions made here.
    pub(super) timestamp: u64,
}

impl SessionState {
    pub(super) fn can_send(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.chain.is_some())
    }

    /// An upper bound of the encoded length, so that the buffer never grows (and leaves no copy of keys behind).
    pub(super) fn encoded_bound(&self) -> usize {
        let chains: usize = self.receivers.iter().map(|chain| 128 + chain.skipped.len() * STORED_KEY).sum();
        chains + 512
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bound());
        self.encode_into(&mut out);
        out
    }

    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        put_u32(out, 1, SESSION_VERSION);
        put_bytes(out, 2, &self.local_identity.typed());
        put_bytes(out, 3, &self.remote_identity.typed());
        put_bytes(out, 4, &self.root.0);
        put_u32_nonzero(out, 5, self.previous_counter);
        if let Some(sender) = &self.sender {
            put_message(out, 6, |out| {
                put_bytes(out, 1, &sender.pair.public.typed());
                put_bytes(out, 2, sender.pair.private.expose());
                if let Some(chain) = &sender.chain {
                    put_message(out, 3, |out| put_chain(out, chain));
                }
            });
        }
        for receiver in &self.receivers {
            put_message(out, 7, |out| {
                put_bytes(out, 1, &receiver.ratchet_key.typed());
                if let Some(chain) = &receiver.chain {
                    put_message(out, 3, |out| put_chain(out, chain));
                }
                // Newest first: the official library drops from the end.
                for key in receiver.skipped.iter().rev() {
                    put_message(out, 4, |out| put_skipped(out, key, 5));
                }
            });
        }
        if let Some(pending) = &self.pending {
            put_message(out, 9, |out| {
                if let Some(id) = pending.pre_key_id {
                    put_u32(out, 1, id);
                }
                put_bytes(out, 2, &pending.base_key.typed());
                // An int32: ids of 2^31 and more, which are not ours, would be sign-extended.
                put_varint(out, 3, i64::from(pending.signed_pre_key_id.cast_signed()).cast_unsigned());
                if pending.timestamp != 0 {
                    put_varint(out, 4, pending.timestamp);
                }
            });
        }
        put_u32_nonzero(out, 10, self.remote_registration_id);
        put_u32_nonzero(out, 11, self.local_registration_id);
        put_bytes(out, 13, &self.base_key.typed());
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let bad = |_: BadProto| SignalError::InvalidRecord("session");
        let mut version = 0;
        let (mut local, mut remote, mut root, mut base) = (None, None, None, None);
        let (mut sender, mut pending) = (None, None);
        let mut receivers: Vec<ReceiverChain> = Vec::new();
        let (mut previous_counter, mut remote_registration_id, mut local_registration_id) = (0, 0, 0);
        for field in fields(bytes) {
            match field.map_err(bad)? {
                (1, value) => version = value.u32().map_err(bad)?,
                (2, value) => local = Some(key(value).map_err(bad)?),
                (3, value) => remote = Some(key(value).map_err(bad)?),
                (4, value) => root = Some(Secret(value.array().map_err(bad)?)),
                (5, value) => previous_counter = value.u32().map_err(bad)?,
                (6, value) => sender = read_sender(value).map_err(bad)?,
                (7, value) => receivers.push(read_receiver(value).map_err(bad)?),
                (9, value) => pending = Some(read_pending(value).map_err(bad)?),
                (10, value) => remote_registration_id = value.u32().map_err(bad)?,
                (11, value) => local_registration_id = value.u32().map_err(bad)?,
                (13, value) => base = Some(key(value).map_err(bad)?),
                _ => {}
            }
        }
        if version != SESSION_VERSION {
            return Err(SignalError::InvalidRecord("session version"));
        }
        receivers.drain(..receivers.len().saturating_sub(RECEIVER_CHAINS));
        let missing = SignalError::InvalidRecord("incomplete session");
        Ok(Self {
            local_identity: local.ok_or(missing)?,
            remote_identity: remote.ok_or(missing)?,
            root: root.ok_or(missing)?,
            previous_counter,
            sender,
            receivers,
            pending,
            remote_registration_id,
            local_registration_id,
            base_key: base.ok_or(missing)?,
        })
    }
}

/// The base key of an encoded session, without decoding the rest.
pub(super) fn stored_base_key(session: &[u8]) -> Option<PublicKey> {
    let field = fields(session).filter_map(Result::ok).filter(|(tag, _)| *tag == 13).last();
    field.and_then(|(_, value)| key(value).ok())
}

/// A stored `05 ‖ key`.
pub(super) fn key(value: Value<'_>) -> Result<PublicKey, BadProto> {
    PublicKey::from_typed(value.bytes()?).map_err(|_| BadProto)
}

fn read_sender(value: Value<'_>) -> Result<Option<SenderChain>, BadProto> {
    let (mut public, mut private, mut chain) = (None, None, None);
    for field in fields(value.bytes()?) {
        match field? {
            (1, value) => public = Some(key(value)?),
            (2, value) => private = Some(PrivateKey::from_slice(value.bytes()?).map_err(|_| BadProto)?),
            (3, value) => chain = read_chain(fields(value.bytes()?))?,
            _ => {}
        }
    }
    Ok(public.zip(private).map(|(public, private)| SenderChain { pair: KeyPair { public, private }, chain }))
}

fn read_receiver(value: Value<'_>) -> Result<ReceiverChain, BadProto> {
    let (mut ratchet_key, mut chain, mut skipped) = (None, None, Vec::new());
    for field in fields(value.bytes()?) {
        match field? {
            (1, value) => ratchet_key = Some(key(value)?),
            (3, value) => chain = read_chain(fields(value.bytes()?))?,
            (4, value) => skipped.push(read_message_key(value)?),
            _ => {}
        }
    }
    Ok(ReceiverChain { ratchet_key: ratchet_key.ok_or(BadProto)?, chain, skipped: Skipped::from_stored(skipped) })
}

fn read_message_key(value: Value<'_>) -> Result<SkippedKey, BadProto> {
    let mut index = 0;
    let mut seed = None;
    let mut derived = [0; 80];
    let mut parts = 0;
    for field in fields(value.bytes()?) {
        let (tag, value) = field?;
        let range = match tag {
            1 => {
                index = value.u32()?;
                continue;
            }
            2 => 0..32,
            3 => 32..64,
            4 => 64..80,
            5 if !value.bytes()?.is_empty() => {
                seed = Some(Secret(value.array()?));
                continue;
            }
            _ => continue,
        };
        match value.bytes()? {
            [] => {}
            part if part.len() == range.len() => {
                derived[range].copy_from_slice(part);
                parts |= 1 << tag;
            }
            _ => return Err(BadProto),
        }
    }
    let keys = match seed {
        Some(seed) => KeySource::Seed(seed),
        None if parts == 0b11100 => KeySource::Derived(Box::new(DerivedKeys(derived))),
        None => return Err(BadProto),
    };
    Ok(SkippedKey { index, keys })
}

fn read_pending(value: Value<'_>) -> Result<PendingPreKey, BadProto> {
    let (mut pre_key_id, mut signed_pre_key_id, mut base_key, mut timestamp) = (None, 0, None, 0);
    for field in fields(value.bytes()?) {
        match field? {
            (1, value) => pre_key_id = Some(value.u32()?),
            (2, value) => base_key = Some(key(value)?),
            (3, value) => signed_pre_key_id = value.u32()?,
            (4, value) => timestamp = value.u64()?,
            _ => {}
        }
    }
    Ok(PendingPreKey { pre_key_id, signed_pre_key_id, base_key: base_key.ok_or(BadProto)?, timestamp })
}
