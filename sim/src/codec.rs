//! Frames and owned nodes. The node codec itself is `amarula_core::wire`'s; framing is written here from transport §2.

use amarula_core::wire::{Document, EncodeError, Jid, Node, NodeLimits, Value, encode};

/// `len(3, BE) ‖ body`.
#[must_use]
pub fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(3 + body.len());
    out.extend_from_slice(&len[1..]);
    out.extend_from_slice(body);
    out
}

/// Takes one whole frame's body off the front of `buffer`.
pub fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (header, rest) = buffer.split_at_checked(3)?;
    let len = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    let body = rest.get(..len)?.to_vec();
    buffer.drain(..3 + len);
    Some(body)
}

/// What a transport frame holds before encryption: flag and node bytes, compressed if asked for (transport §6.1).
///
/// # Errors
/// The node cannot be written: only what a client made the server repeat can be like that.
pub fn write_node(node: &Node, compress: bool) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode(node, &mut bytes)?;
    if compress {
        bytes = miniz_oxide::deflate::compress_to_vec_zlib(&bytes, 6);
        bytes.insert(0, 2);
    } else {
        bytes.insert(0, 0);
    }
    Ok(bytes)
}

/// Reads a decrypted transport frame. Clients never compress.
///
/// # Errors
/// What is wrong with it.
pub fn read_node(plain: &[u8]) -> Result<Node, String> {
    match plain.split_first() {
        Some((0, bytes)) => {
            let document = Document::parse(bytes, &NodeLimits::DEFAULT).map_err(|error| error.to_string())?;
            Ok(document.root().to_node())
        }
        Some((flag, _)) => Err(format!("flag byte {flag:#04x}: clients send 00")),
        None => Err("an empty frame".to_owned()),
    }
}

/// Reading owned nodes.
pub trait Read {
    /// The attribute, as it came.
    fn value(&self, key: &str) -> Option<&Value>;
    /// The attribute as a JID (typed or text).
    fn jid(&self, key: &str) -> Option<Jid>;
    /// The attribute as a decimal number.
    fn number(&self, key: &str) -> Option<u64>;
    /// The attribute as text, empty if missing.
    fn text(&self, key: &str) -> String;
    /// The first child of this name.
    fn find(&self, tag: &str) -> Option<&Node>;
    /// All children of this name.
    fn all(&self, tag: &str) -> Vec<&Node>;
    /// The content as bytes, empty if there is none.
    fn data(&self) -> &[u8];
    /// Bytes of a child, empty if there is none.
    fn child_data(&self, tag: &str) -> &[u8];
    /// Whether the attribute is there.
    fn has(&self, key: &str) -> bool;
}

impl Read for Node {
    fn value(&self, key: &str) -> Option<&Value> {
        self.attrs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn jid(&self, key: &str) -> Option<Jid> {
        match self.value(key)? {
            Value::Jid(jid) => Some(jid.clone()),
            Value::Text(text) => text.parse().ok(),
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> String {
        self.value(key).map(|value| value.to_text().to_string()).unwrap_or_default()
    }

    fn find(&self, tag: &str) -> Option<&Node> {
        self.nodes().iter().find(|node| node.tag == tag)
    }

    fn all(&self, tag: &str) -> Vec<&Node> {
        self.nodes().iter().filter(|node| node.tag == tag).collect()
    }

    fn data(&self) -> &[u8] {
        match &self.content {
            amarula_core::wire::Content::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    fn child_data(&self, tag: &str) -> &[u8] {
        self.find(tag).map(Read::data).unwrap_or_default()
    }

    fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }
}

/// A node with byte content.
#[must_use]
pub fn leaf(tag: &str, bytes: impl AsRef<[u8]>) -> Node {
    Node::new(tag).bytes(bytes.as_ref().to_vec())
}

/// The attribute removed.
#[must_use]
pub fn without(mut node: Node, key: &str) -> Node {
    node.attrs.retain(|(name, _)| name != key);
    node
}
