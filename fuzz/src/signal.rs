//! Targets of the Signal protocol: messages and records of any bytes; two parties over any network.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{self, *};

use crate::choices::Choices;

struct Prepared {
    alice: KeyPair,
    bob: KeyPair,
    signed: SignedPreKeyRecord,
    one_time: PreKeyRecord,
    /// Alice's session with Bob.
    to_bob: SessionRecord,
    /// Bob's session with Alice: two chains, skipped keys, an archived session.
    to_alice: SessionRecord,
    alice_keys: SenderKeyRecord,
    /// Bob's copy, with skipped keys.
    of_alice: SenderKeyRecord,
    /// One of each, undecrypted: msg, pkmsg, skmsg, distribution.
    messages: [Vec<u8>; 4],
}

fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let mut rng = Rng::from_seed([7; 32]);
        let (alice, bob) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let signed = SignedPreKeyRecord::generate(1, &bob, 0, &mut rng);
        let one_time = PreKeyRecord::generate(1, &mut rng);
        let me = LocalIdentity { keys: &bob, registration_id: 22 };
        let bundle = PreKeyBundle::of(&me, &signed, None);
        let with_one_time = PreKeyBundle::of(&me, &signed, Some(&one_time));
        let from = LocalIdentity { keys: &alice, registration_id: 11 };
        let (mut to_bob, mut to_alice) = (SessionRecord::new(), SessionRecord::new());
        let keys = LocalPreKeys { signed: std::slice::from_ref(&signed), one_time: &[] };
        for _ in 0..2 {
            signal::initiate(&from, &bundle, &mut to_bob, &mut rng).expect("a bundle");
            let sent = signal::encrypt(&mut to_bob, b"one").expect("a session");
            let message = PreKeyMessage::parse(&sent.bytes).expect("ours");
            signal::decrypt_prekey(&mut to_alice, &me, &message, &keys, &mut rng, Forward::Peer).expect("ours");
        }
        for skipped in [2, 5] {
            let back = signal::encrypt(&mut to_alice, b"two").expect("a session");
            let back = SignalMessage::parse(&back.bytes).expect("ours");
            signal::decrypt(&mut to_bob, &back, &mut rng, Forward::Peer).expect("ours");
            (0..skipped).for_each(|_| drop(signal::encrypt(&mut to_bob, b"lost")));
            let sent = signal::encrypt(&mut to_bob, b"three").expect("a session");
            let sent = SignalMessage::parse(&sent.bytes).expect("ours");
            signal::decrypt(&mut to_alice, &sent, &mut rng, Forward::Peer).expect("ours");
        }
        let mut alice_keys = SenderKeyRecord::create(&mut rng);
        let mut of_alice = SenderKeyRecord::new();
        let distribution = alice_keys.distribution().expect("our own");
        of_alice.process_distribution(&distribution);
        (0..3).for_each(|_| drop(alice_keys.encrypt(b"lost", &mut rng)));
        let group = alice_keys.encrypt(b"group", &mut rng).expect("our own");
        of_alice.decrypt(&SenderKeyMessage::parse(&group).expect("ours")).expect("ours");
        let mut fresh = SessionRecord::new();
        signal::initiate(&from, &with_one_time, &mut fresh, &mut rng).expect("a bundle");
        let messages = [
            signal::encrypt(&mut to_bob.clone(), b"next").expect("a session").bytes,
            signal::encrypt(&mut fresh, b"first").expect("a session").bytes,
            alice_keys.clone().encrypt(b"next", &mut rng).expect("our own"),
            distribution.encode(),
        ];
        Prepared { alice, bob, signed, one_time, to_bob, to_alice, alice_keys, of_alice, messages }
    })
}

