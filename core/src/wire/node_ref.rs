//! A view of one node of a parsed frame.

use core::fmt;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};

use super::decode::{Attr, Content, Document, Record, Value};
use super::jid::Jid;
use super::node::{self, Node, Str};

/// A node of a [`Document`]. Copies freely; costs nothing to make.
#[derive(Clone, Copy)]
pub struct NodeRef<'d> {
    doc: &'d Document<'d>,
    at: usize,
    record: &'d Record<'d>,
}

/// An attribute's value as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueRef<'d> {
    /// Text. Null on the wire is the empty text.
    Text(&'d str),
    /// A JID in its own wire form.
    Jid(&'d Jid),
    /// A JID of a domain this version does not know (`protocol/transport.md` §6.6).
    BadJid,
}

impl<'d> NodeRef<'d> {
    /// `at` is an index of `doc.nodes`, which is never empty.
    pub(super) fn new(doc: &'d Document<'d>, at: usize) -> Self {
        Self { doc, at, record: &doc.nodes[at] }
    }

    /// The name.
    #[must_use]
    pub fn tag(&self) -> &'d str {
        self.record.tag.as_str()
    }

    /// Whether the name is `tag`.
    #[must_use]
    pub fn is(&self, tag: &str) -> bool {
        self.tag() == tag
    }

    fn attr_slice(&self) -> &'d [Attr<'d>] {
        let (start, end) = self.record.attrs;
        self.doc.attrs.get(start as usize..end as usize).unwrap_or_default()
    }

    fn value(&self, attr: &'d Attr<'d>) -> ValueRef<'d> {
        match &attr.value {
            Value::Text(text) => ValueRef::Text(text.as_str()),
            Value::Jid(index) => self.doc.jids.get(*index as usize).map_or(ValueRef::BadJid, ValueRef::Jid),
            Value::BadJid => ValueRef::BadJid,
        }
    }

    /// Keys and values in the order they came; a key that came twice has its last value.
    pub fn attrs(&self) -> impl Iterator<Item = (&'d str, ValueRef<'d>)> + use<'d> {
        let this = *self;
        this.attr_slice().iter().map(move |attr| (attr.key.as_str(), this.value(attr)))
    }

    /// The value of `key`, as it came.
    #[must_use]
    pub fn attr(&self, key: &str) -> Option<ValueRef<'d>> {
        self.attr_slice().iter().find(|attr| attr.key.as_str() == key).map(|attr| self.value(attr))
    }

    /// The value of `key`, if it came as text.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&'d str> {
        match self.attr(key)? {
            ValueRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key` as text, also where it came as a JID.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Str> {
        match self.attr(key)? {
            ValueRef::Text(text) => Some(text.into()),
            ValueRef::Jid(jid) => Some(jid.to_compact_string()),
            ValueRef::BadJid => None,
        }
    }

    /// The value of `key` as a JID, whether it came typed or as text. What is no JID is `None`.
    #[must_use]
    pub fn jid(&self, key: &str) -> Option<Jid> {
        match self.attr(key)? {
            ValueRef::Text(text) => text.parse().ok(),
            ValueRef::Jid(jid) => Some(jid.clone()),
            ValueRef::BadJid => None,
        }
    }

    /// The value of `key` as a decimal number: digits only, no sign.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        let text = self.str(key)?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
    }

    /// As [`Self::u64`], for numbers below 2^32.
    #[must_use]
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key)?.try_into().ok()
    }

    /// Whether there is an attribute `key`, of any value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.attr_slice().iter().any(|attr| attr.key.as_str() == key)
    }

    /// The child nodes, in order.
    #[must_use]
    pub fn children(&self) -> Children<'d> {
        Children { doc: self.doc, next: self.at + 1, end: self.record.end as usize }
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(&self, tag: &str) -> Option<NodeRef<'d>> {
        self.children().find(|child| child.is(tag))
    }

    /// All children of this name.
    pub fn children_named<'t>(&self, tag: &'t str) -> impl Iterator<Item = NodeRef<'d>> + use<'d, 't> {
        self.children().filter(move |child| child.is(tag))
    }

    /// The first child.
    #[must_use]
    pub fn first_child(&self) -> Option<NodeRef<'d>> {
        self.children().next()
    }

    /// Whether there is a child.
    #[must_use]
    pub fn has_children(&self) -> bool {
        self.record.end as usize > self.at + 1
    }

    /// The content as bytes, whether it came as bytes or as text (encoders differ, `protocol/transport.md` §6.3).
    /// `None` for a node that is empty or has a list of children.
    #[must_use]
    pub fn bytes(&self) -> Option<&'d [u8]> {
        match &self.record.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Text(text) => Some(text.as_str().as_bytes()),
            Content::None | Content::Nodes => None,
        }
    }

    /// As [`Self::bytes`], sharing `frame` (the buffer that was parsed) instead of copying, where the content lies in it.
    #[must_use]
    pub fn bytes_in(&self, frame: &Bytes) -> Option<Bytes> {
        let bytes = self.bytes()?;
        let start = (bytes.as_ptr() as usize).checked_sub(frame.as_ptr() as usize);
        let range = start.and_then(|start| Some(start..start.checked_add(bytes.len())?));
        Some(match range {
            Some(range) if range.end <= frame.len() => frame.slice(range),
            _ => Bytes::copy_from_slice(bytes),
        })
    }

    /// The content as text. `None` where [`Self::bytes`] is, and for bytes that are no UTF-8.
    #[must_use]
    pub fn content_str(&self) -> Option<&'d str> {
        match &self.record.content {
            Content::Bytes(bytes) => core::str::from_utf8(bytes).ok(),
            Content::Text(text) => Some(text.as_str()),
            Content::None | Content::Nodes => None,
        }
    }

    /// [`Self::content_str`], owned.
    #[must_use]
    pub fn content_text(&self) -> Option<Str> {
        self.content_str().map(CompactString::from)
    }

    /// Whether this node ends the stream.
    #[must_use]
    pub fn is_stream_end(&self) -> bool {
        self.is(super::tags::STREAM_END)
    }

    /// An owned copy. Text content becomes bytes, invalid JIDs are left out.
    #[must_use]
    pub fn to_node(&self) -> Node {
        let attrs = self.attrs().filter_map(|(key, value)| {
            let value = match value {
                ValueRef::Text(text) => node::Value::Text(text.into()),
                ValueRef::Jid(jid) => node::Value::Jid(jid.clone()),
                ValueRef::BadJid => return None,
            };
            Some((key.into(), value))
        });
        let content = match (&self.record.content, self.bytes()) {
            (Content::Nodes, _) => node::Content::Nodes(self.children().map(|child| child.to_node()).collect()),
            (_, Some(bytes)) => node::Content::Bytes(Bytes::copy_from_slice(bytes)),
            (_, None) => node::Content::None,
        };
        Node { tag: self.tag().into(), attrs: attrs.collect(), content }
    }
}

/// Iterator over the children of a node.
#[derive(Clone)]
pub struct Children<'d> {
    doc: &'d Document<'d>,
    next: usize,
    end: usize,
}

impl<'d> Iterator for Children<'d> {
    type Item = NodeRef<'d>;

    fn next(&mut self) -> Option<NodeRef<'d>> {
        if self.next >= self.end {
            return None;
        }
        let child = NodeRef::new(self.doc, self.next);
        self.next = child.record.end as usize;
        Some(child)
    }
}

/// An XML-like picture, as [`Node`]'s. Contents show their length only: they may hold keys.
impl fmt::Display for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.tag())?;
        for (key, value) in self.attrs() {
            match value {
                ValueRef::Text(text) => write!(f, " {key}=\"{text}\"")?,
                ValueRef::Jid(jid) => write!(f, " {key}=\"{jid}\"")?,
                ValueRef::BadJid => write!(f, " {key}=?")?,
            }
        }
        match self.bytes() {
            Some(bytes) => write!(f, ">[{} bytes]</{}>", bytes.len(), self.tag()),
            None if matches!(self.record.content, Content::Nodes) => {
                f.write_str(">")?;
                self.children().try_for_each(|child| fmt::Display::fmt(&child, f))?;
                write!(f, "</{}>", self.tag())
            }
            None => f.write_str("/>"),
        }
    }
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
