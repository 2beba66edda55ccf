//! The server against a client written by hand: the good path, and that each mistake is noticed.

mod common;

use amarula_core::wire::{Jid, Node};
use amarula_sim::codec::{Read as _, leaf, without};
use amarula_sim::proto::text_of;
use amarula_sim::signal::{EncType, unpad};
use amarula_sim::{Rule, ServerConfig};
use common::{ALICE, BOB, Client, START, ready, world};

fn rules(server: &mut amarula_sim::Server) -> Vec<Rule> {
    server.take_violations().into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn pair_login_and_talk() {
    for compress in [false, true] {
        let (mut server, alice, bob) = world(ServerConfig { compress, ..ServerConfig::default() });
        let mut client = ready(&mut server, alice, 1);
        assert_eq!(client.devices(&mut server, START, &Jid::pn(BOB.0)), [0]);
        let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A1", "hello");
        client.send(&mut server, START, &stanza);
        let ack = client.take_tag("ack").unwrap();
        assert_eq!((ack.text("class"), ack.text("id"), ack.has("error")), ("message".into(), "3EB0A1".into(), false));
        // Both accounts' devices, the sending one included.
        assert_eq!(ack.text("phash"), "2:eE6IOoiO");
        assert_eq!(server.phone(bob).texts(), ["hello"]);
        assert_eq!(server.phone(alice).texts(), ["hello"]);
        assert!(server.phone(alice).inbox()[0].from_me);

        // Bob's phone and the own phone answer; both receipts are owed an ack.
        for _ in 0..2 {
            let receipt = client.take_tag("receipt").unwrap();
            let ack = Node::new("ack")
                .attr("class", "receipt")
                .attr("id", receipt.text("id"))
                .attr("to", receipt.jid("from").unwrap())
                .attr_opt("recipient", receipt.jid("recipient"))
                .attr_opt("type", Some(receipt.text("type")).filter(|kind| !kind.is_empty()));
            client.send(&mut server, START, &ack);
        }
        server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "hi");
        client.pump(&mut server);
        let message = client.take_tag("message").unwrap();
        let enc = message.find("enc").unwrap();
        assert_eq!((enc.text("type"), message.jid("sender_lid")), ("msg".to_owned(), Some(Jid::lid(BOB.1))));
        let plain = client.endpoint.decrypt(&(BOB.1.to_owned(), 0), EncType::Msg, enc.data(), &mut client.rng).unwrap();
        assert_eq!(text_of(unpad(&plain).unwrap()).as_deref(), Some("hi"));
        client.send(&mut server, START, &Client::receipt_of(&message));
        assert_eq!(server.phone(bob).receipts().last().unwrap().kind, "inactive");
        assert_eq!(server.outstanding(alice, 1), 0);
        assert_eq!(server.next_deadline(), None);
        assert_eq!(server.violations(), []);
    }
}

#[test]
fn same_seed_same_bytes() {
    let run = || {
        let (mut server, alice, bob) = world(ServerConfig { trace: true, ..ServerConfig::default() });
        let mut client = ready(&mut server, alice, 1);
        let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A1", "hello");
        client.send(&mut server, START, &stanza);
        server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "hi");
        client.pump(&mut server);
        server.trace().iter().map(|line| line.node.clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_repeated_frame_is_taken_once() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A1", "hello");
    client.send(&mut server, START, &stanza);
    client.send(&mut server, START, &stanza);
    assert_eq!(client.inbox.iter().filter(|node| node.tag == "ack").count(), 2);
    assert_eq!(server.phone(bob).texts(), ["hello"]);
    assert_eq!(server.violations(), []);
}

#[test]
fn a_forked_ratchet_is_noticed() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    let fork = |client: &mut Client, server: &mut amarula_sim::Server| {
        let before = client.endpoint.clone();
        let one = client.text_stanza(server, START, BOB, "3EB0A1", "one");
        client.endpoint = before;
        let two = client.text_stanza(server, START, BOB, "3EB0A2", "two");
        (one, two)
    };
    // Sessions first, so that the fork is in an established chain.
    let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A0", "zero");
    client.send(&mut server, START, &stanza);
    let (one, two) = fork(&mut client, &mut server);
    client.send(&mut server, START, &one);
    assert_eq!(server.violations(), []);
    client.send(&mut server, START, &two);
    let rules = rules(&mut server);
    assert_eq!(rules.iter().filter(|rule| **rule == Rule::ForkedRatchet).count(), 2, "{rules:?}");
    assert!(rules.contains(&Rule::Signal));
    assert_eq!(server.phone(bob).texts(), ["zero", "one"]);
}

