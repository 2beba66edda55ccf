//! `amarula_core::signal` against npm's libsignal and Baileys' sender-key classes (`signal-oracle.mjs`).

use amarula_core::crypto::{KeyPair, PrivateKey, PublicKey, Rng, xeddsa};
use amarula_core::signal::{self, *};
use amarula_interop::{Program, run_alone};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The oracle's party, and our address there.
const THEM: &str = "them";
const OUR_ADDRESS: &str = "us.1";

#[test]
fn sessions_that_we_start() {
    run_alone("Signal: sessions that we start", || {
        for one_time in [true, false] {
            let mut pair = Pair::new(one_time);
            let bundle = pair.their_bundle(one_time);
            signal::initiate(&pair.us(), &bundle, &mut pair.record, &mut pair.rng).expect("a good bundle");
            pair.we_say("first", CiphertextKind::PreKey);
            pair.we_say("second, unanswered", CiphertextKind::PreKey);
            if one_time {
                assert_eq!(pair.oracle.call("", "hasPreKey", &json!({"party": THEM, "id": 8})), false);
            }
            pair.they_say("answer", "msg");
            pair.ratchet();
        }
    });
}

#[test]
fn sessions_that_they_start() {
    run_alone("Signal: sessions that they start", || {
        for one_time in [true, false] {
            let mut pair = Pair::new(one_time);
            pair.they_start(one_time);
            assert_eq!(pair.they_say("first", "pkmsg").used_prekey, one_time.then_some(8));
            assert_eq!(pair.they_say("second, unanswered", "pkmsg").used_prekey, None);
            pair.we_say("answer", CiphertextKind::Message);
            pair.they_say("answered", "msg");
            pair.ratchet();
        }
    });
}

/// Both start a session at once; both stay good.
///
/// They speak first afterwards. If we did, on the session that is the newest for us, libsignal-node would read it, and
/// spoil the other one, on which it sends: it steps the ratchet of every session that it tries, before the MAC.
#[test]
fn crossing_sessions() {
    run_alone("Signal: crossing sessions", || {
        let mut pair = Pair::new(true);
        let bundle = pair.their_bundle(true);
        signal::initiate(&pair.us(), &bundle, &mut pair.record, &mut pair.rng).expect("a good bundle");
        pair.they_start(true);
        let ours = signal::encrypt(&mut pair.record, b"ours").expect("a session");
        let theirs = pair.they_encrypt("theirs");
        assert_eq!(pair.they_decrypt(&ours), Ok("ours".to_owned()));
        assert_eq!(pair.we_decrypt(&theirs).expect("theirs").plaintext, b"theirs");
        for n in 0..4 {
            let (ours, theirs) = (format!("ours {n}"), format!("theirs {n}"));
            let sent = pair.they_encrypt(&theirs);
            assert_eq!(pair.we_decrypt(&sent).expect("theirs").plaintext, theirs.as_bytes());
            let sent = signal::encrypt(&mut pair.record, ours.as_bytes()).expect("a session");
            assert_eq!(pair.they_decrypt(&sent), Ok(ours));
        }
    });
}

#[test]
fn out_of_order_replayed_and_changed() {
    run_alone("Signal: out of order, replayed, changed", || {
        let mut pair = Pair::new(true);
        pair.they_start(true);
        pair.they_say("hello", "pkmsg");
        pair.we_say("hi", CiphertextKind::Message);
        let old = pair.they_encrypt("of an old chain");
        pair.they_say("new chain", "msg");
        pair.we_say("turn", CiphertextKind::Message);
        let theirs: Vec<_> = (0..60).map(|n| pair.they_encrypt(&format!("theirs {n}"))).collect();
        let ours: Vec<_> = (0..60)
            .map(|n| signal::encrypt(&mut pair.record, format!("ours {n}").as_bytes()).expect("a session"))
            .collect();
        for n in (0..60).rev().step_by(2).chain((0..60).step_by(2)) {
            assert_eq!(pair.we_decrypt(&theirs[n]).expect("theirs").plaintext, format!("theirs {n}").as_bytes());
            assert_eq!(pair.they_decrypt(&ours[n]), Ok(format!("ours {n}")));
            assert!(pair.we_decrypt(&theirs[n]).is_err(), "a replay");
            assert!(pair.they_decrypt(&ours[n]).is_err(), "a replay");
        }
        assert_eq!(pair.we_decrypt(&old).expect("the old chain").plaintext, b"of an old chain");
        let (kind, mut changed) = pair.they_encrypt("changed");
        *changed.last_mut().expect("bytes") ^= 1;
        let before = pair.record.encode();
        assert!(matches!(pair.we_decrypt(&(kind, changed)), Err(SignalError::BadMac)));
        assert_eq!(pair.record.encode(), before);
        pair.ratchet();
    });
}

