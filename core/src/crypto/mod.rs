//! Every primitive the protocol uses, named once.
//!
//! Two backends give the same bytes: pure Rust (RustCrypto and dalek, always there, builds for a bare target) and
//! `aws-lc-rs` (feature `aws-lc`), which takes over the hot primitives. Nothing here knows about WhatsApp.

pub mod aead;
#[cfg(test)]
mod backends;
pub mod cipher;
pub mod curve;
pub mod hash;
pub mod kdf;
pub mod mac;
pub mod rng;
pub mod xeddsa;

pub use aead::Aes256Gcm;
pub use curve::{KeyPair, PrivateKey, PublicKey, SharedSecret};
pub use rng::Rng;

/// A primitive refused its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// An authentication tag or MAC did not verify.
    #[error("authentication tag does not match")]
    BadTag,
    /// The ciphertext cannot be of this cipher (length, padding).
    #[error("malformed ciphertext")]
    Malformed,
    /// The other side's point is of low order: the shared secret would be all zero.
    #[error("low-order public key")]
    LowOrder,
    /// A key has the wrong length or type byte.
    #[error("malformed key")]
    MalformedKey,
}

/// Constant-time equality of two byte strings. Different lengths are unequal at once.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    a.ct_eq(b).into()
}
