//! Sender keys: one sender's messages to a group (`protocol/signal.md` §6, §8.1).

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::chain::{Chain, KeySource, STORED_KEY, Secret, Skipped, SkippedKey, put_chain, put_skipped, read_chain};
use super::error::{ChainId, SignalError};
use super::limits::{FORWARD_JUMP_SENDER_KEY, SENDER_KEY_STATES};
use super::proto::{BadProto, Value, fields, put_bytes, put_message, put_u32};
use super::sender_message::{Distribution, SenderKeyMessage};
use super::state::key;
use crate::crypto::{KeyPair, PrivateKey, PublicKey, Rng, cipher, kdf};

/// The sender keys of one sender in one group: at most [`SENDER_KEY_STATES`] states, newest first. Our own record has
/// one state; to rotate it, [`Self::create`] a new record.
///
/// Equality and hash are of the contents. Secrets are wiped when dropped and never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SenderKeyRecord {
    states: Vec<SenderKeyState>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct SenderKeyState {
    key_id: u32,
    chain: Chain,
    signing_key: PublicKey,
    /// Only for our own.
    signing_private: Option<PrivateKey>,
    skipped: Skipped,
}

/// What [`SenderKeyRecord::process_distribution`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distributed {
    /// A new key.
    Added,
    /// The key was there already, and stays where it is: it is not rewound.
    Known,
    /// A key of the same id but another signing key was there, and is replaced.
    Replaced,
}

impl SenderKeyRecord {
    /// A record without keys.
    #[must_use]
    pub const fn new() -> Self {
        Self { states: Vec::new() }
    }

    /// A record with a fresh key of our own: random 31-bit id, iteration 0.
    pub fn create(rng: &mut Rng) -> Self {
        let key_id = u32::from_be_bytes(rng.bytes()) >> 1;
        let chain_key = Secret(rng.bytes());
        Self::create_with(key_id, chain_key, KeyPair::generate(rng))
    }

    pub(super) fn create_with(key_id: u32, chain_key: Secret, signing: KeyPair) -> Self {
        let state = SenderKeyState {
            key_id,
            chain: Chain::start(chain_key),
            signing_key: signing.public,
            signing_private: Some(signing.private),
            skipped: Skipped::default(),
        };
        Self { states: alloc::vec![state] }
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The ids of the keys, newest first.
    pub fn key_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.states.iter().map(|state| state.key_id)
    }

    /// The iteration of the next message of the newest key.
    #[must_use]
    pub fn next_iteration(&self) -> Option<u32> {
        self.states.first().map(|state| state.chain.index)
    }

    /// The distribution message of the newest key: it covers the messages encrypted after this call, not before, so
    /// make it before the message it travels with is encrypted.
    ///
    /// # Errors
    /// [`SignalError::CannotSend`] without a key of our own.
    pub fn distribution(&self) -> Result<Distribution, SignalError> {
        let state = self.states.first().filter(|state| state.signing_private.is_some());
        let state = state.ok_or(SignalError::CannotSend)?;
        Ok(Distribution {
            key_id: state.key_id,
            iteration: state.chain.index,
            signing_key: state.signing_key,
            chain_key: state.chain.key.clone(),
        })
    }

    /// Takes a key that the sender distributed. A key that is there is kept where it is: distributing it again neither
    /// rewinds it nor loses skipped keys. The key becomes the newest; beyond [`SENDER_KEY_STATES`] the oldest is dropped.
    pub fn process_distribution(&mut self, distribution: &Distribution) -> Distributed {
        let same_id = self.states.iter().position(|state| state.key_id == distribution.key_id);
        let same = self
            .states
            .iter()
            .position(|state| state.key_id == distribution.key_id && state.signing_key == distribution.signing_key);
        if let Some(position) = same {
            self.states[..=position].rotate_right(1);
            return Distributed::Known;
        }
        self.states.retain(|state| state.key_id != distribution.key_id);
        self.states.truncate(SENDER_KEY_STATES - 1);
        let state = SenderKeyState {
            key_id: distribution.key_id,
            chain: Chain { index: distribution.iteration, key: distribution.chain_key.clone() },
            signing_key: distribution.signing_key,
            signing_private: None,
            skipped: Skipped::default(),
        };
        self.states.insert(0, state);
        if same_id.is_some() { Distributed::Replaced } else { Distributed::Added }
    }

