//! Targets of the wire layer.

use amarula_core::Address;
use amarula_core::wire::noise::schema::cert_chain::{NoiseCertificate, noise_certificate};
use amarula_core::wire::payload::{PayloadError, pack, unpack};
use amarula_core::wire::{
    CertError, ClientHandshake, Document, FrameDecoder, Jid, NodeLimits, NodeRef, RecvCipher, SendCipher,
    Server as Domain, Trust, ValueRef, cert, encode,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::choices::Choices;
use crate::wire_support::{Chain, Server, XX, XX_FALLBACK, pair};

/// Most bytes a fuzzed payload may inflate to: small, so that the fuzzer stays quick.
const INFLATED: usize = 1 << 16;

/// Node bytes, and the same as the plaintext of a frame.
pub fn node(data: &[u8]) {
    read_node(data);
    if let Ok(bytes) = unpack(&Bytes::copy_from_slice(data), INFLATED) {
        assert!(bytes.len() <= INFLATED.max(data.len()));
        read_node(&bytes);
    }
}

/// Reads everything there is; what can be written is understood again, and written the same again.
fn read_node(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes, &NodeLimits::DEFAULT) else { return };
    let frame = Bytes::copy_from_slice(bytes);
    assert_eq!(walk(document.root(), &frame), document.node_count());
    let node = document.root().to_node();
    let mut plain = Vec::new();
    if pack(&node, &mut plain).is_err() {
        assert!(plain.is_empty());
        return;
    }
    let again = Document::parse(&plain[1..], &NodeLimits::DEFAULT).expect("we read what we write");
    let mut out = Vec::new();
    encode(&again.root().to_node(), &mut out).expect("we write what we read");
    assert_eq!(out, plain[1..]);
}

fn walk(node: NodeRef<'_>, frame: &Bytes) -> usize {
    assert!(!node.tag().is_empty());
    for (key, value) in node.attrs() {
        assert!(node.has(key));
        assert_eq!(node.attr(key), Some(value));
        assert_eq!(node.text(key).is_none(), value == ValueRef::BadJid);
        let _ = (node.jid(key), node.u64(key), node.u32(key), node.str(key));
    }
    assert_eq!(node.bytes_in(frame).as_deref(), node.bytes());
    assert!(node.content_text().is_none() || node.bytes().is_some());
    assert_eq!(node.first_child().is_some(), node.has_children());
    1 + node.children().map(|child| walk(child, frame)).sum::<usize>()
}

/// A byte stream, in one piece and in pieces whose lengths are the input's first bytes.
pub fn frame(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else { return };
    let Some((cuts, stream)) = data.split_at_checked(usize::from(count % 16)) else { return };
    let mut whole = FrameDecoder::with_limit(1 << 16);
    whole.push(Bytes::copy_from_slice(stream));
    let mut pieces = FrameDecoder::with_limit(1 << 16);
    let mut seen = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, tail) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = tail;
        while let Ok(Some(frame)) = pieces.next_frame() {
            seen.push(frame);
        }
    }
    pieces.push(Bytes::copy_from_slice(rest));
    let mut seen = seen.into_iter();
    loop {
        let next = match seen.next() {
            Some(frame) => Ok(Some(frame)),
            None => pieces.next_frame(),
        };
        let expected = whole.next_frame();
        assert_eq!(next, expected);
        match expected {
            Ok(Some(frame)) => node(&frame),
            _ => break,
        }
    }
    assert_eq!(whole.buffered(), pieces.buffered());
}

const NOW: u64 = 1500;

