//! What only the inside can set up: old forms of stored keys, closed chains, exhausted counters, false ciphertexts.

use std::boxed::Box;
use std::vec::Vec;

use super::chain::{DerivedKeys, KeySource, MessageKeys, Skipped, SkippedKey};
use super::state::SessionState;
use super::*;
use crate::crypto::{KeyPair, Rng};

/// A record with an acknowledged session, its peer's, and randomness.
fn connected() -> (SessionRecord, SessionRecord, Rng) {
    let mut rng = Rng::from_seed([8; 32]);
    let (a, b) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
    let (a, b) = (LocalIdentity { keys: &a, registration_id: 1 }, LocalIdentity { keys: &b, registration_id: 2 });
    let signed = [SignedPreKeyRecord::generate(1, b.keys, 0, &mut rng)];
    let (mut to_b, mut to_a) = (SessionRecord::new(), SessionRecord::new());
    initiate(&a, &PreKeyBundle::of(&b, &signed[0], None), &mut to_b, &mut rng).unwrap();
    let first = encrypt(&mut to_b, b"1").unwrap().bytes;
    let prekeys = LocalPreKeys { signed: &signed, one_time: &[] };
    let message = PreKeyMessage::parse(&first).unwrap();
    decrypt_prekey(&mut to_a, &b, &message, &prekeys, &mut rng, Forward::Peer).unwrap();
    let answer = encrypt(&mut to_a, b"2").unwrap().bytes;
    receive(&mut to_b, &answer, &mut rng).unwrap();
    (to_b, to_a, rng)
}

fn receive(record: &mut SessionRecord, bytes: &[u8], rng: &mut Rng) -> Result<Vec<u8>, SignalError> {
    let before = record.clone();
    let result = decrypt(record, &SignalMessage::parse(bytes)?, rng, Forward::Peer);
    assert!(result.is_ok() || *record == before);
    result.map(|decrypted| decrypted.plaintext)
}

fn session(record: &mut SessionRecord) -> &mut SessionState {
    record.current.as_mut().unwrap()
}

/// Older versions of the official library stored the derived keys instead of the seed.
#[test]
fn skipped_keys_without_seed() {
    let (mut a, mut b, mut rng) = connected();
    let late = encrypt(&mut a, b"late").unwrap().bytes;
    let next = encrypt(&mut a, b"next").unwrap().bytes;
    receive(&mut b, &next, &mut rng).unwrap();
    let chain = session(&mut b).receivers.last_mut().unwrap();
    let old_form = chain.skipped.iter().map(|key| {
        let keys = MessageKeys::of(&key.keys);
        SkippedKey { index: key.index, keys: KeySource::Derived(Box::new(DerivedKeys(keys.bytes()))) }
    });
    chain.skipped = Skipped::from_stored(old_form.collect());
    assert_eq!(chain.skipped.len(), 1);
    let mut loaded = SessionRecord::decode(&b.encode()).unwrap();
    assert!(loaded == b);
    assert_eq!(receive(&mut loaded, &late, &mut rng).unwrap(), b"late");
}

#[test]
fn a_closed_chain_gives_only_its_skipped_keys() {
    let (mut a, mut b, mut rng) = connected();
    let late = encrypt(&mut a, b"late").unwrap().bytes;
    let next = encrypt(&mut a, b"next").unwrap().bytes;
    let beyond = encrypt(&mut a, b"beyond").unwrap().bytes;
    receive(&mut b, &next, &mut rng).unwrap();
    session(&mut b).receivers.last_mut().unwrap().chain = None;
    b = SessionRecord::decode(&b.encode()).unwrap();
    assert_eq!(receive(&mut b, &beyond, &mut rng), Err(SignalError::InvalidMessage));
    assert_eq!(receive(&mut b, &late, &mut rng).unwrap(), b"late");
}

/// An imported session without sending chain receives; the first new ratchet key gives it one.
#[test]
fn a_session_without_sending_chain() {
    let (mut a, mut b, mut rng) = connected();
    let sent = encrypt(&mut a, b"x").unwrap().bytes;
    session(&mut b).sender.as_mut().unwrap().chain = None;
    b = SessionRecord::decode(&b.encode()).unwrap();
    let before = b.clone();
    assert!(!b.has_current());
    assert_eq!(encrypt(&mut b, b"x"), Err(SignalError::CannotSend));
    assert!(b == before);
    receive(&mut b, &sent, &mut rng).unwrap();
    let answer = encrypt(&mut b, b"answer").unwrap().bytes;
    assert_eq!(SignalMessage::parse(&answer).unwrap().previous_counter, 0);
    assert_eq!(receive(&mut a, &answer, &mut rng).unwrap(), b"answer");
}