#[test]
fn sender_keys() {
    run_alone("Signal: sender keys", || {
        let oracle = Program::start("signal-oracle.mjs");
        let group = json!({"party": "g", "group": "team@g.us"});
        let call = |method: &str, more: Value| {
            let mut params = group.clone();
            params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            oracle.try_call("", method, &params)
        };
        oracle.call("", "create", &json!({"party": "g"}));
        let mut rng = Rng::from_seed([9; 32]);

        // Theirs.
        let theirs = |text: &str| {
            let sent = call("groupEncrypt", json!({"sender": "g.1", "plaintextBase64": to64(text.as_bytes())}));
            from64(&sent.expect("a ciphertext")["ciphertextBase64"])
        };
        let distribution = call("createSenderKey", json!({"sender": "g.1"})).expect("a sender key");
        let distribution = Distribution::parse(&from64(&distribution["distributionBase64"])).expect("a distribution");
        let mut record = SenderKeyRecord::new();
        assert_eq!(record.process_distribution(&distribution), Distributed::Added);
        let sent: Vec<_> = (0..40).map(|n| theirs(&format!("theirs {n}"))).collect();
        let order = (0..40).rev().step_by(3).chain((0..40).filter(|n| n % 3 != 0));
        let order: Vec<usize> = order.collect();
        let mut seen = std::collections::BTreeSet::new();
        for n in order {
            let parsed = SenderKeyMessage::parse(&sent[n]).expect("theirs");
            if seen.insert(n) {
                assert_eq!(record.decrypt(&parsed).expect("theirs"), format!("theirs {n}").as_bytes());
            }
            assert!(record.decrypt(&parsed).is_err(), "a replay");
        }
        let mut forged = theirs("forged");
        *forged.last_mut().expect("bytes") ^= 1;
        assert!(matches!(
            record.decrypt(&SenderKeyMessage::parse(&forged).expect("it parses")),
            Err(SignalError::BadSignature)
        ));

        // Ours.
        let mut own = SenderKeyRecord::create(&mut rng);
        let distribution = to64(&own.distribution().expect("a key of our own").encode());
        call("processSenderKey", json!({"sender": "us.1", "distributionBase64": distribution})).expect("it is taken");
        let sent: Vec<_> =
            (0..40).map(|n| own.encrypt(format!("ours {n}").as_bytes(), &mut rng).expect("ours")).collect();
        let read = |bytes: &[u8]| {
            call("groupDecrypt", json!({"sender": "us.1", "ciphertextBase64": to64(bytes)}))
                .map(|got| String::from_utf8(from64(&got["plaintextBase64"])).expect("text"))
        };
        for n in (0..40).rev().step_by(2).chain((0..40).step_by(2)) {
            assert_eq!(read(&sent[n]), Ok(format!("ours {n}")));
            assert!(read(&sent[n]).is_err(), "a replay");
        }
        let mut forged = own.encrypt(b"forged", &mut rng).expect("ours");
        *forged.last_mut().expect("bytes") ^= 1;
        assert!(read(&forged).is_err_and(|error| error.contains("Invalid signature")));
        // Handed out again later, it covers what comes from there on.
        let distribution = to64(&own.distribution().expect("a key of our own").encode());
        call("processSenderKey", json!({"sender": "late.1", "distributionBase64": distribution})).expect("it is taken");
        let late = own.encrypt(b"late", &mut rng).expect("ours");
        let got = call("groupDecrypt", json!({"sender": "late.1", "ciphertextBase64": to64(&late)}));
        assert_eq!(from64(&got.expect("it is read")["plaintextBase64"]), b"late");
    });
}

