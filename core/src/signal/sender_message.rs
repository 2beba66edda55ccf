//! Sender-key messages on the wire: the distribution message and `skmsg` (`protocol/signal.md` §6).

use alloc::vec::Vec;

use super::chain::Secret;
use super::error::SignalError;
use super::message::{VERSION_BYTE, after_version, required_key};
use super::proto::{fields, put_bytes, put_u32};
use crate::crypto::{PrivateKey, PublicKey, xeddsa};

/// A parsed SenderKeyDistributionMessage: what a member needs to read a sender's messages from here on. Authentic only
/// as far as the pairwise message around it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Distribution {
    /// Names the key.
    pub key_id: u32,
    /// The number of the next message.
    pub iteration: u32,
    /// Checks the signatures of messages.
    pub signing_key: PublicKey,
    pub(super) chain_key: Secret,
}

impl Distribution {
    /// Parses the bytes of `axolotlSenderKeyDistributionMessage`.
    ///
    /// # Errors
    /// [`SignalError::LegacyVersion`], [`SignalError::UnknownVersion`], [`SignalError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let (mut key_id, mut iteration, mut chain_key, mut signing_key) = (None, None, None, None);
        for field in fields(after_version(bytes)?) {
            match field? {
                (1, value) => key_id = Some(value.u32()?),
                (2, value) => iteration = Some(value.u32()?),
                (3, value) => chain_key = Some(Secret(value.array()?)),
                (4, value) => signing_key = Some(value.bytes()?),
                _ => {}
            }
        }
        Ok(Self {
            key_id: key_id.ok_or(SignalError::Malformed("key id"))?,
            iteration: iteration.ok_or(SignalError::Malformed("iteration"))?,
            signing_key: required_key(signing_key, "signing key")?,
            chain_key: chain_key.ok_or(SignalError::Malformed("chain key"))?,
        })
    }

    /// The bytes. They contain the chain key: whoever has them can read what is sent from here on.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.push(VERSION_BYTE);
        put_u32(&mut out, 1, self.key_id);
        put_u32(&mut out, 2, self.iteration);
        put_bytes(&mut out, 3, &self.chain_key.0);
        put_bytes(&mut out, 4, &self.signing_key.typed());
        out
    }
}

/// A parsed SenderKeyMessage (`skmsg`), borrowed from the bytes it came in. Not yet authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenderKeyMessage<'a> {
    /// Which sender key.
    pub key_id: u32,
    /// The message's number. Some clients number 0, 2, 3, … or 0, 2, 4, …; nothing may be concluded from gaps.
    pub iteration: u32,
    /// AES-256-CBC.
    pub ciphertext: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8; xeddsa::SIGNATURE_LEN],
}

impl<'a> SenderKeyMessage<'a> {
    /// Parses the bytes of an `<enc type="skmsg">`.
    ///
    /// # Errors
    /// [`SignalError::LegacyVersion`], [`SignalError::UnknownVersion`], [`SignalError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SignalError> {
        after_version(bytes)?;
        let (signed, signature) = bytes.split_last_chunk().ok_or(SignalError::Malformed("too short"))?;
        let body = signed.get(1..).ok_or(SignalError::Malformed("too short"))?;
        let (mut key_id, mut iteration, mut ciphertext) = (None, None, None);
        for field in fields(body) {
            match field? {
                (1, value) => key_id = Some(value.u32()?),
                (2, value) => iteration = Some(value.u32()?),
                (3, value) => ciphertext = Some(value.bytes()?),
                _ => {}
            }
        }
        Ok(Self {
            key_id: key_id.ok_or(SignalError::Malformed("key id"))?,
            iteration: iteration.ok_or(SignalError::Malformed("iteration"))?,
            ciphertext: ciphertext.ok_or(SignalError::Malformed("ciphertext"))?,
            signed,
            signature,
        })
    }

    #[allow(unexpected_cfgs, reason = "set by cargo-fuzz")]
    pub(super) fn verify(&self, signing_key: &PublicKey) -> bool {
        // A fuzzer cannot make signatures; without this it would never get past them.
        cfg!(fuzzing) || xeddsa::verify(signing_key, &[self.signed], self.signature)
    }

    pub(super) fn build(
        key_id: u32,
        iteration: u32,
        ciphertext: &[u8],
        signing_key: &PrivateKey,
        random: &[u8; 64],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(ciphertext.len() + 24 + xeddsa::SIGNATURE_LEN);
        out.push(VERSION_BYTE);
        put_u32(&mut out, 1, key_id);
        put_u32(&mut out, 2, iteration);
        put_bytes(&mut out, 3, ciphertext);
        let signature = xeddsa::sign(signing_key, &[&out], random);
        out.extend_from_slice(&signature);
        out
    }
}
