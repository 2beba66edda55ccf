//! Not a test: prints what operations cost. `cargo test --release -p amarula-core --test signal_timing -- --ignored
//! --nocapture`, with and without `--features aws-lc`.

use std::time::Instant;

use amarula_core::crypto::{KeyPair, Rng};
use amarula_core::signal::{self, *};

fn measure<T>(name: &str, count: u32, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T)) {
    let inputs: Vec<T> = (0..count).map(|_| prepare()).collect();
    let start = Instant::now();
    inputs.into_iter().for_each(&mut run);
    println!("{name:40} {:>9} ns", start.elapsed().as_nanos() / u128::from(count));
}

#[test]
#[ignore = "a measurement"]
fn timing() {
    let mut rng = Rng::from_seed([1; 32]);
    let (a, b) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
    let (a, b) = (LocalIdentity { keys: &a, registration_id: 1 }, LocalIdentity { keys: &b, registration_id: 2 });
    let signed = [SignedPreKeyRecord::generate(1, b.keys, 0, &mut rng)];
    let one_time = [PreKeyRecord::generate(1, &mut rng)];
    let bundle = PreKeyBundle::of(&b, &signed[0], Some(&one_time[0]));
    let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
    let (mut to_b, mut to_a) = (SessionRecord::new(), SessionRecord::new());
    measure("initiate", 300, SessionRecord::new, |mut record| {
        signal::initiate(&a, &bundle, &mut record, &mut rng).unwrap();
    });
    signal::initiate(&a, &bundle, &mut to_b, &mut rng).unwrap();
    let first = signal::encrypt(&mut to_b, b"x").unwrap().bytes;
    measure("decrypt_prekey, new session", 300, SessionRecord::new, |mut record| {
        let message = PreKeyMessage::parse(&first).unwrap();
        signal::decrypt_prekey(&mut record, &b, &message, &prekeys, &mut rng, Forward::Peer).unwrap();
    });
    let message = PreKeyMessage::parse(&first).unwrap();
    signal::decrypt_prekey(&mut to_a, &b, &message, &prekeys, &mut rng, Forward::Peer).unwrap();
    let answer = signal::encrypt(&mut to_a, b"x").unwrap().bytes;
    signal::decrypt(&mut to_b, &SignalMessage::parse(&answer).unwrap(), &mut rng, Forward::Peer).unwrap();

    let text = [7; 200];
    let start = to_b.clone();
    measure("encrypt, 200 bytes", 20_000, || (), |()| drop(signal::encrypt(&mut to_b, &text).unwrap()));
    let mut to_b = start;
    let sent = || signal::encrypt(&mut to_b, &text).unwrap().bytes;
    measure("decrypt on a known chain, 200 bytes", 20_000, sent, |bytes| {
        let message = SignalMessage::parse(&bytes).unwrap();
        signal::decrypt(&mut to_a, &message, &mut rng, Forward::Peer).unwrap();
    });
    let reply = signal::encrypt(&mut to_a, &text).unwrap().bytes;
    measure(
        "decrypt with a turn of the ratchet",
        500,
        || to_b.clone(),
        |mut record| {
            let message = SignalMessage::parse(&reply).unwrap();
            signal::decrypt(&mut record, &message, &mut rng, Forward::Peer).unwrap();
        },
    );
    measure(
        "encode + decode record",
        5000,
        || (),
        |()| {
            assert!(SessionRecord::decode(&to_a.encode()).is_ok());
        },
    );

    let mut own = SenderKeyRecord::create(&mut rng);
    let mut theirs = SenderKeyRecord::new();
    theirs.process_distribution(&own.distribution().unwrap());
    let mut sent = Vec::new();
    measure("group encrypt, 200 bytes", 2000, || (), |()| sent.push(own.encrypt(&text, &mut rng).unwrap()));
    let mut sent = sent.into_iter();
    measure(
        "group decrypt, 200 bytes",
        2000,
        || sent.next().unwrap(),
        |bytes| {
            theirs.decrypt(&SenderKeyMessage::parse(&bytes).unwrap()).unwrap();
        },
    );
}
