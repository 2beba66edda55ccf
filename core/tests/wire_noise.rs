//! The handshake against a responder made from primitives: every pattern, every refusal, every kind of bad certificate.

mod wire_support;

use amarula_core::crypto::PublicKey;
use amarula_core::wire::cert::{CertRole, ROOT_KEY};
use amarula_core::wire::noise::schema::HandshakeMessage;
use amarula_core::wire::noise::{HandshakeFailure, TransportError};
use amarula_core::wire::{
    CertError, ClientHandshake, Established, HandshakeError, Pattern, RecvCipher, SendCipher, Trust, cert,
};
use bytes::BytesMut;
use proptest::prelude::*;
use prost::Message as _;
use wire_support::{Chain, Server, XX, XX_FALLBACK, pair, server_hello};

const NOW: u64 = 1500;

fn trust() -> Trust {
    Trust { root: Chain::good().root.public, clock_tolerance: 0 }
}

fn xx() -> ClientHandshake {
    ClientHandshake::xx(pair(0x11), pair(0x22), &b"payload"[..])
}

fn ik() -> ClientHandshake {
    ClientHandshake::ik(pair(0x11), pair(0x22), pair(0x44).public, &b"payload"[..])
}

fn full(handshake: ClientHandshake, name: &str, chain: Vec<u8>) -> Result<Established, HandshakeError> {
    let (answer, _) = Server::new(chain).full(name, &handshake.hello().unwrap());
    handshake.receive(&answer, &trust(), NOW)
}

#[test]
fn full_handshakes_agree_and_frames_pass_both_ways() {
    for (handshake, name, pattern) in [(xx(), XX, Pattern::Xx), (ik(), XX_FALLBACK, Pattern::XxFallback)] {
        let (answer, pending) = Server::new(Chain::good().build()).full(name, &handshake.hello().unwrap());
        let mut established = handshake.receive(&answer, &trust(), NOW).unwrap();
        assert_eq!(established.pattern, pattern);
        let finished = pending.finish(established.reply.as_ref().unwrap()).unwrap();
        assert_eq!(finished.client_static, pair(0x22).public);
        assert_eq!(finished.payload, b"payload");
        let chain = established.chain.unwrap();
        assert_eq!(chain.server_static(), pair(0x44).public);
        assert_eq!((chain.leaf.not_before, chain.intermediate.not_after), (1000, 2000));

        let (mut server_recv, mut server_send) =
            (RecvCipher::new(&finished.to_server), SendCipher::new(&finished.to_client));
        for text in [&b"\0one"[..], b"\0two", b""] {
            let mut frame = text.to_vec();
            established.send.seal(&mut frame, 0).unwrap();
            assert_eq!(server_recv.open(BytesMut::from(&frame[..])).unwrap(), text);
            let mut frame = text.to_vec();
            server_send.seal(&mut frame, 0).unwrap();
            assert_eq!(established.recv.open(BytesMut::from(&frame[..])).unwrap(), text);
        }
    }
}

#[test]
fn ik_agrees() {
    let (answer, finished) = Server::new(b"not looked at".to_vec()).resume(&ik().hello().unwrap()).unwrap();
    let established = ik().receive(&answer, &trust(), NOW).unwrap();
    assert_eq!((established.pattern, established.reply, established.chain), (Pattern::Ik, None, None));
    assert_eq!(finished.payload, b"payload");
    assert_eq!(established.send, SendCipher::new(&finished.to_server));
    assert_eq!(established.recv, RecvCipher::new(&finished.to_client));
}

#[test]
fn a_rebuilt_handshake_is_the_same() {
    for handshake in [xx(), ik()] {
        assert_eq!(handshake.hello().unwrap(), handshake.clone().hello().unwrap());
    }
    let long = ClientHandshake::ik(pair(0x11), pair(0x22), pair(0x44).public, vec![0; 65_536]);
    assert_eq!(long.hello().unwrap_err().failure, HandshakeFailure::PayloadTooLong);
    assert!(!long.hello().unwrap_err().counts_against_ik());
    let weak = ClientHandshake::ik(pair(0x11), pair(0x22), PublicKey([0; 32]), &b""[..]);
    assert_eq!(weak.hello().unwrap_err().failure, HandshakeFailure::LowOrder);
}

