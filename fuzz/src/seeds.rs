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
    more(&mut seeds);
    seeds
}

fn more(seeds: &mut Vec<(&'static str, String, Vec<u8>)>) {
    seeds.extend(crate::signal::seeds());
    for text in [
        "15550000001@s.whatsapp.net",
        "15550000001:7@s.whatsapp.net",
        "236395184570386:77@lid",
        "status@broadcast",
        "1.5:3@s.whatsapp.net",
        "5-9@interop",
        "g.us",
        "@lid",
        "+1 555 000 0001",
        "1:99@hosted.lid",
        "0-5-9@interop",
    ] {
        seeds.push(("jid", text.replace(|c: char| !c.is_alphanumeric(), "_"), text.as_bytes().to_vec()));
    }
    seeds.push(("payload", "compressed".into(), unhex("00ffff02789cfbc12ac92222f88b8119000d49023d")));
    seeds.push(("payload", "plain".into(), unhex("00ffff00f8039d70ff82515f")));
    seeds.push(("payload", "to-compress".into(), [&[1, 0, 6][..], &[b'a'; 300]].concat()));
    for (name, bytes) in
        [("good", &[0u8; 9][..]), ("late", &[0, 0, 0, 4, 0, 0]), ("changed", &[2, 2, 1, 0, 4, 1, 0, 0])]
    {
        seeds.push(("certificate", name.into(), bytes.to_vec()));
    }
    let device = unhex("08011080e2cfaa06180120002800");
    let list = unhex("08011080e2cfaa061802220201022800");
    for kind in 0..6u8 {
        for hosted in 0..2u8 {
            let details = if kind == 5 { &list } else { &device };
            seeds.push(("adv", format!("{kind}-{hosted}"), [&[kind, hosted], &details[..]].concat()));
        }
    }
    queries(seeds);
    machines(seeds);
}

fn queries(seeds: &mut Vec<(&'static str, String, Vec<u8>)>) {
    use amarula_core::wire::{Jid, Node, encode};
    let node = |node: &Node| {
        let mut out = vec![0];
        encode(node, &mut out).expect("a node");
        out
    };
    let list = Node::new("device-list")
        .attr("hash", "h")
        .child(Node::new("device").attr("id", "0"))
        .child(Node::new("device").attr("id", "3").attr("key-index", "2"));
    let keys = Node::new("key-index-list").attr("ts", "1500").bytes(unhex("0a1008011080e2cfaa061802220201022800"));
    let user = Node::new("user")
        .attr("jid", Jid::pn("15550001000"))
        .child(Node::new("lid").attr("val", Jid::lid("236395184570000")))
        .child(Node::new("devices").child(list).child(keys));
    let usync = Node::new("iq").child(Node::new("usync").child(Node::new("list").child(user)));
    seeds.push(("usync", "answer".into(), node(&usync)));
    seeds.push(("usync", "tree".into(), (1..200u8).collect()));
    let bundle = crate::peer::bundle(&Jid::lid("236395184570000"));
    let bundle = Node::new("iq").child(Node::new("list").child(bundle));
    seeds.push(("bundle", "answer".into(), node(&bundle)));
    seeds.push(("bundle", "tree".into(), (1..200u8).collect()));
}

fn machines(seeds: &mut Vec<(&'static str, String, Vec<u8>)>) {
    use amarula_core::store::Namespace;
    // Records as an engine writes them.
    let mut driver = crate::driver::Driver::new(crate::driver::paired().clone(), 9);
    driver.log_in();
    for script in [&[0, 0, 0, 0, 2, b'h', b'i'][..], &[0, 1, 3, 2], &[0, 2, 0, 1, 2, b'h', b'i', 3]] {
        let node = driver.stanza_of(&mut crate::choices::Choices::new(script));
        driver.bring_node(&node, None);
        driver.serve();
    }
    driver.submit(crate::machine::hello());
    driver.serve();
    while driver.answer() {
        driver.serve();
    }
    // As after a crash: the send is open, and nothing is confirmed.
    let mut last = None;
    for (key, value) in &driver.records {
        if last == Some(key.namespace) && key.namespace == Namespace::PreKey {
            continue;
        }
        last = Some(key.namespace);
        let number = Namespace::ALL.iter().position(|namespace| *namespace == key.namespace).unwrap_or(0) as u8;
        // The place of the key among those the target knows; any other will do.
        let place = match key.namespace {
            Namespace::Account => 0,
            Namespace::Link => 1,
            Namespace::SignedPreKey | Namespace::PreKey => 2,
            Namespace::SenderKey => 14,
            Namespace::SentMessage => 13,
            Namespace::Inbox => 11,
            Namespace::LidOfPn | Namespace::PnOfLid => 10,
            _ => 5,
        };
        let name = format!("{}-{}", key.namespace.name(), key.key).replace(|c: char| !c.is_alphanumeric(), "_");
        for session in 0..2u8 {
            seeds.push(("records", format!("{name}-{session}"), [&[number, session, place], &value[..]].concat()));
        }
    }
    for (name, number, place, value) in
        [("session", 1, 5, crate::signal::full_session()), ("sender", 5, 14, crate::signal::sender_keys())]
    {
        seeds.push(("records", name.into(), [&[number, 1, place], &value[..]].concat()));
    }
    // Walks through what the other targets choose among; their fuzzers find the rest.
    let mut state = 1u64;
    let mut walk = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect()
    };
    for n in 0..12 {
        seeds.push(("server", format!("walk-{n:02}"), [&[n as u8, 0, 9, 0], &walk(60 + 40 * n)[..]].concat()));
        seeds.push(("ops", format!("walk-{n:02}"), [&[n as u8], &walk(80 + 60 * n)[..]].concat()));
        seeds.push(("signal_diff", format!("walk-{n:02}"), walk(40 + 30 * n)));
    }
    for stanza in 0..14u8 {
        let script: Vec<u8> = (0..4).flat_map(|i| [&[9, stanza], &walk(12 + i)[..]].concat()).collect();
        seeds.push(("server", format!("stanza-{stanza:02}"), [&[7, 0, 20, 0], &script[..]].concat()));
    }
    let recording = crate::machine::recorded();
    seeds.push(("recording", "session".into(), [&[0, 1, 0], &recording[..]].concat()));
    seeds.push(("recording", "entries".into(), [&[1, 0, 9], &crate::machine::unchecked(&recording)[..]].concat()));
}