    /// Encrypts the next message (`skmsg`) with the newest key, which must be our own. The advanced record must be
    /// durable before the bytes leave. `plaintext` is the WhatsApp-padded message.
    ///
    /// # Errors
    /// [`SignalError::CannotSend`] without a key of our own, [`SignalError::CounterExhausted`] after 2^32−1 messages.
    pub fn encrypt(&mut self, plaintext: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
        self.encrypt_with(plaintext, || rng.bytes())
    }

    /// [`Self::encrypt`] with the source of the signature's randomness given; it is asked only on success.
    pub(super) fn encrypt_with(
        &mut self,
        plaintext: &[u8],
        random: impl FnOnce() -> [u8; 64],
    ) -> Result<Vec<u8>, SignalError> {
        let state = self.states.first_mut().ok_or(SignalError::CannotSend)?;
        let signing = state.signing_private.as_ref().ok_or(SignalError::CannotSend)?;
        let next = state.chain.next()?;
        let random = Zeroizing::new(random());
        let ciphertext = GroupKeys::of(&state.chain.seed()).encrypt(plaintext);
        let message = SenderKeyMessage::build(state.key_id, state.chain.index, &ciphertext, signing, &random);
        state.chain = next;
        Ok(message)
    }

    /// Decrypts a parsed `skmsg`. The signature is checked before anything is derived.
    ///
    /// # Errors
    /// [`SignalError::NoSenderKey`], [`SignalError::BadSignature`], [`SignalError::Duplicate`],
    /// [`SignalError::FutureMessage`], [`SignalError::CounterExhausted`], [`SignalError::InvalidMessage`].
    /// The record is unchanged.
    pub fn decrypt(&mut self, message: &SenderKeyMessage<'_>) -> Result<Vec<u8>, SignalError> {
        let key_id = message.key_id;
        let state = self.states.iter_mut().find(|state| state.key_id == key_id);
        let state = state.ok_or(SignalError::NoSenderKey(key_id))?;
        if !message.verify(&state.signing_key) {
            return Err(SignalError::BadSignature);
        }
        let (chain, limit) = (Some(&state.chain), FORWARD_JUMP_SENDER_KEY);
        let found = Chain::seek(chain, &state.skipped, message.iteration, limit, ChainId::SenderKey(key_id))?;
        let KeySource::Seed(seed) = &found.keys else { return Err(SignalError::InvalidMessage) };
        let plaintext = GroupKeys::of(seed).decrypt(message.ciphertext)?;
        let mut chain = None;
        found.advance.apply(&mut chain, &mut state.skipped);
        if let Some(chain) = chain {
            state.chain = chain;
        }
        Ok(plaintext)
    }

    /// Reads a stored record: SenderKeyRecordStructure, as this library and the official one write it.
    ///
    /// Unknown fields and states beyond [`SENDER_KEY_STATES`] are dropped.
    ///
    /// # Errors
    /// [`SignalError::InvalidRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let mut record = Self::new();
        for field in fields(bytes) {
            let state = match field.map_err(|_| SignalError::InvalidRecord("sender key"))? {
                (1, value) => read_state(value).map_err(|_| SignalError::InvalidRecord("sender key"))?,
                _ => continue,
            };
            if record.states.len() < SENDER_KEY_STATES {
                record.states.push(state);
            }
        }
        Ok(record)
    }

    /// The storage form. Contains chain keys, and the private signing key of an own record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bound = self.states.iter().map(|state| 256 + state.skipped.len() * STORED_KEY).sum();
        let mut out = Vec::with_capacity(bound);
        for state in &self.states {
            put_message(&mut out, 1, |out| state.encode_into(out));
        }
        out
    }
}

impl SenderKeyState {
    fn encode_into(&self, out: &mut Vec<u8>) {
        put_u32(out, 1, self.key_id);
        put_message(out, 2, |out| put_chain(out, &self.chain));
        put_message(out, 3, |out| {
            put_bytes(out, 1, &self.signing_key.typed());
            if let Some(private) = &self.signing_private {
                put_bytes(out, 2, private.expose());
            }
        });
        // Oldest first here: the official library drops from the front.
        for key in self.skipped.iter() {
            put_message(out, 4, |out| put_skipped(out, key, 2));
        }
        put_u32(out, 5, 3);
    }
}

