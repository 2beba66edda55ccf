//! Key derivation: HKDF-SHA256 and PBKDF2-HMAC-SHA256.

use super::mac::hmac_sha256;

/// HKDF-SHA256, extract and expand, `N` bytes (at most 8160). No salt means 32 zero bytes.
#[must_use]
pub fn hkdf_sha256<const N: usize>(salt: Option<&[u8]>, ikm: &[u8], info: &[u8]) -> [u8; N] {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 8160 bytes") };
    let prk = hmac_sha256(salt.unwrap_or(&[0; 32]), &[ikm]);
    let mut out = [0; N];
    let mut block = [0; 32];
    for (i, chunk) in out.chunks_mut(32).enumerate() {
        let counter = [u8::try_from(i + 1).unwrap_or(u8::MAX)];
        let previous: &[u8] = if i == 0 { &[] } else { &block };
        block = hmac_sha256(&prk, &[previous, info, &counter]);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    out
}

/// PBKDF2-HMAC-SHA256, 32 bytes. Takes about 0.1 s for the 131 072 iterations of phone-code pairing.
#[must_use]
pub fn pbkdf2_sha256(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password, salt, iterations)
}

#[cfg(test)]
mod tests {
    use super::hkdf_sha256;

    /// RFC 5869, test case 1.
    #[test]
    fn rfc5869_case_1() {
        let salt: std::vec::Vec<u8> = (0..=12).collect();
        let info: std::vec::Vec<u8> = (0xf0..=0xf9).collect();
        let okm = hkdf_sha256::<42>(Some(&salt), &[0x0b; 22], &info);
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }
}
