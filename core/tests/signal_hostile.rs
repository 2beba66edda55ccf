//! Hostile input: nothing panics, nothing changes.

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{self, *};
use proptest::prelude::*;

struct Setup {
    bob: KeyPair,
    signed: [SignedPreKeyRecord; 1],
    one_time: [PreKeyRecord; 1],
    rng: Rng,
}

impl Setup {
    fn new() -> Self {
        let mut rng = Rng::from_seed([3; 32]);
        let bob = KeyPair::generate(&mut rng);
        let signed = [SignedPreKeyRecord::generate(1, &bob, 0, &mut rng)];
        let one_time = [PreKeyRecord::generate(1, &mut rng)];
        Self { bob, signed, one_time, rng }
    }

    fn prekey(&mut self, record: &mut SessionRecord, bytes: &[u8]) -> Result<Decrypted, SignalError> {
        let message = PreKeyMessage::parse(bytes)?;
        let local = LocalIdentity { keys: &self.bob, registration_id: 2 };
        let prekeys = LocalPreKeys { signed: &self.signed, one_time: &self.one_time };
        signal::decrypt_prekey(record, &local, &message, &prekeys, &mut self.rng, Forward::Peer)
    }

    fn message(&mut self, record: &mut SessionRecord, bytes: &[u8]) -> Result<Decrypted, SignalError> {
        signal::decrypt(record, &SignalMessage::parse(bytes)?, &mut self.rng, Forward::Peer)
    }

    /// Alice's record, her first prekey message, and Bob's record after it.
    fn exchange(&mut self) -> (SessionRecord, Vec<u8>, SessionRecord) {
        let alice = KeyPair::generate(&mut self.rng);
        let local = LocalIdentity { keys: &alice, registration_id: 1 };
        let bob = LocalIdentity { keys: &self.bob, registration_id: 2 };
        let bundle = PreKeyBundle::of(&bob, &self.signed[0], Some(&self.one_time[0]));
        let mut to_bob = SessionRecord::new();
        signal::initiate(&local, &bundle, &mut to_bob, &mut self.rng).unwrap();
        let first = signal::encrypt(&mut to_bob, b"first message").unwrap().bytes;
        let mut to_alice = SessionRecord::new();
        self.prekey(&mut to_alice, &first).unwrap();
        (to_bob, first, to_alice)
    }
}

fn truncations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).map(|len| bytes[..len].to_vec())
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut out = bytes.to_vec();
        out[bit / 8] ^= 1 << (bit % 8);
        out
    })
}

/// A flip in the outer registration id, or in the low nibble of the outer version, is the only one that may pass: they
/// are not authenticated.
#[test]
fn every_truncation_and_flip_of_a_prekey_message() {
    let mut setup = Setup::new();
    let (_, first, _) = setup.exchange();
    let registration_at = first.len() - 3;
    assert_eq!(&first[registration_at - 1..], [0x28, 1, 0x30, 1]);
    for bytes in truncations(&first) {
        let mut record = SessionRecord::new();
        assert!(setup.prekey(&mut record, &bytes).is_err());
        assert!(record.is_empty());
    }
    for (bit, bytes) in flips(&first).enumerate() {
        let mut record = SessionRecord::new();
        let unauthenticated = bit < 4 || bit / 8 == registration_at || bit / 8 == registration_at - 1;
        match setup.prekey(&mut record, &bytes) {
            Ok(_) => assert!(unauthenticated, "bit {bit}"),
            Err(_) => assert!(record.is_empty(), "bit {bit}"),
        }
    }
}

/// Every other encoding of the base key gives the same secrets but another name, so each would replay the message.
#[test]
fn a_message_cannot_be_replayed_under_a_variant_of_its_base_key() {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::montgomery::MontgomeryPoint;
    let mut setup = Setup::new();
    let (_, first, mut to_alice) = setup.exchange();
    let before = to_alice.clone();
    let key = PreKeyMessage::parse(&first).unwrap().base_key;
    let at = first.windows(32).position(|window| window == key.as_bytes()).unwrap();
    let point = MontgomeryPoint(*key.as_bytes()).to_edwards(0).unwrap();
    let mut variants: Vec<_> = EIGHT_TORSION.iter().map(|t| (point + t).to_montgomery().to_bytes()).collect();
    assert_eq!(variants.remove(0), *key.as_bytes());
    let mut high_bit = *key.as_bytes();
    high_bit[31] |= 0x80;
    variants.push(high_bit);
    for variant in variants {
        let mut bytes = first.clone();
        bytes[at..at + 32].copy_from_slice(&variant);
        assert_eq!(setup.prekey(&mut to_alice, &bytes), Err(SignalError::InvalidBaseKey));
        assert!(to_alice == before);
    }
    assert!(matches!(setup.prekey(&mut to_alice, &first), Err(SignalError::Duplicate { .. })));
}

