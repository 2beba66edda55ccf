//! Binary nodes: the vectors of `protocol/transport.md` §17 both ways, every rule of §6, and hostile bytes.

use amarula_core::wire::{Document, EncodeError, Jid, Node, NodeError, NodeLimit, NodeLimits, Server, encode};

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

#[test]
fn headers_of_the_document() {
    let of_len = |len| encoded(&Node::new("iq").bytes(vec![0; len]));
    assert_eq!(&of_len(255)[..5], &unhex("f8 02 19 fc ff"));
    assert_eq!(&of_len(256)[..6], &unhex("f8 02 19 fd 00 01")[..]);
    assert_eq!(&of_len((1 << 20) - 1)[..6], &unhex("f8 02 19 fd 0f ff"));
    assert_eq!(&of_len(1 << 20)[..8], &unhex("f8 02 19 fe 00 10 00 00"));
    let of_children = |count| encoded(&Node::new("iq").children((0..count).map(|_| Node::new("iq"))));
    assert_eq!(&of_children(255)[..5], &unhex("f8 02 19 f8 ff"));
    assert_eq!(&of_children(256)[..6], &unhex("f8 02 19 f9 01 00"));
    for bytes in [of_len(255), of_len(1 << 20), of_children(0), of_children(255), of_children(65_535)] {
        assert_eq!(encoded(&decode(&bytes).unwrap()), bytes);
    }
    // The upper four bits of a BINARY_20 length mean nothing.
    assert_eq!(decode(&unhex("f8 02 19 fd f0 00 01 aa")), Ok(Node::new("iq").bytes(vec![0xaa])));
}

/// How a text goes out, seen in the value of `<iq id=…/>`.
#[test]
fn texts_take_their_shortest_form_and_keep_their_value() {
    for (text, hex_text) in [
        ("result", "14".into()),
        ("account_sync", "ec 6e".into()),
        ("27", hex::encode(&encoded(&Node::new("iq").attr("id", "27"))[4..])),
        ("1-2.3", "ff 83 1a 2b 3f".into()),
        ("ABCDEF0", "fb 84 ab cd ef 0f".into()),
        ("abcdef0", "fc 07 61 62 63 64 65 66 30".into()),
        ("AB-", "fc 03 41 42 2d".into()),
        ("user@lid", "fc 08 75 73 65 72 40 6c 69 64".into()),
        ("é", "fc 02 c3 a9".into()),
    ] {
        let node = Node::new("iq").attr("id", text);
        let bytes = encoded(&node);
        assert_eq!(hex::encode(&bytes[4..]), hex_text.replace(' ', ""), "{text}");
        assert_eq!(decode(&bytes), Ok(node));
    }
    for len in [126, 127, 128, 255, 256] {
        for text in ["7".repeat(len), "F".repeat(len)] {
            let node = Node::new("iq").attr("id", text.as_str());
            let bytes = encoded(&node);
            assert_eq!(bytes.len() < len, len <= 127, "{len}");
            assert_eq!(decode(&bytes), Ok(node));
        }
    }
    // The longest a decoder must accept: 127 bytes, 254 characters.
    let mut bytes = unhex("f8 03 19 08 ff 7f");
    bytes.extend_from_slice(&[0x12; 127]);
    assert_eq!(decode(&bytes).unwrap().get("id").unwrap(), "12".repeat(127));
}

