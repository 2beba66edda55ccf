//! Costs of the wire layer, printed: `cargo test --release -p amarula-core --test wire_speed -- --ignored --nocapture`.

mod wire_support;

use std::hint::black_box;
use std::time::Instant;

use amarula_core::wire::payload::{MAX_INFLATED, pack, unpack};
use amarula_core::wire::{
    ClientHandshake, Document, FrameDecoder, Jid, Node, NodeLimits, RecvCipher, SendCipher, Trust, encode,
};
use bytes::Bytes;
use wire_support::{Chain, Server, XX, pair};

/// Best of five runs, nanoseconds per round.
fn measure(what: &str, rounds: u32, mut work: impl FnMut()) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_nanos() / u128::from(rounds)
        })
        .min();
    println!("{what:<48} {:>9} ns", best.unwrap_or_default());
}

/// An inbound text message with one ciphertext of 200 bytes.
fn message() -> Node {
    Node::new("message")
        .attr("from", Jid::lid("236395184570386").with_device(3))
        .attr("id", "3EB0A9253FA64269E11C9D")
        .attr("type", "text")
        .attr("t", 1_764_814_151u32)
        .attr("notify", "Some Body")
        .attr("addressing_mode", "lid")
        .attr("sender_pn", Jid::pn("15550000001"))
        .child(Node::new("enc").attr("v", "2").attr("type", "msg").bytes(vec![7; 200]))
}

/// A group send: 512 devices with a key each.
fn group() -> Node {
    let to = |n: u64| {
        Node::new("to")
            .attr("jid", Jid::lid(format!("{}", 236_395_184_570_386 + n)).with_device(u16::try_from(n % 9).unwrap()))
            .child(Node::new("enc").attr("v", "2").attr("type", "pkmsg").bytes(vec![7; 180]))
    };
    Node::new("message")
        .attr("to", Jid::group("120363021033254949"))
        .attr("id", "3EB0A9253FA64269E11C9D")
        .child(Node::new("participants").children((0..512).map(to)))
        .child(Node::new("enc").attr("v", "2").attr("type", "skmsg").bytes(vec![7; 200]))
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for (name, node, rounds) in [("message", message(), 100_000), ("group of 512", group(), 300)] {
        let mut bytes = Vec::new();
        encode(&node, &mut bytes).unwrap();
        println!("{name}: {} bytes", bytes.len());
        measure("  decode", rounds, || {
            black_box(Document::parse(black_box(&bytes), &NodeLimits::DEFAULT).unwrap());
        });
        let document = Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap();
        measure("  walk: children, their first attribute", rounds, || {
            for child in document.root().children() {
                black_box((child.tag(), child.attrs().next().is_some()));
            }
        });
        measure("  to_node", rounds, || {
            black_box(document.root().to_node());
        });
        let mut out = Vec::new();
        measure("  encode", rounds, || {
            out.clear();
            encode(black_box(&node), &mut out).unwrap();
            black_box(&out);
        });
    }

    // The worst a hostile server can do with 16 MiB: as many distinct keys as the limits allow, or only empty nodes.
    let keys: Vec<u8> = (0..=255u8).flat_map(|index| [0xec, index, 0x14]).collect();
    let wide = [&[0xf9, 2, 1, 0x19][..], &keys].concat();
    let flat = [[0xf8, 1, 0x19]];
    for (name, child, count) in [("2^19 attributes", &wide[..], 2047u16), ("65535 nodes", &flat[0][..], 65_535)] {
        let [high, low] = count.to_be_bytes();
        let bytes = [&[0xf8, 2, 0x19, 0xf9, high, low][..], &child.repeat(count.into())].concat();
        measure(name, 3, || {
            black_box(Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap());
        });
    }

    let mut plain = Vec::new();
    pack(&message(), &mut plain).unwrap();
    let mut send = SendCipher::new(&[7; 32]);
    let rounds = 20_000u32;
    let messages: Vec<Vec<u8>> = (0..rounds * 5)
        .map(|_| {
            let mut out = vec![0; 3];
            pack(&message(), &mut out).unwrap();
            send.seal(&mut out, 3).unwrap();
            let len = u32::try_from(out.len() - 3).unwrap().to_be_bytes();
            out[..3].copy_from_slice(&len[1..]);
            out
        })
        .collect();
    let mut messages = messages.into_iter();
    let mut recv = RecvCipher::new(&[7; 32]);
    let mut decoder = FrameDecoder::new();
    measure("socket bytes to node: frame, decrypt, parse", rounds, || {
        decoder.push(Bytes::from(messages.next().unwrap()));
        let frame = decoder.next_frame().unwrap().unwrap();
        let plain = recv.open(frame).unwrap();
        let bytes = unpack(&plain, MAX_INFLATED).unwrap();
        black_box(Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap().root().jid("from"));
    });
    let mut send = SendCipher::new(&[7; 32]);
    let node = message();
    let mut out = Vec::new();
    measure("node to socket bytes", rounds, || {
        out.clear();
        pack(&node, &mut out).unwrap();
        send.seal(&mut out, 0).unwrap();
        black_box(&out);
    });

    let xx = || ClientHandshake::xx(pair(0x11), pair(0x22), vec![1; 200]);
    let (answer, _) = Server::new(Chain::good().build()).full(XX, &xx().hello().unwrap());
    let trust = Trust { root: Chain::good().root.public, clock_tolerance: 0 };
    let handshake = xx();
    measure("XX, from serverHello to clientFinish", 100, || {
        black_box(handshake.clone().receive(&answer, &trust, 1500).unwrap());
    });
}
