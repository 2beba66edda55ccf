//! XEdDSA, the Signal variant: Ed25519-like signatures made with an X25519 key (`protocol/signal.md` §1.1).
//!
//! The Edwards key is not negated when signing; its sign bit travels in the top bit of the signature.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::Scalar;

use super::curve::{PrivateKey, PublicKey};
use super::equal;

/// Length of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// Signs the concatenation of `message` with 64 random bytes.
#[must_use]
pub fn sign(private: &PrivateKey, message: &[&[u8]], random: &[u8; 64]) -> [u8; SIGNATURE_LEN] {
    let key = private.expose();
    let scalar = Scalar::from_bytes_mod_order(*key);
    let public = EdwardsPoint::mul_base(&scalar).compress();
    let sign_bit = public.as_bytes()[31] & 0x80;

    let mut prefix = [0xff; 32];
    prefix[0] = 0xfe;
    let nonce = wide(&[&[&prefix, key], message, &[random]]);
    let commitment = EdwardsPoint::mul_base(&nonce).compress();
    let challenge = wide(&[&[commitment.as_bytes(), public.as_bytes()], message]);
    let response = challenge * scalar + nonce;

    let mut signature = [0; SIGNATURE_LEN];
    signature[..32].copy_from_slice(commitment.as_bytes());
    signature[32..].copy_from_slice(response.as_bytes());
    signature[63] = (signature[63] & 0x7f) | sign_bit;
    signature
}

/// Whether `signature` (64 bytes) over the concatenation of `message` was made with the private half of `public`.
#[must_use]
pub fn verify(public: &PublicKey, message: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; SIGNATURE_LEN]>::try_from(signature) else { return false };
    let (commitment, response) = signature.split_at(32);
    let mut response: [u8; 32] = response.try_into().unwrap_or([0xff; 32]);
    let sign_bit = response[31] >> 7;
    response[31] &= 0x7f;
    if response[31] & 0xe0 != 0 {
        return false;
    }
    let Some(point) = MontgomeryPoint(*public.as_bytes()).to_edwards(sign_bit) else { return false };
    let challenge = wide(&[&[commitment, point.compress().as_bytes()], message]);
    let response = Scalar::from_bytes_mod_order(response);
    // commitment = response·B − challenge·A; all of it is public, so variable time is fine for the arithmetic.
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&challenge, &-point, &response);
    equal(expected.compress().as_bytes(), commitment)
}

fn wide(parts: &[&[&[u8]]]) -> Scalar {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha512::new();
    parts.iter().flat_map(|part| part.iter()).for_each(|part| hasher.update(part));
    Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::{sign, verify};
    use crate::crypto::PrivateKey;

    fn vector(hex_text: &str) -> std::vec::Vec<u8> {
        hex::decode(hex_text).unwrap()
    }

    /// `protocol/signal.md` §9: both sign bits, fixed randomness.
    #[test]
    fn vectors() {
        let identity = PrivateKey::from_bytes([0x11; 32]);
        let base = PrivateKey::from_bytes([0x22; 32]);
        let by_identity = vector(
            "6704583793871fd47fa53b2ab99cdbd75d5368d08f8102b4e9868340715dfaad5df7a448230f9edef6c38cd9aa742030eff106055e3dfda096101c68f5e1c28b",
        );
        let by_base = vector(
            "5ec4de3618293e74ce51fc8d8f1dafeaaeed4de835ad36b4d4218cd8d0461644c7bf3005dfd60f144462ab8292a4c3493d0350c981e9fa989fa533acc002e200",
        );
        let other_randomness = vector(
            "e0f8f59912925fd8a86732b68ad8bea491c311252f3e8b033189a9ce79dc0d4892909a85c2dc58b8713991d763403f25808abc5da3087f3448347ed76b30a88d",
        );
        assert_eq!(sign(&identity, &[b"te", b"st"], &[0x5a; 64]).as_slice(), by_identity);
        assert_eq!(sign(&base, &[b"test"], &[0x5a; 64]).as_slice(), by_base);
        for signature in [&by_identity, &other_randomness] {
            assert!(verify(&identity.public(), &[b"test"], signature));
            assert!(!verify(&identity.public(), &[b"tesu"], signature));
            assert!(!verify(&base.public(), &[b"test"], signature));
        }
        for bit in 0..512 {
            let mut damaged = by_identity.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&identity.public(), &[b"test"], &damaged), "bit {bit}");
        }
        assert!(!verify(&identity.public(), &[b"test"], &by_identity[..63]));
    }
}