#[test]
fn damaged_answers_and_what_they_mean_for_ik() {
    let (answer, _) = Server::new(Chain::good().build()).full(XX, &xx().hello().unwrap());
    let (fallback, _) = Server::new(Chain::good().build()).full(XX_FALLBACK, &ik().hello().unwrap());
    let (resumed, _) = Server::new(Chain::good().build()).resume(&ik().hello().unwrap()).unwrap();
    let change = |message: &[u8], change: fn(&mut Fields)| {
        let hello = HandshakeMessage::decode(message).unwrap().server_hello.unwrap();
        let mut fields = Fields {
            ephemeral: hello.ephemeral.unwrap().to_vec(),
            sealed_static: hello.r#static.map(|bytes| bytes.to_vec()),
            payload: hello.payload.unwrap().to_vec(),
        };
        change(&mut fields);
        server_hello(&fields.ephemeral, fields.sealed_static, fields.payload)
    };
    type Case = (fn(&mut Fields), HandshakeFailure);
    let cases: [Case; 7] = [
        (|fields| fields.ephemeral[5] ^= 1, HandshakeFailure::BadTag),
        (|fields| *fields.payload.last_mut().unwrap() ^= 1, HandshakeFailure::BadTag),
        (|fields| fields.payload[0] ^= 1, HandshakeFailure::BadTag),
        (|fields| fields.payload.truncate(15), HandshakeFailure::Field("payload")),
        (|fields| fields.payload.resize(70_000, 0), HandshakeFailure::Field("payload")),
        (|fields| fields.ephemeral.truncate(31), HandshakeFailure::Field("ephemeral")),
        (|fields| fields.ephemeral = vec![0; 32], HandshakeFailure::LowOrder),
    ];
    for (damage, failure) in cases {
        let error = xx().receive(&change(&answer, damage), &trust(), NOW).unwrap_err();
        assert_eq!(error, HandshakeError { pattern: Pattern::Xx, failure });
        assert!(!error.counts_against_ik());
        let error = ik().receive(&change(&resumed, damage), &trust(), NOW).unwrap_err();
        assert_eq!(error, HandshakeError { pattern: Pattern::Ik, failure });
        assert!(error.counts_against_ik());
        let error = ik().receive(&change(&fallback, damage), &trust(), NOW).unwrap_err();
        assert_eq!(error.failure, failure);
        // An incomplete answer is a failure of IK, whatever the server had in mind.
        assert_eq!(error.counts_against_ik(), matches!(failure, HandshakeFailure::Field(_)));
    }
    let no_static = change(&answer, |fields| fields.sealed_static = None);
    assert_eq!(xx().receive(&no_static, &trust(), NOW).unwrap_err().failure, HandshakeFailure::Field("static"));
    let short_static = change(&answer, |fields| fields.sealed_static = Some(vec![0; 47]));
    assert_eq!(xx().receive(&short_static, &trust(), NOW).unwrap_err().failure, HandshakeFailure::Field("static"));
    let bad_static = change(&answer, |fields| fields.sealed_static = Some(vec![0; 48]));
    assert_eq!(xx().receive(&bad_static, &trust(), NOW).unwrap_err().failure, HandshakeFailure::BadTag);
    // A fallback answer is not a plain XX answer.
    assert_eq!(xx().receive(&fallback, &trust(), NOW).unwrap_err().failure, HandshakeFailure::BadTag);
    for garbage in [&b""[..], b"\xff", &xx().hello().unwrap()] {
        let error = ik().receive(garbage, &trust(), NOW).unwrap_err();
        assert_eq!(error, HandshakeError { pattern: Pattern::Ik, failure: HandshakeFailure::Malformed });
    }
}

struct Fields {
    ephemeral: Vec<u8>,
    sealed_static: Option<Vec<u8>>,
    payload: Vec<u8>,
}

#[test]
fn a_server_with_another_key_is_refused() {
    let mut server = Server::new(Chain::good().build());
    server.static_key = pair(0x45);
    // By IK it cannot even read the hello.
    assert!(server.resume(&ik().hello().unwrap()).is_none());
    let (answer, _) = server.full(XX, &xx().hello().unwrap());
    let error = xx().receive(&answer, &trust(), NOW).unwrap_err();
    assert_eq!(error.failure, HandshakeFailure::Certificate(CertError::KeyMismatch));
    let (answer, _) = server.full(XX_FALLBACK, &ik().hello().unwrap());
    let error = ik().receive(&answer, &trust(), NOW).unwrap_err();
    assert_eq!(error.pattern, Pattern::XxFallback);
    assert!(!error.counts_against_ik());
}