#[test]
fn every_truncation_and_flip_of_a_message_on_both_kinds_of_chain() {
    let mut setup = Setup::new();
    let (mut to_bob, _, mut to_alice) = setup.exchange();
    let reply = signal::encrypt(&mut to_alice, b"reply").unwrap().bytes;
    let mut acknowledged = to_bob.clone();
    setup.message(&mut acknowledged, &reply).unwrap();
    // On a new chain (the reply at Alice), and on a known one (Alice's second message at Bob, unwrapped).
    let second = signal::encrypt(&mut to_bob, b"second").unwrap().bytes;
    let at = second.windows(2).rposition(|w| w == [0x33, 0x0a]).unwrap();
    let known = second[at..second.len() - 4].to_vec();
    setup.message(&mut to_alice.clone(), &known).unwrap();
    for (record, good) in [(&to_bob, &reply), (&to_alice, &known)] {
        for bytes in truncations(good).chain(flips(good)) {
            let mut copy = record.clone();
            let position = setup.rng.position();
            assert!(setup.message(&mut copy, &bytes).is_err());
            assert!(copy == *record && setup.rng.position() == position);
        }
    }
}

#[test]
fn every_truncation_and_flip_of_a_stored_record() {
    let mut setup = Setup::new();
    let (mut to_bob, ..) = setup.exchange();
    to_bob.archive_current();
    let (other, ..) = setup.exchange();
    // One current and one archived session in one record.
    let mut bytes = other.encode();
    bytes.extend(to_bob.encode());
    assert_eq!(SessionRecord::decode(&bytes).unwrap().archived_len(), 1);
    for damaged in truncations(&bytes).chain(flips(&bytes)) {
        // Most are refused; one that is not must still be usable without a panic.
        if let Ok(mut record) = SessionRecord::decode(&damaged) {
            let _ = format!("{record:?}");
            let _ = signal::encrypt(&mut record, b"x");
            assert!(SessionRecord::decode(&record.encode()).is_ok());
        }
    }
    let mut rng = Rng::from_seed([1; 32]);
    let own = SenderKeyRecord::create(&mut rng);
    for damaged in truncations(&own.encode()).chain(flips(&own.encode())) {
        if let Ok(mut record) = SenderKeyRecord::decode(&damaged) {
            let _ = record.encrypt(b"x", &mut rng);
        }
    }
    let distribution = own.distribution().unwrap().encode();
    for damaged in truncations(&distribution) {
        assert!(Distribution::parse(&damaged).is_err());
    }
}

/// A message with fields no client sends is fine, if the MAC covers them as they are.
#[test]
fn required_fields_and_key_types() {
    let key = [[5u8].as_slice(), &[9; 32]].concat();
    let message = |key: &[u8], rest: &[u8]| {
        let mut out = vec![0x33, 0x0a, u8::try_from(key.len()).unwrap()];
        out.extend(key);
        out.extend(rest);
        out.extend([0; 8]);
        SignalMessage::parse(&out).map(|message| (message.counter, message.previous_counter))
    };
    let full = [0x10, 3, 0x18, 4, 0x22, 1, 0];
    assert_eq!(message(&key, &full), Ok((3, 4)));
    assert_eq!(message(&key, &[0x10, 3, 0x22, 1, 0]), Ok((3, 0)));
    // −1 as libsignal-node sends it, and as an int32 would be.
    assert_eq!(message(&key, &[0x10, 3, 0x18, 255, 255, 255, 255, 15, 0x22, 0]), Ok((3, u32::MAX)));
    assert_eq!(message(&key, &[0x10, 3, 0x2a, 1, 7, 0x38, 9, 0x22, 1, 0]), Ok((3, 0)), "unknown fields");
    assert_eq!(message(&key, &[0x18, 4, 0x22, 1, 0]), Err(SignalError::Malformed("counter")));
    assert_eq!(message(&key, &[0x10, 3]), Err(SignalError::Malformed("ciphertext")));
    for bad in [&key[1..], &key[..32], &[[6u8].as_slice(), &[9; 32]].concat(), &[]] {
        assert_eq!(message(bad, &full), Err(SignalError::Malformed("ratchet key")));
    }
}

proptest! {
    #[test]
    fn random_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), front in any::<bool>()) {
        if front && !bytes.is_empty() {
            bytes[0] = 0x33;
        }
        let _ = SignalMessage::parse(&bytes);
        let _ = PreKeyMessage::parse(&bytes);
        let _ = SenderKeyMessage::parse(&bytes);
        let _ = Distribution::parse(&bytes);
        let _ = PreKeyRecord::decode(&bytes);
        let _ = SignedPreKeyRecord::decode(&bytes);
        if let Ok(record) = SessionRecord::decode(&bytes) {
            let again = SessionRecord::decode(&record.encode());
            prop_assert!(again.is_ok_and(|again| again == record));
        }
        if let Ok(record) = SenderKeyRecord::decode(&bytes) {
            let again = SenderKeyRecord::decode(&record.encode());
            prop_assert!(again.is_ok_and(|again| again == record));
        }
    }
}