/// By the first byte: a message of each kind for prepared sessions, or a record of each kind.
pub fn signal(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let prepared = prepared();
    let mut rng = Rng::from_seed([1; 32]);
    match kind % 8 {
        0 => pairwise(&mut prepared.to_alice.clone(), data, &mut rng),
        1 => prekey(&mut prepared.to_alice.clone(), data, &mut rng),
        2 => group(&mut prepared.of_alice.clone(), data),
        3 => {
            if let Ok(distribution) = Distribution::parse(data) {
                let mut record = prepared.of_alice.clone();
                record.process_distribution(&distribution);
                assert_eq!(record.process_distribution(&distribution), Distributed::Known);
                sender_record(&record);
            }
        }
        4 => {
            if let Ok(mut record) = SessionRecord::decode(data) {
                session_record(&record);
                pairwise(&mut record.clone(), &prepared.messages[0], &mut rng);
                prekey(&mut record.clone(), &prepared.messages[1], &mut rng);
                let before = record.clone();
                match signal::encrypt(&mut record, b"text") {
                    Ok(sent) if sent.kind == CiphertextKind::Message => {
                        SignalMessage::parse(&sent.bytes).map(drop).expect("we read what we write");
                    }
                    Ok(sent) => PreKeyMessage::parse(&sent.bytes).map(drop).expect("we read what we write"),
                    Err(_) => assert!(record == before),
                }
                session_record(&record);
                record.archive_current();
                session_record(&record);
            }
        }
        5 => {
            if let Ok(mut record) = SenderKeyRecord::decode(data) {
                sender_record(&record);
                group(&mut record.clone(), &prepared.messages[2]);
                let _ = record.distribution().map(|found| record.process_distribution(&found));
                if let Ok(sent) = record.encrypt(b"text", &mut rng) {
                    SenderKeyMessage::parse(&sent).map(drop).expect("we read what we write");
                }
                sender_record(&record);
            }
        }
        6 => {
            if let Ok(record) = PreKeyRecord::decode(data) {
                assert_eq!(PreKeyRecord::decode(&record.encode()).as_ref(), Ok(&record));
            }
        }
        _ => {
            if let Ok(record) = SignedPreKeyRecord::decode(data) {
                assert_eq!(SignedPreKeyRecord::decode(&record.encode()).as_ref(), Ok(&record));
            }
        }
    }
}

fn session_record(record: &SessionRecord) {
    let encoded = record.encode();
    let again = SessionRecord::decode(&encoded).expect("we read what we write");
    assert!(again == *record, "another record");
    assert!(again.encode() == encoded, "another encoding");
}

fn sender_record(record: &SenderKeyRecord) {
    let encoded = record.encode();
    let again = SenderKeyRecord::decode(&encoded).expect("we read what we write");
    assert!(again == *record, "another record");
    assert!(again.encode() == encoded, "another encoding");
}

fn pairwise(record: &mut SessionRecord, bytes: &[u8], rng: &mut Rng) {
    let Ok(message) = SignalMessage::parse(bytes) else { return };
    let before = record.clone();
    match signal::decrypt(record, &message, rng, Forward::Peer) {
        Ok(_) => {
            let again = signal::decrypt(&mut record.clone(), &message, rng, Forward::Peer);
            assert!(again.is_err(), "decrypted twice");
            session_record(record);
        }
        Err(error) => assert!(*record == before, "{error} changed the record"),
    }
}

fn prekey(record: &mut SessionRecord, bytes: &[u8], rng: &mut Rng) {
    let Ok(message) = PreKeyMessage::parse(bytes) else { return };
    let prepared = prepared();
    let local = LocalIdentity { keys: &prepared.bob, registration_id: 22 };
    let mut signed = prepared.signed.clone();
    signed.id = message.signed_pre_key_id;
    let mut one_time = prepared.one_time.clone();
    one_time.id = message.pre_key_id.unwrap_or(1);
    let prekeys = LocalPreKeys { signed: &[signed], one_time: &[one_time] };
    let before = record.clone();
    match signal::decrypt_prekey(record, &local, &message, &prekeys, rng, Forward::OwnDevice) {
        Ok(_) => {
            assert_eq!(signal::prekeys_needed(record, &message), NeededPreKeys::default());
            let again = signal::decrypt_prekey(record, &local, &message, &prekeys, rng, Forward::OwnDevice);
            assert!(again.is_err(), "decrypted twice");
            session_record(record);
        }
        Err(error) => assert!(*record == before, "{error} changed the record"),
    }
}

