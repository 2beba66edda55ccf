//! HMAC.

use hmac::{KeyInit as _, Mac as _};

/// HMAC-SHA256 of the concatenation of `parts`. Any key length.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // Also with aws-lc: for the short messages of the ratchet its set-up costs more than it saves.
    let Ok(mut mac) = hmac::Hmac::<sha2::Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes a key of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA512 of the concatenation of `parts`. Any key length.
#[must_use]
pub fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    let Ok(mut mac) = hmac::Hmac::<sha2::Sha512>::new_from_slice(key) else {
        unreachable!("HMAC takes a key of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
