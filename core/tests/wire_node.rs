//! Binary nodes: the vectors of `protocol/transport.md` §17, both ways.

use amarula_core::wire::{Document, Jid, Node, NodeError, NodeLimits, Server, encode};

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Node, NodeError> {
    Document::parse(bytes, &NodeLimits::DEFAULT).map(|document| document.root().to_node())
}

fn encoded(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    encode(node, &mut out).unwrap();
    out
}

/// Node bytes (the flag byte left off) and what they say. All but the receipt are what we write, too.
fn vectors() -> Vec<(&'static str, Node)> {
    vec![
        ("f8 03 9d 70 ff 82 51 5f", Node::new("stream:error").attr("code", "515")),
        (
            "f8 03 3b 0c f7 00 4d ff 06 55 99 84 72 66 62",
            Node::new("device").attr("jid", Jid::pn("559984726662").with_device(77)),
        ),
        (
            "f8 05 3b 0c f7 01 4d ff 88 23 63 95 18 45 70 38 6f 76 f7 01 4d ff 88 23 63 95 18 45 70 38 6f",
            Node::new("device")
                .attr("jid", Jid::lid("236395184570386").with_device(77))
                .attr("lid", Jid::lid("236395184570386").with_device(77)),
        ),
        (
            "f8 04 fc 02 69 62 06 fa 00 03 f8 01 f8 05 ed 01 04 ec 6e ec 9a ff 05 17 64 81 41 51",
            Node::new("ib")
                .attr("from", Jid::server())
                .child(Node::new("dirty").attr("type", "account_sync").attr("timestamp", "1764814151")),
        ),
        (
            "f8 04 fc 02 69 62 06 fa 00 03 f8 01 f8 02 28 f8 01 f8 02 27 fc 06 08 02 08 12 08 0d",
            Node::new("ib")
                .attr("from", Jid::server())
                .child(Node::new("edge_routing").child(Node::new("routing_info").bytes(unhex("08 02 08 12 08 0d")))),
        ),
        ("f8 05 19 11 fa 00 03 04 14", Node::new("iq").attr("to", Jid::server()).attr("type", "result")),
        (
            "f8 08 13 11 fa ff 09 12 03 63 02 10 33 25 49 49 1c 08 fb 85 3e b0 aa bb cf 04 38 f8 01 f8 06 1d 51 45 \
             04 32 fc 03 01 02 03",
            Node::new("message")
                .attr("to", Jid::group("120363021033254949"))
                .attr("id", "3EB0AABBC")
                .attr("type", "text")
                .child(Node::new("enc").attr("v", "2").attr("type", "skmsg").bytes(vec![1, 2, 3])),
        ),
        (
            "f8 07 07 08 ff 83 1a 2b 3f 1a fc 00 11 fa ff 86 15 55 00 00 00 1f 03",
            Node::new("receipt").attr("id", "1-2.3").attr("t", "").attr("to", Jid::pn("15550000001")),
        ),
        (
            "f8 03 11 0c f7 80 63 ff 86 15 55 00 00 00 1f",
            Node::new("to").attr("jid", Jid::new("15550000001", Server::Hosted).with_device(99)),
        ),
        (
            "f8 03 11 0c f7 81 63 ff 03 12 34 56",
            Node::new("to").attr("jid", Jid::new("123456", Server::HostedLid).with_device(99)),
        ),
        ("f8 05 19 04 14 11 fa 00 03", Node::new("iq").attr("type", "result").attr("to", Jid::server())),
    ]
}

#[test]
fn vectors_both_ways() {
    for (hex_text, node) in vectors() {
        let bytes = unhex(hex_text);
        assert_eq!(decode(&bytes).as_ref(), Ok(&node), "{hex_text}");
        if node.tag != "receipt" {
            assert_eq!(hex::encode(encoded(&node)), hex::encode(&bytes), "{node}");
        }
    }
}