fn group(record: &mut SenderKeyRecord, bytes: &[u8]) {
    let Ok(message) = SenderKeyMessage::parse(bytes) else { return };
    let before = record.clone();
    match record.decrypt(&message) {
        Ok(_) => {
            assert!(record.decrypt(&message).is_err(), "decrypted twice");
            sender_record(record);
        }
        Err(error) => assert!(*record == before, "{error} changed the record"),
    }
}

/// Seeds for [`signal`].
pub(crate) fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let prepared = prepared();
    let alice = LocalIdentity { keys: &prepared.alice, registration_id: 11 };
    let bundle = PreKeyBundle::of(&alice, &prepared.signed, None);
    assert!(bundle.verify().is_err(), "it is Bob's");
    let records: [(u8, &str, Vec<u8>); 9] = [
        (0, "msg", prepared.messages[0].clone()),
        (1, "pkmsg", prepared.messages[1].clone()),
        (2, "skmsg", prepared.messages[2].clone()),
        (3, "distribution", prepared.messages[3].clone()),
        (4, "session-sender", prepared.to_bob.encode()),
        (5, "sender-own", prepared.alice_keys.encode()),
        (5, "sender-other", prepared.of_alice.encode()),
        (6, "prekey", prepared.one_time.encode()),
        (7, "signed-prekey", prepared.signed.encode()),
    ];
    records.into_iter().map(|(kind, name, bytes)| ("signal", name.into(), [&[kind], &bytes[..]].concat())).collect()
}

/// Bytes of a session record with everything in it.
pub(crate) fn full_session() -> Vec<u8> {
    prepared().to_alice.encode()
}

/// Bytes of a sender-key record.
pub(crate) fn sender_keys() -> Vec<u8> {
    prepared().of_alice.encode()
}

// ---- two parties ---------------------------------------------------------------------------------------------------

struct Party {
    keys: KeyPair,
    signed: SignedPreKeyRecord,
    one_time: Vec<PreKeyRecord>,
    next: u32,
    record: SessionRecord,
    /// Own sender key, and the copy of the other's.
    own: SenderKeyRecord,
    others: SenderKeyRecord,
    rng: Rng,
}

#[derive(Clone)]
enum Packet {
    Pairwise(u32, Ciphertext),
    /// With the number of the key, so that one may be gone.
    Group(u32, u32, Vec<u8>),
    Distribution(Vec<u8>),
}

struct Network {
    parties: [Party; 2],
    flying: [Vec<Packet>; 2],
    seen: BTreeSet<u32>,
    next: u32,
    /// New ratchet keys and sessions: with many, old chains are given up.
    turns: u32,
    starts: u32,
    rotations: u32,
}

/// Messages between two parties as a sequence of choices: sent, delivered in any order, repeated, lost, damaged; sessions
/// started anew, records stored and read. A text comes out once and as it went in; an error changes nothing; nothing is
/// lost as long as the limits are kept; when the network behaves again, both talk.
///
/// With MACs switched off a message is accepted by the wrong session, so that only panics are found.
pub fn signal_diff(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut network = Network::new();
    let mut steps = 0;
    while !choices.is_empty() && steps < 300 {
        network.step(&mut choices);
        steps += 1;
    }
    network.settle();
}

impl Network {
    fn new() -> Self {
        let party = |seed| {
            let mut rng = Rng::from_seed([seed; 32]);
            let keys = KeyPair::generate(&mut rng);
            Party {
                signed: SignedPreKeyRecord::generate(1, &keys, 0, &mut rng),
                keys,
                one_time: Vec::new(),
                next: 1,
                record: SessionRecord::new(),
                own: SenderKeyRecord::create(&mut rng),
                others: SenderKeyRecord::new(),
                rng,
            }
        };
        Self {
            parties: [party(1), party(2)],
            flying: Default::default(),
            seen: BTreeSet::new(),
            next: 0,
            turns: 0,
            starts: 0,
            rotations: 0,
        }
    }

