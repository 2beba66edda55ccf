//! The seed inputs: the vectors of `protocol/transport.md` §17, and small things around them.

use prost::Message as _;

use crate::wire_support::{Chain, IK, Server, XX, XX_FALLBACK, pair};
use amarula_core::wire::ClientHandshake;

/// Plaintexts of frames, flag byte included.
const PLAINTEXTS: [&str; 16] = [
    "00f8039d70ff82515f",
    "00f8033b0cf7004dff06559984726662",
    "00f8053b0cf7014dff88236395184570386f76f7014dff88236395184570386f",
    "00f804fc02696206fa0003f801f805ed0104ec6eec9aff051764814151",
    "00f804fc02696206fa0003f801f80228f801f80227fc0608020812080d",
    "00f8051911fa00030414",
    "00f8081311faff091203630210332549491c08fb853eb0aabbcf0438f801f8061d51450432fc03010203",
    "00f8070708ff831a2b3f1afc0011faff8615550000001f03",
    "00f803110cf78063ff8615550000001f",
    "00f803110cf78163ff03123456",
    "02789cfbc12ac92222f88b8119000d49023d",
    "00f80102",
    "00f90003190814",
    "00f80219fd000001aa",
    "00f80219fe00000001aa",
    "00f8031911f5ff011200050007fc07696e7465726f70",
];

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|char| char.to_digit(16)).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect()
}

/// Folder, name and bytes of every seed.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut stream = Vec::new();
    for (i, text) in PLAINTEXTS.iter().enumerate() {
        let plain = unhex(text);
        seeds.push(("node", format!("plain-{i:02}"), plain.clone()));
        seeds.push(("node", format!("node-{i:02}"), plain[1..].to_vec()));
        amarula_core::wire::write_frame(&mut stream, &plain).expect("short");
    }
    seeds.push(("frame", "whole".into(), [&[0], &stream[..]].concat()));
    seeds.push(("frame", "split".into(), [&[4, 1, 2, 30, 7], &stream[..]].concat()));
    seeds.push(("frame", "too-long".into(), [&[1, 2], &[0xff; 8][..]].concat()));
    seeds.push(("frame", "empty-frames".into(), vec![2, 1, 3, 0, 0, 0, 0, 0, 0, 0]));

    let xx = ClientHandshake::xx(pair(0x11), pair(0x22), &b"payload"[..]).hello().expect("a hello");
    let ik = ClientHandshake::ik(pair(0x11), pair(0x22), pair(0x44).public, &b"payload"[..]).hello().expect("a hello");
    let chain = Chain::good();
    let server = Server::new(chain.build());
    let resumed = server.resume(&ik).expect("the right key").0;
    for (name, kind, bytes) in [
        ("hello-xx", 0, server.full(XX, &xx).0),
        ("hello-fallback", 0, server.full(XX_FALLBACK, &ik).0),
        ("hello-wrong-name", 0, server.full(IK, &xx).0),
        ("hello-ik", 0, resumed),
        ("hello-vector", 0, Server::new(b"cert".to_vec()).full(XX, &xx).0),
        ("chain", 1, chain.build()),
        ("chain-empty", 1, Vec::new()),
        ("leaf", 2, chain.leaf.encode_to_vec()),
        ("intermediate", 2, chain.intermediate.encode_to_vec()),
        ("transport", 3, unhex(PLAINTEXTS[6])),
    ] {
        seeds.push(("handshake", name.into(), [&[kind], &bytes[..]].concat()));
    }
    seeds
}