/// By the first byte: a serverHello as it is; the payload of an otherwise right one; signed certificate details; a
/// frame's ciphertext and plaintext.
pub fn handshake(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let trust = Trust { root: Chain::good().root.public, clock_tolerance: 0 };
    let xx = || ClientHandshake::xx(pair(0x11), pair(0x22), &b"payload"[..]);
    let ik = || ClientHandshake::ik(pair(0x11), pair(0x22), pair(0x44).public, &b"payload"[..]);
    match kind % 4 {
        0 => {
            if let Ok(established) = xx().receive(data, &trust, NOW) {
                assert!(established.reply.is_some() && established.chain.is_some());
            }
            if let Err(error) = ik().receive(data, &trust, NOW) {
                let _ = error.counts_against_ik();
            }
        }
        1 => {
            let server = Server::new(data.to_vec());
            let (answer, pending) = server.full(XX, &xx().hello().expect("our own hello"));
            if let Ok(established) = xx().receive(&answer, &trust, NOW) {
                assert!(pending.finish(&established.reply.expect("clientFinish")).is_some());
            }
            let (answer, _) = server.full(XX_FALLBACK, &ik().hello().expect("our own hello"));
            let _ = ik().receive(&answer, &trust, NOW);
        }
        2 => {
            let sign = |details: &[u8], signer| {
                let signature = amarula_core::crypto::xeddsa::sign(&pair(signer).private, &[details], &[0x5a; 64]);
                let details = Some(Bytes::copy_from_slice(details));
                Some(NoiseCertificate { details, signature: Some(signature.to_vec().into()) })
            };
            let mut chain = Chain::good().message();
            chain.leaf = sign(data, 0xaa);
            let verified = cert::verify(chain.encode_to_vec().into(), &pair(0x44).public, &trust, NOW);
            let details = noise_certificate::Details::decode(data);
            assert_eq!(matches!(verified, Err(CertError::Malformed)), details.is_err());
            let mut chain = Chain::good().message();
            chain.intermediate = sign(data, 0x99);
            let _ = cert::verify(chain.encode_to_vec().into(), &pair(0x44).public, &trust, NOW);
        }
        _ => {
            let mut recv = RecvCipher::new(&[7; 32]);
            assert!(recv.open(BytesMut::from(data)).is_err(), "nobody makes a tag by chance");
            let mut sealed = data.to_vec();
            SendCipher::new(&[7; 32]).seal(&mut sealed, 0).expect("frame 0");
            let plain = recv.open(BytesMut::from(&sealed[..])).expect("our own frame");
            assert_eq!(plain, data);
            node(&plain);
        }
    }
}

/// A flag byte and what it says of the rest: as it comes, and around anything compressed.
pub fn payload(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (compress, limit) = (choices.flag(), choices.number() as usize);
    let rest = choices.rest();
    if !compress {
        let plain = Bytes::copy_from_slice(rest);
        match unpack(&plain, limit) {
            Ok(bytes) if plain[0] & 2 == 0 => assert_eq!(bytes, plain[1..]),
            Ok(bytes) => assert!(bytes.len() <= limit),
            Err(_) => assert!(plain.is_empty() || plain[0] & 2 != 0),
        }
        return;
    }
    let level = (limit % 11) as u8;
    let mut plain = vec![2];
    plain.extend(miniz_oxide::deflate::compress_to_vec_zlib(rest, level));
    let plain = Bytes::from(plain);
    assert_eq!(unpack(&plain, rest.len()).expect("exactly the limit"), rest);
    if let Some(less) = rest.len().checked_sub(1) {
        assert_eq!(unpack(&plain, less), Err(PayloadError::TooLong { limit: less }));
    }
    // Cut short, or a bit changed: an error or something within the limit.
    assert!(unpack(&plain.slice(..plain.len() - 1), rest.len()).is_err());
    let mut damaged = plain.to_vec();
    let bit = limit % ((damaged.len() - 1) * 8);
    damaged[1 + bit / 8] ^= 1 << (bit % 8);
    if let Ok(bytes) = unpack(&damaged.into(), INFLATED) {
        assert!(bytes.len() <= INFLATED);
    }
}

