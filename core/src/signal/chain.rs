//! Symmetric chains: the same steps for ratchet chains and for sender keys (`protocol/signal.md` §3, §6).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::error::{ChainId, SignalError};
use super::limits::SKIPPED_KEYS;
use super::proto::{BadProto, Fields, put_bytes, put_u32};
use crate::crypto::{cipher, kdf, mac};

/// 32 secret bytes, wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub(super) struct Secret(pub(super) [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A chain: its key, and the number of the next message on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    pub(super) index: u32,
    pub(super) key: Secret,
}

impl Chain {
    pub(super) const fn start(key: Secret) -> Self {
        Self { index: 0, key }
    }

    /// The seed of the next message's keys.
    pub(super) fn seed(&self) -> Secret {
        Secret(mac::hmac_sha256(&self.key.0, &[&[1]]))
    }

    fn next_key(&self) -> Secret {
        Secret(mac::hmac_sha256(&self.key.0, &[&[2]]))
    }

    /// The chain after one message.
    pub(super) fn next(&self) -> Result<Self, SignalError> {
        let index = self.index.checked_add(1).ok_or(SignalError::CounterExhausted)?;
        Ok(Self { index, key: self.next_key() })
    }

    /// Looks up message `counter`, which may be on the chain ahead or among the `skipped`. Changes nothing.
    pub(super) fn seek(
        this: Option<&Self>,
        skipped: &Skipped,
        counter: u32,
        limit: u32,
        id: ChainId,
    ) -> Result<Found, SignalError> {
        if let Some(position) = skipped.position(counter) {
            return Ok(Found { keys: skipped.0[position].keys.clone(), advance: Advance::Skipped(position) });
        }
        // A chain without key is closed: only its skipped keys work.
        let chain = this.ok_or(SignalError::InvalidMessage)?;
        let Some(ahead) = counter.checked_sub(chain.index) else {
            return Err(SignalError::Duplicate { chain: id, counter });
        };
        if ahead > limit {
            return Err(SignalError::FutureMessage { ahead });
        }
        // Keep the chain keys and not the seeds: a forgery then costs one HMAC per message skipped and not two.
        let mut at = chain.clone();
        let mut passed = Vec::with_capacity((ahead as usize).min(SKIPPED_KEYS));
        for left in (1..=ahead).rev() {
            let next = at.next()?;
            if left as usize <= SKIPPED_KEYS {
                passed.push(at);
            }
            at = next;
        }
        let next = at.next()?;
        Ok(Found { keys: KeySource::Seed(at.seed()), advance: Advance::Forward { passed, next } })
    }
}

/// What [`Chain::seek`] found.
pub(super) struct Found {
    pub(super) keys: KeySource,
    pub(super) advance: Advance,
}

/// How a chain changes when the message that was sought proves authentic.
pub(super) enum Advance {
    /// The skipped key at this position is used up.
    Skipped(usize),
    /// The chain moves on, leaving keys behind.
    Forward {
        /// The chain at each message passed over, at most the newest [`SKIPPED_KEYS`].
        passed: Vec<Chain>,
        next: Chain,
    },
}

impl Advance {
    pub(super) fn apply(self, chain: &mut Option<Chain>, skipped: &mut Skipped) {
        match self {
            Self::Skipped(position) => skipped.remove(position),
            Self::Forward { passed, next } => {
                skipped.make_room(passed.len());
                skipped.0.extend(
                    passed.iter().map(|chain| SkippedKey { index: chain.index, keys: KeySource::Seed(chain.seed()) }),
                );
                *chain = Some(next);
            }
        }
    }
}

/// What a message's keys are derived from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KeySource {
    Seed(Secret),
    /// Keys as older versions of the official library stored them: cipher key, MAC key, IV.
    Derived(Box<DerivedKeys>),
}

#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub(super) struct DerivedKeys(pub(super) [u8; 80]);

impl fmt::Debug for DerivedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKeys(..)")
    }
}

/// The keys of one pairwise message: `cipher[32] ‖ mac[32] ‖ iv[16]`.
pub(super) struct MessageKeys(Zeroizing<[u8; 80]>);

impl MessageKeys {
    pub(super) fn of(source: &KeySource) -> Self {
        match source {
            KeySource::Seed(seed) => Self::of_seed(seed),
            KeySource::Derived(keys) => Self(Zeroizing::new(keys.0)),
        }
    }

    pub(super) fn of_seed(seed: &Secret) -> Self {
        Self(Zeroizing::new(kdf::hkdf_sha256::<80>(None, &seed.0, b"WhisperMessageKeys")))
    }

    fn part<const N: usize>(&self, from: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.0[from..from + N]);
        out
    }

    pub(super) fn encrypt(&self, plaintext: &[u8]) -> Vec<u8> {
        cipher::cbc_encrypt(&Zeroizing::new(self.part(0)), &self.part(64), plaintext)
    }

    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Result<Vec<u8>, SignalError> {
        cipher::cbc_decrypt(&Zeroizing::new(self.part(0)), &self.part(64), ciphertext)
            .map_err(|_| SignalError::InvalidMessage)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> [u8; 80] {
        *self.0
    }

    pub(super) fn mac_key(&self) -> &[u8] {
        &self.0[32..64]
    }
}

/// A key of a message that has not come yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SkippedKey {
    pub(super) index: u32,
    pub(super) keys: KeySource,
}

/// Keys of messages that have not come yet: ascending by index, at most [`SKIPPED_KEYS`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Skipped(Vec<SkippedKey>);

