//! signal §9.

use amarula_core::crypto::{KeyPair, PrivateKey, Rng};

use super::{PreKey, Session, TheirKeys};
use crate::signal::SignalError;

const PLAIN: &str = "0a0568656c6c6f030303";
const FIRST: &str = "330a21057b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b141000180022106d72ff284c8431960a8b434be7e58366d7fb3eb308152b32";
const PREKEY: &str = "3308071221050faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f201a21057b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f132242330a21057b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b141000180022106d72ff284c8431960a8b434be7e58366d7fb3eb308152b3228d2093001";
const REPLY: &str = "330a210530d3c865a48fceb3d6118577cf2e5f228d6ff69866264757785b253cb7a4806a100018002210ed2ebee859188ed457814c88f4e1aa13c2cc199a3f4c5012";
const NEXT: &str = "330a2105ba193836cff1f4e866c139715d306408d26a76f76d638a39afc1001084d25411100018002210ff48d3f319a4e533ce24c168feca415c5d7bd69f826cd8d1";

fn pair(byte: u8) -> KeyPair {
    KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
}

fn bin(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn vectors_both_roles() {
    let theirs = TheirKeys {
        identity: pair(0x44).public,
        signed: (1, pair(0x55).public),
        one_time: Some((7, pair(0x66).public)),
        registration_id: 1,
    };
    let mut alice = Session::initiate(&pair(0x11), &pair(0x22), pair(0x33), &theirs).unwrap();
    let (bytes, is_prekey) = alice.encrypt(&bin(PLAIN), 1234).unwrap();
    assert!(is_prekey);
    assert_eq!(hex::encode(&bytes), PREKEY);
    let parsed = PreKey::parse(&bytes).unwrap();
    assert_eq!((parsed.one_time, parsed.signed, parsed.registration_id), (Some(7), 1, 1234));
    assert_eq!(hex::encode(&parsed.message), FIRST);

    let mut bob =
        Session::respond(&pair(0x44), &pair(0x55), Some(&pair(0x66)), parsed.identity, parsed.base_key, 1234).unwrap();
    assert_eq!(bob.decrypt_with_ratchet(&parsed.message, pair(0x88)).unwrap(), bin(PLAIN));
    let (reply, is_prekey) = bob.encrypt(&bin(PLAIN), 1).unwrap();
    assert!(!is_prekey);
    assert_eq!(hex::encode(&reply), REPLY);

    assert_eq!(alice.decrypt_with_ratchet(&reply, pair(0x99)).unwrap(), bin(PLAIN));
    let (next, is_prekey) = alice.encrypt(&bin(PLAIN), 1234).unwrap();
    assert!(!is_prekey);
    assert_eq!(hex::encode(&next), NEXT);
    let mut rng = Rng::from_seed([1; 32]);
    let before = bob.clone();
    let mut damaged = next.clone();
    damaged[40] ^= 1;
    assert!(bob.decrypt(&damaged, &mut rng).is_err());
    assert_eq!(bob, before);
    assert_eq!(bob.decrypt(&next, &mut rng).unwrap(), bin(PLAIN));
    assert_eq!(bob.decrypt(&next, &mut rng), Err(SignalError::Duplicate));
}

#[test]
fn out_of_order_and_limits() {
    let theirs =
        TheirKeys { identity: pair(0x44).public, signed: (1, pair(0x55).public), one_time: None, registration_id: 1 };
    let mut rng = Rng::from_seed([1; 32]);
    let mut alice = Session::initiate(&pair(0x11), &pair(0x22), pair(0x33), &theirs).unwrap();
    let sent: Vec<_> =
        (0..2003u32).map(|n| PreKey::parse(&alice.encrypt(&n.to_be_bytes(), 1).unwrap().0).unwrap().message).collect();
    let mut bob = Session::respond(&pair(0x44), &pair(0x55), None, pair(0x11).public, pair(0x22).public, 1).unwrap();
    assert_eq!(bob.decrypt(&sent[2], &mut rng).unwrap(), 2u32.to_be_bytes());
    assert_eq!(bob.decrypt(&sent[0], &mut rng).unwrap(), 0u32.to_be_bytes());
    assert_eq!(bob.decrypt(&sent[0], &mut rng), Err(SignalError::Duplicate));
    assert_eq!(bob.decrypt(&sent[2002], &mut rng).unwrap(), 2002u32.to_be_bytes());
    let mut bob = Session::respond(&pair(0x44), &pair(0x55), None, pair(0x11).public, pair(0x22).public, 1).unwrap();
    assert_eq!(bob.decrypt(&sent[2001], &mut rng), Err(SignalError::TooFarAhead));
}
