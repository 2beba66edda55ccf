//! Sender keys through the public API (`protocol/signal.md` §6).

use amarula_core::crypto::Rng;
use amarula_core::signal::*;

fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

/// A sender's record, and a receiver's that has its key.
fn pair() -> (SenderKeyRecord, SenderKeyRecord, Rng) {
    let mut rng = rng(1);
    let own = SenderKeyRecord::create(&mut rng);
    let mut theirs = SenderKeyRecord::new();
    let bytes = own.distribution().unwrap().encode();
    assert_eq!(theirs.process_distribution(&Distribution::parse(&bytes).unwrap()), Distributed::Added);
    (own, theirs, rng)
}

fn receive(record: &mut SenderKeyRecord, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
    let before = record.clone();
    let result = SenderKeyMessage::parse(bytes).and_then(|message| record.decrypt(&message));
    assert!(result.is_ok() || *record == before, "an error changed the record");
    result
}

#[test]
fn in_any_order_once_each() {
    let (mut own, mut theirs, mut rng) = pair();
    let sent: Vec<_> = (0..10u8).map(|n| own.encrypt(&[n], &mut rng).unwrap()).collect();
    assert_eq!(own.next_iteration(), Some(10));
    for at in [3usize, 0, 9, 1, 2, 8, 4, 7, 5, 6] {
        assert_eq!(receive(&mut theirs, &sent[at]).unwrap(), [at as u8]);
        theirs = SenderKeyRecord::decode(&theirs.encode()).unwrap();
    }
    let id = own.key_ids().next().unwrap();
    for (at, bytes) in sent.iter().enumerate() {
        let duplicate = SignalError::Duplicate { chain: ChainId::SenderKey(id), counter: at as u32 };
        assert_eq!(receive(&mut theirs, bytes), Err(duplicate));
    }
    // Iterations are 0, 1, 2, … on the wire.
    let iterations: Vec<_> = sent.iter().map(|bytes| SenderKeyMessage::parse(bytes).unwrap().iteration).collect();
    assert_eq!(iterations, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_late_member_reads_from_its_distribution_on() {
    let (mut own, _, mut rng) = pair();
    let before = own.encrypt(b"before", &mut rng).unwrap();
    let distribution = own.distribution().unwrap();
    assert_eq!(distribution.iteration, 1);
    let after = own.encrypt(b"after", &mut rng).unwrap();
    let mut late = SenderKeyRecord::new();
    late.process_distribution(&distribution);
    assert!(matches!(receive(&mut late, &before), Err(SignalError::Duplicate { counter: 0, .. })));
    assert_eq!(receive(&mut late, &after).unwrap(), b"after");
}

#[test]
fn a_repeated_distribution_does_not_rewind() {
    let (mut own, mut theirs, mut rng) = pair();
    let first = own.distribution().unwrap();
    let sent: Vec<_> = (0..3u8).map(|n| own.encrypt(&[n], &mut rng).unwrap()).collect();
    receive(&mut theirs, &sent[2]).unwrap();
    assert_eq!(theirs.process_distribution(&first), Distributed::Known);
    assert!(matches!(receive(&mut theirs, &sent[2]), Err(SignalError::Duplicate { .. })));
    assert_eq!(receive(&mut theirs, &sent[0]).unwrap(), [0], "skipped keys are still there");
    assert_eq!(theirs.process_distribution(&own.distribution().unwrap()), Distributed::Known);
    assert_eq!(receive(&mut theirs, &sent[1]).unwrap(), [1]);
}

#[test]
fn rotation_keeps_five_and_a_known_one_moves_to_the_front() {
    let mut rng = rng(2);
    let mut keys: Vec<_> = (0..6).map(|_| SenderKeyRecord::create(&mut rng)).collect();
    let mut theirs = SenderKeyRecord::new();
    for key in &keys[..5] {
        theirs.process_distribution(&key.distribution().unwrap());
    }
    // The first is the oldest; naming it again saves it from being dropped.
    assert_eq!(theirs.process_distribution(&keys[0].distribution().unwrap()), Distributed::Known);
    assert_eq!(theirs.process_distribution(&keys[5].distribution().unwrap()), Distributed::Added);
    let ids: Vec<_> = theirs.key_ids().collect();
    let expected: Vec<_> = [5usize, 0, 4, 3, 2].map(|at| keys[at].key_ids().next().unwrap()).into();
    assert_eq!(ids, expected);
    let dropped = keys[1].key_ids().next().unwrap();
    let sent = keys[1].encrypt(b"x", &mut rng).unwrap();
    assert_eq!(receive(&mut theirs, &sent), Err(SignalError::NoSenderKey(dropped)));
    let sent = keys[0].encrypt(b"x", &mut rng).unwrap();
    assert_eq!(receive(&mut theirs, &sent).unwrap(), b"x");
    assert!(SenderKeyRecord::decode(&theirs.encode()).unwrap() == theirs);
}

#[test]
fn same_id_with_another_signing_key_replaces() {
    let (own, mut theirs, mut rng) = pair();
    let mut other = SenderKeyRecord::create(&mut rng);
    let mut distribution = other.distribution().unwrap();
    distribution.key_id = own.key_ids().next().unwrap();
    assert_eq!(theirs.process_distribution(&distribution), Distributed::Replaced);
    assert_eq!(theirs.key_ids().count(), 1);
    // Its messages name the other id, so go through a record with the id changed in its storage form.
    let own_id = other.key_ids().next().unwrap();
    let sent = other.encrypt(b"x", &mut rng).unwrap();
    assert_eq!(receive(&mut theirs, &sent), Err(SignalError::NoSenderKey(own_id)));
}

#[test]
fn the_signature_is_checked_first() {
    let (mut own, mut theirs, mut rng) = pair();
    let good = own.encrypt(b"x", &mut rng).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match receive(&mut theirs, &bad) {
            Err(SignalError::BadSignature | SignalError::NoSenderKey(_) | SignalError::Malformed(_)) => {}
            Err(SignalError::LegacyVersion(_) | SignalError::UnknownVersion(_)) if bit / 8 == 0 => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    for len in 0..good.len() {
        assert!(receive(&mut theirs, &good[..len]).is_err());
    }
    assert_eq!(receive(&mut theirs, &good).unwrap(), b"x");
}

#[test]
fn limits_of_the_chain() {
    let (mut own, mut theirs, mut rng) = pair();
    let sent: Vec<_> = (0..=2001u32).map(|n| own.encrypt(&n.to_be_bytes(), &mut rng).unwrap()).collect();
    assert_eq!(receive(&mut theirs, &sent[2001]), Err(SignalError::FutureMessage { ahead: 2001 }));
    receive(&mut theirs, &sent[2000]).unwrap();
    // 2000 keys are waiting (0 to 1999); skipping one more (2001) pushes out the oldest.
    let next = own.encrypt(b"next", &mut rng).unwrap();
    receive(&mut theirs, &next).unwrap();
    let lost = receive(&mut theirs, &sent[0]);
    assert!(matches!(lost, Err(SignalError::Duplicate { counter: 0, .. })), "{lost:?}");
    let still = receive(&mut theirs, &sent[1]);
    assert_eq!(still.unwrap(), 1u32.to_be_bytes());
    assert!(SenderKeyRecord::decode(&theirs.encode()).unwrap() == theirs);
}

#[test]
fn somebody_elses_key_cannot_send() {
    let (_, mut theirs, mut rng) = pair();
    let before = rng.position();
    assert_eq!(theirs.encrypt(b"x", &mut rng), Err(SignalError::CannotSend));
    assert_eq!(theirs.distribution(), Err(SignalError::CannotSend));
    assert_eq!(SenderKeyRecord::new().encrypt(b"x", &mut rng), Err(SignalError::CannotSend));
    assert_eq!(rng.position(), before);
}

#[test]
fn the_counter_ends_instead_of_wrapping() {
    // From storage: SenderKeyRecordStructure with the chain at 2^32−2.
    let (own, ..) = pair();
    let bytes = own.encode();
    let mut distribution = own.distribution().unwrap();
    let mut stuck = SenderKeyRecord::decode(&with_iteration(&bytes, u32::MAX)).unwrap();
    assert_eq!(stuck.encrypt(b"x", &mut rng(3)), Err(SignalError::CounterExhausted));
    let mut last = SenderKeyRecord::decode(&with_iteration(&bytes, u32::MAX - 1)).unwrap();
    let sent = last.encrypt(b"last", &mut rng(3)).unwrap();
    assert_eq!(last.encrypt(b"x", &mut rng(3)), Err(SignalError::CounterExhausted));
    distribution.iteration = u32::MAX - 1;
    let mut theirs = SenderKeyRecord::new();
    theirs.process_distribution(&distribution);
    assert_eq!(receive(&mut theirs, &sent).unwrap(), b"last");
    assert!(matches!(receive(&mut theirs, &sent), Err(SignalError::Duplicate { .. })));
}

/// Sets the iteration in an own record's storage form, where it is 0 and therefore left out.
fn with_iteration(record: &[u8], iteration: u32) -> Vec<u8> {
    // { 1: { 1: id, 2: { 2: seed }, … } } → the inner { 2: seed } gets a field 1 of 5 bytes in front.
    let at = record.windows(4).position(|window| window == [0x12, 34, 0x12, 32]).unwrap();
    let mut field = vec![0x08];
    let mut value = iteration;
    while value >= 0x80 {
        field.push(value as u8 | 0x80);
        value >>= 7;
    }
    field.push(value as u8);
    let mut out = record.to_vec();
    out[at + 1] += field.len() as u8;
    out.splice(at + 2..at + 2, field.iter().copied());
    // The outer length is one byte before and after.
    assert_eq!(usize::from(out[1]), record.len() - 2);
    out[1] += field.len() as u8;
    assert!(out[1] < 0x80);
    out
}
