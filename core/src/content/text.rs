//! Text messages.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::address::Address;
use crate::error::RejectReason;
use crate::proto::wa::message::ExtendedTextMessage;
use crate::proto::wa::{ContextInfo, Message};
use crate::wire::Str;

/// A text message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// The text.
    pub body: Str,
    /// Users whose mention (`@number`) in the text is meant as one.
    pub mentions: Vec<Address>,
}

impl Text {
    /// Plain text.
    pub fn new(body: impl Into<Str>) -> Self {
        Self { body: body.into(), mentions: Vec::new() }
    }

    /// The text of a message, if it is one.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        if let Some(body) = &message.conversation {
            return Some(Self::new(body.as_str()));
        }
        let extended = message.extended_text_message.as_deref()?;
        let mentions = extended.context_info.as_deref().map_or(&[][..], |context| &context.mentioned_jid);
        Some(Self {
            body: extended.text.as_deref().unwrap_or_default().into(),
            mentions: mentions.iter().filter_map(|jid| jid.parse().ok()).collect(),
        })
    }

    pub(super) fn to_message(&self) -> Result<Message, RejectReason> {
        if self.body.is_empty() {
            return Err(RejectReason::BadContent("the text is empty"));
        }
        let body = Some(self.body.to_string());
        if self.mentions.is_empty() {
            return Ok(Message { conversation: body, ..Message::default() });
        }
        let context = ContextInfo {
            mentioned_jid: self.mentions.iter().map(|user| user.bare().to_string()).collect(),
            ..ContextInfo::default()
        };
        let text = ExtendedTextMessage { text: body, context_info: Some(Box::new(context)), ..<_>::default() };
        Ok(Message { extended_text_message: Some(Box::new(text)), ..Message::default() })
    }
}
