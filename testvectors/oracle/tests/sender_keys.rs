//! Sender keys: state records, chain derivation and ciphertexts against the official library.
//!
//! Its SenderKeyMessage and distribution message carry a distribution UUID as field 1 and shift the others, so the
//! bytes on the wire cannot be exchanged. What is compared: the record after every step, byte for byte; the ciphertext
//! of every message; and messages re-framed into the other layout, signed anew.

use amarula_core::crypto::{PrivateKey, Rng, xeddsa};
use amarula_core::signal::*;
use amarula_oracle::official::{self, DeviceId, InMemSenderKeyStore, ProtocolAddress, SenderKeyStore as _};
use futures_util::FutureExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use uuid::Uuid;

struct Theirs {
    store: InMemSenderKeyStore,
    sender: ProtocolAddress,
    rng: StdRng,
}

const GROUP: Uuid = Uuid::from_u128(7);

impl Theirs {
    fn new() -> Self {
        let sender = ProtocolAddress::new("sender".into(), DeviceId::new(1).unwrap());
        Self { store: InMemSenderKeyStore::new(), sender, rng: StdRng::seed_from_u64(1) }
    }

    fn load(&mut self, record: &[u8]) {
        let record = official::SenderKeyRecord::deserialize(record).unwrap();
        self.store.store_sender_key(&self.sender, GROUP, &record).now_or_never().unwrap().unwrap();
    }

    fn record(&mut self) -> Vec<u8> {
        let record = self.store.load_sender_key(&self.sender, GROUP).now_or_never().unwrap().unwrap();
        record.unwrap().serialize().unwrap()
    }

    fn encrypt(&mut self, text: &[u8]) -> official::SenderKeyMessage {
        official::group_encrypt(&mut self.store, &self.sender, GROUP, text, &mut self.rng)
            .now_or_never()
            .unwrap()
            .unwrap()
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Vec<u8>, official::SignalProtocolError> {
        official::group_decrypt(message, &mut self.store, &self.sender).now_or_never().unwrap()
    }
}

/// The private signing key out of an own record: { 1: { 3: { 2: private } } }.
fn signing_private(record: &[u8]) -> [u8; 32] {
    let at = record.windows(2).rposition(|window| window == [0x12, 32]).unwrap();
    record[at + 2..at + 34].try_into().unwrap()
}

/// A WhatsApp `skmsg` of these parts.
fn whatsapp(id: u32, iteration: u32, ciphertext: &[u8], signing: &[u8; 32]) -> Vec<u8> {
    let mut out = vec![0x33];
    prost::encoding::uint32::encode(1, &id, &mut out);
    prost::encoding::uint32::encode(2, &iteration, &mut out);
    prost::encoding::bytes::encode(3, &ciphertext.to_vec(), &mut out);
    let signature = xeddsa::sign(&PrivateKey::from_bytes(*signing), &[&out], &[3; 64]);
    out.extend(signature);
    out
}

#[test]
fn encryption_from_the_same_state() {
    let mut rng = Rng::from_seed([1; 32]);
    let mut ours = SenderKeyRecord::create(&mut rng);
    let mut theirs = Theirs::new();
    theirs.load(&ours.encode());
    let mut receiver = SenderKeyRecord::new();
    receiver.process_distribution(&ours.distribution().unwrap());
    let signing = signing_private(&ours.encode());
    for n in 0..40usize {
        let text = vec![n as u8; n];
        let sent = theirs.encrypt(&text);
        let own = ours.encrypt(&text, &mut rng).unwrap();
        let parsed = SenderKeyMessage::parse(&own).unwrap();
        assert_eq!(
            (parsed.key_id, parsed.iteration, parsed.ciphertext),
            (sent.chain_id(), sent.iteration(), sent.ciphertext())
        );
        assert_eq!(hex::encode(ours.encode()), hex::encode(theirs.record()));
        // Theirs, in WhatsApp's layout, decrypts at ours.
        let reframed = whatsapp(sent.chain_id(), sent.iteration(), sent.ciphertext(), &signing);
        assert_eq!(receiver.decrypt(&SenderKeyMessage::parse(&reframed).unwrap()).unwrap(), text);
    }
}

/// Messages in random order with repetitions: same outcome and same record after each.
#[test]
fn decryption_from_the_same_state() {
    for seed in 0..8u8 {
        let mut rng = Rng::from_seed([0x40 | seed; 32]);
        let mut own = SenderKeyRecord::create(&mut rng);
        let signing = official::PrivateKey::deserialize(&signing_private(&own.encode())).unwrap();
        let mut receiver = SenderKeyRecord::new();
        receiver.process_distribution(&own.distribution().unwrap());
        let mut theirs = Theirs::new();
        theirs.load(&receiver.encode());
        let sent: Vec<_> = (0..60u8).map(|n| own.encrypt(&[n], &mut rng).unwrap()).collect();
        let (mut plain, mut duplicate) = (0, 0);
        for _ in 0..100 {
            let bytes = &sent[rng.below(60) as usize];
            let parsed = SenderKeyMessage::parse(bytes).unwrap();
            let reframed = official::SenderKeyMessage::new(
                3,
                GROUP,
                parsed.key_id,
                parsed.iteration,
                parsed.ciphertext.into(),
                &mut theirs.rng.clone(),
                &signing,
            )
            .unwrap();
            let result = theirs.decrypt(reframed.serialized());
            match receiver.decrypt(&parsed) {
                Ok(text) => {
                    assert_eq!(result.unwrap(), text);
                    plain += 1;
                }
                Err(SignalError::Duplicate { .. }) => {
                    assert!(matches!(result, Err(official::SignalProtocolError::DuplicatedMessage(..))));
                    duplicate += 1;
                }
                Err(other) => panic!("{other}"),
            }
            assert_eq!(hex::encode(receiver.encode()), hex::encode(theirs.record()));
        }
        assert!(plain > 30 && duplicate > 10, "{plain} {duplicate}");
    }
}
