//! Sessions through the public API: the event table of `protocol/signal.md` §4, limits, and storage.

use amarula_core::crypto::{KeyPair, PublicKey, Rng};
use amarula_core::signal::{self, *};

struct Party {
    keys: KeyPair,
    registration_id: u32,
    signed: Vec<SignedPreKeyRecord>,
    one_time: Vec<PreKeyRecord>,
    record: SessionRecord,
    rng: Rng,
}

impl Party {
    fn new(seed: u8) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        let keys = KeyPair::generate(&mut rng);
        let signed = vec![SignedPreKeyRecord::generate(1, &keys, 0, &mut rng)];
        let one_time = (1..=60).map(|id| PreKeyRecord::generate(id, &mut rng)).collect();
        Self { keys, registration_id: u32::from(seed), signed, one_time, record: SessionRecord::new(), rng }
    }

    fn bundle(&self, one_time: Option<usize>) -> PreKeyBundle {
        PreKeyBundle::of(&self.local(), &self.signed[0], one_time.map(|at| &self.one_time[at]))
    }

    fn local(&self) -> LocalIdentity<'_> {
        LocalIdentity { keys: &self.keys, registration_id: self.registration_id }
    }

    fn start(&mut self, bundle: &PreKeyBundle) {
        let local = LocalIdentity { keys: &self.keys, registration_id: self.registration_id };
        signal::initiate(&local, bundle, &mut self.record, &mut self.rng).unwrap();
    }

    fn send(&mut self, text: &[u8]) -> Ciphertext {
        signal::encrypt(&mut self.record, text).unwrap()
    }

    fn receive_from(&mut self, sent: &Ciphertext, forward: Forward) -> Result<Decrypted, SignalError> {
        let before = self.record.clone();
        let position = self.rng.position();
        let result = match sent.kind {
            CiphertextKind::Message => {
                let message = SignalMessage::parse(&sent.bytes)?;
                signal::decrypt(&mut self.record, &message, &mut self.rng, forward)
            }
            CiphertextKind::PreKey => {
                let message = PreKeyMessage::parse(&sent.bytes)?;
                let local = LocalIdentity { keys: &self.keys, registration_id: self.registration_id };
                let prekeys = LocalPreKeys { signed: &self.signed, one_time: &self.one_time };
                signal::decrypt_prekey(&mut self.record, &local, &message, &prekeys, &mut self.rng, forward)
            }
        };
        match &result {
            Ok(decrypted) => {
                if let Some(id) = decrypted.used_prekey {
                    self.one_time.retain(|key| key.id != id);
                }
            }
            Err(_) => {
                assert!(self.record == before, "an error changed the record");
                assert_eq!(self.rng.position(), position, "an error used randomness");
            }
        }
        result
    }

    fn receive(&mut self, sent: &Ciphertext) -> Result<Decrypted, SignalError> {
        self.receive_from(sent, Forward::Peer)
    }

    fn expect(&mut self, sent: &Ciphertext, text: &[u8]) -> Decrypted {
        let decrypted = self.receive(sent).unwrap();
        assert_eq!(decrypted.plaintext, text);
        decrypted
    }
}

/// Two parties with an acknowledged session, started by the first.
fn connected() -> (Party, Party) {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(Some(0)));
    let first = a.send(b"hello");
    b.expect(&first, b"hello");
    let answer = b.send(b"hi");
    a.expect(&answer, b"hi");
    (a, b)
}

