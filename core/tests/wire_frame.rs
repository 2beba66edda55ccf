//! Frames and payloads: any split of the stream, limits, compression.

use amarula_core::wire::frame::{INTRO, MAX_FRAME_BODY, write_frame_with};
use amarula_core::wire::noise::TransportError;
use amarula_core::wire::payload::{MAX_INFLATED, PayloadError, pack, unpack};
use amarula_core::wire::{
    Document, EncodeError, FrameDecoder, FrameError, Jid, Node, NodeLimits, RecvCipher, write_frame, write_intro,
};
use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;

#[test]
fn intro_with_and_without_routing_info() {
    let intro = |info: Option<&[u8]>| {
        let mut out = Vec::new();
        write_intro(&mut out, info);
        out
    };
    assert_eq!(INTRO, *b"WA\x06\x03");
    assert_eq!(intro(None), b"WA\x06\x03");
    assert_eq!(intro(Some(b"")), b"WA\x06\x03");
    assert_eq!(intro(Some(&[8, 2, 8, 18])), b"ED\0\x01\0\0\x04\x08\x02\x08\x12WA\x06\x03");
    assert_eq!(intro(Some(&vec![0; MAX_FRAME_BODY + 1])), b"WA\x06\x03");
}

#[test]
fn frames_are_written() {
    let mut out = vec![9];
    write_frame(&mut out, b"").unwrap();
    write_frame(&mut out, &[7; 256]).unwrap();
    assert_eq!(&out[..8], [9, 0, 0, 0, 0, 1, 0, 7]);
    let len = out.len();
    let too_long = FrameError::TooLong { len: MAX_FRAME_BODY + 1, limit: MAX_FRAME_BODY };
    assert_eq!(write_frame(&mut out, &vec![0; MAX_FRAME_BODY + 1]), Err(too_long));
    assert_eq!(out.len(), len);
    let in_place = write_frame_with(&mut out, |out| {
        out.resize(out.len() + MAX_FRAME_BODY + 1, 0);
        Ok::<_, FrameError>(())
    });
    assert_eq!((in_place, out.len()), (Err(too_long), len));
    write_frame_with(&mut out, |out| {
        out.extend_from_slice(b"abc");
        Ok::<_, FrameError>(())
    })
    .unwrap();
    assert_eq!(&out[len..], b"\0\0\x03abc");
}

#[test]
fn a_whole_frame_in_one_message_is_not_copied() {
    let mut message = Vec::new();
    write_frame(&mut message, &[5; 1000]).unwrap();
    let body = message.as_ptr() as usize + 3;
    let mut decoder = FrameDecoder::new();
    decoder.push(message.into());
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!((frame.as_ptr() as usize, frame.len()), (body, 1000));
    assert_eq!(decoder.next_frame(), Ok(None));
    assert_eq!(decoder, FrameDecoder::new());
}

#[test]
fn an_empty_frame_is_the_ciphers_to_refuse() {
    let mut decoder = FrameDecoder::new();
    decoder.push(Bytes::from_static(&[0, 0, 0]));
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(RecvCipher::new(&[1; 32]).open(frame), Err(TransportError::TooShort));
}

#[test]
fn the_limit_is_seen_in_the_prefix_and_stays() {
    let mut decoder = FrameDecoder::with_limit(4);
    decoder.push(Bytes::from_static(&[0, 0, 4, 1, 2, 3, 4, 0, 0, 5]));
    assert_eq!(&decoder.next_frame().unwrap().unwrap()[..], [1, 2, 3, 4]);
    for _ in 0..2 {
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { len: 5, limit: 4 }));
        decoder.push(Bytes::from_static(&[0; 9]));
    }
}

