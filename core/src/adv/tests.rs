//! The vectors of `protocol/pairing.md` §12, and what must be refused.

use std::vec::Vec;

use prost::Message as _;

use super::*;
use crate::crypto::{PrivateKey, hash};

const CONTAINER: &str = "0a740a0e08011080e2cfaa061801200028001220ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b\
    1a40c643e58b7e322daba954d7e23712f4df0a0649ded92596faedb79acd470eaa050cabc370adbce0fcd3e03976dfea488f1c3c69bf0daf19cf\
    095af68c3c061e8d1220e4a7f195d1dda2b526e9f4c18515ea3e1155db34b35885e7ce926fbc6ae051641800";
const SECRET: [u8; 32] = [0x0a; 32];
const RANDOM: [u8; 64] = [0x5a; 64];

fn pair(byte: u8) -> KeyPair {
    KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
}

fn companion() -> KeyPair {
    pair(0x22)
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn container() -> Vec<u8> {
    hex::decode(CONTAINER).unwrap()
}

/// A container as the phone makes it, with every part open to change.
fn made(outer: Option<i32>, details: &[u8], lead: [u8; 2]) -> Vec<u8> {
    let account = pair(0x44);
    let signature = xeddsa::sign(&account.private, &[&lead, details, companion().public.as_bytes()], &RANDOM);
    let signed = AdvSignedDeviceIdentity {
        details: Some(Bytes::copy_from_slice(details)),
        account_signature_key: Some(Bytes::copy_from_slice(account.public.as_bytes())),
        account_signature: Some(Bytes::copy_from_slice(&signature)),
        device_signature: None,
    }
    .encode_to_vec();
    let hosted = outer == Some(1);
    let lead: &[u8] = if hosted { &[6, 5] } else { &[] };
    let hmac = hmac_sha256(&SECRET, &[lead, &signed]);
    AdvSignedDeviceIdentityHmac {
        details: Some(signed.into()),
        hmac: Some(Bytes::copy_from_slice(&hmac)),
        account_type: outer,
    }
    .encode_to_vec()
}

#[test]
fn pairing_vectors() {
    let keys = companion();
    let linked = open(&container(), &SECRET, &keys.public).unwrap();
    assert_eq!((linked.key_index, linked.raw_id, linked.timestamp), (1, 1, 1_700_000_000));
    assert_eq!(linked.account_key, pair(0x44).public);
    let signature = linked.sign(&keys, &RANDOM);
    assert_eq!(
        signature,
        hex("90e5464e02c01bc26d72ce89a98ef26a3a50a47e3e1137d39cedf098ee495803\
             b562e98dd0f9f7dbce9429d55a00a2a14b660d575321332701af631ff757c503")
    );
    let answer = linked.answer(&signature);
    assert_eq!(answer.len(), 148);
    assert_eq!(
        hex::encode(hash::sha256(&[&answer])),
        "57ae7ed0355ff7a25ef9d7ff2a8219aec73fb5af06478ba51fa8324a11caa047"
    );
    let other = verify_companion(&linked.full(&signature), &keys.public, None, false).unwrap();
    assert_eq!((other.verified_by, other.key_index), (Some(linked.account_key), Some(1)));
}

#[test]
fn hosted_vectors() {
    let keys = companion();
    let details: [u8; 14] = hex("08011080e2cfaa06180120012801");
    let linked = open(&made(Some(1), &details, [6, 5]), &SECRET, &keys.public).unwrap();
    assert_eq!(
        linked.account_signature,
        hex("dbbfd549b85fdd2b50cfca9f21e351805c47a48f7661a19d4018c8c702bb49e5\
             1c76e5b93276192fcbcabbfb8563f8d34b3018cca8676e85abe848de97709a8c")
    );
    assert_eq!(
        linked.sign(&keys, &RANDOM),
        hex("9c7a7dea17b125c28a4443711485474366cac74207659fc526a0d7cde48dc1a2\
             bb5cf38c3a4c42bb3bed4ea7c5e2b70f60769d44d3868cacf441de0631f8b300")
    );
    let container = AdvSignedDeviceIdentityHmac::decode(&made(Some(1), &details, [6, 5])[..]).unwrap();
    assert_eq!(hex::encode(container.hmac()), "52bfd451cae1a8d0d513e33d20715b4b154a824f3d5836e758135f754abb17cb");
}

/// The HMAC follows the outer type, the account signature the inner one.
#[test]
fn outer_and_inner_type_are_independent() {
    let plain: [u8; 14] = hex("08011080e2cfaa06180120002800");
    let hosted: [u8; 14] = hex("08011080e2cfaa06180120012801");
    let keys = companion();
    assert!(open(&made(Some(1), &plain, [6, 0]), &SECRET, &keys.public).is_ok());
    assert!(open(&made(None, &hosted, [6, 5]), &SECRET, &keys.public).is_ok());
    assert_eq!(open(&made(Some(1), &plain, [6, 5]), &SECRET, &keys.public), Err(AdvError::AccountSignature));
    assert_eq!(open(&made(None, &hosted, [6, 0]), &SECRET, &keys.public), Err(AdvError::AccountSignature));
}

#[test]
fn refused() {
    let keys = companion();
    assert_eq!(open(&container(), &[0x0b; 32], &keys.public), Err(AdvError::HmacMismatch));
    assert_eq!(open(&container(), &SECRET, &pair(0x33).public), Err(AdvError::AccountSignature));
    assert!(matches!(open(&[], &SECRET, &keys.public), Err(AdvError::Malformed(_))));
    assert!(matches!(open(&[0xff; 40], &SECRET, &keys.public), Err(AdvError::Malformed(_))));
    // No key index.
    let details: [u8; 12] = hex("08011080e2cfaa0620002800");
    assert_eq!(open(&made(Some(0), &details, [6, 0]), &SECRET, &keys.public), Err(AdvError::Malformed("key index")));
    // Any single bit of the container.
    let good = container();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let result = open(&bad, &SECRET, &keys.public);
        // The last two bytes are the outer type: a field that is gone, or another value, means E2EE as well.
        assert!(result.is_err() || bit / 8 >= good.len() - 2, "bit {bit}");
    }
}

