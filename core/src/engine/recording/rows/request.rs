//! [`Request`]: every command.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::Malformed;
use super::{AddressRow, present, text};
use crate::address::Address;
use crate::content::{Outgoing, Text};
use crate::engine::Request;
use crate::engine::command::{
    ChatState, Confirm, Connect, Disconnect, Logout, MarkRead, Presence, RequestPairingCode, SendChatState,
    SendMessage, SetPresence, Shutdown, SubscribePresence,
};
use crate::event::DeliveryId;

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(in super::super) struct RequestRow {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum Kind {
    #[prost(message, tag = "1")]
    Connect(EmptyRow),
    #[prost(message, tag = "2")]
    Disconnect(EmptyRow),
    #[prost(message, tag = "3")]
    Shutdown(EmptyRow),
    #[prost(message, tag = "4")]
    RequestPairingCode(PairingCodeRow),
    #[prost(message, tag = "5")]
    Logout(EmptyRow),
    #[prost(message, tag = "6")]
    SendMessage(SendRow),
    #[prost(message, tag = "7")]
    MarkRead(MarkReadRow),
    #[prost(uint32, tag = "8")]
    SetPresence(u32),
    #[prost(message, tag = "9")]
    SendChatState(ChatStateRow),
    #[prost(message, tag = "10")]
    SubscribePresence(AddressRow),
    #[prost(uint64, tag = "11")]
    Confirm(u64),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct EmptyRow {}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct PairingCodeRow {
    #[prost(string, tag = "1")]
    phone: String,
    #[prost(string, optional, tag = "2")]
    custom_code: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct SendRow {
    #[prost(message, optional, tag = "1")]
    to: Option<AddressRow>,
    #[prost(oneof = "ContentKind", tags = "2, 3")]
    content: Option<ContentKind>,
    #[prost(string, optional, tag = "14")]
    id: Option<String>,
    #[prost(string, optional, tag = "15")]
    reference: Option<String>,
}

/// Tags 2 to 13 and from 16 on.
#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum ContentKind {
    #[prost(message, tag = "2")]
    Text(TextRow),
    #[prost(bytes = "bytes", tag = "3")]
    Raw(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct TextRow {
    #[prost(string, tag = "1")]
    body: String,
    #[prost(message, repeated, tag = "2")]
    mentions: Vec<AddressRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MarkReadRow {
    #[prost(message, optional, tag = "1")]
    chat: Option<AddressRow>,
    #[prost(message, optional, tag = "2")]
    sender: Option<AddressRow>,
    #[prost(string, repeated, tag = "3")]
    ids: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ChatStateRow {
    #[prost(message, optional, tag = "1")]
    to: Option<AddressRow>,
    #[prost(uint32, tag = "2")]
    state: u32,
}

/// The command's name.
pub(in super::super) fn request_name(request: &Request) -> &'static str {
    match request {
        Request::Connect(_) => "Connect",
        Request::Disconnect(_) => "Disconnect",
        Request::Shutdown(_) => "Shutdown",
        Request::RequestPairingCode(_) => "RequestPairingCode",
        Request::Logout(_) => "Logout",
        Request::SendMessage(_) => "SendMessage",
        Request::MarkRead(_) => "MarkRead",
        Request::SetPresence(_) => "SetPresence",
        Request::SendChatState(_) => "SendChatState",
        Request::SubscribePresence(_) => "SubscribePresence",
        Request::Confirm(_) => "Confirm",
    }
}

impl RequestRow {
    pub(in super::super) fn of(request: &Request) -> Self {
        let kind = match request {
            Request::Connect(Connect) => Kind::Connect(EmptyRow {}),
            Request::Disconnect(Disconnect) => Kind::Disconnect(EmptyRow {}),
            Request::Shutdown(Shutdown) => Kind::Shutdown(EmptyRow {}),
            Request::RequestPairingCode(RequestPairingCode { phone, custom_code }) => {
                Kind::RequestPairingCode(PairingCodeRow { phone: phone.to_string(), custom_code: text(custom_code) })
            }
            Request::Logout(Logout) => Kind::Logout(EmptyRow {}),
            Request::SendMessage(SendMessage { to, content, id, reference }) => Kind::SendMessage(SendRow {
                to: Some(AddressRow::of(to)),
                content: Some(ContentKind::of(content)),
                id: text(id),
                reference: text(reference),
            }),
            Request::MarkRead(MarkRead { chat, sender, ids }) => Kind::MarkRead(MarkReadRow {
                chat: Some(AddressRow::of(chat)),
                sender: sender.as_ref().map(AddressRow::of),
                ids: ids.iter().map(|text| text.to_string()).collect(),
            }),
            Request::SetPresence(SetPresence { presence }) => Kind::SetPresence(presence_number(*presence)),
            Request::SendChatState(SendChatState { to, state }) => {
                Kind::SendChatState(ChatStateRow { to: Some(AddressRow::of(to)), state: chat_state_number(*state) })
            }
            Request::SubscribePresence(SubscribePresence { to }) => Kind::SubscribePresence(AddressRow::of(to)),
            Request::Confirm(Confirm { delivery }) => Kind::Confirm(delivery.0),
        };
        Self { kind: Some(kind) }
    }

    pub(in super::super) fn into_request(self) -> Result<Request, Malformed> {
        Ok(match self.kind.ok_or(Malformed("a command of an unknown kind"))? {
            Kind::Connect(_) => Request::Connect(Connect),
            Kind::Disconnect(_) => Request::Disconnect(Disconnect),
            Kind::Shutdown(_) => Request::Shutdown(Shutdown),
            Kind::RequestPairingCode(row) => Request::RequestPairingCode(RequestPairingCode {
                phone: row.phone.into(),
                custom_code: row.custom_code.map(Into::into),
            }),
            Kind::Logout(_) => Request::Logout(Logout),
            Kind::SendMessage(row) => Request::SendMessage(SendMessage {
                to: address(row.to)?,
                content: present(row.content)?.into_content()?,
                id: row.id.map(Into::into),
                reference: row.reference.map(Into::into),
            }),
            Kind::MarkRead(row) => Request::MarkRead(MarkRead {
                chat: address(row.chat)?,
                sender: row.sender.map(AddressRow::into_address).transpose()?,
                ids: row.ids.into_iter().map(Into::into).collect(),
            }),
            Kind::SetPresence(number) => Request::SetPresence(SetPresence { presence: presence(number)? }),
            Kind::SendChatState(row) => {
                Request::SendChatState(SendChatState { to: address(row.to)?, state: chat_state(row.state)? })
            }
            Kind::SubscribePresence(to) => Request::SubscribePresence(SubscribePresence { to: to.into_address()? }),
            Kind::Confirm(delivery) => Request::Confirm(Confirm { delivery: DeliveryId(delivery) }),
        })
    }
}

impl ContentKind {
    fn of(content: &Outgoing) -> Self {
        match content {
            Outgoing::Text(Text { body, mentions }) => {
                Self::Text(TextRow { body: body.to_string(), mentions: mentions.iter().map(AddressRow::of).collect() })
            }
            Outgoing::Raw(bytes) => Self::Raw(bytes.clone()),
        }
    }

    fn into_content(self) -> Result<Outgoing, Malformed> {
        Ok(match self {
            Self::Text(row) => Outgoing::Text(Text {
                body: row.body.into(),
                mentions: row.mentions.into_iter().map(AddressRow::into_address).collect::<Result<_, _>>()?,
            }),
            Self::Raw(bytes) => Outgoing::Raw(bytes),
        })
    }
}

fn address(row: Option<AddressRow>) -> Result<Address, Malformed> {
    present(row)?.into_address()
}

fn presence_number(presence: Presence) -> u32 {
    match presence {
        Presence::Available => 1,
        Presence::Unavailable => 2,
    }
}

fn presence(number: u32) -> Result<Presence, Malformed> {
    match number {
        1 => Ok(Presence::Available),
        2 => Ok(Presence::Unavailable),
        _ => Err(Malformed("a presence of an unknown number")),
    }
}

fn chat_state_number(state: ChatState) -> u32 {
    match state {
        ChatState::Composing => 1,
        ChatState::Recording => 2,
        ChatState::Paused => 3,
    }
}

fn chat_state(number: u32) -> Result<ChatState, Malformed> {
    match number {
        1 => Ok(ChatState::Composing),
        2 => Ok(ChatState::Recording),
        3 => Ok(ChatState::Paused),
        _ => Err(Malformed("a chat state of an unknown number")),
    }
}