#[test]
fn payloads() {
    let node = Node::new("iq").attr("type", "result").attr("to", Jid::server());
    let compressed = Bytes::from(hex::decode("02789cfbc12ac92222f88b8119000d49023d").unwrap());
    let bytes = unpack(&compressed, MAX_INFLATED).unwrap();
    assert_eq!(Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap().root().to_node(), node);

    let mut plain = Vec::new();
    pack(&node, &mut plain).unwrap();
    assert_eq!(hex::encode(&plain), "00f80519041411fa0003");
    let plain = Bytes::from(plain);
    let unpacked = unpack(&plain, MAX_INFLATED).unwrap();
    assert_eq!((unpacked.as_ptr() as usize, &unpacked[..]), (plain.as_ptr() as usize + 1, &bytes[..]));
    // Other flags mean nothing.
    assert_eq!(unpack(&Bytes::from_static(&[0xfd, 1]), MAX_INFLATED), Ok(Bytes::from_static(&[1])));

    let mut out = vec![4];
    assert_eq!(pack(&Node::new(""), &mut out), Err(EncodeError::EmptyName));
    assert_eq!(out, [4]);
}

#[test]
fn bad_payloads() {
    assert_eq!(unpack(&Bytes::new(), MAX_INFLATED), Err(PayloadError::Empty));
    let packed = |data: &[u8]| Bytes::from([&[2][..], &compress_to_vec_zlib(data, 6)].concat());
    let bomb = packed(&vec![0; 1 << 20]);
    assert!(bomb.len() < 5000);
    assert_eq!(unpack(&bomb, (1 << 20) - 1), Err(PayloadError::TooLong { limit: (1 << 20) - 1 }));
    assert_eq!(unpack(&bomb, 1 << 20).map(|bytes| bytes.len()), Ok(1 << 20));
    assert_eq!(unpack(&bomb, 0), Err(PayloadError::TooLong { limit: 0 }));
    let good = packed(b"hello hello hello");
    for cut in 1..good.len() {
        assert_eq!(unpack(&good.slice(..cut), MAX_INFLATED), Err(PayloadError::BadStream), "{cut}");
    }
    let mut wrong_sum = good.to_vec();
    *wrong_sum.last_mut().unwrap() ^= 1;
    assert_eq!(unpack(&wrong_sum.into(), MAX_INFLATED), Err(PayloadError::BadStream));
}

fn frames(decoder: &mut FrameDecoder) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| frame.to_vec()).collect()
}

proptest! {
    #[test]
    fn every_split_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        rest in prop::collection::vec(any::<u8>(), 0..3),
        eager in any::<bool>(),
    ) {
        let mut stream = Vec::new();
        for body in &bodies {
            write_frame(&mut stream, body).unwrap();
        }
        stream.extend_from_slice(&rest);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut decoder = FrameDecoder::new();
        let mut seen = Vec::new();
        for cut in cuts.windows(2) {
            decoder.push(Bytes::copy_from_slice(&stream[cut[0]..cut[1]]));
            if eager {
                seen.extend(frames(&mut decoder));
            }
        }
        seen.extend(frames(&mut decoder));
        prop_assert_eq!(seen, bodies);
        prop_assert_eq!(decoder.buffered(), rest.len());
    }

    #[test]
    fn byte_by_byte_too(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut stream = Vec::new();
        write_frame(&mut stream, &body).unwrap();
        let mut decoder = FrameDecoder::new();
        for (i, byte) in stream.iter().enumerate() {
            decoder.push(Bytes::copy_from_slice(&[*byte]));
            let frame = decoder.next_frame().unwrap();
            prop_assert_eq!(frame.is_some(), i + 1 == stream.len());
        }
    }

    #[test]
    fn garbage_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpack(&bytes.clone().into(), 10_000);
        let _ = unpack(&[&[2, 0x78, 0x9c][..], &bytes].concat().into(), 10_000);
        let mut decoder = FrameDecoder::with_limit(1000);
        decoder.push(bytes.into());
        while let Ok(Some(_)) = decoder.next_frame() {}
    }
}
