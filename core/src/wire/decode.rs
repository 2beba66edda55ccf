//! Binary nodes, read in place (`protocol/transport.md` §6).
//!
//! A [`Document`] is one frame's worth of nodes in three flat arrays; tags, keys, texts and bytes are slices of the frame
//! or static tokens. [`NodeRef`] walks it without allocating.

use alloc::vec::Vec;

use compact_str::ToCompactString as _;

use super::jid::Jid;
use super::node_ref::NodeRef;
use super::reader::{Reader, Scalar, Text, lenient};
use super::tags::{self, LIST_EMPTY};

/// Bounds on one frame's tree. Beyond them [`Document::parse`] answers [`NodeError::Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NodeLimits {
    /// Levels of nesting; a node without children is one level. Values over 128 count as 128.
    pub depth: usize,
    /// Nodes in the whole tree. One takes about 80 bytes of memory and at least 3 of the frame.
    pub nodes: usize,
    /// Attributes in the whole tree. One takes about 50 bytes of memory and at least 2 of the frame.
    pub attrs: usize,
    /// Attributes of one node.
    pub attrs_per_node: usize,
}

impl NodeLimits {
    /// What no honest server comes near: 128 levels, 2^18 nodes, 2^19 attributes, 256 of them at one node.
    pub const DEFAULT: Self = Self { depth: tags::MAX_DEPTH, nodes: 1 << 18, attrs: 1 << 19, attrs_per_node: 256 };
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which of the [`NodeLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeLimit {
    /// [`NodeLimits::depth`].
    Depth,
    /// [`NodeLimits::nodes`].
    Nodes,
    /// [`NodeLimits::attrs`].
    Attrs,
    /// [`NodeLimits::attrs_per_node`].
    AttrsPerNode,
}

/// The bytes are no node. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The bytes end in the middle of something.
    #[error("the node is cut short")]
    Truncated,
    /// So many bytes follow the node.
    #[error("{0} bytes follow the node")]
    Leftover(usize),
    /// This tag byte is unassigned, or cannot stand where it stands.
    #[error("tag byte {0:#04x} cannot stand here")]
    UnexpectedTag(u8),
    /// A node of size 0, or an empty tag or key.
    #[error("a node, tag or key is empty")]
    Empty,
    /// A packed string with a nibble that is no character, or odd without a byte.
    #[error("malformed packed string")]
    BadPacked,
    /// A tag, key, or part of a JID is no UTF-8.
    #[error("a name is not UTF-8")]
    BadText,
    /// A JID without a server.
    #[error("a JID without a server")]
    JidWithoutServer,
    /// A JID with a device and without a user.
    #[error("a JID with a device and no user")]
    JidWithoutUser,
    /// More than the limits allow.
    #[error("the node exceeds the limit on {0:?}")]
    Limit(NodeLimit),
}

#[derive(Clone)]
pub(super) enum Value<'a> {
    Text(Text<'a>),
    /// Index into [`Document::jids`].
    Jid(u32),
    BadJid,
}

#[derive(Clone)]
pub(super) struct Attr<'a> {
    pub(super) key: Text<'a>,
    pub(super) value: Value<'a>,
}

#[derive(Clone)]
pub(super) enum Content<'a> {
    None,
    Bytes(&'a [u8]),
    Text(Text<'a>),
    Nodes,
}

/// A node; its subtree is the records up to `end`.
#[derive(Clone)]
pub(super) struct Record<'a> {
    pub(super) tag: Text<'a>,
    pub(super) content: Content<'a>,
    pub(super) attrs: (u32, u32),
    /// Index after the last node of this subtree; the parent's index while it is open.
    pub(super) end: u32,
    /// Children still to come while it is open.
    left: u32,
}

/// A parsed frame. Borrows from the frame's bytes.
#[derive(Clone)]
pub struct Document<'a> {
    /// In the order they were read: a node, then its children's subtrees. Never empty.
    pub(super) nodes: Vec<Record<'a>>,
    pub(super) attrs: Vec<Attr<'a>>,
    pub(super) jids: Vec<Jid>,
}

/// No parent.
const NONE: u32 = u32::MAX;

impl<'a> Document<'a> {
    /// Reads the node bytes of one frame: the plaintext without its flag byte, inflated (see [`super::payload::unpack`]).
    ///
    /// Never panics, whatever the bytes; memory grows only with bytes really there.
    ///
    /// # Errors
    /// [`NodeError`], with nothing kept.
    pub fn parse(node_bytes: &'a [u8], limits: &NodeLimits) -> Result<Self, NodeError> {
        let mut parser = Parser {
            reader: Reader::new(node_bytes),
            limits,
            doc: Document { nodes: Vec::new(), attrs: Vec::new(), jids: Vec::new() },
        };
        // What most stanzas of this size need, so that few allocations grow; at most about as much as the frame itself.
        parser.doc.nodes.reserve((node_bytes.len() / 96).clamp(4, 1024));
        parser.doc.attrs.reserve((node_bytes.len() / 64).clamp(8, 2048));
        parser.tree()?;
        match parser.reader.left() {
            0 => Ok(parser.doc),
            left => Err(NodeError::Leftover(left)),
        }
    }

    /// The outermost node.
    #[must_use]
    pub fn root(&self) -> NodeRef<'_> {
        NodeRef::new(self, 0)
    }

    /// Nodes in the tree, the root included.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

impl core::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.root(), f)
    }
}

struct Parser<'a, 'l> {
    reader: Reader<'a>,
    limits: &'l NodeLimits,
    doc: Document<'a>,
}

impl<'a> Parser<'a, '_> {
    fn tree(&mut self) -> Result<(), NodeError> {
        let mut open = NONE;
        let mut depth = 0;
        loop {
            // Here a node begins, a child of `open`.
            depth += 1;
            if depth > self.limits.depth.min(tags::MAX_DEPTH) {
                return Err(NodeError::Limit(NodeLimit::Depth));
            }
            let (at, children) = self.node(open)?;
            if children > 0 {
                open = at;
                continue;
            }
            // Close it, and every ancestor that has nothing left to come.
            let next = self.next_index()?;
            let mut closing = at;
            loop {
                depth -= 1;
                let Some(record) = self.doc.nodes.get_mut(closing as usize) else { return Ok(()) };
                let parent = core::mem::replace(&mut record.end, next);
                let Some(parent_record) = self.doc.nodes.get_mut(parent as usize) else { return Ok(()) };
                parent_record.left -= 1;
                if parent_record.left > 0 {
                    open = parent;
                    break;
                }
                closing = parent;
            }
        }
    }

    /// One node without its children: its index and how many are to come.
    fn node(&mut self, parent: u32) -> Result<(u32, u32), NodeError> {
        let header = self.reader.byte()?;
        let size = self.reader.list_size(header)?;
        let Some(attr_count) = size.checked_sub(1).map(|rest| usize::from(rest / 2)) else {
            return Err(NodeError::Empty);
        };
        if self.doc.nodes.len() >= self.limits.nodes {
            return Err(NodeError::Limit(NodeLimit::Nodes));
        }
        let at = self.next_index()?;
        let tag = self.name()?;
        let attrs = self.attrs(attr_count)?;
        let (content, left) = if size % 2 == 0 { self.content()? } else { (Content::None, 0) };
        self.doc.nodes.push(Record { tag, content, attrs, end: parent, left });
        Ok((at, left))
    }

    fn next_index(&self) -> Result<u32, NodeError> {
        match u32::try_from(self.doc.nodes.len()) {
            Ok(index) if index != NONE => Ok(index),
            _ => Err(NodeError::Limit(NodeLimit::Nodes)),
        }
    }

    fn name(&mut self) -> Result<Text<'a>, NodeError> {
        let name = self.reader.text()?;
        if name.as_str().is_empty() { Err(NodeError::Empty) } else { Ok(name) }
    }

    fn attrs(&mut self, count: usize) -> Result<(u32, u32), NodeError> {
        if count > self.limits.attrs_per_node {
            return Err(NodeError::Limit(NodeLimit::AttrsPerNode));
        }
        let start = self.doc.attrs.len();
        if start + count > self.limits.attrs.min(NONE as usize) {
            return Err(NodeError::Limit(NodeLimit::Attrs));
        }
        for _ in 0..count {
            let key = self.name()?;
            let tag = self.reader.byte()?;
            let value = match self.reader.scalar(tag)? {
                Scalar::Text(text) => Value::Text(text),
                Scalar::Bytes(bytes) => Value::Text(lenient(bytes)),
                Scalar::Jid(jid) => {
                    let index = u32::try_from(self.doc.jids.len()).map_err(|_| NodeError::Limit(NodeLimit::Attrs))?;
                    self.doc.jids.push(jid);
                    Value::Jid(index)
                }
                Scalar::BadJid => Value::BadJid,
            };
            // Of two equal keys the last counts.
            match self.doc.attrs.iter_mut().skip(start).find(|attr| attr.key == key) {
                Some(attr) => attr.value = value,
                None => self.doc.attrs.push(Attr { key, value }),
            }
        }
        let [start, end] = [start, self.doc.attrs.len()].map(|index| u32::try_from(index).unwrap_or(NONE));
        Ok((start, end))
    }

    fn content(&mut self) -> Result<(Content<'a>, u32), NodeError> {
        let tag = self.reader.byte()?;
        Ok(match tag {
            LIST_EMPTY => (Content::None, 0),
            tags::LIST_8 | tags::LIST_16 => (Content::Nodes, self.reader.list_size(tag)?.into()),
            tag => {
                let content = match self.reader.scalar(tag)? {
                    Scalar::Bytes(bytes) => Content::Bytes(bytes),
                    Scalar::Text(text) => Content::Text(text),
                    // Some encoders turn content text with an @ into a JID: as content it is text again.
                    Scalar::Jid(jid) => Content::Text(Text::Own(jid.to_compact_string())),
                    Scalar::BadJid => Content::None,
                };
                (content, 0)
            }
        })
    }
}
