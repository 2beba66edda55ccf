//! HMAC.

use hmac::{KeyInit as _, Mac as _};

/// HMAC-SHA256 of the concatenation of `parts`. Any key length.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[cfg(feature = "aws-lc")]
    {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let mut context = aws_lc_rs::hmac::Context::with_key(&key);
        parts.iter().for_each(|part| context.update(part));
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
    #[cfg(not(feature = "aws-lc"))]
    {
        let Ok(mut mac) = hmac::Hmac::<sha2::Sha256>::new_from_slice(key) else {
            unreachable!("HMAC takes a key of any length")
        };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
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
