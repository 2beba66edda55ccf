//! The vectors of `protocol/signal.md` §9, byte for byte: `testvectors/signal/v3.json`.

use std::string::String;
use std::vec::Vec;

use serde_json::Value;

use super::chain::{Chain, MessageKeys, Secret};
use super::ratchet::root_step;
use super::session::{decrypt_prekey_with, decrypt_with, initiate_with};
use super::*;
use crate::crypto::{KeyPair, PrivateKey, PublicKey, hash, kdf};

struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("../../../testvectors/signal/v3.json")).unwrap())
    }

    fn text(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path}"))
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        hex::decode(self.text(path)).unwrap()
    }

    fn pair(&self, name: &str) -> KeyPair {
        let byte = self.bytes(&std::format!("/private/{name}"))[0];
        KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
    }

    fn number(&self, path: &str) -> u32 {
        u32::try_from(self.0.pointer(path).and_then(Value::as_u64).unwrap()).unwrap()
    }

    fn bundle(&self, with_one_time: bool) -> (PreKeyBundle, SignedPreKeyRecord, PreKeyRecord) {
        let identity = self.pair("ik_b");
        let mut rng = crate::crypto::Rng::from_seed([0; 32]);
        let signed = SignedPreKeyRecord::sign(self.number("/signed_id"), self.pair("signed_b"), &identity, 0, &mut rng);
        let one_time = PreKeyRecord { id: self.number("/one_time_id"), keys: self.pair("one_time_b") };
        let local = LocalIdentity { keys: &identity, registration_id: 99 };
        (PreKeyBundle::of(&local, &signed, with_one_time.then_some(&one_time)), signed, one_time)
    }

    fn initiated(&self, with_one_time: bool) -> SessionRecord {
        let identity = self.pair("ik_a");
        let local = LocalIdentity { keys: &identity, registration_id: self.number("/registration_id") };
        let mut record = SessionRecord::new();
        let (bundle, ..) = self.bundle(with_one_time);
        initiate_with(&local, &bundle, &mut record, &self.pair("base_a"), self.pair("ratchet_a")).unwrap();
        record
    }
}

fn show(secret: &Secret) -> String {
    hex::encode(secret.0)
}

#[test]
fn public_keys() {
    let v = Vectors::load();
    for name in ["ik_a", "base_a", "ratchet_a", "ik_b", "signed_b", "one_time_b"] {
        assert_eq!(hex::encode(v.pair(name).public.typed()), v.text(&std::format!("/public/{name}")), "{name}");
    }
}

/// The agreement, from the four Diffie-Hellmans up, computed here by hand and compared with what the session holds.
#[test]
fn x3dh_both_ways() {
    let v = Vectors::load();
    let p = |name| v.pair(name);
    for (case, with_one_time) in [("with_one_time", true), ("without_one_time", false)] {
        let mut ikm = std::vec![0xff; 32];
        ikm.extend_from_slice(p("ik_a").agree(&p("signed_b").public).unwrap().expose());
        ikm.extend_from_slice(p("base_a").agree(&p("ik_b").public).unwrap().expose());
        ikm.extend_from_slice(p("base_a").agree(&p("signed_b").public).unwrap().expose());
        if with_one_time {
            ikm.extend_from_slice(p("base_a").agree(&p("one_time_b").public).unwrap().expose());
        }
        assert_eq!(hex::encode(hash::sha256(&[&ikm])), v.text(&std::format!("/{case}/ikm_sha256")));
        let okm = kdf::hkdf_sha256::<64>(None, &ikm, b"WhisperText");
        assert_eq!(hex::encode(&okm[..32]), v.text(&std::format!("/{case}/root0")));

        let record = v.initiated(with_one_time);
        let state = record.current.as_ref().unwrap();
        let chain0 = &state.receivers[0].chain.as_ref().unwrap().key;
        assert_eq!(show(chain0), v.text(&std::format!("/{case}/chain0")));
        let root0 = Secret(okm[..32].try_into().unwrap());
        let (root1, chain) = root_step(&root0, &p("ratchet_a").agree(&p("signed_b").public).unwrap());
        assert_eq!((&state.root, &state.sender.as_ref().unwrap().chain.as_ref().unwrap().key), (&root1, &chain));
        if with_one_time {
            assert_eq!(show(&root1), v.text("/sending/root1"));
            assert_eq!(show(&chain), v.text("/sending/chain"));
        }
    }
}

#[test]
fn message_keys() {
    let v = Vectors::load();
    let chain = Chain::start(Secret(v.bytes("/sending/chain").try_into().unwrap()));
    assert_eq!(show(&chain.seed()), v.text("/sending/seed0"));
    assert_eq!(show(&chain.next().unwrap().key), v.text("/sending/chain1"));
    let keys = MessageKeys::of_seed(&chain.seed());
    assert_eq!(hex::encode(keys.mac_key()), v.text("/sending/mac"));
    let (cipher, iv) = (v.bytes("/sending/cipher"), v.bytes("/sending/iv"));
    let plaintext = v.bytes("/plaintext");
    let expected = crate::crypto::cipher::cbc_encrypt(&cipher.try_into().unwrap(), &iv.try_into().unwrap(), &plaintext);
    assert_eq!(keys.encrypt(&plaintext), expected);
}

