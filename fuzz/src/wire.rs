//! Targets of the wire layer.

use amarula_core::wire::noise::schema::cert_chain::{NoiseCertificate, noise_certificate};
use amarula_core::wire::payload::{pack, unpack};
use amarula_core::wire::{
    CertError, ClientHandshake, Document, FrameDecoder, NodeLimits, NodeRef, RecvCipher, SendCipher, Trust, ValueRef,
    cert, encode,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;

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
