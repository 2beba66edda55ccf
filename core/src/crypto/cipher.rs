//! AES-256-CBC with PKCS#7 padding (Signal messages, media) and AES-256-CTR (pairing codes).

use alloc::vec::Vec;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, StreamCipher as _};

use super::CryptoError;

/// AES-256-CBC, PKCS#7.
#[must_use]
pub fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], plaintext: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_padded_vec::<Pkcs7>(plaintext)
}

/// Inverse of [`cbc_encrypt`].
///
/// # Errors
/// [`CryptoError::Malformed`] for a length that is not a positive multiple of 16, or bad padding. Check a MAC first:
/// what this tells a sender about padding must never be visible to one who could not make the MAC.
pub fn cbc_decrypt(key: &[u8; 32], iv: &[u8; 16], ciphertext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    cbc::Decryptor::<Aes256>::new(key.into(), iv.into())
        .decrypt_padded_vec::<Pkcs7>(ciphertext)
        .map_err(|_| CryptoError::Malformed)
}

/// AES-256-CTR with a 128-bit big-endian counter starting at `iv`; encrypts and decrypts in place.
pub fn ctr_apply(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    ctr::Ctr128BE::<Aes256>::new(key.into(), iv.into()).apply_keystream(data);
}
