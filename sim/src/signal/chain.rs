//! Chains of message keys (signal §3, §6).

use std::collections::BTreeMap;

use amarula_core::crypto::kdf::hkdf_sha256;
use amarula_core::crypto::mac::hmac_sha256;

use super::SignalError;

/// How far a counter may jump ahead.
pub const MAX_JUMP: u32 = 2000;

/// A symmetric ratchet: `index` is the next counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    key: [u8; 32],
    index: u32,
    skipped: BTreeMap<u32, [u8; 32]>,
}

impl Chain {
    /// A chain whose next counter is `index`.
    #[must_use]
    pub fn new(key: [u8; 32], index: u32) -> Self {
        Self { key, index, skipped: BTreeMap::new() }
    }

    /// The next counter.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The current chain key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Takes the next seed.
    pub fn next_seed(&mut self) -> (u32, [u8; 32]) {
        let seed = hmac_sha256(&self.key, &[&[1]]);
        self.key = hmac_sha256(&self.key, &[&[2]]);
        let index = self.index;
        self.index = index.saturating_add(1);
        (index, seed)
    }

    /// Takes the seed of `counter`, keeping the ones it jumps over.
    ///
    /// # Errors
    /// It was taken before, or is too far ahead.
    pub fn seed_of(&mut self, counter: u32) -> Result<[u8; 32], SignalError> {
        if counter < self.index {
            return self.skipped.remove(&counter).ok_or(SignalError::Duplicate);
        }
        if counter - self.index > MAX_JUMP {
            return Err(SignalError::TooFarAhead);
        }
        while self.index < counter {
            let (index, seed) = self.next_seed();
            self.skipped.insert(index, seed);
            if self.skipped.len() > MAX_JUMP as usize {
                self.skipped.pop_first();
            }
        }
        Ok(self.next_seed().1)
    }
}

/// Keys of one pairwise message.
#[derive(Clone, Debug)]
pub struct MessageKeys {
    /// AES key.
    pub cipher: [u8; 32],
    /// MAC key.
    pub mac: [u8; 32],
    /// AES IV.
    pub iv: [u8; 16],
}

impl MessageKeys {
    /// Of a chain's seed.
    #[must_use]
    pub fn of(seed: &[u8; 32]) -> Self {
        let okm: [u8; 80] = hkdf_sha256(None, seed, b"WhisperMessageKeys");
        let (mut cipher, mut mac, mut iv) = ([0; 32], [0; 32], [0; 16]);
        cipher.copy_from_slice(&okm[..32]);
        mac.copy_from_slice(&okm[32..64]);
        iv.copy_from_slice(&okm[64..]);
        Self { cipher, mac, iv }
    }
}
