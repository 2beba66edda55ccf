//! Message content: building what is sent, classifying what came.

pub mod text;

use bytes::Bytes;

pub use text::Text;

use crate::wire::Str;

/// What a consumer sends.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outgoing {
    /// Text.
    Text(Text),
    /// Any message, as an encoded `Message` protobuf (`amarula_core::proto`): the way to every field there is.
    Raw(Bytes),
}

impl Outgoing {
    /// Plain text.
    pub fn text(text: impl Into<Str>) -> Self {
        Self::Text(Text::new(text))
    }
}

impl From<&str> for Outgoing {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl core::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Raw(bytes) => write!(f, "Raw([{} bytes])", bytes.len()),
        }
    }
}

/// What a message says, classified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(Text),
    /// Nothing that this version has a type for; look at the message's raw protobuf.
    Other,
}
