//! A server that breaks the protocol: bytes that are no frames, frames that are no nodes, nodes that make no sense,
//! answers of the wrong shape. Nothing panics, the store stays whole, and with an honest server the talk goes on.

mod town;

use amarula_core::error::{DropCause, Failure};
use amarula_core::event::{Connection, Event, Warning};
use amarula_core::store::Namespace;
use amarula_core::wire::{Jid, Node, Value};
use amarula_sim::ConnId;
use amarula_sim::codec::write_node;
use proptest::collection::vec;
use proptest::prelude::*;
use town::{MINUTE, Town, texts};

fn conn(town: &Town) -> ConnId {
    let key = town.alice.key();
    town.world.server.connections().find(|(_, device)| *device == Some(key)).expect("connected").0
}

fn acquainted() -> Town {
    let mut town = Town::new();
    town.assert_alive();
    town.world.take_events(town.alice.client);
    town
}

fn drops(town: &Town) -> Vec<DropCause> {
    let events = town.world.events(town.alice.client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::Connection(Connection::Dropped { cause, .. }) => Some(cause.clone()),
            _ => None,
        })
        .collect()
}

/// The account's secrets are where they were.
fn keys(town: &Town) -> Vec<Vec<u8>> {
    let store = town.world.store(town.alice.client);
    let records = store.records().iter();
    records
        .filter(|(key, _)| matches!(key.namespace, Namespace::SignedPreKey | Namespace::PreKey))
        .map(|(_, value)| value.to_vec())
        .collect()
}