#[test]
fn prekey_messages_until_an_answer_and_no_prekey_twice() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(Some(4)));
    assert!(a.record.is_unacknowledged() && a.record.has_current());
    let flight: Vec<_> = (0..4u8).map(|n| a.send(&[n])).collect();
    assert!(flight.iter().all(|sent| sent.kind == CiphertextKind::PreKey));

    // The third comes first and makes the session.
    let message = PreKeyMessage::parse(&flight[2].bytes).unwrap();
    assert_eq!(signal::prekeys_needed(&b.record, &message), NeededPreKeys { signed: Some(1), one_time: Some(5) });
    let got = b.expect(&flight[2], &[2]);
    assert_eq!((got.session, got.used_prekey, got.identity), (SessionUsed::New, Some(5), a.keys.public));
    assert_eq!(b.record.remote_registration_id(), Some(1));
    assert!(b.one_time.iter().all(|key| key.id != 5), "deleted by the harness");

    // The others of the flight find the session and need no prekey, which is gone.
    b.signed.clear();
    for at in [0, 3, 1] {
        let message = PreKeyMessage::parse(&flight[at].bytes).unwrap();
        assert_eq!(signal::prekeys_needed(&b.record, &message), NeededPreKeys::default());
        let got = b.expect(&flight[at], &[at as u8]);
        assert_eq!((got.session, got.used_prekey), (SessionUsed::Current, None));
    }
    for sent in &flight {
        assert!(matches!(b.receive(sent), Err(SignalError::Duplicate { chain: ChainId::Ratchet(_), .. })));
    }
    let answer = b.send(b"yes");
    assert_eq!(answer.kind, CiphertextKind::Message);
    a.expect(&answer, b"yes");
    assert!(!a.record.is_unacknowledged());
    assert_eq!(a.send(b"more").kind, CiphertextKind::Message);
}

#[test]
fn bundle_without_one_time_key() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(None));
    let sent = a.send(b"x");
    assert_eq!(PreKeyMessage::parse(&sent.bytes).unwrap().pre_key_id, None);
    assert_eq!(b.expect(&sent, b"x").used_prekey, None);
}

#[test]
fn missing_prekeys_are_named() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(Some(0)));
    let sent = a.send(b"x");
    let one_time = b.one_time.remove(0);
    assert_eq!(b.receive(&sent), Err(SignalError::InvalidKeyId { kind: PreKeyKind::OneTime, id: 1 }));
    b.one_time.push(one_time);
    let signed = b.signed.remove(0);
    assert_eq!(b.receive(&sent), Err(SignalError::InvalidKeyId { kind: PreKeyKind::Signed, id: 1 }));
    // A newer signed prekey does not stand in for the one that was used.
    let newer = SignedPreKeyRecord::generate(2, &b.keys, 0, &mut b.rng);
    b.signed.push(newer);
    assert!(b.receive(&sent).is_err());
    b.signed.push(signed);
    b.expect(&sent, b"x");
}

#[test]
fn a_bundle_with_a_bad_signature_changes_nothing() {
    let (mut a, b) = connected();
    let before = a.record.clone();
    let mut bundle = b.bundle(Some(3));
    bundle.signed.public = bundle.one_time.unwrap().public;
    let local = LocalIdentity { keys: &a.keys, registration_id: 1 };
    let result = signal::initiate(&local, &bundle, &mut a.record, &mut a.rng);
    assert_eq!(result, Err(SignalError::BadSignature));
    assert!(a.record == before);
    // Signed by the right one, but over the raw 32 bytes.
    let raw = b.signed[0].keys.public;
    bundle.signed.public = raw;
    bundle.signed.signature = amarula_core::crypto::xeddsa::sign(&b.keys.private, &[raw.as_bytes()], &[1; 64]);
    assert_eq!(bundle.verify(), Err(SignalError::BadSignature));
}

#[test]
fn low_order_keys_are_refused() {
    let (mut a, b) = (Party::new(1), Party::new(2));
    let mut bundle = b.bundle(Some(0));
    bundle.one_time.as_mut().unwrap().public = PublicKey([0; 32]);
    let local = LocalIdentity { keys: &a.keys, registration_id: 1 };
    assert_eq!(signal::initiate(&local, &bundle, &mut a.record, &mut a.rng), Err(SignalError::LowOrder));
    assert!(a.record.is_empty());

    // As the ratchet key of a received message.
    let (mut a, mut b) = connected();
    let mut sent = b.send(b"x");
    let at = sent.bytes.windows(2).position(|pair| pair == [33, 5]).unwrap() + 2;
    sent.bytes[at..at + 32].fill(0);
    assert_eq!(a.receive(&sent), Err(SignalError::LowOrder));
}

