//! The two ciphers of the transport phase (`protocol/transport.md` §3.1): AES-256-GCM, empty AAD, a counter as nonce.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};

use crate::crypto::aead::TAG_LEN;
use crate::crypto::{Aes256Gcm, CryptoError, hash};

/// A frame cannot be sealed or opened. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// A frame too short to hold a tag; an empty one, for example.
    #[error("the frame is too short to be a ciphertext")]
    TooShort,
    /// The frame was damaged, repeated, left out or made by somebody else.
    #[error("the frame does not decrypt")]
    BadTag,
    /// 2^32−1 frames were sent or received with this key: connect anew.
    #[error("the frame counter is used up")]
    Exhausted,
}

/// One direction: the expanded key and the number of the next frame.
#[derive(Clone)]
struct Half {
    key: Aes256Gcm,
    /// Tells keys apart without showing them.
    fingerprint: [u8; 16],
    counter: u32,
}

impl Half {
    fn new(key: &[u8; 32], counter: u32) -> Self {
        let digest = hash::sha256(&[b"amarula transport key", key]);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        Self { key: Aes256Gcm::new(key), fingerprint, counter }
    }

    fn nonce(&self) -> Result<[u8; 12], TransportError> {
        if self.counter == u32::MAX {
            return Err(TransportError::Exhausted);
        }
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&self.counter.to_be_bytes());
        Ok(nonce)
    }
}

macro_rules! half {
    ($name:ident) => {
        /// Equal counters of equal keys.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                (self.0.counter, self.0.fingerprint) == (other.0.counter, other.0.fingerprint)
            }
        }

        impl Eq for $name {}

        /// The counter and a fingerprint of the key, for the digest of an engine.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                (self.0.counter, self.0.fingerprint).hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("counter", &self.0.counter).finish_non_exhaustive()
            }
        }
    };
}

/// Encrypts what we send. A clone continues with the same counter: for a forked engine in a test, never for a socket.
#[derive(Clone)]
pub struct SendCipher(Half);

/// Decrypts what we receive.
#[derive(Clone)]
pub struct RecvCipher(Half);

half!(SendCipher);
half!(RecvCipher);

impl SendCipher {
    /// A cipher at frame 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self::at(key, 0)
    }

    /// A cipher whose next frame is number `counter`, for tests.
    #[must_use]
    pub fn at(key: &[u8; 32], counter: u32) -> Self {
        Self(Half::new(key, counter))
    }

    /// Encrypts `buffer` from `start` on, in place, and appends the tag (16 bytes).
    ///
    /// # Errors
    /// [`TransportError::Exhausted`]; nothing was changed.
    pub fn seal(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), TransportError> {
        let nonce = self.0.nonce()?;
        let tag = self.0.key.seal(&nonce, &[], buffer.get_mut(start..).unwrap_or_default());
        buffer.extend_from_slice(&tag);
        self.0.counter += 1;
        Ok(())
    }

    /// The number of the next frame.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.0.counter
    }
}

impl RecvCipher {
    /// A cipher at frame 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self::at(key, 0)
    }

    /// A cipher whose next frame is number `counter`, for tests.
    #[must_use]
    pub fn at(key: &[u8; 32], counter: u32) -> Self {
        Self(Half::new(key, counter))
    }

    /// Decrypts a frame's body in place and gives the plaintext: flag byte and node bytes (see
    /// [`crate::wire::payload::unpack`]). Nothing is copied.
    ///
    /// # Errors
    /// [`TransportError`]; the counter stays.
    pub fn open(&mut self, mut body: BytesMut) -> Result<Bytes, TransportError> {
        let len = self.open_slice(&mut body)?;
        body.truncate(len);
        Ok(body.freeze())
    }

    /// As [`Self::open`], for a slice: the plaintext is its front part of the given length.
    ///
    /// # Errors
    /// As there; what `body` holds then must not be used.
    pub fn open_slice(&mut self, body: &mut [u8]) -> Result<usize, TransportError> {
        if body.len() < TAG_LEN {
            return Err(TransportError::TooShort);
        }
        let nonce = self.0.nonce()?;
        let len = self.0.key.open(&nonce, &[], body).map_err(|error| match error {
            CryptoError::BadTag => TransportError::BadTag,
            _ => TransportError::TooShort,
        })?;
        self.0.counter += 1;
        Ok(len)
    }

    /// The number of the next frame.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.0.counter
    }
}
