//! Binary nodes, owned: what we build and send. What we receive is read in place, see `super::decode`.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};

use super::jid::Jid;

/// A short text: inline up to 24 bytes, so that tags, keys and ids cost no allocation.
pub type Str = CompactString;

/// An element of a stanza: tag, attributes, content.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// The name.
    pub tag: Str,
    /// Attributes, in the order they are written. The order means nothing on the wire.
    pub attrs: Vec<(Str, Value)>,
    /// What is inside.
    pub content: Content,
}

/// An attribute's value. Only what is typed as a JID is written as one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text; numbers are decimal text.
    Text(Str),
    /// A JID in its own wire form.
    Jid(Jid),
}

/// What a node holds.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Nothing.
    #[default]
    None,
    /// Bytes, always sent as bytes even if they look like text.
    Bytes(Bytes),
    /// Child nodes.
    Nodes(Vec<Node>),
}

impl Node {
    /// A node without attributes and content.
    pub fn new(tag: impl Into<Str>) -> Self {
        Self { tag: tag.into(), attrs: Vec::new(), content: Content::None }
    }

    /// With one more attribute.
    #[must_use]
    pub fn attr(mut self, key: impl Into<Str>, value: impl Into<Value>) -> Self {
        self.attrs.push((key.into(), value.into()));
        self
    }

    /// With one more attribute, if there is a value.
    #[must_use]
    pub fn attr_opt(self, key: impl Into<Str>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.attr(key, value),
            None => self,
        }
    }

    /// With one more child. Replaces byte content.
    #[must_use]
    pub fn child(mut self, child: Node) -> Self {
        match &mut self.content {
            Content::Nodes(nodes) => nodes.push(child),
            _ => self.content = Content::Nodes(alloc::vec![child]),
        }
        self
    }

    /// With one more child, if there is one.
    #[must_use]
    pub fn child_opt(self, child: Option<Node>) -> Self {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }

    /// With these children added.
    #[must_use]
    pub fn children(self, children: impl IntoIterator<Item = Node>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// With this byte content, replacing what was there.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.content = Content::Bytes(bytes.into());
        self
    }

    /// The attribute of this name, as text.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Str> {
        self.attrs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.to_text())
    }

    /// The child nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        match &self.content {
            Content::Nodes(nodes) => nodes,
            _ => &[],
        }
    }
}

impl Value {
    /// The value as text.
    #[must_use]
    pub fn to_text(&self) -> Str {
        match self {
            Self::Text(text) => text.clone(),
            Self::Jid(jid) => jid.to_compact_string(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Self {
        Self::Text(text)
    }
}

impl From<&Str> for Value {
    fn from(text: &Str) -> Self {
        Self::Text(text.clone())
    }
}

impl From<alloc::string::String> for Value {
    fn from(text: alloc::string::String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Jid> for Value {
    fn from(jid: Jid) -> Self {
        Self::Jid(jid)
    }
}

impl From<&Jid> for Value {
    fn from(jid: &Jid) -> Self {
        Self::Jid(jid.clone())
    }
}

macro_rules! decimal {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Text(number.to_compact_string())
            }
        }
    )*};
}
decimal!(u8, u16, u32, u64, usize, i32, i64);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Jid(jid) => fmt::Display::fmt(jid, f),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An XML-like picture. Byte contents show their length only: they may hold keys.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.tag)?;
        for (key, value) in &self.attrs {
            write!(f, " {key}=\"{value}\"")?;
        }
        match &self.content {
            Content::None => f.write_str("/>"),
            Content::Bytes(bytes) => write!(f, ">[{} bytes]</{}>", bytes.len(), self.tag),
            Content::Nodes(nodes) => {
                f.write_str(">")?;
                nodes.iter().try_for_each(|node| fmt::Display::fmt(node, f))?;
                write!(f, "</{}>", self.tag)
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
