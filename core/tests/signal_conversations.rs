//! Two parties, any network: a random state machine with loss, reordering, repetition, damage, restarts and simultaneous
//! initiation.
//!
//! Invariants: a text comes out at most once, and as it went in; an undamaged message that was not decrypted before
//! decrypts (within the limits); an error changes nothing; when the network behaves again, both sides talk.

use std::collections::BTreeSet;

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{self, *};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    /// `who` fetches a bundle and starts a session anew.
    Start(bool),
    /// `who` sends.
    Send(bool, u8),
    /// Deliver the message at this position (scaled) to `who`, and keep a copy in the network or not.
    Deliver(bool, u16, bool),
    /// Deliver it with a bit flipped.
    Damage(bool, u16, u16),
    /// Lose it.
    Lose(bool, u16),
    /// Store and load the record of `who`.
    Restart(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => any::<bool>().prop_map(Op::Start),
        8 => (any::<bool>(), 1..4u8).prop_map(|(who, count)| Op::Send(who, count)),
        10 => (any::<bool>(), any::<u16>(), proptest::bool::weighted(0.2))
            .prop_map(|(who, at, keep)| Op::Deliver(who, at, keep)),
        1 => (any::<bool>(), any::<u16>(), any::<u16>()).prop_map(|(who, at, bit)| Op::Damage(who, at, bit)),
        1 => (any::<bool>(), any::<u16>()).prop_map(|(who, at)| Op::Lose(who, at)),
        1 => any::<bool>().prop_map(Op::Restart),
    ]
}

struct Party {
    keys: KeyPair,
    signed: Vec<SignedPreKeyRecord>,
    one_time: Vec<PreKeyRecord>,
    next_one_time: u32,
    record: SessionRecord,
    rng: Rng,
}

#[derive(Clone)]
struct Sent {
    number: u32,
    message: Ciphertext,
}

struct World {
    parties: [Party; 2],
    /// Messages on their way to each.
    flying: [Vec<Sent>; 2],
    seen: BTreeSet<u32>,
    next: u32,
    /// Chains a session gives up on are 5 ratchet steps back; count turns to know what may be lost.
    turns: u32,
    starts: u32,
}

impl World {
    fn new() -> Self {
        let party = |seed| {
            let mut rng = Rng::from_seed([seed; 32]);
            let keys = KeyPair::generate(&mut rng);
            let signed = vec![SignedPreKeyRecord::generate(1, &keys, 0, &mut rng)];
            Party { keys, signed, one_time: Vec::new(), next_one_time: 1, record: SessionRecord::new(), rng }
        };
        let parties = [party(1), party(2)];
        Self { parties, flying: Default::default(), seen: BTreeSet::new(), next: 0, turns: 0, starts: 0 }
    }

    fn start(&mut self, who: usize) {
        let [a, b] = &mut self.parties;
        let (me, peer) = if who == 0 { (a, b) } else { (b, a) };
        let key = PreKeyRecord::generate(peer.next_one_time, &mut peer.rng);
        peer.next_one_time += 1;
        let owner = LocalIdentity { keys: &peer.keys, registration_id: 5 };
        // Now and then the server's pool is empty.
        let one_time = (peer.next_one_time % 3 != 0).then_some(&key);
        let bundle = PreKeyBundle::of(&owner, &peer.signed[0], one_time);
        peer.one_time.push(key);
        let local = LocalIdentity { keys: &me.keys, registration_id: 6 };
        signal::initiate(&local, &bundle, &mut me.record, &mut me.rng).unwrap();
        self.starts += 1;
    }

    fn send(&mut self, who: usize) {
        if !self.parties[who].record.has_current() {
            self.start(who);
        }
        let number = self.next;
        self.next += 1;
        let message = signal::encrypt(&mut self.parties[who].record, &number.to_be_bytes()).unwrap();
        self.flying[1 - who].push(Sent { number, message });
    }