    fn start(&mut self, who: usize) {
        let [a, b] = &mut self.parties;
        let (me, peer) = if who == 0 { (a, b) } else { (b, a) };
        let owner = LocalIdentity { keys: &peer.keys, registration_id: 5 };
        let key = (peer.next % 3 != 0).then(|| PreKeyRecord::generate(peer.next, &mut peer.rng));
        peer.next += 1;
        let bundle = PreKeyBundle::of(&owner, &peer.signed, key.as_ref());
        peer.one_time.extend(key);
        let local = LocalIdentity { keys: &me.keys, registration_id: 6 };
        signal::initiate(&local, &bundle, &mut me.record, &mut me.rng).expect("a good bundle");
        self.starts += 1;
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn send(&mut self, who: usize) {
        if !self.parties[who].record.has_current() {
            self.start(who);
        }
        let number = self.number();
        let message = signal::encrypt(&mut self.parties[who].record, &number.to_be_bytes()).expect("a session");
        self.flying[1 - who].push(Packet::Pairwise(number, message));
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let op = choices.byte();
        let (who, op) = (usize::from(op & 1), op >> 1);
        match op % 16 {
            0 => self.start(who),
            1..=4 => (0..1 + choices.below(3)).for_each(|_| self.send(who)),
            5..=9 => self.deliver(who, choices),
            10 => self.damage(who, choices),
            11 => {
                if let Some(at) = self.position(who, choices) {
                    self.flying[who].remove(at);
                }
            }
            12 => {
                let party = &mut self.parties[who];
                for record in [&mut party.own, &mut party.others] {
                    let loaded = SenderKeyRecord::decode(&record.encode()).expect("we read what we write");
                    assert!(loaded == *record, "another record");
                    *record = loaded;
                }
                let loaded = SessionRecord::decode(&party.record.encode()).expect("we read what we write");
                assert!(loaded == party.record, "another record");
                party.record = loaded;
            }
            13 => {
                let key = self.parties[who].own.distribution().expect("our own");
                self.flying[1 - who].push(Packet::Distribution(key.encode()));
            }
            14 => {
                let (number, rotation) = (self.number(), self.rotations);
                let party = &mut self.parties[who];
                let message = party.own.encrypt(&number.to_be_bytes(), &mut party.rng).expect("our own");
                self.flying[1 - who].push(Packet::Group(number, rotation, message));
            }
            _ => {
                let party = &mut self.parties[who];
                party.own = SenderKeyRecord::create(&mut party.rng);
                self.rotations += 1;
            }
        }
    }

    fn position(&self, who: usize, choices: &mut Choices<'_>) -> Option<usize> {
        let choice = choices.byte();
        let queue = self.flying[who].len();
        (queue > 0).then(|| usize::from(choice & 0x7f) % queue)
    }

    fn deliver(&mut self, who: usize, choices: &mut Choices<'_>) {
        let keep = choices.byte() & 7 == 7;
        let Some(at) = self.position(who, choices) else { return };
        let packet = if keep { self.flying[who][at].clone() } else { self.flying[who].remove(at) };
        self.receive(who, &packet, false);
    }

    fn damage(&mut self, who: usize, choices: &mut Choices<'_>) {
        let Some(at) = self.position(who, choices) else { return };
        let mut packet = self.flying[who][at].clone();
        let bit = choices.number() as usize;
        match &mut packet {
            Packet::Pairwise(_, message) => {
                // Outer fields that are not authenticated may be damaged and still decrypt; leave those alone.
                let inner = if message.kind == CiphertextKind::PreKey { 90 } else { 0 };
                let bit = bit % ((message.bytes.len() - 12 - inner) * 8);
                message.bytes[inner + bit / 8] ^= 1 << (bit % 8);
            }
            Packet::Group(_, _, message) => {
                let bit = bit % (message.len() * 8);
                message[bit / 8] ^= 1 << (bit % 8);
            }
            // Comes inside a message that is authenticated.
            Packet::Distribution(_) => return,
        }
        self.receive(who, &packet, true);
    }

    fn receive(&mut self, who: usize, packet: &Packet, damaged: bool) {
        let party = &mut self.parties[who];
        let (number, result, given_up) = match packet {
            Packet::Distribution(bytes) => {
                let key = Distribution::parse(bytes).expect("we read what we write");
                party.others.process_distribution(&key);
                return;
            }
            Packet::Group(number, _, bytes) => {
                let before = party.others.clone();
                let result = SenderKeyMessage::parse(bytes).and_then(|message| party.others.decrypt(&message));
                assert!(result.is_ok() || party.others == before, "an error changed the record");
                // Sent before its key was given, or its key is one of many.
                (*number, result, true)
            }
            Packet::Pairwise(number, message) => {
                let before = party.record.clone();
                let result = receive_pairwise(party, message);
                assert!(result.is_ok() || party.record == before, "an error changed the record");
                self.turns += u32::from(result.is_ok() && party.record.next_counter() == Some(0));
                (*number, result, self.turns > 5 || self.starts > 30)
            }
        };
        if cfg!(fuzzing) {
            return;
        }
        match result {
            Ok(text) => {
                assert!(!damaged, "a damaged message was accepted");
                assert_eq!(text, number.to_be_bytes());
                assert!(self.seen.insert(number), "message {number} came out twice");
            }
            Err(_) if damaged => {}
            Err(error) if self.seen.contains(&number) => {
                assert!(matches!(error, SignalError::Duplicate { .. }) || given_up, "a repeat is {error}");
            }
            Err(error) => {
                assert!(given_up, "message {number} is lost: {error}");
                assert!(
                    !matches!(error, SignalError::Duplicate { .. })
                        || self.turns > 5
                        || matches!(packet, Packet::Group(..)),
                    "said to be a repeat"
                );
            }
        }
    }

    /// The network behaves: everything sent from now on arrives, and both settle on one session.
    fn settle(&mut self) {
        for _ in 0..4 {
            for who in [0, 1] {
                self.send(who);
                let Some(packet) = self.flying[1 - who].pop() else { return };
                self.receive(1 - who, &packet, false);
                assert!(cfg!(fuzzing) || self.seen.contains(&self.next), "nothing arrives any more");
                let key = self.parties[who].own.distribution().expect("our own");
                let number = self.number();
                let party = &mut self.parties[who];
                let message = party.own.encrypt(&number.to_be_bytes(), &mut party.rng).expect("our own");
                let peer = &mut self.parties[1 - who];
                peer.others.process_distribution(&key);
                let text = SenderKeyMessage::parse(&message).and_then(|message| peer.others.decrypt(&message));
                assert_eq!(text, Ok(number.to_be_bytes().to_vec()));
            }
        }
        let [a, b] = &self.parties;
        if !cfg!(fuzzing) {
            assert_eq!(a.record.base_key(), b.record.base_key());
            assert!(!a.record.is_unacknowledged() && !b.record.is_unacknowledged());
        }
    }
}

fn receive_pairwise(party: &mut Party, message: &Ciphertext) -> Result<Vec<u8>, SignalError> {
    let got = match message.kind {
        CiphertextKind::Message => {
            let message = SignalMessage::parse(&message.bytes)?;
            signal::decrypt(&mut party.record, &message, &mut party.rng, Forward::Peer)?
        }
        CiphertextKind::PreKey => {
            let message = PreKeyMessage::parse(&message.bytes)?;
            let local = LocalIdentity { keys: &party.keys, registration_id: 5 };
            let needed = signal::prekeys_needed(&party.record, &message);
            // Exactly what was asked for.
            let signed: Vec<_> = needed.signed.map(|_| party.signed.clone()).into_iter().collect();
            let one_time: Vec<_> =
                party.one_time.iter().filter(|key| Some(key.id) == needed.one_time).cloned().collect();
            let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
            signal::decrypt_prekey(&mut party.record, &local, &message, &prekeys, &mut party.rng, Forward::Peer)?
        }
    };
    party.one_time.retain(|key| Some(key.id) != got.used_prekey);
    Ok(got.plaintext)
}
