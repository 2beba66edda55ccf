//! Message content: building what is sent, classifying what came.

pub(crate) mod padding;
pub mod stanza;
pub mod text;

use bytes::Bytes;

pub use text::Text;

use prost::Message as _;

use crate::error::RejectReason;
use crate::proto::wa::Message;
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
    /// A control message of the protocol (revoke, settings, key shares, …), by the number of its type.
    Protocol(i32),
    /// Nothing that this version has a type for; look at the message's raw protobuf.
    Other,
}

impl Content {
    /// Classifies a message, wrappers removed.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let inner = stanza::unwrap(message);
        if let Some(text) = Text::of(inner) {
            return Self::Text(text);
        }
        match &inner.protocol_message {
            Some(protocol) => Self::Protocol(protocol.r#type.unwrap_or(0)),
            None => Self::Other,
        }
    }
}

impl Outgoing {
    /// The protobuf message to send.
    ///
    /// # Errors
    /// For content that cannot be sent.
    pub fn to_message(&self) -> Result<Message, RejectReason> {
        match self {
            Self::Text(text) => text.to_message(),
            Self::Raw(bytes) => {
                let message = Message::decode(bytes.clone())
                    .map_err(|_| RejectReason::BadContent("the raw content is no Message protobuf"))?;
                if message == Message::default() {
                    return Err(RejectReason::BadContent("the message is empty"));
                }
                Ok(message)
            }
        }
    }
}
