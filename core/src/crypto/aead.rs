//! AES-256-GCM with a kept key schedule, in place.

use core::fmt;

use super::CryptoError;

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// One key, expanded once. 12-byte nonces; the caller never uses one twice.
#[derive(Clone)]
pub struct Aes256Gcm(backend::Key);

impl Aes256Gcm {
    /// Expands `key`.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(backend::Key::new(key))
    }

    /// Encrypts `data` in place and returns the tag.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(nonce, aad, data)
    }

    /// Decrypts `data` (ciphertext and tag) in place; the plaintext is the front part of the given length.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] when there is no room for a tag, [`CryptoError::BadTag`] when it does not verify; what
    /// `data` holds then is unspecified and must not be used.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<usize, CryptoError> {
        let plain_len = data.len().checked_sub(TAG_LEN).ok_or(CryptoError::Malformed)?;
        self.0.open(nonce, aad, data)?;
        Ok(plain_len)
    }
}

impl fmt::Debug for Aes256Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes256Gcm(..)")
    }
}

#[cfg(not(feature = "aws-lc"))]
mod backend {
    use alloc::boxed::Box;

    use aes_gcm::aead::AeadInOut as _;
    use aes_gcm::{KeyInit as _, Tag};

    use super::{CryptoError, TAG_LEN};

    /// The schedule is a kilobyte: boxed, so that the types that hold it stay small.
    #[derive(Clone)]
    pub(super) struct Key(Box<aes_gcm::Aes256Gcm>);

    impl Key {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(Box::new(aes_gcm::Aes256Gcm::new(key.into())))
        }

        pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
            match self.0.encrypt_inout_detached(nonce.into(), aad, data.into()) {
                Ok(tag) => tag.into(),
                Err(_) => unreachable!("GCM refuses only plaintexts over 64 GiB"),
            }
        }

        pub(super) fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
            let (body, tag) = data.split_at_mut(data.len() - TAG_LEN);
            let tag = Tag::try_from(&*tag).map_err(|_| CryptoError::Malformed)?;
            self.0.decrypt_inout_detached(nonce.into(), aad, body.into(), &tag).map_err(|_| CryptoError::BadTag)
        }
    }
}

#[cfg(feature = "aws-lc")]
mod backend {
    use alloc::sync::Arc;

    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{CryptoError, TAG_LEN};

    #[derive(Clone)]
    pub(super) struct Key(Arc<LessSafeKey>);

    impl Key {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            match UnboundKey::new(&AES_256_GCM, key) {
                Ok(key) => Self(Arc::new(LessSafeKey::new(key))),
                Err(_) => unreachable!("a 32-byte key is an AES-256 key"),
            }
        }

        pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let mut out = [0; TAG_LEN];
            match self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), data) {
                Ok(tag) => out.copy_from_slice(tag.as_ref()),
                Err(_) => unreachable!("GCM refuses only plaintexts over 64 GiB"),
            }
            out
        }

        pub(super) fn open(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            self.0.open_in_place(nonce, Aad::from(aad), data).map(|_| ()).map_err(|_| CryptoError::BadTag)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Aes256Gcm;
    use crate::crypto::CryptoError;

    /// NIST GCM test case 15 (AES-256, 64 bytes, no AAD).
    #[test]
    fn nist_case_15() {
        let key: [u8; 32] = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 12] = hex::decode("cafebabefacedbaddecaf888").unwrap().try_into().unwrap();
        let plain = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        )
        .unwrap();
        let gcm = Aes256Gcm::new(&key);
        let mut data = plain.clone();
        let tag = gcm.seal(&nonce, &[], &mut data);
        assert_eq!(hex::encode(tag), "b094dac5d93471bdec1a502270e3cc6c");
        data.extend_from_slice(&tag);
        let mut damaged = data.clone();
        let len = gcm.open(&nonce, &[], &mut data).unwrap();
        assert_eq!(&data[..len], &plain);
        damaged[3] ^= 1;
        assert_eq!(gcm.open(&nonce, &[], &mut damaged), Err(CryptoError::BadTag));
        assert_eq!(gcm.open(&nonce, &[], &mut [0; 15]), Err(CryptoError::Malformed));
    }
}
