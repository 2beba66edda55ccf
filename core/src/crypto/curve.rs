//! X25519 keys and Diffie-Hellman.

use core::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{CryptoError, Rng};

/// The byte that marks a Curve25519 key in Signal's encodings.
pub const KEY_TYPE: u8 = 5;

/// A Curve25519 public key (Montgomery u, 32 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads a raw 32-byte key, as stanzas carry it.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] for another length.
    pub fn from_raw(bytes: &[u8]) -> Result<Self, CryptoError> {
        bytes.try_into().map(Self).map_err(|_| CryptoError::MalformedKey)
    }

    /// Reads `05 ‖ key`, as Signal protobufs carry it.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] for another length or first byte.
    pub fn from_typed(bytes: &[u8]) -> Result<Self, CryptoError> {
        match bytes.split_first() {
            Some((&KEY_TYPE, key)) => Self::from_raw(key),
            _ => Err(CryptoError::MalformedKey),
        }
    }

    /// `05 ‖ key`.
    #[must_use]
    pub fn typed(&self) -> [u8; 33] {
        let mut out = [KEY_TYPE; 33];
        out[1..].copy_from_slice(&self.0);
        out
    }

    /// The raw 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

/// A Curve25519 private key, clamped, wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// Takes 32 bytes and clamps them (on import as well as on generation: `protocol/signal.md` §1).
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        bytes[0] &= 248;
        bytes[31] &= 127;
        bytes[31] |= 64;
        Self(bytes)
    }

    /// Reads a stored key.
    ///
    /// # Errors
    /// [`CryptoError::MalformedKey`] unless `bytes` are 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        bytes.try_into().map(Self::from_bytes).map_err(|_| CryptoError::MalformedKey)
    }

    /// A fresh key.
    pub fn generate(rng: &mut Rng) -> Self {
        Self::from_bytes(rng.bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(self.0).to_bytes())
    }

    /// X25519.
    ///
    /// # Errors
    /// [`CryptoError::LowOrder`] when the result is all zero.
    pub fn agree(&self, public: &PublicKey) -> Result<SharedSecret, CryptoError> {
        let shared = SharedSecret(backend::x25519(&self.0, &public.0)?);
        if super::equal(&shared.0, &[0; 32]) { Err(CryptoError::LowOrder) } else { Ok(shared) }
    }

    /// The clamped bytes, for storage and for signing.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// The result of a Diffie-Hellman, wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// The 32 bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// Both halves of a Curve25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// Shown to others.
    pub public: PublicKey,
    /// Kept.
    pub private: PrivateKey,
}

impl KeyPair {
    /// A fresh pair.
    pub fn generate(rng: &mut Rng) -> Self {
        Self::from_private(PrivateKey::generate(rng))
    }

    /// The pair of a private key.
    #[must_use]
    pub fn from_private(private: PrivateKey) -> Self {
        Self { public: private.public(), private }
    }

    /// [`PrivateKey::agree`].
    ///
    /// # Errors
    /// As there.
    pub fn agree(&self, public: &PublicKey) -> Result<SharedSecret, CryptoError> {
        self.private.agree(public)
    }
}

mod backend {
    use super::CryptoError;

    #[cfg(not(feature = "aws-lc"))]
    #[allow(clippy::unnecessary_wraps, reason = "the other backend can fail")]
    pub(super) fn x25519(private: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        Ok(curve25519_dalek::montgomery::MontgomeryPoint(*public).mul_clamped(*private).to_bytes())
    }

    #[cfg(feature = "aws-lc")]
    pub(super) fn x25519(private: &[u8; 32], public: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
        let private = PrivateKey::from_private_key(&X25519, private).map_err(|_| CryptoError::MalformedKey)?;
        // aws-lc refuses a low-order point by itself, with an error that says no more.
        agree(&private, UnparsedPublicKey::new(&X25519, public), CryptoError::LowOrder, |secret| {
            secret.try_into().map_err(|_| CryptoError::LowOrder)
        })
    }
}