#[test]
fn the_sending_counter_ends() {
    let (mut a, ..) = connected();
    let chain = |record: &mut SessionRecord| session(record).sender.as_mut().unwrap().chain.clone().unwrap().index;
    session(&mut a).sender.as_mut().unwrap().chain.as_mut().unwrap().index = u32::MAX - 1;
    let last = encrypt(&mut a, b"last").unwrap();
    assert_eq!(SignalMessage::parse(&last.bytes).unwrap().counter, u32::MAX - 1);
    let before = a.clone();
    assert_eq!(encrypt(&mut a, b"x"), Err(SignalError::CounterExhausted));
    assert!(a == before && chain(&mut a) == u32::MAX);
}

/// A right MAC over something that is no AES-CBC: only the peer can make it. The message key is not used up.
#[test]
fn authentic_but_undecryptable() {
    let (mut a, mut b, mut rng) = connected();
    let sender = session(&mut a).sender.clone().unwrap();
    let keys = MessageKeys::of_seed(&sender.chain.unwrap().seed());
    let (from, to) = (session(&mut a).local_identity, session(&mut a).remote_identity);
    for len in [0, 15, 16, 17] {
        let bad = SignalMessage::frame(&keys, &from, &to, &sender.pair.public, [0, 0], &[9; 17][..len]);
        assert_eq!(receive(&mut b, &bad, &mut rng), Err(SignalError::InvalidMessage), "{len}");
    }
    let good = encrypt(&mut a, b"x").unwrap().bytes;
    assert_eq!(receive(&mut b, &good, &mut rng).unwrap(), b"x");
}

/// The current session gets as far as the MAC; an archived one has used the key. Duplicate wins, and nothing asks for a
/// retry of a message that was read.
#[test]
fn duplicate_in_an_archived_session_wins() {
    let (mut a, mut b, mut rng) = connected();
    let sent = encrypt(&mut a, b"x").unwrap().bytes;
    receive(&mut b, &sent, &mut rng).unwrap();
    let (other, ..) = {
        let (mut x, y, _) = connected();
        session(&mut x).root = super::chain::Secret([3; 32]);
        (x, y)
    };
    b.replace_current(other.current.unwrap());
    let message = SignalMessage::parse(&sent).unwrap();
    let current_alone = SessionRecord { current: b.current.clone(), archived: Vec::new() };
    assert!(!matches!(
        decrypt(&mut current_alone.clone(), &message, &mut rng, Forward::Peer),
        Err(SignalError::Duplicate { .. })
    ));
    assert!(matches!(receive(&mut b, &sent, &mut rng), Err(SignalError::Duplicate { .. })));
}

/// An archived session that becomes current again by a message is acknowledged anyway; one in a record given to the
/// official library must not look as if it were waiting.
#[test]
fn archiving_drops_the_pending_prekey() {
    let mut rng = Rng::from_seed([9; 32]);
    let (a, b) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
    let (a, b) = (LocalIdentity { keys: &a, registration_id: 1 }, LocalIdentity { keys: &b, registration_id: 2 });
    let signed = SignedPreKeyRecord::generate(1, b.keys, 0, &mut rng);
    let mut record = SessionRecord::new();
    initiate(&a, &PreKeyBundle::of(&b, &signed, None), &mut record, &mut rng).unwrap();
    assert!(record.is_unacknowledged());
    record.archive_current();
    assert!(record.archived[0].decode().unwrap().pending.is_none());
}

/// Skipped keys are stored newest first, because the official library drops from the end.
#[test]
fn order_of_skipped_keys_in_storage() {
    let (mut a, mut b, mut rng) = connected();
    let sent: Vec<_> = (0..4).map(|_| encrypt(&mut a, b"x").unwrap().bytes).collect();
    receive(&mut b, &sent[3], &mut rng).unwrap();
    let bytes = session(&mut b).encode();
    let at: Vec<_> = session(&mut b)
        .receivers
        .last()
        .unwrap()
        .skipped
        .iter()
        .map(|key| {
            let KeySource::Seed(seed) = &key.keys else { unreachable!() };
            bytes.windows(32).position(|window| window == seed.0).unwrap()
        })
        .collect();
    assert!(at.len() == 3 && at.is_sorted_by(|a, b| a > b), "{at:?}");
}