/// One mistake at a time.
#[test]
fn mistakes_in_messages_are_noticed() {
    type Change = fn(Node) -> Node;
    let cases: [(&str, Rule, Option<&str>, Change); 10] = [
        ("no device-identity", Rule::DeviceIdentity, None, |mut node| {
            if let amarula_core::wire::Content::Nodes(nodes) = &mut node.content {
                nodes.retain(|child| child.tag != "device-identity");
            }
            node
        }),
        ("unknown attribute", Rule::Grammar, None, |node| node.attr("colour", "red")),
        ("unknown child", Rule::Grammar, None, |node| node.child(Node::new("surprise"))),
        ("no type", Rule::Grammar, None, |node| without(node, "type")),
        ("media without mediatype", Rule::Grammar, None, |node| without(node, "type").attr("type", "media")),
        ("to with device", Rule::Addressing, None, |node| {
            without(node, "to").attr("to", Jid::pn(BOB.0).with_device(0)).attr("edit", "99")
        }),
        ("phash on a direct message", Rule::Grammar, None, |node| node.attr("phash", "2:x")),
        ("mixed namespaces", Rule::Addressing, Some("400"), |node| without(node, "to").attr("to", Jid::lid(BOB.1))),
        ("to as text", Rule::Grammar, None, |node| without(node, "to").attr("to", "15550000002@s.whatsapp.net")),
        ("unknown recipient", Rule::Addressing, None, |node| {
            let participants = node.find("participants").unwrap().clone();
            let extra =
                Node::new("to").attr("jid", Jid::pn("19999999999")).child(participants.nodes()[0].nodes()[0].clone());
            let participants = participants.child(extra);
            let rest: Vec<Node> = node.nodes().iter().filter(|child| child.tag != "participants").cloned().collect();
            let mut node = node;
            node.content = amarula_core::wire::Content::None;
            node.child(participants).children(rest)
        }),
    ];
    for (name, rule, error, change) in cases {
        let (mut server, alice, _) = world(ServerConfig::default());
        let mut client = ready(&mut server, alice, 1);
        let stanza = change(client.text_stanza(&mut server, START, BOB, "3EB0A1", "hello"));
        client.send(&mut server, START, &stanza);
        let found = rules(&mut server);
        let expected = if name == "to with device" { Rule::Grammar } else { rule };
        assert!(found.contains(&expected), "{name}: {found:?}");
        if let Some(code) = error {
            assert_eq!(client.take_tag("ack").unwrap().text("error"), code, "{name}");
        }
    }
}

#[test]
fn a_told_device_must_get_a_copy() {
    let (mut server, alice, bob) = world(ServerConfig::default());
    let _bob_client = ready(&mut server, bob, 2);
    let mut client = ready(&mut server, alice, 1);
    assert_eq!(client.devices(&mut server, START, &Jid::pn(BOB.0)), [0, 1]);
    let stanza = client.text_stanza(&mut server, START, BOB, "3EB0A1", "hello");
    client.send(&mut server, START, &stanza);
    assert_eq!(rules(&mut server), [Rule::Fanout]);
}

#[test]
fn prekeys_are_watched() {
    let (mut server, alice, bob) = world(ServerConfig { low_prekeys: 3, ..ServerConfig::default() });
    let mut client = Client::new(1);
    client.pair(&mut server, START, alice, 1);
    client.login(&mut server, START, 2, 0);
    let digest = client.iq(&mut server, START, "get", "encrypt", Node::new("digest"));
    assert_eq!(digest.find("error").unwrap().text("code"), "404");
    let children = client.upload_node(4);
    let upload = |children: &[Node], id: &str| {
        Node::new("iq")
            .attr("id", id)
            .attr("to", Jid::server())
            .attr("type", "set")
            .attr("xmlns", "encrypt")
            .children(children.to_vec())
    };
    client.send(&mut server, START, &upload(&children, "u1"));
    client.send(&mut server, START, &upload(&children, "u2"));
    assert_eq!(server.violations(), [], "a repeated upload of the same keys is fine");
    let count = client.iq(&mut server, START, "get", "encrypt", Node::new("count"));
    assert_eq!(count.find("count").unwrap().text("value"), "4");
    let digest = client.iq(&mut server, START, "get", "encrypt", Node::new("digest"));
    assert_eq!(digest.find("digest").unwrap().find("list").unwrap().nodes().len(), 4);
    // Bob's phone starts a session with the companion twice: two keys are gone, and the server asks for more.
    server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "x");
    server.reregister(START, bob);
    server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "y");
    client.pump(&mut server);
    let notification = client.take(|node| node.text("type") == "encrypt" && node.find("count").is_some()).unwrap();
    assert_eq!(notification.find("count").unwrap().text("value"), "2");
    client.send(&mut server, START, &upload(&children, "u3"));
    assert_eq!(rules(&mut server), [Rule::PreKeys, Rule::PreKeys], "two of them were handed out");
    let mut bad = children.clone();
    bad[4] =
        Node::new("skey").child(leaf("id", [0, 0, 1])).child(leaf("value", [9; 32])).child(leaf("signature", [1; 64]));
    client.send(&mut server, START, &upload(&bad, "u4"));
    assert_eq!(rules(&mut server), [Rule::PreKeys]);
}