fn read_state(value: Value<'_>) -> Result<SenderKeyState, BadProto> {
    let (mut key_id, mut chain, mut signing_key, mut signing_private) = (0, None, None, None);
    let (mut skipped, mut version) = (Vec::new(), 0);
    for field in fields(value.bytes()?) {
        match field? {
            (1, value) => key_id = value.u32()?,
            (2, value) => chain = read_chain(fields(value.bytes()?))?,
            (3, value) => {
                for field in fields(value.bytes()?) {
                    match field? {
                        (1, value) => signing_key = Some(key(value)?),
                        (2, value) if value.bytes()?.is_empty() => {}
                        (2, value) => {
                            signing_private = Some(PrivateKey::from_slice(value.bytes()?).map_err(|_| BadProto)?);
                        }
                        _ => {}
                    }
                }
            }
            (4, value) => {
                let (mut index, mut seed) = (0, None);
                for field in fields(value.bytes()?) {
                    match field? {
                        (1, value) => index = value.u32()?,
                        (2, value) => seed = Some(Secret(value.array()?)),
                        _ => {}
                    }
                }
                skipped.push(SkippedKey { index, keys: KeySource::Seed(seed.ok_or(BadProto)?) });
            }
            (5, value) => version = value.u32()?,
            _ => {}
        }
    }
    if version != 0 && version != 3 {
        return Err(BadProto);
    }
    Ok(SenderKeyState {
        key_id,
        chain: chain.ok_or(BadProto)?,
        signing_key: signing_key.ok_or(BadProto)?,
        signing_private,
        skipped: Skipped::from_stored(skipped),
    })
}

/// The keys of one group message: `iv[16] ‖ cipher[32]`.
struct GroupKeys(Zeroizing<[u8; 48]>);

impl GroupKeys {
    fn of(seed: &Secret) -> Self {
        Self(Zeroizing::new(kdf::hkdf_sha256::<48>(None, &seed.0, b"WhisperGroup")))
    }

    fn parts(&self) -> ([u8; 16], Zeroizing<[u8; 32]>) {
        let (mut iv, mut key) = ([0; 16], Zeroizing::new([0; 32]));
        iv.copy_from_slice(&self.0[..16]);
        key.copy_from_slice(&self.0[16..]);
        (iv, key)
    }

    fn encrypt(&self, plaintext: &[u8]) -> Vec<u8> {
        let (iv, key) = self.parts();
        cipher::cbc_encrypt(&key, &iv, plaintext)
    }

    fn decrypt(&self, ciphertext: &[u8]) -> Result<Vec<u8>, SignalError> {
        let (iv, key) = self.parts();
        cipher::cbc_decrypt(&key, &iv, ciphertext).map_err(|_| SignalError::InvalidMessage)
    }
}

impl fmt::Debug for SenderKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.states.iter().map(|state| (state.key_id, state.chain.index, state.skipped.len()));
        f.debug_struct("SenderKeyRecord").field("id_iteration_skipped", &states.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by the sender, so believed, and yet no ciphertext: the key is not used up by it.
    #[test]
    fn authentic_but_undecryptable() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut own = SenderKeyRecord::create(&mut rng);
        let mut theirs = SenderKeyRecord::new();
        theirs.process_distribution(&own.distribution().unwrap());
        let before = theirs.clone();
        let private = own.states[0].signing_private.clone().unwrap();
        for len in [0, 15, 16, 17] {
            let bad = SenderKeyMessage::build(own.states[0].key_id, 3, &[9; 17][..len], &private, &[0; 64]);
            let result = theirs.decrypt(&SenderKeyMessage::parse(&bad).unwrap());
            assert_eq!(result, Err(SignalError::InvalidMessage), "{len}");
            assert!(theirs == before);
        }
        let good = own.encrypt(b"x", &mut rng).unwrap();
        assert_eq!(theirs.decrypt(&SenderKeyMessage::parse(&good).unwrap()).unwrap(), b"x");
    }
}