#[test]
fn simultaneous_initiation_settles_on_one_session() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(Some(0)));
    b.start(&a.bundle(Some(0)));
    let (from_a, from_b) = (a.send(b"a1"), b.send(b"b1"));
    assert_eq!(b.expect(&from_a, b"a1").session, SessionUsed::New);
    assert_eq!(a.expect(&from_b, b"b1").session, SessionUsed::New);
    assert_eq!((a.record.archived_len(), b.record.archived_len()), (1, 1));
    assert_ne!(a.record.base_key(), b.record.base_key());
    // Both answer at the same time, on the session the other started; each is promoted at the other side.
    let (from_a, from_b) = (a.send(b"a2"), b.send(b"b2"));
    assert_eq!(b.expect(&from_a, b"a2").session, SessionUsed::Promoted);
    assert_eq!(a.expect(&from_b, b"b2").session, SessionUsed::Promoted);
    // As soon as they do not cross, it settles.
    let sent = a.send(b"a3");
    b.expect(&sent, b"a3");
    let sent = b.send(b"b3");
    a.expect(&sent, b"b3");
    assert_eq!(a.record.base_key(), b.record.base_key());
    let sent = a.send(b"a4");
    assert_eq!(b.expect(&sent, b"a4").session, SessionUsed::Current);
}

#[test]
fn prekey_message_of_an_archived_session_promotes_it() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    a.start(&b.bundle(Some(0)));
    let old = [a.send(b"old 0"), a.send(b"old 1")];
    a.start(&b.bundle(Some(1)));
    let new = a.send(b"new");
    b.expect(&old[0], b"old 0");
    b.expect(&new, b"new");
    let current = b.record.base_key();
    // A repeat of what is known to the archived session is a duplicate and promotes nothing.
    assert!(matches!(b.receive(&old[0]), Err(SignalError::Duplicate { .. })));
    assert_eq!(b.record.base_key(), current);
    let got = b.expect(&old[1], b"old 1");
    assert_eq!((got.session, got.used_prekey), (SessionUsed::Promoted, None));
    assert_ne!(b.record.base_key(), current);
    assert_eq!(b.record.archived_len(), 1);
}

#[test]
fn a_prekey_message_that_fails_inside_tries_no_other_session() {
    let (mut a, mut b) = connected();
    let inner = a.send(b"for the existing session");
    let mut other = Party::new(3);
    other.start(&b.bundle(Some(5)));
    let outer = other.send(b"x");
    // A new base key around a message that the existing session could decrypt.
    let parsed = PreKeyMessage::parse(&outer.bytes).unwrap();
    let mut forged = vec![0x33, 0x08, 6, 0x12, 33];
    forged.extend(parsed.base_key.typed());
    forged.extend([0x1a, 33]);
    forged.extend(a.keys.public.typed());
    forged.extend([0x22, u8::try_from(inner.bytes.len()).unwrap()]);
    forged.extend(&inner.bytes);
    forged.extend([0x28, 1, 0x30, 1]);
    let forged = Ciphertext { kind: CiphertextKind::PreKey, bytes: forged };
    assert_eq!(b.receive(&forged), Err(SignalError::BadMac));
    b.expect(&inner, b"for the existing session");
}

#[test]
fn the_oldest_archived_session_is_dropped() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    let mut sent = Vec::new();
    for n in 0..42 {
        a.start(&b.bundle(Some(n)));
        sent.push([a.send(b"first"), a.send(b"second")]);
    }
    assert_eq!(a.record.archived_len(), limits::ARCHIVED_SESSIONS);
    // Without its prekey a session cannot be made again, so only what is archived decrypts.
    for pair in &sent {
        b.expect(&pair[0], b"first");
    }
    assert_eq!(b.record.archived_len(), limits::ARCHIVED_SESSIONS);
    assert!(matches!(b.receive(&sent[0][1]), Err(SignalError::InvalidKeyId { .. })));
    b.expect(&sent[1][1], b"second");
    assert_eq!(b.record.archived_len(), limits::ARCHIVED_SESSIONS);
    let decoded = SessionRecord::decode(&b.record.encode()).unwrap();
    assert!(decoded == b.record);
}