#[test]
fn what_has_no_wire_form_is_refused() {
    let refused = |node: Node| {
        let mut out = vec![1, 2, 3];
        let error = encode(&node, &mut out).unwrap_err();
        assert_eq!(out, [1, 2, 3]);
        error
    };
    let to = |jid: Jid| Node::new("iq").child(Node::new("to").attr("jid", jid));
    assert_eq!(refused(Node::new("")), EncodeError::EmptyName);
    assert_eq!(refused(Node::new("iq").attr("", "1")), EncodeError::EmptyName);
    assert_eq!(refused(to(Jid::pn("1").with_device(256))), EncodeError::Device);
    assert_eq!(refused(to(Jid::group("1").with_device(1))), EncodeError::Device);
    assert_eq!(refused(to(Jid::new("1", Server::Other("x.y".into())).with_device(1))), EncodeError::Device);
    assert_eq!(refused(to(Jid::server().with_device(1))), EncodeError::Device);
    assert_eq!(refused(to(Jid::new("1", Server::Interop))), EncodeError::Jid);
    assert_eq!(refused(to(Jid::new("1", Server::Other("".into())))), EncodeError::Jid);
    assert_eq!(refused(Node::new("iq").children((0..65_536).map(|_| Node::new("iq")))), EncodeError::TooMany);
    let many = (0..32_768).fold(Node::new("iq"), |node, n: u32| node.attr("id", n));
    assert_eq!(refused(many), EncodeError::TooMany);
    let nested = |levels| (1..levels).fold(Node::new("iq"), |node, _| Node::new("iq").child(node));
    assert_eq!(refused(nested(129)), EncodeError::TooDeep);
    assert_eq!(decode(&encoded(&nested(128))), Ok(nested(128)));
    // Left out rather than refused.
    assert_eq!(encoded(&Node::new("iq").attr("t", "").children([])), unhex("f8 01 19"));
}

#[test]
fn jid_forms() {
    let jid = |hex_text: &str| {
        let mut bytes = unhex("f8 03 19 11");
        bytes.extend(unhex(hex_text));
        let document = Document::parse(&bytes, &NodeLimits::DEFAULT)?;
        assert_eq!(document.root().text("to").is_some(), document.root().jid("to").is_some());
        Ok::<_, NodeError>(document.root().jid("to"))
    };
    let parsed = |text: &str| Ok(Some(text.parse::<Jid>().unwrap()));
    assert_eq!(jid("fa 00 03"), Ok(Some(Jid::server())));
    assert_eq!(jid("fc 08 31 32 33 40 67 2e 75 73"), parsed("123@g.us"));
    assert_eq!(jid("fa ff 01 12 fc 08 66 2e 75 74 75 72 65 2e"), parsed("12@f.uture."));
    assert_eq!(jid("f7 00 00 ff 01 12"), parsed("12@s.whatsapp.net"));
    // Bit 7 without bit 0 is hosted.
    assert_eq!(jid("f7 82 63 ff 01 12"), parsed("12:99@hosted"));
    assert_eq!(jid("f6 ff 01 12 01 00 fc 04 6d 73 67 72"), parsed("12:256@msgr"));
    assert_eq!(jid("f5 ff 01 12 00 05 00 07 fc 07 69 6e 74 65 72 6f 70"), parsed("7-12:5@interop"));
    // What is no JID leaves the stanza readable.
    for invalid in ["f7 02 63 ff 01 12", "f7 83 63 ff 01 12", "f6 ff 01 12 00 05 03", "f5 ff 01 12 00 05 00 07 03"] {
        assert_eq!(jid(invalid), Ok(None), "{invalid}");
    }
    assert_eq!(jid("fa ff 01 12 00"), Err(NodeError::JidWithoutServer));
    assert_eq!(jid("fa ff 01 12 fc 00"), Err(NodeError::JidWithoutServer));
    assert_eq!(jid("f7 00 05 00"), Err(NodeError::JidWithoutUser));
    assert_eq!(jid("fa fa 00 03 03"), Err(NodeError::UnexpectedTag(0xfa)));
}

