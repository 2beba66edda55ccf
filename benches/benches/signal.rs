//! X3DH, double ratchet, sender keys. Texts of 200 bytes.

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{
    self, Forward, LocalIdentity, LocalPreKeys, PreKeyBundle, PreKeyMessage, PreKeyRecord, SenderKeyMessage,
    SenderKeyRecord, SessionRecord, SignalMessage, SignedPreKeyRecord,
};
use divan::Bencher;

const TEXT: [u8; 200] = [7; 200];

#[cfg(feature = "allocations")]
#[global_allocator]
static COUNTED: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Two devices.
struct Pair {
    rng: Rng,
    alice: KeyPair,
    bob: KeyPair,
    signed: [SignedPreKeyRecord; 1],
    one_time: [PreKeyRecord; 1],
}

impl Pair {
    fn new() -> Self {
        let mut rng = Rng::from_seed([1; 32]);
        let (alice, bob) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let signed = [SignedPreKeyRecord::generate(1, &bob, 0, &mut rng)];
        let one_time = [PreKeyRecord::generate(1, &mut rng)];
        Self { rng, alice, bob, signed, one_time }
    }

    fn bundle(&self) -> PreKeyBundle {
        let bob = LocalIdentity { keys: &self.bob, registration_id: 2 };
        PreKeyBundle::of(&bob, &self.signed[0], Some(&self.one_time[0]))
    }

    fn initiate(&mut self) -> SessionRecord {
        let (bundle, mut record) = (self.bundle(), SessionRecord::new());
        let alice = LocalIdentity { keys: &self.alice, registration_id: 1 };
        signal::initiate(&alice, &bundle, &mut record, &mut self.rng).expect("a good bundle");
        record
    }

    fn accept(&mut self, first: &[u8]) -> SessionRecord {
        let mut record = SessionRecord::new();
        let bob = LocalIdentity { keys: &self.bob, registration_id: 2 };
        let prekeys = LocalPreKeys { signed: &self.signed, one_time: &self.one_time };
        let message = PreKeyMessage::parse(first).expect("a prekey message");
        signal::decrypt_prekey(&mut record, &bob, &message, &prekeys, &mut self.rng, Forward::Peer)
            .expect("a good message");
        record
    }

    /// A session in which both have written.
    fn session(&mut self) -> (SessionRecord, SessionRecord) {
        let mut alice = self.initiate();
        let first = encrypt(&mut alice);
        let mut bob = self.accept(&first);
        let answer = encrypt(&mut bob);
        decrypt(&mut alice, &answer, &mut self.rng);
        (alice, bob)
    }
}

fn encrypt(record: &mut SessionRecord) -> Vec<u8> {
    signal::encrypt(record, &TEXT).expect("encrypted").bytes.to_vec()
}

fn decrypt(record: &mut SessionRecord, bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let message = SignalMessage::parse(bytes).expect("a message");
    signal::decrypt(record, &message, rng, Forward::Peer).expect("decrypted").plaintext
}

#[divan::bench_group]
mod x3dh {
    use super::*;

    /// A session from a bundle, its signature verified.
    #[divan::bench]
    fn initiate(bencher: Bencher<'_, '_>) {
        let mut pair = Pair::new();
        bencher.bench_local(|| pair.initiate());
    }

    /// A session from the first message, with the message.
    #[divan::bench]
    fn accept(bencher: Bencher<'_, '_>) {
        let mut pair = Pair::new();
        let first = encrypt(&mut pair.initiate());
        bencher.bench_local(|| pair.accept(&first));
    }
}

#[divan::bench_group]
mod ratchet {
    use super::*;

    #[divan::bench]
    fn encrypt(bencher: Bencher<'_, '_>) {
        let (mut alice, _) = Pair::new().session();
        bencher.bench_local(|| super::encrypt(&mut alice));
    }

    /// The next message on a known chain.
    #[divan::bench]
    fn decrypt(bencher: Bencher<'_, '_>) {
        let mut pair = Pair::new();
        let (mut alice, mut bob) = pair.session();
        // The first one turns bob's ratchet.
        super::decrypt(&mut bob, &super::encrypt(&mut alice), &mut pair.rng);
        bencher
            .with_inputs(|| super::encrypt(&mut alice))
            .bench_local_values(|bytes| super::decrypt(&mut bob, &bytes, &mut pair.rng));
    }

    /// A message that turns the ratchet, as the first one after each change of sides.
    #[divan::bench]
    fn decrypt_with_turn(bencher: Bencher<'_, '_>) {
        let mut pair = Pair::new();
        let (mut alice, bob) = pair.session();
        let bytes = super::encrypt(&mut alice);
        bencher
            .with_inputs(|| bob.clone())
            .bench_local_values(|mut bob| (super::decrypt(&mut bob, &bytes, &mut pair.rng), bob));
    }

    /// A session record to bytes, and back.
    #[divan::bench]
    fn record_round_trip(bencher: Bencher<'_, '_>) {
        let (alice, _) = Pair::new().session();
        bencher.bench_local(|| SessionRecord::decode(&alice.encode()));
    }
}

#[divan::bench_group]
mod sender_key {
    use super::*;

    /// With its signature.
    #[divan::bench]
    fn encrypt(bencher: Bencher<'_, '_>) {
        let mut rng = Rng::from_seed([1; 32]);
        let mut own = SenderKeyRecord::create(&mut rng);
        bencher.bench_local(|| own.encrypt(&TEXT, &mut rng).expect("encrypted"));
    }

    /// With its signature verified.
    #[divan::bench]
    fn decrypt(bencher: Bencher<'_, '_>) {
        let mut rng = Rng::from_seed([1; 32]);
        let mut own = SenderKeyRecord::create(&mut rng);
        let mut theirs = SenderKeyRecord::new();
        theirs.process_distribution(&own.distribution().expect("a distribution"));
        bencher.with_inputs(|| own.encrypt(&TEXT, &mut rng).expect("encrypted")).bench_local_values(|bytes| {
            theirs.decrypt(&SenderKeyMessage::parse(&bytes).expect("a message")).expect("decrypted")
        });
    }
}