impl Skipped {
    /// Takes stored keys in any order; of one index the first wins; beyond the limit the oldest go.
    pub(super) fn from_stored(mut keys: Vec<SkippedKey>) -> Self {
        keys.sort_by_key(|key| key.index);
        keys.dedup_by_key(|key| key.index);
        let mut skipped = Self(keys);
        skipped.make_room(0);
        skipped
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, SkippedKey> {
        self.0.iter()
    }

    fn position(&self, index: u32) -> Option<usize> {
        self.0.binary_search_by_key(&index, |key| key.index).ok()
    }

    fn remove(&mut self, position: usize) {
        if position < self.0.len() {
            self.0.remove(position);
        }
    }

    fn make_room(&mut self, for_more: usize) {
        let excess = (self.0.len() + for_more).saturating_sub(SKIPPED_KEYS).min(self.0.len());
        self.0.drain(..excess);
    }
}

/// Bytes that a chain key or one skipped key takes in storage, at most (old form of key included).
pub(super) const STORED_KEY: usize = 112;

/// Writes `{ index=1, key=2 }`, the body of ChainKey and SenderChainKey. Zero indexes are left out, as proto3 does.
pub(super) fn put_chain(out: &mut Vec<u8>, chain: &Chain) {
    super::proto::put_u32_nonzero(out, 1, chain.index);
    put_bytes(out, 2, &chain.key.0);
}

/// Reads what [`put_chain`] writes. A missing or empty key is a closed chain: `None`.
pub(super) fn read_chain(fields: Fields<'_>) -> Result<Option<Chain>, BadProto> {
    let (mut index, mut key) = (0, None);
    for field in fields {
        match field? {
            (1, value) => index = value.u32()?,
            (2, value) if value.bytes()?.is_empty() => key = None,
            (2, value) => key = Some(Secret(value.array()?)),
            _ => {}
        }
    }
    Ok(key.map(|key| Chain { index, key }))
}

/// Writes the body of a MessageKey (`seed_tag` 5) or of a SenderMessageKey (`seed_tag` 2).
pub(super) fn put_skipped(out: &mut Vec<u8>, key: &SkippedKey, seed_tag: u32) {
    if key.index != 0 {
        put_u32(out, 1, key.index);
    }
    match &key.keys {
        KeySource::Seed(seed) => put_bytes(out, seed_tag, &seed.0),
        KeySource::Derived(keys) => {
            put_bytes(out, 2, &keys.0[..32]);
            put_bytes(out, 3, &keys.0[32..64]);
            put_bytes(out, 4, &keys.0[64..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain::start(Secret([7; 32]))
    }

    fn indexes(skipped: &Skipped) -> Vec<u32> {
        skipped.iter().map(|key| key.index).collect()
    }

    const ID: ChainId = ChainId::SenderKey(1);

    #[test]
    fn a_jump_leaves_exactly_the_newest_keys_behind() {
        let mut at = Some(chain());
        let mut skipped = Skipped::default();
        Chain::seek(at.as_ref(), &skipped, 10, 2000, ID).unwrap().advance.apply(&mut at, &mut skipped);
        assert_eq!(indexes(&skipped), (0..10).collect::<Vec<_>>());
        // 5000 more: the ten and the first 3000 fall out.
        Chain::seek(at.as_ref(), &skipped, 5011, 25_000, ID).unwrap().advance.apply(&mut at, &mut skipped);
        assert_eq!(indexes(&skipped), (3011..5011).collect::<Vec<_>>());
        assert_eq!(at.as_ref().unwrap().index, 5012);
        // One more: one falls out, and the seeds are those of a walk from the start.
        Chain::seek(at.as_ref(), &skipped, 5013, 25_000, ID).unwrap().advance.apply(&mut at, &mut skipped);
        assert_eq!((skipped.len(), skipped.iter().next().unwrap().index), (2000, 3012));
        let mut walk = chain();
        while walk.index < 3012 {
            walk = walk.next().unwrap();
        }
        assert_eq!(skipped.iter().next().unwrap().keys, KeySource::Seed(walk.seed()));
    }

    #[test]
    fn limit_and_duplicate() {
        let mut at = Some(chain());
        let mut skipped = Skipped::default();
        let seek = |at: &Option<Chain>, skipped: &Skipped, n| Chain::seek(at.as_ref(), skipped, n, 2000, ID);
        assert_eq!(seek(&at, &skipped, 2001).err(), Some(SignalError::FutureMessage { ahead: 2001 }));
        seek(&at, &skipped, 2000).unwrap().advance.apply(&mut at, &mut skipped);
        assert_eq!(skipped.len(), 2000);
        seek(&at, &skipped, 5).unwrap().advance.apply(&mut at, &mut skipped);
        assert_eq!(seek(&at, &skipped, 5).err(), Some(SignalError::Duplicate { chain: ID, counter: 5 }));
        assert_eq!(seek(&at, &skipped, 2000).err(), Some(SignalError::Duplicate { chain: ID, counter: 2000 }));
        assert_eq!(skipped.len(), 1999);
    }

    #[test]
    fn the_last_counter_is_never_reached() {
        let at = Some(Chain { index: u32::MAX - 1, key: Secret([1; 32]) });
        assert!(Chain::seek(at.as_ref(), &Skipped::default(), u32::MAX - 1, 9, ID).is_ok());
        let error = Chain::seek(at.as_ref(), &Skipped::default(), u32::MAX, 9, ID).err();
        assert_eq!(error, Some(SignalError::CounterExhausted));
    }
}
