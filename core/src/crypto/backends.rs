//! Against the pure crates: with `aws-lc` on, the other backend must give the same bytes; without, they are used rightly.

use std::vec;
use std::vec::Vec;

use aes_gcm::aead::AeadInOut as _;
use hmac::{KeyInit as _, Mac as _};
use sha2::Digest as _;

use super::{Aes256Gcm, CryptoError, KeyPair, PrivateKey, PublicKey, Rng, cipher, hash, kdf, mac};

/// Lengths around every block size, and long ones.
const LENGTHS: [usize; 14] = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 4096, 70_001];

fn rng() -> Rng {
    Rng::from_seed([42; 32])
}

fn data(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data
}

#[test]
fn gcm() {
    let mut rng = rng();
    for len in LENGTHS {
        for aad_len in [0, 1, 16, 100] {
            let (key, nonce): ([u8; 32], [u8; 12]) = (rng.bytes(), rng.bytes());
            let (plain, aad) = (data(&mut rng, len), data(&mut rng, aad_len));
            let ours = Aes256Gcm::new(&key);
            let pure = aes_gcm::Aes256Gcm::new((&key).into());

            let mut sealed = plain.clone();
            let tag = ours.seal(&nonce, &aad, &mut sealed);
            let mut expected = plain.clone();
            let expected_tag =
                pure.encrypt_inout_detached((&nonce).into(), &aad, expected.as_mut_slice().into()).unwrap();
            assert_eq!((&sealed, &tag[..]), (&expected, expected_tag.as_slice()));

            sealed.extend_from_slice(&tag);
            let mut damaged = sealed.clone();
            assert_eq!(ours.open(&nonce, &aad, &mut sealed), Ok(len));
            assert_eq!(sealed[..len], plain);
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(ours.open(&nonce, &aad, &mut damaged), Err(CryptoError::BadTag));
        }
    }
}

#[test]
fn hashes_and_macs() {
    let mut rng = rng();
    for len in LENGTHS {
        let text = data(&mut rng, len);
        let (front, back) = text.split_at(len / 3);
        assert_eq!(hash::sha256(&[front, back])[..], sha2::Sha256::digest(&text)[..]);
        for key_len in [0, 1, 32, 63, 64, 65, 200] {
            let key = data(&mut rng, key_len);
            let mut pure = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
            pure.update(&text);
            assert_eq!(mac::hmac_sha256(&key, &[front, back])[..], pure.finalize().into_bytes()[..]);
        }
        let mut expected = [0; 112];
        hkdf::Hkdf::<sha2::Sha256>::new(Some(front), &text).expand(back, &mut expected).unwrap();
        assert_eq!(kdf::hkdf_sha256::<112>(Some(front), &text, back), expected);
    }
}

#[test]
fn x25519() {
    let mut rng = rng();
    for _ in 0..200 {
        let (own, other) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let pure = x25519_dalek::StaticSecret::from(*own.private.expose());
        assert_eq!(own.public.as_bytes(), x25519_dalek::PublicKey::from(&pure).as_bytes());
        // Any 32 bytes are a point; half of these lie on the twist, and half have the unused top bit set.
        for public in [other.public, PublicKey(rng.bytes())] {
            let expected = pure.diffie_hellman(&x25519_dalek::PublicKey::from(public.0));
            assert_eq!(own.agree(&public).unwrap().expose(), expected.as_bytes());
        }
    }
}

/// The points of small order, and such as equal them modulo 2^255−19 (<https://cr.yp.to/ecdh.html#validate>).
#[test]
fn low_order_points() {
    let mut points: Vec<[u8; 32]> = Vec::new();
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    for delta in [-1i16, 0, 1] {
        let mut point = p;
        point[0] = u8::try_from(0xed + delta).unwrap();
        points.push(point);
    }
    for byte in [0, 1] {
        let mut point = [0; 32];
        point[0] = byte;
        points.push(point);
    }
    for text in [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ] {
        points.push(hex::decode(text).unwrap().try_into().unwrap());
    }
    for mut point in points {
        for top in [0, 0x80] {
            point[31] = (point[31] & 0x7f) | top;
            let agreed = PrivateKey::from_bytes([3; 32]).agree(&PublicKey(point));
            assert_eq!(agreed.err(), Some(CryptoError::LowOrder), "{point:02x?}");
        }
    }
}

#[test]
fn cbc() {
    use aes::cipher::block_padding::Pkcs7;
    use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
    let mut rng = rng();
    for len in LENGTHS {
        let (key, iv): ([u8; 32], [u8; 16]) = (rng.bytes(), rng.bytes());
        let plain = data(&mut rng, len);
        let sealed = cipher::cbc_encrypt(&key, &iv, &plain);
        let pure = cbc::Encryptor::<aes::Aes256>::new((&key).into(), (&iv).into());
        assert_eq!(sealed, pure.encrypt_padded_vec::<Pkcs7>(&plain));
        assert_eq!(cipher::cbc_decrypt(&key, &iv, &sealed), Ok(plain));
        assert_eq!(cipher::cbc_decrypt(&key, &iv, &sealed[..sealed.len() - 1]), Err(CryptoError::Malformed));
        assert_eq!(cipher::cbc_decrypt(&key, &iv, &[]), Err(CryptoError::Malformed));
    }
}