/// Text, and the parts of a JID.
pub fn jid(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<Address>();
        if let Ok(jid) = text.parse::<Jid>() {
            assert!(jid.is_well_formed(), "{text:?} is read as {jid:?}, which no text names");
            one_jid(&jid);
        }
    }
    let mut choices = Choices::new(data);
    let name = choices.text();
    let named = [
        Domain::Pn,
        Domain::Lid,
        Domain::Hosted,
        Domain::HostedLid,
        Domain::Group,
        Domain::Broadcast,
        Domain::Newsletter,
        Domain::Bot,
        Domain::Call,
        Domain::Msgr,
        Domain::Interop,
    ];
    let server = choices.below(named.len() + 1);
    let server = named.get(server).cloned().unwrap_or_else(|| Domain::from_name(&name));
    let integrator = if server == Domain::Interop { choices.number() as u16 } else { 0 };
    let device = choices.number() as u16;
    let jid = Jid { integrator, ..Jid::new(choices.text(), server).with_device(device) };
    if jid.is_well_formed() {
        one_jid(&jid);
    }
    let node = amarula_core::wire::Node::new("a").attr("jid", &jid);
    let mut bytes = Vec::new();
    if encode(&node, &mut bytes).is_ok() {
        let read = Document::parse(&bytes, &NodeLimits::DEFAULT).expect("we read what we write");
        if let Some(read) = read.root().jid("jid") {
            assert!(read.is_well_formed());
            if jid.is_well_formed() {
                assert_eq!(read, jid);
            }
        }
    }
}

/// What holds for every well-formed one.
fn one_jid(jid: &Jid) {
    assert_eq!(jid.to_string().parse::<Jid>().as_ref(), Ok(jid));
    assert_eq!(jid.bare(), jid.bare().bare());
    assert!(jid.same_account(&jid.bare()));
    let address = Address::from(jid.clone());
    assert_eq!(address.bare().jid(), &jid.bare());
    let _ = (address.kind(), address.user());
}

/// Certificates made of choices, with every signature right or not, against the rules of `protocol/transport.md` §4 said
/// once more.
pub fn certificate(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut chain = Chain::good();
    let change = |details: &mut noise_certificate::Details, choices: &mut Choices<'_>| match choices.below(16) {
        1 => details.serial = None,
        2 => details.serial = Some(choices.number()),
        3 => details.issuer_serial = None,
        4 => details.issuer_serial = Some(choices.number()),
        5 => details.key = None,
        6 => details.key = Some(Bytes::copy_from_slice(choices.short())),
        7 => details.not_before = None,
        8 => details.not_before = Some(u64::from(choices.number())),
        9 => details.not_after = None,
        10 => details.not_after = Some(u64::from(choices.number())),
        11 => details.not_before = Some(u64::MAX),
        12 => details.not_after = Some(0),
        _ => {}
    };
    for _ in 0..choices.below(4) {
        change(&mut chain.leaf, &mut choices);
        change(&mut chain.intermediate, &mut choices);
    }
    if choices.byte() == 1 {
        chain.leaf_signer = pair(0xbb);
    }
    if choices.byte() == 1 {
        chain.intermediate_signer = pair(0xbb);
    }
    let now = *choices.pick(&[1500, 999, 1000, 1999, 2000, 0, u64::MAX]);
    let clock_tolerance = *choices.pick(&[0, 1, u64::MAX]);
    let server = if choices.byte() == 1 { pair(0x45) } else { pair(0x44) };
    let trust = Trust { root: Chain::good().root.public, clock_tolerance };
    let verified = cert::verify(chain.build().into(), &server.public, &trust, now);
    let in_time = |details: &noise_certificate::Details| {
        details.not_before.is_some_and(|from| now.saturating_add(clock_tolerance) >= from)
            && details.not_after.is_some_and(|until| now.saturating_sub(clock_tolerance) < until)
    };
    let good = chain.intermediate_signer.public == trust.root
        && chain.intermediate.key.as_deref() == Some(&chain.leaf_signer.public.0[..])
        && chain.intermediate.issuer_serial.unwrap_or_default() == 0
        && chain.leaf.issuer_serial.unwrap_or_default() == chain.intermediate.serial.unwrap_or_default()
        && chain.leaf.key.as_deref() == Some(&server.public.0[..])
        && in_time(&chain.leaf)
        && in_time(&chain.intermediate);
    assert_eq!(verified.is_ok(), good, "{verified:?}");
    // And as the bytes of a chain.
    let _ = cert::verify(Bytes::copy_from_slice(data), &server.public, &trust, now);
}