    fn receive(&mut self, who: usize, sent: &Sent, damaged: bool) {
        let party = &mut self.parties[who];
        let before = party.record.clone();
        let result = match sent.message.kind {
            CiphertextKind::Message => SignalMessage::parse(&sent.message.bytes)
                .and_then(|message| signal::decrypt(&mut party.record, &message, &mut party.rng, Forward::Peer)),
            CiphertextKind::PreKey => PreKeyMessage::parse(&sent.message.bytes).and_then(|message| {
                let local = LocalIdentity { keys: &party.keys, registration_id: 5 };
                let needed = signal::prekeys_needed(&party.record, &message);
                // Give exactly what was asked for.
                let signed: Vec<_> = party.signed.iter().filter(|key| Some(key.id) == needed.signed).cloned().collect();
                let one_time: Vec<_> =
                    party.one_time.iter().filter(|key| Some(key.id) == needed.one_time).cloned().collect();
                let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
                signal::decrypt_prekey(&mut party.record, &local, &message, &prekeys, &mut party.rng, Forward::Peer)
            }),
        };
        match result {
            Ok(got) => {
                assert_eq!(got.plaintext, sent.number.to_be_bytes());
                assert!(self.seen.insert(sent.number), "message {} came out twice", sent.number);
                if let Some(id) = got.used_prekey {
                    party.one_time.retain(|key| key.id != id);
                }
                self.turns += u32::from(party.record.next_counter() == Some(0));
            }
            Err(error) => {
                assert!(party.record == before, "{error} changed the record");
                if self.seen.contains(&sent.number) && !damaged {
                    // Decrypted before: a duplicate, unless its chain or session was given up since.
                    let given_up = self.turns > 5 || self.starts > 30;
                    assert!(matches!(error, SignalError::Duplicate { .. }) || given_up, "{error}");
                } else if !damaged {
                    let given_up = self.turns > 5 || self.starts > 30;
                    assert!(given_up, "message {} was lost: {error}", sent.number);
                    assert!(!matches!(error, SignalError::Duplicate { .. }), "reported as duplicate, never seen");
                }
            }
        }
    }

    fn step(&mut self, op: &Op) {
        let at = |queue: &Vec<Sent>, at: u16| (!queue.is_empty()).then(|| usize::from(at) * queue.len() / 65536);
        match *op {
            Op::Start(who) => self.start(usize::from(who)),
            Op::Send(who, count) => (0..count).for_each(|_| self.send(usize::from(who))),
            Op::Deliver(who, position, keep) => {
                let who = usize::from(who);
                let Some(at) = at(&self.flying[who], position) else { return };
                let sent = if keep { self.flying[who][at].clone() } else { self.flying[who].remove(at) };
                self.receive(who, &sent, false);
            }
            Op::Damage(who, position, bit) => {
                let who = usize::from(who);
                let Some(at) = at(&self.flying[who], position) else { return };
                let mut sent = self.flying[who][at].clone();
                let bit = usize::from(bit) % (sent.message.bytes.len() * 8);
                // Outer fields that are not authenticated may be damaged and still decrypt; leave those alone.
                let inner = if sent.message.kind == CiphertextKind::PreKey { 90 * 8 } else { 0 };
                if bit >= inner && bit < (sent.message.bytes.len() - 12) * 8 {
                    sent.message.bytes[bit / 8] ^= 1 << (bit % 8);
                    self.receive(who, &sent, true);
                }
            }
            Op::Lose(who, position) => {
                let who = usize::from(who);
                if let Some(at) = at(&self.flying[who], position) {
                    self.flying[who].remove(at);
                }
            }
            Op::Restart(who) => {
                let record = &mut self.parties[usize::from(who)].record;
                let loaded = SessionRecord::decode(&record.encode()).unwrap();
                assert!(loaded == *record);
                *record = loaded;
            }
        }
    }

    /// The network behaves: everything sent from now on arrives in order, and both settle on one session.
    fn settle(&mut self) {
        for round in 0..4 {
            for who in [0, 1] {
                self.send(who);
                let sent = self.flying[1 - who].pop().unwrap();
                self.receive(1 - who, &sent, false);
                assert!(self.seen.contains(&sent.number), "nothing arrives any more, round {round}");
            }
        }
        let [a, b] = &self.parties;
        assert_eq!(a.record.base_key(), b.record.base_key());
        assert!(!a.record.is_unacknowledged() && !b.record.is_unacknowledged());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn any_network(ops in proptest::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
        }
        world.settle();
    }

    /// With few turns of the ratchet nothing may be given up: every message decrypts exactly once, in any order.
    #[test]
    fn any_order_loses_nothing(flights in proptest::collection::vec((any::<bool>(), 1..12usize), 1..3), shuffle in any::<[u8; 32]>()) {
        let mut world = World::new();
        let mut rng = Rng::from_seed(shuffle);
        for (who, count) in flights {
            let who = usize::from(who);
            (0..count).for_each(|_| world.send(who));
            while !world.flying[1 - who].is_empty() {
                let at = rng.below(world.flying[1 - who].len() as u32) as usize;
                let sent = world.flying[1 - who].remove(at);
                world.receive(1 - who, &sent, false);
            }
        }
        prop_assert_eq!(world.seen.len(), world.next as usize);
    }
}
