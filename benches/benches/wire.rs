//! Nodes, frames, the Noise handshake.

use amarula_benches::wire_support::{Chain, Server, XX, pair};
use amarula_benches::{message_stanza, usync_answer};
use amarula_core::query::usync;
use amarula_core::wire::{
    ClientHandshake, Document, FrameDecoder, Node, NodeLimits, RecvCipher, SendCipher, Trust, encode, payload,
};
use bytes::{Bytes, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

#[cfg(feature = "allocations")]
#[global_allocator]
static COUNTED: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench_group]
mod node {
    use super::*;

    fn encoded(node: &Node) -> Vec<u8> {
        let mut out = Vec::new();
        encode(node, &mut out).expect("a good node");
        out
    }

    fn decode(bencher: Bencher<'_, '_>, node: &Node) {
        let bytes = encoded(node);
        bencher
            .counter(BytesCount::of_slice(&bytes))
            .bench_local(|| Document::parse(black_box(&bytes), &NodeLimits::DEFAULT).map(|doc| doc.node_count()));
    }

    fn write(bencher: Bencher<'_, '_>, node: &Node) {
        let mut out = encoded(node);
        bencher.counter(BytesCount::of_slice(&out)).bench_local(|| {
            out.clear();
            encode(black_box(node), &mut out)
        });
    }

    #[divan::bench]
    fn decode_message(bencher: Bencher<'_, '_>) {
        decode(bencher, &message_stanza());
    }

    #[divan::bench]
    fn encode_message(bencher: Bencher<'_, '_>) {
        write(bencher, &message_stanza());
    }

    #[divan::bench]
    fn decode_usync_200_users(bencher: Bencher<'_, '_>) {
        decode(bencher, &usync_answer(200));
    }

    #[divan::bench]
    fn encode_usync_200_users(bencher: Bencher<'_, '_>) {
        write(bencher, &usync_answer(200));
    }

    /// Decoding, and reading every user, device and list of it.
    #[divan::bench]
    fn read_usync_200_users(bencher: Bencher<'_, '_>) {
        let bytes = encoded(&usync_answer(200));
        let users = || {
            let document = Document::parse(black_box(&bytes), &NodeLimits::DEFAULT).expect("a good node");
            usync::response(document.root())
        };
        assert_eq!(users().map(|users| users.len()), Ok(200));
        bencher.bench_local(users);
    }
}

const SIZES: [usize; 3] = [200, 16 << 10, 64 << 10];

#[divan::bench_group]
mod frame {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn encrypt(bencher: Bencher<'_, '_>, size: usize) {
        let mut cipher = SendCipher::new(&[7; 32]);
        let plain = vec![0x5a; size];
        bencher
            .counter(BytesCount::new(size))
            .with_inputs(|| {
                let mut frame = Vec::with_capacity(size + 16);
                frame.extend_from_slice(&plain);
                frame
            })
            .bench_local_values(|mut frame| {
                cipher.seal(&mut frame, 0).expect("sealed");
                frame
            });
    }

    #[divan::bench(args = SIZES)]
    fn decrypt(bencher: Bencher<'_, '_>, size: usize) {
        let mut send = SendCipher::new(&[7; 32]);
        let mut recv = RecvCipher::new(&[7; 32]);
        bencher
            .counter(BytesCount::new(size))
            .with_inputs(|| {
                let mut frame = vec![0x5a; size];
                send.seal(&mut frame, 0).expect("sealed");
                BytesMut::from(&frame[..])
            })
            .bench_local_values(|frame| recv.open(frame).expect("opened"));
    }

    /// A message from socket bytes to a node whose parts can be read.
    #[divan::bench]
    fn socket_bytes_to_node(bencher: Bencher<'_, '_>) {
        let mut send = SendCipher::new(&[7; 32]);
        let mut recv = RecvCipher::new(&[7; 32]);
        let mut decoder = FrameDecoder::new();
        let node = message_stanza();
        bencher
            .with_inputs(|| {
                let mut out = vec![0; 3];
                payload::pack(&node, &mut out).expect("a good node");
                send.seal(&mut out, 3).expect("sealed");
                let length = u32::try_from(out.len() - 3).expect("short").to_be_bytes();
                out[..3].copy_from_slice(&length[1..]);
                Bytes::from(out)
            })
            .bench_local_values(|bytes| {
                decoder.push(bytes);
                let frame = decoder.next_frame().expect("a good frame").expect("a whole frame");
                let plain = recv.open(frame).expect("opened");
                let bytes = payload::unpack(&plain, payload::MAX_INFLATED).expect("unpacked");
                Document::parse(&bytes, &NodeLimits::DEFAULT).expect("a good node").root().jid("from")
            });
    }
}

#[divan::bench_group]
mod noise {
    use super::*;

    fn client() -> ClientHandshake {
        ClientHandshake::xx(pair(0x11), pair(0x22), vec![1; 200])
    }

    /// Our first message.
    #[divan::bench]
    fn xx_hello(bencher: Bencher<'_, '_>) {
        let client = client();
        bencher.bench_local(|| client.hello().expect("a hello"));
    }

    /// From the server's answer to our last message and the transport keys, certificates verified.
    #[divan::bench]
    fn xx_finish(bencher: Bencher<'_, '_>) {
        let client = client();
        let (answer, _) = Server::new(Chain::good().build()).full(XX, &client.hello().expect("a hello"));
        let trust = Trust { root: Chain::good().root.public, clock_tolerance: 0 };
        bencher
            .with_inputs(|| client.clone())
            .bench_local_values(|client| client.receive(&answer, &trust, 1500).expect("established"));
    }
}
