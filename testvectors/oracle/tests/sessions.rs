//! Ratchet messages and session records, ours against the official library, both directions.

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{self, *};
use amarula_oracle::{Official, official};

/// One side of a conversation. Its session is in the storage form between steps, so every step can be done by either
/// implementation.
struct Side {
    keys: KeyPair,
    registration_id: u32,
    record: Vec<u8>,
    rng: Rng,
    official: Official,
}

/// What a decryption came to, as far as the two implementations use the same words.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Plain(Vec<u8>),
    Duplicate,
    Failed,
}

impl Side {
    fn new(seed: u8) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        let keys = KeyPair::generate(&mut rng);
        let official = Official::new(keys.private.expose(), u32::from(seed), u64::from(seed));
        Self { keys, registration_id: u32::from(seed), record: Vec::new(), rng, official }
    }

    fn send_ours(&mut self, text: &[u8]) -> Vec<u8> {
        let mut record = SessionRecord::decode(&self.record).unwrap();
        let sent = signal::encrypt(&mut record, text).unwrap();
        assert_eq!(sent.kind, CiphertextKind::Message);
        self.record = record.encode();
        sent.bytes
    }

    fn send_official(&mut self, text: &[u8]) -> Vec<u8> {
        self.official.load(&self.record);
        let sent = self.official.encrypt(text).serialize().to_vec();
        self.record = self.official.record();
        sent
    }

    /// Both encrypt from the same state: same message out but for one nibble, same state after.
    fn send_both(&mut self, text: &[u8]) -> Vec<u8> {
        let before = self.record.clone();
        let theirs = self.send_official(text);
        let after = std::mem::replace(&mut self.record, before);
        let ours = self.send_ours(text);
        // The official library says in the low nibble that it knows version 4, and the MAC covers that byte. That its
        // MAC is ours otherwise is what decrypting each other's messages shows.
        assert_eq!((ours[0], theirs[0], ours.len()), (0x33, 0x34, theirs.len()));
        let between = 1..ours.len() - 8;
        assert_eq!(hex::encode(&ours[between.clone()]), hex::encode(&theirs[between]));
        assert_same_record(&self.record, &after);
        ours
    }

    fn receive_ours(&mut self, bytes: &[u8]) -> Outcome {
        let mut record = SessionRecord::decode(&self.record).unwrap();
        let Ok(message) = SignalMessage::parse(bytes) else { return Outcome::Failed };
        // The official library accepts 25 000 from anyone.
        match signal::decrypt(&mut record, &message, &mut self.rng, Forward::OwnDevice) {
            Ok(got) => {
                self.record = record.encode();
                Outcome::Plain(got.plaintext)
            }
            Err(SignalError::Duplicate { .. }) => Outcome::Duplicate,
            Err(_) => Outcome::Failed,
        }
    }

    fn receive_official(&mut self, bytes: &[u8]) -> Outcome {
        self.official.load(&self.record);
        match self.official.decrypt(bytes) {
            Ok(plaintext) => {
                self.record = self.official.record();
                Outcome::Plain(plaintext)
            }
            Err(official::SignalProtocolError::DuplicatedMessage(..)) => Outcome::Duplicate,
            Err(_) => Outcome::Failed,
        }
    }

    /// Both decrypt from the same state: same outcome; the same state after, unless a new ratchet key was drawn.
    /// `keep_official` says whose state goes on.
    fn receive_both(&mut self, bytes: &[u8], keep_official: bool) -> Outcome {
        let before = self.record.clone();
        let theirs = self.receive_official(bytes);
        let their_record = std::mem::replace(&mut self.record, before.clone());
        let ours = self.receive_ours(bytes);
        assert_eq!(ours, theirs);
        let next = |record: &[u8]| SessionRecord::decode(record).unwrap().next_counter();
        // A turn of the ratchet starts the sending chain at 0 with a key of one's own choice.
        let turned = matches!(ours, Outcome::Plain(_)) && next(&self.record) == Some(0);
        if !turned {
            assert_same_record(&self.record, &their_record);
        }
        if keep_official {
            self.record = their_record;
        }
        ours
    }
}

/// Byte for byte, and after decoding by ours.
fn assert_same_record(ours: &[u8], theirs: &[u8]) {
    assert!(SessionRecord::decode(ours).unwrap() == SessionRecord::decode(theirs).unwrap(), "records differ");
    assert_eq!(hex::encode(ours), hex::encode(theirs), "records differ in encoding");
}