/// Keys, agreements and signatures agree, and each verifies what the other signed.
#[test]
fn keys_and_signatures() {
    run_alone("Signal: keys and signatures", || {
        let oracle = Program::start("signal-oracle.mjs");
        let mut rng = Rng::from_seed([5; 32]);
        for n in 0..16u8 {
            let own = KeyPair::generate(&mut rng);
            let pair = oracle.call("", "generateKeyPair", &json!({}));
            let (public, private) = (key_of(&pair["publicBase64"]), from64(&pair["privateBase64"]));
            let private = PrivateKey::from_slice(&private).expect("32 bytes");
            assert_eq!(private.public(), public);
            let params = json!({"privateBase64": to64(own.private.expose()), "publicBase64": to64(&public.typed())});
            let secret = from64(&oracle.call("", "agree", &params)["secretBase64"]);
            assert_eq!(own.agree(&public).expect("an agreement").expose()[..], secret[..]);

            let message = vec![n; usize::from(n) * 7];
            let params = json!({"privateBase64": pair["privateBase64"], "messageBase64": to64(&message)});
            let mut signature = from64(&oracle.call("", "sign", &params)["signatureBase64"]);
            assert!(xeddsa::verify(&public, &[&message], &signature));
            signature[3] ^= 1;
            assert!(!xeddsa::verify(&public, &[&message], &signature));

            let mut signature = xeddsa::sign(&own.private, &[&message], &rng.bytes());
            for good in [true, false] {
                let params = json!({
                    "publicBase64": to64(&own.public.typed()),
                    "messageBase64": to64(&message),
                    "signatureBase64": to64(&signature),
                });
                assert_eq!(oracle.call("", "verify", &params)["valid"], good);
                signature[3] ^= 1;
            }
        }
    });
}

/// Our device and one of the oracle's parties.
struct Pair {
    oracle: Program,
    rng: Rng,
    keys: KeyPair,
    signed: SignedPreKeyRecord,
    one_time: PreKeyRecord,
    record: SessionRecord,
}

impl Pair {
    fn new(with_one_time: bool) -> Self {
        let oracle = Program::start("signal-oracle.mjs");
        oracle.call("", "create", &json!({"party": THEM}));
        oracle.call("", "generateSignedPreKey", &json!({"party": THEM, "id": 4}));
        oracle.call("", "generatePreKeys", &json!({"party": THEM, "first": 7, "count": 3}));
        let mut rng = Rng::from_seed([u8::from(with_one_time); 32]);
        let keys = KeyPair::generate(&mut rng);
        let signed = SignedPreKeyRecord::generate(1, &keys, 0, &mut rng);
        let one_time = PreKeyRecord::generate(8, &mut rng);
        Self { oracle, rng, keys, signed, one_time, record: SessionRecord::new() }
    }