#[test]
fn malformed_nodes_and_their_errors() {
    use NodeError::{BadPacked, BadText, Empty, Leftover, Limit, Truncated, UnexpectedTag};
    for (hex_text, error) in [
        ("", Truncated),
        ("00", Empty),
        ("f8 00", Empty),
        ("f8", Truncated),
        ("f8 01", Truncated),
        ("f8 01 00", Empty),
        ("f8 01 fc 00", Empty),
        ("f8 01 19 00", Leftover(1)),
        ("f8 03 19 00 14", Empty),
        ("f8 03 19 fc 00 14", Empty),
        ("f8 02 19 f8 01 00", Empty),
        ("f8 02 19 f9 ff ff", Truncated),
        ("f9 ff ff 19", Limit(NodeLimit::AttrsPerNode)),
        ("f8 02 19 fe ff ff ff ff", Truncated),
        ("f8 02 19 fd 0f ff ff", Truncated),
        ("19", UnexpectedTag(0x19)),
        ("f8 01 f0", UnexpectedTag(0xf0)),
        ("f8 01 f4", UnexpectedTag(0xf4)),
        ("f8 01 f8", UnexpectedTag(0xf8)),
        ("f8 01 fa 00 03", UnexpectedTag(0xfa)),
        ("f8 03 19 11 f8 00", UnexpectedTag(0xf8)),
        ("f8 03 19 11 f3", UnexpectedTag(0xf3)),
        ("f8 01 fc 01 ff", BadText),
        ("f8 01 ff 80", BadPacked),
        ("f8 01 fb 80", BadPacked),
        ("f8 01 ff 01 1c", BadPacked),
        ("f8 01 ff 81 1e", BadPacked),
        ("f8 01 ff 01 1f", BadPacked),
        ("f8 01 ff 02 1f 12", BadPacked),
        ("f8 01 ff 81 f1", BadPacked),
    ] {
        assert_eq!(decode(&unhex(hex_text)), Err(error), "{hex_text}");
    }
    // A null or damaged value costs no frame.
    let bytes = unhex("f8 05 19 08 00 11 fc 02 41 ff");
    let document = Document::parse(&bytes, &NodeLimits::DEFAULT).unwrap();
    assert_eq!((document.root().str("id"), document.root().str("to")), (Some(""), Some("A\u{fffd}")));
}

#[test]
fn limits_have_names() {
    let limits = |change: fn(&mut NodeLimits)| {
        let mut limits = NodeLimits::DEFAULT;
        change(&mut limits);
        limits
    };
    let node = Node::new("iq").attr("id", "1").attr("to", "2").child(Node::new("iq").attr("id", "1"));
    let bytes = encoded(&node);
    for (limits, limit) in [
        (limits(|limits| limits.depth = 1), NodeLimit::Depth),
        (limits(|limits| limits.nodes = 1), NodeLimit::Nodes),
        (limits(|limits| limits.attrs = 2), NodeLimit::Attrs),
        (limits(|limits| limits.attrs_per_node = 1), NodeLimit::AttrsPerNode),
    ] {
        assert_eq!(Document::parse(&bytes, &limits).unwrap_err(), NodeError::Limit(limit));
    }
    let exact = limits(|limits| (limits.depth, limits.nodes, limits.attrs, limits.attrs_per_node) = (2, 2, 3, 2));
    assert!(Document::parse(&bytes, &exact).is_ok());
    // 128 levels are read, 129 are not.
    let deep =
        |levels: usize| [[0xf8, 2, 0x19, 0xf8, 1]].repeat(levels - 1).concat().into_iter().chain([0xf8, 1, 0x19]);
    assert!(decode(&deep(128).collect::<Vec<_>>()).is_ok());
    assert_eq!(decode(&deep(129).collect::<Vec<_>>()), Err(NodeError::Limit(NodeLimit::Depth)));
    assert_eq!(decode(&deep(1_000_000).collect::<Vec<_>>()), Err(NodeError::Limit(NodeLimit::Depth)));
}