#[test]
fn bad_certificates_of_every_kind() {
    use CertRole::{Intermediate, Leaf};
    type Case = (fn(&mut Chain), CertError);
    let cases: [Case; 16] = [
        (|chain| chain.intermediate_signer = pair(0x98), CertError::BadSignature(Intermediate)),
        (|chain| chain.leaf_signer = pair(0x99), CertError::BadSignature(Leaf)),
        (|chain| chain.intermediate.issuer_serial = Some(1), CertError::WrongIssuer(Intermediate)),
        (|chain| chain.leaf.issuer_serial = Some(0), CertError::WrongIssuer(Leaf)),
        (|chain| chain.leaf.issuer_serial = None, CertError::WrongIssuer(Leaf)),
        (|chain| chain.leaf.key = Some(pair(0x45).public.as_bytes().to_vec().into()), CertError::KeyMismatch),
        (|chain| chain.leaf.key = None, CertError::Missing(Leaf, "key")),
        (|chain| chain.leaf.key = Some(vec![5; 33].into()), CertError::BadKey(Leaf)),
        (|chain| chain.intermediate.key = Some(vec![5; 31].into()), CertError::BadKey(Intermediate)),
        (|chain| chain.intermediate.key = None, CertError::Missing(Intermediate, "key")),
        (|chain| chain.leaf.not_before = None, CertError::Missing(Leaf, "notBefore")),
        (|chain| chain.intermediate.not_after = None, CertError::Missing(Intermediate, "notAfter")),
        (|chain| chain.leaf.not_before = Some(1501), CertError::NotYetValid { role: Leaf, bound: 1501, now: 1500 }),
        (|chain| chain.leaf.not_after = Some(1500), CertError::Expired { role: Leaf, bound: 1500, now: 1500 }),
        (
            |chain| chain.intermediate.not_before = Some(u64::MAX),
            CertError::NotYetValid { role: Intermediate, bound: u64::MAX, now: 1500 },
        ),
        (
            |chain| chain.intermediate.not_after = Some(0),
            CertError::Expired { role: Intermediate, bound: 0, now: 1500 },
        ),
    ];
    for (spoil, expected) in cases {
        let mut chain = Chain::good();
        spoil(&mut chain);
        let error = full(xx(), XX, chain.build()).unwrap_err();
        assert_eq!(error, HandshakeError { pattern: Pattern::Xx, failure: HandshakeFailure::Certificate(expected) });
        assert_eq!(
            expected.is_clock(),
            matches!(expected, CertError::NotYetValid { .. } | CertError::Expired { .. }),
            "{expected}"
        );
    }
    // An absent issuer serial of the intermediate reads as the root's 0.
    let mut chain = Chain::good();
    chain.intermediate.issuer_serial = None;
    assert!(full(xx(), XX, chain.build()).is_ok());
}

#[test]
fn incomplete_chains() {
    use CertRole::{Intermediate, Leaf};
    let server_static = pair(0x44).public;
    let verify = |chain: &[u8]| cert::verify(chain.to_vec().into(), &server_static, &trust(), NOW);
    let mut chain = Chain::good().message();
    chain.leaf = None;
    assert_eq!(verify(&chain.encode_to_vec()), Err(CertError::Missing(Leaf, "body")));
    let mut chain = Chain::good().message();
    chain.intermediate = None;
    assert_eq!(verify(&chain.encode_to_vec()), Err(CertError::Missing(Intermediate, "body")));
    let mut chain = Chain::good().message();
    chain.intermediate.as_mut().unwrap().signature = None;
    assert_eq!(verify(&chain.encode_to_vec()), Err(CertError::Missing(Intermediate, "signature")));
    let mut chain = Chain::good().message();
    chain.leaf.as_mut().unwrap().details = None;
    assert_eq!(verify(&chain.encode_to_vec()), Err(CertError::Missing(Leaf, "details")));
    let mut chain = Chain::good().message();
    let leaf = chain.leaf.as_mut().unwrap();
    leaf.signature = Some(leaf.signature.as_ref().unwrap().slice(..63));
    assert_eq!(verify(&chain.encode_to_vec()), Err(CertError::BadSignature(Leaf)));
    assert_eq!(verify(b""), Err(CertError::Missing(Intermediate, "body")));
    assert_eq!(verify(b"cert"), Err(CertError::Malformed));
    // Every bit of the signed details counts.
    let good = Chain::good().message();
    for bit in 0..good.leaf.as_ref().unwrap().details.as_ref().unwrap().len() * 8 {
        let mut chain = good.clone();
        let leaf = chain.leaf.as_mut().unwrap();
        let mut details = leaf.details.as_ref().unwrap().to_vec();
        details[bit / 8] ^= 1 << (bit % 8);
        leaf.details = Some(details.into());
        assert!(matches!(verify(&chain.encode_to_vec()), Err(CertError::BadSignature(Leaf) | CertError::Malformed)));
    }
}