    fn us(&self) -> LocalIdentity<'static> {
        // The tests are short; a leaked key pair spares them a borrow.
        LocalIdentity { keys: Box::leak(Box::new(self.keys.clone())), registration_id: 11 }
    }

    fn their_bundle(&self, one_time: bool) -> PreKeyBundle {
        let mut params = json!({"party": THEM, "signedPreKeyId": 4});
        if one_time {
            params["preKeyId"] = 8.into();
        }
        let bundle = self.oracle.call("", "bundle", &params);
        let number = |value: &Value| u32::try_from(value.as_u64().expect("a number")).expect("32 bits");
        PreKeyBundle {
            registration_id: number(&bundle["registrationId"]),
            identity: key_of(&bundle["identityBase64"]),
            signed: SignedPreKey {
                id: number(&bundle["signedPreKey"]["id"]),
                public: key_of(&bundle["signedPreKey"]["publicBase64"]),
                signature: from64(&bundle["signedPreKey"]["signatureBase64"]).try_into().expect("64 bytes"),
            },
            one_time: one_time.then(|| OneTimePreKey {
                id: number(&bundle["preKey"]["id"]),
                public: key_of(&bundle["preKey"]["publicBase64"]),
            }),
        }
    }

    fn they_start(&self, one_time: bool) {
        let signed = self.signed.public();
        let mut bundle = json!({
            "registrationId": 11,
            "identityBase64": to64(&self.keys.public.typed()),
            "signedPreKey": {
                "id": signed.id,
                "publicBase64": to64(&signed.public.typed()),
                "signatureBase64": to64(&signed.signature),
            },
        });
        if one_time {
            let public = self.one_time.public();
            bundle["preKey"] = json!({"id": public.id, "publicBase64": to64(&public.public.typed())});
        }
        self.oracle.call("", "startSession", &json!({"party": THEM, "peer": OUR_ADDRESS, "bundle": bundle}));
    }

    fn they_encrypt(&self, text: &str) -> (String, Vec<u8>) {
        let params = json!({"party": THEM, "peer": OUR_ADDRESS, "plaintextBase64": to64(text.as_bytes())});
        let sent = self.oracle.call("", "encrypt", &params);
        (sent["type"].as_str().expect("a type").to_owned(), from64(&sent["ciphertextBase64"]))
    }

    fn they_decrypt(&self, sent: &Ciphertext) -> Result<String, String> {
        let params = json!({
            "party": THEM,
            "peer": OUR_ADDRESS,
            "type": sent.kind.enc_type(),
            "ciphertextBase64": to64(&sent.bytes),
        });
        let got = self.oracle.try_call("", "decrypt", &params)?;
        Ok(String::from_utf8(from64(&got["plaintextBase64"])).expect("text"))
    }

    fn we_decrypt(&mut self, (kind, bytes): &(String, Vec<u8>)) -> Result<Decrypted, SignalError> {
        if kind == "msg" {
            return signal::decrypt(&mut self.record, &SignalMessage::parse(bytes)?, &mut self.rng, Forward::Peer);
        }
        let message = PreKeyMessage::parse(bytes)?;
        let (signed, one_time) = ([self.signed.clone()], [self.one_time.clone()]);
        let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
        let us = self.us();
        signal::decrypt_prekey(&mut self.record, &us, &message, &prekeys, &mut self.rng, Forward::Peer)
    }

    fn we_say(&mut self, text: &str, kind: CiphertextKind) {
        let sent = signal::encrypt(&mut self.record, text.as_bytes()).expect("a session");
        assert_eq!(sent.kind, kind);
        assert_eq!(self.they_decrypt(&sent).as_deref(), Ok(text));
        self.reload();
    }

    fn they_say(&mut self, text: &str, kind: &str) -> Decrypted {
        let sent = self.they_encrypt(text);
        assert_eq!(sent.0, kind);
        let got = self.we_decrypt(&sent).expect("theirs");
        assert_eq!(got.plaintext, text.as_bytes());
        self.reload();
        got
    }

    /// Records go through their stored form, as they do in the engine.
    fn reload(&mut self) {
        self.record = SessionRecord::decode(&self.record.encode()).expect("our own record");
    }

    /// Turns of different lengths.
    fn ratchet(&mut self) {
        for turn in 0..8 {
            for n in 0..=turn % 3 {
                self.we_say(&format!("ours {turn}.{n}"), CiphertextKind::Message);
            }
            for n in 0..=turn % 2 {
                self.they_say(&format!("theirs {turn}.{n}"), "msg");
            }
        }
    }
}

fn to64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn from64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

fn key_of(value: &Value) -> PublicKey {
    PublicKey::from_typed(&from64(value)).expect("33 bytes")
}
