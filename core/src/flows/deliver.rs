//! Telling the consumer of messages, by way of the inbox.

use alloc::string::ToString;

use bytes::Bytes;
use prost::Message as _;

use super::source::Source;
use crate::content::Content;
use crate::engine::cx::Cx;
use crate::engine::gate::Held;
use crate::event::{Delivery, Event, Undecryptable};
use crate::message::Message;
use crate::proto::wa;
use crate::store::records::InboxEntry;
use crate::wire::Str;

/// Tells the consumer of a message that cannot be read.
pub(crate) fn undecryptable(cx: &mut Cx, source: &Source, reason: &str, retrying: bool, hidden: bool) {
    let event = Undecryptable {
        chat: source.chat.clone().into(),
        sender: source.sender.clone().into(),
        id: source.id.clone(),
        timestamp: source.timestamp,
        reason: reason.into(),
        retrying,
        hidden,
    };
    cx.event(Event::Undecryptable(event.into()));
}

/// Writes a message into the inbox and tells the consumer.
pub(crate) fn deliver(cx: &mut Cx, source: &Source, message: &wa::Message, raw: Bytes) {
    let entry = InboxEntry {
        id: source.id.to_string(),
        chat: source.chat.to_string(),
        sender: source.sender.to_string(),
        sender_alt: source.sender_alt.as_ref().map(ToString::to_string),
        from_me: source.from_me,
        timestamp: source.timestamp,
        push_name: source.push_name.as_ref().map(ToString::to_string),
        offline: source.offline,
        raw: raw.clone(),
    };
    let told = Message {
        id: source.id.clone(),
        chat: source.chat.clone().into(),
        sender: source.sender.clone().into(),
        sender_alt: source.sender_alt.clone().map(Into::into),
        from_me: source.from_me,
        timestamp: source.timestamp,
        push_name: source.push_name.clone(),
        offline: source.offline,
        content: Content::of(message),
        raw,
    };
    // What our own devices tell each other about the account is not the consumer's mail.
    let keep = cx.config.inbox && !source.peer;
    let id = keep.then(|| cx.next_delivery());
    if let Some(id) = &id {
        cx.cache.put(id, entry);
    }
    cx.gate.push(Held::Event(Delivery { id, event: Event::Message(told.into()) }));
}

/// The message of an inbox entry.
pub(crate) fn message_of(entry: &InboxEntry) -> Option<Message> {
    let message = wa::Message::decode(entry.raw.clone()).ok()?;
    Some(Message {
        id: entry.id.as_str().into(),
        chat: entry.chat.parse().ok()?,
        sender: entry.sender.parse().ok()?,
        sender_alt: entry.sender_alt.as_deref().map(str::parse).transpose().ok()?,
        from_me: entry.from_me,
        timestamp: entry.timestamp,
        push_name: entry.push_name.as_deref().map(Str::from),
        offline: entry.offline,
        content: Content::of(&message),
        raw: entry.raw.clone(),
    })
}
