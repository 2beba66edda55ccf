//! Binary nodes at random: arbitrary nodes come back, and no bytes make the decoder panic.

use std::collections::BTreeMap;

use amarula_core::wire::{Document, Jid, Node, NodeError, NodeLimits, Server, Value, encode};
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Result<Node, NodeError> {
    Document::parse(bytes, &NodeLimits::DEFAULT).map(|document| document.root().to_node())
}

fn encoded(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    encode(node, &mut out).unwrap();
    out
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["result", "s.whatsapp.net", "account_sync", "0", "true", "3EB0", "-", "."])
            .prop_map(str::to_owned),
        "[0-9.-]{1,140}",
        "[0-9A-F]{1,140}",
        "[0-9a-f]{1,20}",
        "\\PC{1,30}",
        "[a-z]{250,300}",
    ]
}

fn jid() -> impl Strategy<Value = Jid> {
    let server = prop::sample::select(vec![
        (Server::Pn, 255),
        (Server::Lid, 255),
        (Server::Hosted, 255),
        (Server::HostedLid, 255),
        (Server::Msgr, 65_535),
        (Server::Group, 0),
        (Server::Broadcast, 0),
        (Server::Newsletter, 0),
        (Server::Call, 0),
        (Server::Other("future.example".into()), 0),
    ]);
    (text(), server, any::<u16>()).prop_map(|(user, (server, devices), device)| {
        // What no JID's user holds is refused by both sides.
        let user: String = user.chars().filter(|c| !matches!(c, '.' | ':' | '@' | '|')).collect();
        let user: String = user.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let user = if user.is_empty() { "0".to_owned() } else { user };
        Jid::new(user, server).with_device(if devices == 0 { 0 } else { device % devices })
    })
}

fn attrs() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let value = prop_oneof![text().prop_map(Value::from), jid().prop_map(Value::from)];
    prop::collection::btree_map(text(), value, 0..6)
}

fn node() -> impl Strategy<Value = Node> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let leaf = (text(), attrs(), prop::option::of(bytes)).prop_map(|(tag, attrs, bytes)| {
        let node = attrs.into_iter().fold(Node::new(tag), |node, (key, value)| node.attr(key, value));
        match bytes {
            Some(bytes) => node.bytes(bytes),
            None => node,
        }
    });
    leaf.prop_recursive(5, 40, 6, move |inner| {
        (text(), attrs(), prop::collection::vec(inner, 0..6)).prop_map(|(tag, attrs, children)| {
            attrs.into_iter().fold(Node::new(tag), |node, (key, value)| node.attr(key, value)).children(children)
        })
    })
}

proptest! {
    #[test]
    fn any_node_comes_back(node in node()) {
        let bytes = encoded(&node);
        let document = Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap();
        prop_assert_eq!(document.root().to_node(), node.clone());
        prop_assert_eq!(document.root().to_string(), node.to_string());
        // No prefix is a node.
        for cut in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..cut]), Err(NodeError::Truncated));
        }
    }

    #[test]
    fn flipped_bits_never_panic(node in node(), flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..5)) {
        let mut bytes = encoded(&node);
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        whatever_it_is(&bytes);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        whatever_it_is(&bytes);
        let framed: Vec<u8> = [0xf8, 2, 0x19].into_iter().chain(bytes).collect();
        whatever_it_is(&framed);
    }
}

/// Reads everything readable, and what was understood is understood again after writing it.
fn whatever_it_is(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes, &NodeLimits::DEFAULT) else { return };
    let node = document.root().to_node();
    assert!(!document.root().to_string().is_empty());
    let mut out = Vec::new();
    if encode(&node, &mut out).is_ok() {
        let mut again = Vec::new();
        encode(&decode(&out).unwrap(), &mut again).unwrap();
        assert_eq!(out, again);
    }
}