#[test]
fn bytes_that_are_no_frames() {
    let cases: [(&str, Vec<u8>); 7] = [
        ("noise", vec![0x5a; 100]),
        ("zeros", vec![0; 64]),
        ("a frame of nothing", vec![0, 0, 0]),
        ("a frame shorter than its tag", vec![0, 0, 5, 1, 2, 3, 4, 5]),
        ("a bad tag", [&[0, 0, 40][..], &[7; 40]].concat()),
        ("the largest length", [&[0xff, 0xff, 0xff][..], &[0; 50]].concat()),
        ("text", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let mut town = acquainted();
        let before = keys(&town);
        let (conn, now) = (conn(&town), town.world.now());
        town.world.server.send_bytes(now, conn, bytes);
        // An honest message behind it: its counter is the next, but the stream is broken.
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        town.phone_says(&bob, &alice.pn, "behind");
        town.run(20_000);
        let mut causes = drops(&town);
        if causes.is_empty() && matches!(what, "noise" | "the largest length" | "text") {
            // The beginning of a frame of megabytes: it may yet come, until the connection ends.
            town.world.break_connection(alice.client);
            causes = vec![DropCause::Protocol("waits".into())];
        }
        assert!(!causes.is_empty(), "{what}: the connection must end");
        assert!(causes.iter().all(|c| matches!(c, DropCause::Protocol(_) | DropCause::Dead)), "{what}: {causes:?}");
        town.run(2 * MINUTE);
        assert_eq!(texts(&town.world, alice.client), ["behind"], "{what}");
        assert!(keys(&town).iter().all(|key| before.contains(key)), "{what}");
        town.assert_alive();
        town.world.assert_clean();
    }
}

#[test]
fn frames_that_are_no_nodes() {
    let good = write_node(&Node::new("ib").child(Node::new("x")), false).expect("a node");
    let cases: [(&str, Vec<u8>); 10] = [
        ("nothing", Vec::new()),
        ("only the flag", vec![0]),
        ("an unknown flag", vec![0xfd, 1, 2, 3]),
        ("not compressed as it says", vec![2, 1, 2, 3, 4]),
        ("a list of a million", vec![0, 249, 0xff, 0xff, 0xff]),
        ("a truncated node", good[..good.len() - 1].to_vec()),
        ("a byte too many", [&good[..], &[0]].concat()),
        ("an empty list", vec![0, 0]),
        ("deep nesting", [&[0][..], &[248, 2, 3].repeat(5_000)].concat()),
        ("a huge string", vec![0, 248, 1, 254, 0x7f, 0xff, 0xff, 0xff]),
    ];
    let mut town = acquainted();
    let alice = town.alice.clone();
    for (n, (what, bytes)) in cases.iter().enumerate() {
        let (conn, now) = (conn(&town), town.world.now());
        town.world.take_events(alice.client);
        town.world.server.send_plaintext(now, conn, bytes.clone());
        town.run(1_000);
        assert!(
            town.world.saw(alice.client, |event| matches!(event, Event::Warning(Warning::BadStanza { .. }))),
            "{what} was not noticed"
        );
        // Skipped, each; too many of them end the connection.
        let ended = (n + 1) % 8 == 0;
        assert_eq!(!drops(&town).is_empty(), ended, "{what}");
        if ended {
            town.reopen(&alice);
        }
    }
    town.assert_alive();
    town.world.assert_clean();
}

/// Answers of the wrong shape to each question that a send and a login ask.
#[test]
fn answers_of_the_wrong_shape() {
    let leaf = |tag: &str, bytes: Vec<u8>| Node::new(tag).bytes(bytes);
    let user = |child: Node| {
        let user = Node::new("user").attr("jid", Jid::pn("15550000002")).child(child);
        Node::new("usync").child(Node::new("list").child(user))
    };
    let bundle = |children: Vec<Node>| {
        let user = Node::new("user").attr("jid", Jid::lid("200000000002")).children(children);
        Node::new("list").child(user)
    };
    let cases: Vec<(&str, Vec<Node>)> = vec![
        ("usync", vec![]),
        ("usync", vec![Node::new("usync")]),
        ("usync", vec![Node::new("usync").child(Node::new("list"))]),
        ("usync", vec![Node::new("usync").child(leaf("list", vec![1, 2, 3]))]),
        ("usync", vec![Node::new("list")]),
        ("usync", vec![user(Node::new("devices"))]),
        ("usync", vec![user(Node::new("devices").child(Node::new("device-list")))]),
        (
            "usync",
            vec![user(
                Node::new("devices").child(Node::new("device-list").child(Node::new("device").attr("id", "-1"))),
            )],
        ),
        (
            "usync",
            vec![user(
                Node::new("devices").child(Node::new("device-list").child(Node::new("device").attr("id", "99999999"))),
            )],
        ),
        ("usync", vec![user(Node::new("lid").attr("val", "nonsense"))]),
        ("usync", vec![user(Node::new("devices").child(Node::new("error").attr("code", "500")))]),
        ("encrypt", vec![]),
        ("encrypt", vec![Node::new("list")]),
        ("encrypt", vec![leaf("list", vec![9; 9])]),
        ("encrypt", vec![bundle(vec![])]),
        ("encrypt", vec![bundle(vec![Node::new("error").attr("code", "406")])]),
        ("encrypt", vec![bundle(vec![leaf("registration", vec![1]), leaf("identity", vec![2; 5])])]),
        (
            "encrypt",
            vec![bundle(vec![
                leaf("registration", vec![0, 0, 0, 9]),
                leaf("type", vec![5]),
                leaf("identity", vec![0; 32]),
                Node::new("skey")
                    .child(leaf("id", vec![0, 0, 1]))
                    .child(leaf("value", vec![0; 32]))
                    .child(leaf("signature", vec![0; 64])),
            ])],
        ),
    ];
    for (namespace, children) in cases {
        let mut town = Town::new();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        let what = format!("{namespace}: {children:?}");
        town.world.server.faults().iq_results.insert(namespace.to_owned(), children);
        let ticket = town.say(&alice, &bob.pn, "perhaps");
        match town.answer(&alice, ticket) {
            Ok(_) => {}
            Err(Failure::NoRecipient | Failure::Timeout | Failure::BadAnswer(_)) => {}
            Err(other) => panic!("{what}: {other:?}"),
        }
        // Honest answers again: nothing false has stuck.
        town.tell(&alice, &bob.pn, "honest");
        town.run(1_000);
        assert!(texts(&town.world, bob.client).contains(&"honest".to_owned()), "{what}");
        town.assert_alive();
        town.world.assert_clean();
    }
    // The login's own questions.
    // (Not `passive`: what is in its answer means nothing, and the fault would keep the server from delivering.)
    for namespace in ["encrypt", "abt", "blocklist", "privacy", "w:p", "urn:xmpp:whatsapp:dirty"] {
        for children in
            [vec![], vec![Node::new("nonsense")], vec![leaf("props", vec![1]), Node::new("count").attr("value", "-3")]]
        {
            let mut town = acquainted();
            town.world.break_connection(town.alice.client);
            town.world.server.faults().iq_results.insert(namespace.to_owned(), children);
            town.run(1_000);
            town.reopen(&town.alice.clone());
            town.run(MINUTE);
            town.assert_alive();
            town.world.assert_clean();
        }
    }
}

// ---- anything, from the vocabulary ------------------------------------------------------------------------------------

const TAGS: &[&str] =
    &["message", "receipt", "notification", "ack", "iq", "ib", "presence", "chatstate", "call", "status", "success"];
const CHILDREN: &[&str] = &[
    "enc",
    "participants",
    "to",
    "user",
    "list",
    "item",
    "retry",
    "registration",
    "keys",
    "key",
    "skey",
    "identity",
    "id",
    "value",
    "signature",
    "device-identity",
    "type",
    "add",
    "remove",
    "update",
    "device",
    "devices",
    "key-index-list",
    "count",
    "digest",
    "meta",
    "unavailable",
    "plaintext",
    "error",
    "offline",
    "offline_preview",
    "dirty",
    "edge_routing",
    "routing_info",
    "tokens",
    "token",
    "composing",
    "paused",
    "offer",
    "bot",
    "verified_name",
    "reporting",
];
const KEYS: &[&str] = &[
    "id",
    "from",
    "to",
    "type",
    "t",
    "participant",
    "recipient",
    "class",
    "error",
    "phash",
    "count",
    "offline",
    "notify",
    "category",
    "sender_lid",
    "sender_pn",
    "participant_lid",
    "participant_pn",
    "peer_recipient_lid",
    "lid",
    "jid",
    "key",
    "edit",
    "v",
    "decrypt-fail",
    "value",
    "code",
    "addressing_mode",
    "hash",
    "key-index",
    "ts",
    "xmlns",
    "refresh_lid",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "5",
    "-1",
    "4294967296",
    "18446744073709551615",
    "msg",
    "pkmsg",
    "skmsg",
    "retry",
    "read",
    "sender",
    "inactive",
    "peer",
    "encrypt",
    "devices",
    "account_sync",
    "w:gp2",
    "privacy_token",
    "result",
    "error",
    "get",
    "set",
    "available",
    "unavailable",
    "urn:xmpp:ping",
    "nonsense",
    "true",
    "hide",
    "message",
    "receipt",
    "server-error",
];

fn value() -> impl Strategy<Value = Value> {
    let user = prop_oneof![
        Just(Jid::pn("15550000001")),
        Just(Jid::lid("200000000001")),
        Just(Jid::pn("15550000002")),
        Just(Jid::lid("200000000002")),
        Just(Jid::pn("15557777777")),
        Just(Jid::group("120363000000000001")),
        Just(Jid::server()),
        Just(Jid::pn("")),
    ];
    let device = prop_oneof![Just(0u16), Just(1), Just(2), Just(99), any::<u16>()];
    prop_oneof![
        3 => (user, device).prop_map(|(jid, device)| Value::Jid(if jid.is_user() { jid.with_device(device) } else { jid })),
        3 => proptest::sample::select(VALUES).prop_map(Value::from),
        1 => "[ -~]{0,40}".prop_map(Value::from),
        1 => Just(Value::from("9".repeat(3_000))),
    ]
}

fn node(tags: &'static [&'static str]) -> impl Strategy<Value = Node> {
    let attrs = || vec((proptest::sample::select(KEYS), value()), 0..6);
    let with = |tag: &str, attrs: Vec<(&str, Value)>| {
        let mut node = Node::new(tag);
        for (key, value) in attrs {
            // A key twice is no node at all, which is another test.
            if node.get(key).is_none() {
                node = node.attr(key, value);
            }
        }
        node
    };
    let leaf = (proptest::sample::select(CHILDREN), attrs(), proptest::option::of(vec(any::<u8>(), 0..80))).prop_map(
        move |(tag, attrs, bytes)| match bytes {
            Some(bytes) => with(tag, attrs).bytes(bytes),
            None => with(tag, attrs),
        },
    );
    let inner = leaf.prop_recursive(3, 12, 4, move |inner| {
        (proptest::sample::select(CHILDREN), attrs(), vec(inner, 1..4))
            .prop_map(move |(tag, attrs, children)| with(tag, attrs).children(children))
    });
    (proptest::sample::select(tags), attrs(), vec(inner, 0..4), any::<bool>()).prop_map(
        move |(tag, attrs, children, addressed)| {
            let mut node = with(tag, attrs).children(children);
            // Most must get past the first check to be of use.
            for (key, value) in [("id", Value::from("X1")), ("from", Value::Jid(Jid::pn("15550000002")))] {
                if addressed && node.get(key).is_none() {
                    node = node.attr(key, value);
                }
            }
            node
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Some dozens of absurd stanzas, with honest traffic between them, over a restart; then an honest server.
    #[test]
    fn absurd_stanzas(stanzas in vec(node(TAGS), 1..40)) {
        let mut town = acquainted();
        let (alice, bob) = (town.alice.clone(), town.bob.clone());
        for (n, stanza) in stanzas.iter().enumerate() {
            let now = town.world.now();
            let conn = town.world.server.connections().find(|(_, device)| *device == Some(alice.key()));
            if let Some((conn, _)) = conn {
                town.world.server.send_raw(now, conn, stanza);
            }
            if n % 5 == 0 {
                let _ = town.world.submit(alice.client, town::message(&bob.pn, &format!("{n}")));
            }
            town.run(200);
        }
        town.run(2 * MINUTE);
        // The store is whole: a new process reads all of it.
        town.world.crash(alice.client);
        town.catch_up(&alice);
        let corrupt = |event: &Event| matches!(event, Event::Warning(Warning::CorruptRecord { .. }));
        prop_assert!(!town.world.saw(alice.client, corrupt), "a record does not decode");
        // What the noise made of sessions and lists heals by itself: at the latest the second message comes through.
        let _ = town.world.submit(alice.client, town::message(&bob.pn, "healing"));
        let _ = town.world.submit(bob.client, town::message(&alice.pn, "healing"));
        town.phone_says(&bob, &alice.pn, "healing");
        town.run(2 * MINUTE);
        town.assert_alive();
        // Objections are to be expected: the noise asked for answers that fit nothing.
    }
}