/// A sends, B answers with a new ratchet key, A with another: every byte on the wire, and the states between.
#[test]
fn conversation() {
    let v = Vectors::load();
    let plaintext = v.bytes("/plaintext");
    let mut a = v.initiated(true);
    let first = encrypt(&mut a, &plaintext).unwrap();
    assert_eq!((first.kind, hex::encode(&first.bytes).as_str()), (CiphertextKind::PreKey, v.text("/prekey_message")));
    let parsed = PreKeyMessage::parse(&first.bytes).unwrap();
    assert_eq!((parsed.registration_id, parsed.pre_key_id, parsed.signed_pre_key_id), (1234, Some(7), 1));
    let inner = v.bytes("/message");
    assert_eq!(parsed.message, SignalMessage::parse(&inner).unwrap());

    let (_, signed, one_time) = v.bundle(true);
    let prekeys = LocalPreKeys { signed: &[signed], one_time: &[one_time] };
    let identity = v.pair("ik_b");
    let local = LocalIdentity { keys: &identity, registration_id: 99 };
    let mut b = SessionRecord::new();
    let mut ratchet = || v.pair("ratchet_b_reply");
    let got = decrypt_prekey_with(&mut b, &local, &parsed, &prekeys, &mut ratchet, Forward::Peer).unwrap();
    assert_eq!((got.plaintext.as_slice(), got.used_prekey), (plaintext.as_slice(), Some(7)));
    assert_eq!((got.session, got.identity), (SessionUsed::New, v.pair("ik_a").public));
    assert_eq!(show(&b.current.as_ref().unwrap().root), v.text("/b_reply/root2"));
    let sending = b.current.as_ref().unwrap().sender.as_ref().unwrap().chain.as_ref().unwrap();
    assert_eq!(show(&sending.key), v.text("/b_reply/chain"));

    let reply = encrypt(&mut b, &plaintext).unwrap();
    assert_eq!((reply.kind, hex::encode(&reply.bytes).as_str()), (CiphertextKind::Message, v.text("/b_reply/message")));
    let reply = SignalMessage::parse(&reply.bytes).unwrap();
    let got = decrypt_with(&mut a, &reply, &mut || v.pair("ratchet_a_next"), Forward::Peer).unwrap();
    assert_eq!((got.plaintext, got.session), (plaintext.clone(), SessionUsed::Current));
    assert_eq!(show(&a.current.as_ref().unwrap().root), v.text("/a_next/root3"));
    let sending = a.current.as_ref().unwrap().sender.as_ref().unwrap().chain.as_ref().unwrap();
    assert_eq!(show(&sending.key), v.text("/a_next/chain"));

    let next = encrypt(&mut a, &plaintext).unwrap();
    assert_eq!((next.kind, hex::encode(&next.bytes).as_str()), (CiphertextKind::Message, v.text("/a_next/message")));
}

#[test]
fn sender_key() {
    let v = Vectors::load();
    let signing = KeyPair::from_private(PrivateKey::from_bytes([0x66; 32]));
    let chain = Chain::start(Secret([0x77; 32]));
    assert_eq!(show(&chain.seed()), v.text("/sender_key/seed0"));
    assert_eq!(show(&chain.next().unwrap().key), v.text("/sender_key/chain1"));
    let keys = kdf::hkdf_sha256::<48>(None, &chain.seed().0, b"WhisperGroup");
    assert_eq!(hex::encode(&keys[..16]), v.text("/sender_key/iv"));
    assert_eq!(hex::encode(&keys[16..]), v.text("/sender_key/cipher"));

    let mut own = SenderKeyRecord::create_with(v.number("/sender_key/key_id"), chain.key, signing.clone());
    let distribution = own.distribution().unwrap();
    assert_eq!(hex::encode(distribution.encode()), v.text("/sender_key/distribution"));
    let message = own.encrypt_with(&v.bytes("/plaintext"), || [0x5a; 64]).unwrap();
    assert_eq!(hex::encode(&message), v.text("/sender_key/message"));

    let mut theirs = SenderKeyRecord::new();
    let parsed = Distribution::parse(&v.bytes("/sender_key/distribution")).unwrap();
    assert_eq!((&parsed, parsed.signing_key), (&distribution, PublicKey(signing.public.0)));
    assert_eq!(theirs.process_distribution(&parsed), Distributed::Added);
    let message = SenderKeyMessage::parse(&message).unwrap();
    assert_eq!(theirs.decrypt(&message).unwrap(), v.bytes("/plaintext"));
}