#[test]
fn reading_by_reference() {
    let bytes = encoded(
        &Node::new("notification")
            .attr("from", Jid::lid("12").with_device(3))
            .attr("participant", "34@s.whatsapp.net")
            .attr("t", 1_764_814_151u64)
            .attr("count", "-1")
            .child(Node::new("item").bytes(&b"one"[..]))
            .child(Node::new("list").child(Node::new("item").bytes(&b"inner"[..])))
            .child(Node::new("item").bytes(vec![0xff, 0xfe])),
    );
    let frame = bytes::Bytes::from(bytes);
    let document = Document::parse(&frame, &NodeLimits::DEFAULT).unwrap();
    let root = document.root();
    assert!(root.is("notification") && root.has_children() && root.has("t") && !root.has("id"));
    assert_eq!(document.node_count(), 5);
    assert_eq!((root.str("from"), root.text("from").as_deref()), (None, Some("12:3@lid")));
    assert_eq!(root.jid("from"), Some(Jid::lid("12").with_device(3)));
    assert_eq!(root.jid("participant"), Some(Jid::pn("34")));
    assert_eq!((root.u64("t"), root.u32("t"), root.u64("count")), (Some(1_764_814_151), Some(1_764_814_151), None));
    assert_eq!((root.u64("id"), root.jid("t"), root.bytes()), (None, None, None));
    assert_eq!(root.children().map(|child| child.tag()).collect::<Vec<_>>(), ["item", "list", "item"]);
    assert_eq!(root.children_named("item").count(), 2);
    assert_eq!(root.first_child().unwrap().content_text().as_deref(), Some("one"));
    assert_eq!(root.child("list").unwrap().child("item").unwrap().bytes(), Some(&b"inner"[..]));
    let last = root.children().last().unwrap();
    assert_eq!((last.content_str(), last.bytes()), (None, Some(&[0xff, 0xfe][..])));
    // The content is shared, not copied.
    let inner = root.child("list").unwrap().first_child().unwrap();
    let shared = inner.bytes_in(&frame).unwrap();
    assert_eq!(shared.as_ptr(), inner.bytes().unwrap().as_ptr());
    assert_eq!(inner.bytes_in(&bytes::Bytes::from_static(b"another")).unwrap(), shared);
    assert_eq!(
        root.to_string(),
        "<notification from=\"12:3@lid\" participant=\"34@s.whatsapp.net\" t=\"1764814151\" count=\"-1\">\
         <item>[3 bytes]</item><list><item>[5 bytes]</item></list><item>[2 bytes]</item></notification>"
    );
    assert_eq!(root.to_string(), root.to_node().to_string());
}

#[test]
fn contents_come_as_bytes_or_as_text() {
    for (hex_text, bytes) in [
        ("f8 02 19 fc 02 31 32", Some(&b"12"[..])),
        ("f8 02 19 ff 01 12", Some(b"12")),
        ("f8 02 19 14", Some(b"result")),
        ("f8 02 19 ec 6e", Some(b"account_sync")),
        ("f8 02 19 fa ff 01 12 1c", Some(b"12@g.us")),
        ("f8 02 19 fc 00", Some(b"")),
        ("f8 02 19 00", None),
        ("f8 02 19 f7 02 05 ff 01 12", None),
        ("f8 02 19 f8 00", None),
        ("f8 02 19 f8 01 f8 01 19", None),
    ] {
        let frame = unhex(hex_text);
        let document = Document::parse(&frame, &NodeLimits::DEFAULT).unwrap();
        assert_eq!(document.root().bytes(), bytes, "{hex_text}");
        assert_eq!(document.root().content_str().map(str::as_bytes), bytes, "{hex_text}");
    }
}

#[test]
fn of_two_equal_keys_the_last_counts() {
    let frame = unhex("f8 07 19 08 14 04 15 08 16");
    let node = decode(&frame).unwrap();
    assert_eq!(node, Node::new("iq").attr("id", "xmlns").attr("type", "class"));
    let document = Document::parse(&frame, &NodeLimits::DEFAULT).unwrap();
    assert_eq!((document.root().attrs().count(), document.root().str("id")), (2, Some("xmlns")));
    // Also when the key is written in different ways: as a token, packed, as bytes.
    assert_eq!(decode(&unhex("f8 07 19 2d 14 ff 81 0f 15 fc 01 30 16")), Ok(Node::new("iq").attr("0", "xmlns")));
}

#[test]
fn stream_end() {
    let frame = unhex("f8 01 02");
    assert!(Document::parse(&frame, &NodeLimits::DEFAULT).unwrap().root().is_stream_end());
}
