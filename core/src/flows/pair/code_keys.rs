//! The key schedule of phone-code pairing (`protocol/pairing.md` §5.1, §5.2). Pure.

use alloc::vec::Vec;

use crate::crypto::cipher::ctr_apply;
use crate::crypto::kdf::{hkdf_sha256, pbkdf2_sha256};
use crate::crypto::{Aes256Gcm, CryptoError, KeyPair, PublicKey, Rng};
use crate::store::records::AdvSecret;

/// No 0, I, O, U.
const ALPHABET: &[u8; 32] = b"123456789ABCDEFGHJKLMNPQRSTVWXYZ";
const ITERATIONS: u32 = 131_072;
/// Bytes of a wrapped public key.
pub(super) const WRAPPED: usize = 80;
/// Bytes of a key bundle.
pub(super) const BUNDLE: usize = 156;

/// Eight characters that the user types. Secret while it lives.
#[derive(Clone, PartialEq, Eq, Hash, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub(super) struct CodeText([u8; 8]);

impl core::fmt::Debug for CodeText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CodeText(..)")
    }
}

impl CodeText {
    /// A fresh one.
    pub(super) fn generate(rng: &mut Rng) -> Self {
        Self::from_bits(rng.bytes())
    }

    /// Forty bits, the most significant first.
    fn from_bits(bits: [u8; 5]) -> Self {
        let number = bits.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Self(core::array::from_fn(|i| ALPHABET[usize::try_from(number >> (35 - 5 * i) & 31).unwrap_or(0)]))
    }

    /// One chosen by the host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let code: [u8; 8] = text.as_bytes().try_into().ok()?;
        code.iter().all(|c| ALPHABET.contains(c)).then_some(Self(code))
    }

    pub(super) fn as_str(&self) -> &str {
        // Only characters of the alphabet.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn key(&self, salt: &[u8]) -> [u8; 32] {
        pbkdf2_sha256(&self.0, salt, ITERATIONS)
    }

    /// `salt ‖ iv ‖ encrypted public key`. Takes about 0.1 s.
    pub(super) fn wrap(&self, key: &PublicKey, salt: &[u8; 32], iv: &[u8; 16]) -> Vec<u8> {
        let mut wrapped = *key.as_bytes();
        ctr_apply(&self.key(salt), iv, &mut wrapped);
        [&salt[..], iv, &wrapped].concat()
    }

    /// Back from it. A wrong code gives a wrong key: nothing here says so.
    pub(super) fn unwrap(&self, blob: &[u8; WRAPPED]) -> PublicKey {
        let (salt, rest) = blob.split_at(32);
        let (iv, wrapped) = rest.split_at(16);
        let (mut at, mut key) = ([0; 16], [0; 32]);
        at.copy_from_slice(iv);
        key.copy_from_slice(wrapped);
        ctr_apply(&self.key(salt), &at, &mut key);
        PublicKey(key)
    }
}

/// What companion_finish sends, and the secret that pair-success will be authenticated with.
pub(super) struct Finish {
    pub(super) bundle: Vec<u8>,
    pub(super) secret: AdvSecret,
}

/// Randomness of one companion_finish.
pub(super) struct Fresh {
    pub(super) random: [u8; 32],
    pub(super) salt: [u8; 32],
    pub(super) nonce: [u8; 12],
}

/// Answers a primary_hello.
///
/// # Errors
/// A low-order key of the phone's.
pub(super) fn finish(
    ephemeral: &KeyPair,
    identity: &KeyPair,
    phone_ephemeral: &PublicKey,
    phone_identity: &PublicKey,
    fresh: &Fresh,
) -> Result<Finish, CryptoError> {
    let eph = ephemeral.agree(phone_ephemeral)?;
    let idn = identity.agree(phone_identity)?;
    let key = hkdf_sha256(Some(&fresh.salt), eph.expose(), b"link_code_pairing_key_bundle_encryption_key");
    let mut sealed = [&identity.public.as_bytes()[..], phone_identity.as_bytes(), &fresh.random].concat();
    let tag = Aes256Gcm::new(&key).seal(&fresh.nonce, &[], &mut sealed);
    let bundle = [&fresh.salt[..], &fresh.nonce, &sealed, &tag].concat();
    debug_assert_eq!(bundle.len(), BUNDLE);
    let ikm = zeroize::Zeroizing::new([&eph.expose()[..], idn.expose(), &fresh.random].concat());
    Ok(Finish { bundle, secret: AdvSecret(hkdf_sha256(None, &ikm, b"adv_secret")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
    }

    #[test]
    fn codes() {
        let text = |bits| std::string::String::from(CodeText::from_bits(bits).as_str());
        assert_eq!(text([0; 5]), "11111111");
        assert_eq!(text([0x01, 0x23, 0x45, 0x67, 0x89]), "15JMBSWA");
        assert_eq!(text([0xff; 5]), "ZZZZZZZZ");
        assert!(CodeText::parse("ABCD1234").is_some());
        assert!(
            ["abcd1234", "ABCD123", "ABCD12345", "ABCD123O", "ABCD-123"].iter().all(|c| CodeText::parse(c).is_none())
        );
    }

    /// `protocol/pairing.md` §12.
    #[test]
    fn vectors() {
        let code = CodeText::parse("ABCD1234").unwrap();
        assert_eq!(hex::encode(code.key(&[1; 32])), "81ea77b9286e9570dbe03aceb563e60e2957bcf8126d6dfd727694cea80b5baa");
        let (e, s, re, rs) = (pair(0x11), pair(0x22), pair(0x33), pair(0x44));
        let wrapped = code.wrap(&e.public, &[1; 32], &[2; 16]);
        assert_eq!(hex::encode(&wrapped[48..]), "71ea4004a409dab23a8315f8de41f0d61187dba2adea13ba961bb1c3b95faaaa");
        assert_eq!(code.unwrap(&wrapped.try_into().unwrap()), e.public);
        let fresh = Fresh { random: [5; 32], salt: [6; 32], nonce: [7; 12] };
        let done = finish(&e, &s, &re.public, &rs.public, &fresh).unwrap();
        assert_eq!(done.bundle.len(), BUNDLE);
        assert_eq!(hex::encode(&done.bundle[140..]), "cb669b05232695cfce9074efbb240d26");
        assert_eq!(hex::encode(done.secret.0), "0eaa30765e970ce9fa8ec227a3e59e58b4bcffca09fb458c0478b7dcc1b6dba5");
        assert!(finish(&e, &s, &PublicKey([0; 32]), &rs.public, &fresh).is_err());
    }
}