#[test]
fn no_session_and_wrong_session() {
    let (mut a, mut b) = connected();
    let sent = a.send(b"x");
    let mut nobody = Party::new(9);
    assert_eq!(nobody.receive(&sent), Err(SignalError::NoSession));
    assert_eq!(signal::encrypt(&mut nobody.record, b"x"), Err(SignalError::NoSession));
    // Same session, but another identity on our side: the MAC covers both identities.
    nobody.start(&b.bundle(Some(9)));
    assert_eq!(nobody.receive(&sent), Err(SignalError::BadMac));
    // Our own message thrown back at us.
    assert_eq!(a.receive(&sent), Err(SignalError::BadMac));
    b.expect(&sent, b"x");
    b.record.archive_current();
    assert_eq!(signal::encrypt(&mut b.record, b"x"), Err(SignalError::NoSession));
    let sent = a.send(b"y");
    assert_eq!(b.expect(&sent, b"y").session, SessionUsed::Promoted);
}

#[test]
fn forward_jump_limits() {
    for (forward, jump) in [(Forward::Peer, limits::FORWARD_JUMP), (Forward::OwnDevice, limits::FORWARD_JUMP_OWN)] {
        let (mut a, mut b) = connected();
        let all: Vec<_> = (0..=jump + 1).map(|_| a.send(b"x")).collect();
        let [.., allowed, beyond] = all.as_slice() else { unreachable!() };
        assert_eq!(b.receive_from(beyond, forward), Err(SignalError::FutureMessage { ahead: jump + 1 }));
        b.receive_from(allowed, forward).unwrap();
        // The newest 2000 of those skipped can still come.
        let kept = u32::try_from(limits::SKIPPED_KEYS).unwrap();
        assert!(b.receive_from(&all[(jump - kept) as usize], forward).is_ok());
        if jump > kept {
            let lost = b.receive_from(&all[(jump - kept - 1) as usize], forward);
            assert!(matches!(lost, Err(SignalError::Duplicate { .. })), "{lost:?}");
        }
        b.receive_from(beyond, forward).unwrap();
    }
}

#[test]
fn five_receiver_chains_are_kept() {
    let (mut a, mut b) = connected();
    // Each round B turns the ratchet; one message per chain is held back.
    let mut held = Vec::new();
    for n in 0..7u8 {
        held.push(a.send(&[n]));
        let sent = a.send(b"-");
        b.expect(&sent, b"-");
        let sent = b.send(b"-");
        a.expect(&sent, b"-");
    }
    for (n, sent) in held.iter().enumerate().skip(2) {
        b.expect(sent, &[u8::try_from(n).unwrap()]);
    }
    // The chains before are forgotten: to the session that looks like an unknown ratchet key.
    assert_eq!(b.receive(&held[1]), Err(SignalError::BadMac));
}

#[test]
fn previous_counter_is_that_of_the_last_message_and_never_minus_one() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    let previous = |sent: &Ciphertext| SignalMessage::parse(&sent.bytes).unwrap().previous_counter;
    a.start(&b.bundle(Some(0)));
    for _ in 0..3 {
        let sent = a.send(b"x");
        b.expect(&sent, b"x");
    }
    // B never sent on the chain it was made with.
    let sent = b.send(b"y");
    assert_eq!(previous(&sent), 0);
    a.expect(&sent, b"y");
    // A sent 0, 1 and 2.
    let sent = a.send(b"z");
    assert_eq!(previous(&sent), 2);
    b.expect(&sent, b"z");
    assert_eq!(previous(&b.send(b"w")), 0);
}