#[test]
fn the_pinned_root_trusts_nobody_else_and_tolerance_is_for_clocks_only() {
    let server_static = pair(0x44).public;
    let chain = bytes::Bytes::from(Chain::good().build());
    assert_eq!(Trust::default().root, ROOT_KEY);
    assert_eq!(hex::encode(ROOT_KEY.as_bytes()), "142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b");
    let strict = cert::verify(chain.clone(), &server_static, &Trust::default(), NOW);
    assert_eq!(strict, Err(CertError::BadSignature(CertRole::Intermediate)));

    let at = |clock_tolerance, now| {
        cert::verify(chain.clone(), &server_static, &Trust { clock_tolerance, ..trust() }, now).is_ok()
    };
    assert!(at(0, 1000) && at(0, 1999) && !at(0, 999) && !at(0, 2000));
    assert!(at(60, 940) && at(60, 2059) && !at(60, 939) && !at(60, 2060));
    assert!(at(u64::MAX, 0) && at(u64::MAX, u64::MAX));
}

#[test]
fn transport_counters_never_wrap() {
    let key = [7; 32];
    let mut send = SendCipher::at(&key, u32::MAX - 1);
    let mut recv = RecvCipher::at(&key, u32::MAX - 1);
    let mut frame = b"xyz\0last".to_vec();
    send.seal(&mut frame, 3).unwrap();
    assert_eq!(&frame[..3], b"xyz");
    assert_eq!(recv.open(BytesMut::from(&frame[3..])).unwrap(), &b"\0last"[..]);
    let mut more = b"more".to_vec();
    assert_eq!(send.seal(&mut more, 0), Err(TransportError::Exhausted));
    assert_eq!(more, b"more");
    assert_eq!(recv.open(BytesMut::from(&frame[3..])), Err(TransportError::Exhausted));
    assert_eq!((send.counter(), recv.counter()), (u32::MAX, u32::MAX));
}

#[test]
fn transport_refuses_short_repeated_and_swapped_frames() {
    let (mut send, mut recv) = (SendCipher::new(&[7; 32]), RecvCipher::new(&[7; 32]));
    let frames: Vec<Vec<u8>> = (0..2u8)
        .map(|n| {
            let mut frame = vec![0, n];
            send.seal(&mut frame, 0).unwrap();
            frame
        })
        .collect();
    let mut open = |frame: &[u8]| recv.open(BytesMut::from(frame)).map(|plain| plain.to_vec());
    assert_eq!(open(b""), Err(TransportError::TooShort));
    assert_eq!(open(&[0; 15]), Err(TransportError::TooShort));
    assert_eq!(open(&frames[1]), Err(TransportError::BadTag));
    assert_eq!(open(&frames[0]), Ok(vec![0, 0]));
    assert_eq!(open(&frames[0]), Err(TransportError::BadTag));
    assert_eq!(open(&frames[1]), Ok(vec![0, 1]));
}

#[test]
fn ciphers_compare_by_key_and_counter() {
    let mut a = SendCipher::new(&[1; 32]);
    let b = a.clone();
    assert_eq!(a, b);
    assert_ne!(a, SendCipher::new(&[2; 32]));
    a.seal(&mut Vec::new(), 0).unwrap();
    assert_ne!(a, b);
    assert_eq!(a, SendCipher::at(&[1; 32], 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No damaged answer establishes anything, and none panics.
    #[test]
    fn any_damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<prop::sample::Index>()) {
        let (answer, _) = Server::new(Chain::good().build()).full(XX, &xx().hello().unwrap());
        let mut flipped = answer.clone();
        let at = at.index(answer.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(xx().receive(&flipped, &trust(), NOW).is_err());
        prop_assert!(ik().receive(&flipped, &trust(), NOW).is_err());
        prop_assert!(xx().receive(&answer[..cut.index(answer.len())], &trust(), NOW).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = xx().receive(&bytes, &trust(), NOW);
        let _ = ik().receive(&bytes, &trust(), NOW);
        let _ = cert::verify(bytes.into(), &pair(0x44).public, &trust(), NOW);
    }
}