#[test]
fn acks_are_watched() {
    let (mut server, alice, bob) = world(ServerConfig { ack_deadline: 1000, ..ServerConfig::default() });
    let mut client = ready(&mut server, alice, 1);
    server.phone_send_text(START, bob, &Jid::pn(ALICE.0), "x");
    client.pump(&mut server);
    let message = client.take_tag("message").unwrap();
    assert_eq!(server.next_deadline(), Some(START + 1000));
    server.tick(START + 1000);
    assert_eq!(rules(&mut server), [Rule::Unanswered]);
    let receipt = Client::receipt_of(&message);
    client.send(&mut server, START, &without(receipt.clone(), "type"));
    assert_eq!(rules(&mut server), [Rule::Ack], "not available, so the receipt is inactive");
    client.send(&mut server, START, &receipt);
    assert_eq!(rules(&mut server), [Rule::Ack], "a second answer");
    let ack = Node::new("ack").attr("class", "notification").attr("id", "nothing").attr("to", Jid::server());
    client.send(&mut server, START, &ack);
    assert_eq!(rules(&mut server), [Rule::Ack]);
    server.send_notification(START, (alice, 1), "psa", Jid::server(), Node::new("x"));
    client.pump(&mut server);
    let id = client.take_tag("notification").unwrap().text("id");
    let ack = Node::new("ack").attr("class", "notification").attr("id", id).attr("to", Jid::server());
    client.send(&mut server, START, &ack);
    assert_eq!(rules(&mut server), [Rule::Ack], "type is not echoed");
}

#[test]
fn ids_and_unpaired_requests() {
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = Client::new(1);
    client.connect(&mut server, START, 1);
    client.iq(&mut server, START, "get", "abt", Node::new("props").attr("protocol", "1"));
    assert_eq!(rules(&mut server), [Rule::Unpaired]);
    let mut client = ready(&mut server, alice, 2);
    client.iq(&mut server, START, "get", "w:p", Node::new("ping"));
    client.next -= 1;
    client.iq(&mut server, START, "get", "w:p", Node::new("ping"));
    assert_eq!(rules(&mut server), [Rule::DuplicateId]);
    client.send(&mut server, START, &Node::new("query").attr("id", "1"));
    assert_eq!(rules(&mut server), [Rule::Grammar]);
}

/// Nothing a client says may stop the simulation.
#[test]
fn hostile_clients_do_no_harm() {
    use amarula_core::crypto::Rng;
    let (mut server, alice, _) = world(ServerConfig::default());
    let mut client = ready(&mut server, alice, 1);
    // A device number that cannot be written back.
    let user = Node::new("user").attr("jid", "15550000002:300@s.whatsapp.net");
    let request = Node::new("iq")
        .attr("id", "x1")
        .attr("to", Jid::server())
        .attr("type", "get")
        .attr("xmlns", "encrypt")
        .child(Node::new("key").child(user));
    client.send(&mut server, START, &request);
    assert!(rules(&mut server).contains(&Rule::Node));
    let mut rng = Rng::from_seed([9; 32]);
    for n in 0..3000u32 {
        // Cut and changed stanzas of every kind.
        let tag = ["message", "receipt", "ack", "iq", "presence", "chatstate", "ib", "call"][rng.below(8) as usize];
        let text = |rng: &mut Rng| {
            [
                "", "1", "retry", "set", "get", "result", "read", "peer", "false", "encrypt", "usync", "w:g2", "md",
                "skmsg",
            ][rng.below(14) as usize]
        };
        let jid = |rng: &mut Rng| {
            [Jid::server(), Jid::pn(BOB.0), Jid::lid(BOB.1).with_device(1), Jid::group("1"), Jid::status()]
                [rng.below(5) as usize]
                .clone()
        };
        let mut node = Node::new(tag).attr("id", n).attr("to", jid(&mut rng));
        for key in ["type", "xmlns", "category", "device_fanout", "class", "count"] {
            if rng.below(3) == 0 {
                node = node.attr(key, text(&mut rng));
            }
        }
        for key in ["participant", "recipient", "from"] {
            if rng.below(4) == 0 {
                node = node.attr(key, jid(&mut rng));
            }
        }
        for child in
            ["enc", "participants", "retry", "keys", "list", "usync", "query", "key", "skey", "rotate", "active"]
        {
            if rng.below(4) == 0 {
                let bytes: [u8; 40] = rng.bytes();
                let inner = leaf("enc", bytes).attr("type", "msg").attr("v", "2");
                let inner = Node::new("to").attr("jid", jid(&mut rng)).child(inner);
                node = node.child(if rng.below(2) == 0 { leaf(child, bytes) } else { Node::new(child).child(inner) });
            }
        }
        client.send(&mut server, START, &node);
        if client.closed {
            client.login(&mut server, START, 1000 + u64::from(n), 0);
        }
    }
    assert!(server.take_violations().len() > 1000);
    client.login(&mut server, START, 9000, 0);
}