#[test]
fn debug_shows_no_secret_and_hash_follows_contents() {
    let (mut a, _) = connected();
    let text = format!("{:?} {:?}", a.record, a.keys);
    assert!(!text.contains(&hex::encode(a.keys.private.expose())[..8]), "{text}");
    assert!(text.len() < 400, "{text}");
    let copy = a.record.clone();
    assert!(copy == a.record);
    a.send(b"x");
    assert!(copy != a.record);
}

#[test]
fn records_survive_storage_at_every_step() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    fn reload(party: &mut Party) {
        let bytes = party.record.encode();
        let decoded = SessionRecord::decode(&bytes).unwrap();
        assert!(decoded == party.record);
        assert_eq!(decoded.encode(), bytes);
        party.record = decoded;
    }
    a.start(&b.bundle(Some(0)));
    reload(&mut a);
    let mut late = Vec::new();
    for n in 0..20u8 {
        let sent = a.send(&[n]);
        if n % 3 == 0 {
            late.push((sent, n));
        } else {
            b.expect(&sent, &[n]);
            reload(&mut b);
            let sent = b.send(b"ok");
            a.expect(&sent, b"ok");
        }
        reload(&mut a);
    }
    let (sent, n) = late.pop().unwrap();
    b.expect(&sent, &[n]);
    reload(&mut b);
    assert!(matches!(b.receive(&sent), Err(SignalError::Duplicate { .. })));
}

#[test]
fn prekey_records_survive_storage() {
    let party = Party::new(5);
    let one_time = &party.one_time[3];
    assert_eq!(&PreKeyRecord::decode(&one_time.encode()).unwrap(), one_time);
    let mut signed = party.signed[0].clone();
    signed.created_ms = 1_790_000_000_123;
    assert_eq!(SignedPreKeyRecord::decode(&signed.encode()).unwrap(), signed);
    assert!(SignedPreKeyRecord::decode(&one_time.encode()).is_err());
    for len in 0..one_time.encode().len() {
        assert!(PreKeyRecord::decode(&one_time.encode()[..len]).is_err(), "{len}");
    }
}

#[test]
fn versions() {
    let (mut a, mut b) = connected();
    let sent = a.send(b"x");
    let with = |first: u8| {
        let mut bytes = sent.bytes.clone();
        bytes[0] = first;
        SignalMessage::parse(&bytes).map(|_| ())
    };
    assert_eq!(with(0x23), Err(SignalError::LegacyVersion(2)));
    assert_eq!(with(0x44), Err(SignalError::UnknownVersion(4)));
    assert_eq!(with(0x34), Ok(()), "the low nibble does not matter");
    assert_eq!(SignalMessage::parse(&[]).map(|_| ()), Err(SignalError::Malformed("empty")));
    // … but it is under the MAC.
    let mut other = sent.clone();
    other.bytes[0] = 0x34;
    assert_eq!(b.receive(&other), Err(SignalError::BadMac));
}

#[test]
fn responses() {
    use FailureResponse::{Delivered, Retry, Unparsable};
    let pair = |error: SignalError| (error.response(MessageClass::Pairwise), error.response(MessageClass::SenderKey));
    let duplicate = SignalError::Duplicate { chain: ChainId::SenderKey(1), counter: 0 };
    assert_eq!(pair(duplicate), (Delivered, Delivered));
    let retry = |error: SignalError| match error.response(MessageClass::Pairwise) {
        Retry(reason) => reason.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(retry(SignalError::NoSession), 1);
    assert_eq!(retry(SignalError::NoSenderKey(4)), 1);
    assert_eq!(retry(SignalError::InvalidKeyId { kind: PreKeyKind::OneTime, id: 1 }), 3);
    assert_eq!(retry(SignalError::InvalidMessage), 4);
    assert_eq!(retry(SignalError::BadSignature), 5);
    assert_eq!(retry(SignalError::FutureMessage { ahead: 1 }), 6);
    assert_eq!(retry(SignalError::BadMac), 7);
    assert_eq!(pair(SignalError::Malformed("x")), (Unparsable, Unparsable));
    let version = pair(SignalError::UnknownVersion(4));
    assert_eq!(version, (Unparsable, Retry(RetryReason::InvalidMessage)));
}