#[test]
fn companions_of_others() {
    let keys = companion();
    let account = pair(0x44).public;
    let linked = open(&container(), &SECRET, &keys.public).unwrap();
    let signature = linked.sign(&keys, &RANDOM);
    let (short, full) = (linked.answer(&signature), linked.full(&signature));
    let by = |blob: &[u8], known: Option<&PublicKey>| verify_companion(blob, &keys.public, known, false);
    assert_eq!(by(&short, Some(&account)).unwrap().verified_by, Some(account));
    assert_eq!(by(&short, None).unwrap().verified_by, None);
    assert_eq!(by(&full, Some(&pair(0x33).public)), Err(AdvError::AccountKeyChanged));
    assert_eq!(by(&short, Some(&pair(0x33).public)), Err(AdvError::AccountSignature));
    // A hosted JID needs the hosted device signature.
    assert_eq!(verify_companion(&short, &keys.public, Some(&account), true), Err(AdvError::DeviceSignature));
    let message: [&[u8]; 4] = [&[6, 6], &linked.details, keys.public.as_bytes(), account.as_bytes()];
    let hosted = linked.answer(&xeddsa::sign(&keys.private, &message, &RANDOM));
    assert!(verify_companion(&hosted, &keys.public, Some(&account), true).is_ok());
    assert_eq!(by(&linked.answer(&[0; 64]), Some(&account)), Err(AdvError::DeviceSignature));
}

#[test]
fn key_index_lists() {
    let account = pair(0x44);
    let details = hex::decode("08011080e2cfaa061802220201022800").unwrap();
    let signature = xeddsa::sign(&account.private, &[&[6, 2], &details], &RANDOM);
    assert_eq!(
        signature,
        hex("dcbb47470899df9095843743da851e40f42a9f9dfd4ee9e9d051d9c4dec195d2\
             f1b23d1f4a7b280475f252757ee627fcff5c52832e1c8888083aa942326dff80")
    );
    let signed = AdvSignedKeyIndexList {
        details: Some(details.into()),
        account_signature: Some(Bytes::copy_from_slice(&signature)),
        account_signature_key: Some(Bytes::copy_from_slice(pair(0x33).public.as_bytes())),
    }
    .encode_to_vec();
    let list = KeyIndexList::open(&signed, Some(&account.public)).unwrap();
    assert!(list.verified);
    assert_eq!((list.raw_id, list.current_index, list.valid_indexes.as_slice()), (1, 2, [1, 2].as_slice()));
    assert!(list.accepts(Some(1)) && list.accepts(Some(3)) && !list.accepts(Some(0)) && !list.accepts(None));
    // The embedded key means nothing for an account that is not hosted.
    assert_eq!(KeyIndexList::open(&signed, Some(&pair(0x33).public)), Err(AdvError::AccountSignature));
    assert!(!KeyIndexList::open(&signed, None).unwrap().verified);
}