/// A session started by ours, acknowledged.
fn connected() -> (Side, Side) {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let signed = [SignedPreKeyRecord::generate(1, &b.keys, 0, &mut b.rng)];
    let one_time = [PreKeyRecord::generate(1, &mut b.rng)];
    let local_a = LocalIdentity { keys: &a.keys, registration_id: a.registration_id };
    let local_b = LocalIdentity { keys: &b.keys, registration_id: b.registration_id };
    let (mut to_b, mut to_a) = (SessionRecord::new(), SessionRecord::new());
    let bundle = PreKeyBundle::of(&local_b, &signed[0], Some(&one_time[0]));
    signal::initiate(&local_a, &bundle, &mut to_b, &mut a.rng).unwrap();
    let first = signal::encrypt(&mut to_b, b"first").unwrap();
    let message = PreKeyMessage::parse(&first.bytes).unwrap();
    let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
    signal::decrypt_prekey(&mut to_a, &local_b, &message, &prekeys, &mut b.rng, Forward::Peer).unwrap();
    let answer = signal::encrypt(&mut to_a, b"answer").unwrap();
    signal::decrypt(&mut to_b, &SignalMessage::parse(&answer.bytes).unwrap(), &mut a.rng, Forward::Peer).unwrap();
    (a.record, b.record) = (to_b.encode(), to_a.encode());
    (a, b)
}

#[test]
fn the_official_library_reads_and_writes_our_records_unchanged() {
    let (a, b) = connected();
    for side in [a, b] {
        let theirs = official::SessionRecord::deserialize(&side.record).unwrap();
        assert_eq!(theirs.session_version().unwrap(), 3);
        assert_eq!(theirs.local_identity_key_bytes().unwrap(), side.keys.public.typed());
        assert_same_record(&side.record, &theirs.serialize().unwrap());
        let ours = SessionRecord::decode(&side.record).unwrap();
        assert_eq!(theirs.alice_base_key().unwrap(), ours.base_key().unwrap().typed());
        assert_eq!(theirs.remote_registration_id().unwrap(), ours.remote_registration_id().unwrap());
    }
}

#[test]
fn archived_sessions_survive_the_official_library() {
    let (a, _) = connected();
    let mut ours = SessionRecord::decode(&a.record).unwrap();
    ours.archive_current();
    let mut theirs = official::SessionRecord::deserialize(&a.record).unwrap();
    theirs.archive_current_state().unwrap();
    assert_same_record(&ours.encode(), &theirs.serialize().unwrap());
}

#[test]
fn same_message_from_the_same_state() {
    let (mut a, mut b) = connected();
    for text in [b"".as_slice(), b"x", &[7; 15], &[7; 16], &[7; 17], &[7; 5000]] {
        let sent = a.send_both(text);
        assert_eq!(b.receive_both(&sent, false), Outcome::Plain(text.to_vec()));
    }
}

#[test]
fn ours_to_official_and_back() {
    let (mut a, mut b) = connected();
    for n in 0..10u8 {
        let sent = a.send_ours(&[n]);
        assert_eq!(b.receive_official(&sent), Outcome::Plain(vec![n]));
        let sent = b.send_official(&[n, n]);
        assert_eq!(a.receive_ours(&sent), Outcome::Plain(vec![n, n]));
    }
}

#[test]
fn a_large_gap_and_what_is_left_of_it() {
    let (mut a, mut b) = connected();
    let sent: Vec<_> = (0..2300u32).map(|n| a.send_ours(&n.to_be_bytes())).collect();
    assert!(matches!(b.receive_both(&sent[2299], true), Outcome::Plain(_)));
    // 2000 keys are kept, and it is the same 2000.
    assert_eq!(b.receive_both(&sent[298], false), Outcome::Duplicate);
    assert!(matches!(b.receive_both(&sent[299], false), Outcome::Plain(_)));
    assert!(matches!(b.receive_both(&sent[2298], true), Outcome::Plain(_)));
    assert_eq!(b.receive_both(&sent[2298], true), Outcome::Duplicate);
}

/// Random conversations: loss, reordering, repetition, damage, either implementation at either end of every message.
#[test]
fn random_conversations() {
    for seed in 0..12u8 {
        let mut rng = Rng::from_seed([0x80 | seed; 32]);
        let (a, b) = connected();
        let mut sides = [a, b];
        let mut flying: [Vec<(Vec<u8>, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
        let (mut plain, mut duplicate, mut failed) = (0, 0, 0);
        for _ in 0..150 {
            let who = rng.below(2) as usize;
            if rng.below(2) == 0 {
                let len = rng.below(70) as usize;
                let mut text = vec![0; len];
                rng.fill(&mut text);
                let sent = match rng.below(3) {
                    0 => sides[who].send_ours(&text),
                    1 => sides[who].send_official(&text),
                    _ => sides[who].send_both(&text),
                };
                flying[1 - who].push((sent, text));
            } else if !flying[who].is_empty() {
                let at = rng.below(flying[who].len() as u32) as usize;
                let (mut bytes, text) = flying[who][at].clone();
                let fate = rng.below(10);
                if fate == 0 {
                    let bit = rng.below(bytes.len() as u32 * 8) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                } else if fate < 8 {
                    flying[who].swap_remove(at);
                }
                match sides[who].receive_both(&bytes, rng.below(2) == 0) {
                    Outcome::Plain(got) => {
                        assert_eq!(got, text);
                        plain += 1;
                    }
                    Outcome::Duplicate => duplicate += 1,
                    Outcome::Failed => failed += 1,
                }
            }
        }
        assert!(plain > 20 && duplicate > 0 && failed > 0, "{plain} {duplicate} {failed}");
    }
}
