//! Who sent a message, and where (`protocol/messages.md` §11.2).

use crate::store::records::Me;
use crate::wire::{Jid, NodeRef, Server, Str};

/// Where a message comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Stanza id.
    pub(crate) id: Str,
    /// The conversation.
    pub(crate) chat: Jid,
    /// The sending device.
    pub(crate) sender: Jid,
    /// Its other name, without device.
    pub(crate) sender_alt: Option<Jid>,
    /// Sent by another device of our own account.
    pub(crate) from_me: bool,
    /// In our own 1:1 copies: the other name of the chat.
    pub(crate) chat_alt: Option<Jid>,
    /// Unix seconds.
    pub(crate) timestamp: u64,
    /// The name the sender gave themselves.
    pub(crate) push_name: Option<Str>,
    /// From the backlog.
    pub(crate) offline: bool,
    /// `category="peer"`: between our own devices, about the account.
    pub(crate) peer: bool,
    /// `from`, as it came.
    pub(crate) from: Jid,
    /// `participant`, as it came.
    pub(crate) participant: Option<Jid>,
    /// `recipient`, as it came.
    pub(crate) recipient: Option<Jid>,
}

impl Source {
    /// Reads the attributes. `Err` says what is wrong with the stanza.
    pub(crate) fn of(node: NodeRef<'_>, me: &Me) -> Result<Self, &'static str> {
        let id = node.text("id").filter(|id| !id.is_empty()).ok_or("a message without id")?;
        let from = node.jid("from").ok_or("a message without from")?;
        let participant = node.jid("participant");
        let recipient = node.jid("recipient");
        let (chat, sender, from_me, sender_alt, chat_alt) = match from.server {
            Server::Group | Server::Broadcast => {
                let sender = participant.clone().filter(is_author).ok_or("a group message without participant")?;
                let alt = if sender.is_lid() { node.jid("participant_pn") } else { node.jid("participant_lid") };
                let from_me = me.is_me(&sender);
                (from.bare(), sender, from_me, alt, None)
            }
            Server::Pn | Server::Lid | Server::Hosted | Server::HostedLid if me.is_me(&from) => {
                let chat = recipient.as_ref().map_or_else(|| from.bare(), Jid::bare);
                let alt = if chat.is_lid() {
                    node.jid("peer_recipient_pn").or_else(|| node.jid("recipient_pn"))
                } else {
                    node.jid("peer_recipient_lid").or_else(|| node.jid("recipient_lid"))
                };
                (chat, from.clone(), true, None, alt)
            }
            Server::Pn | Server::Lid | Server::Hosted | Server::HostedLid if recipient.is_some() && !is_bot(&from) => {
                return Err("a message of somebody else with a recipient");
            }
            _ => {
                let alt = if from.is_lid() { node.jid("sender_pn") } else { node.jid("sender_lid") };
                (from.bare(), from.clone(), false, alt, None)
            }
        };
        let chat_alt = chat_alt.map(|jid| jid.bare()).filter(|alt| me.is_me(alt) == me.is_me(&chat));
        let push_name = node.text("notify").filter(|name| !name.is_empty() && name != "-");
        Ok(Self {
            id,
            chat,
            // Nobody else has one of our names.
            sender_alt: sender_alt
                .map(|jid| jid.bare())
                .filter(|alt| alt.is_lid() != sender.is_lid() && me.is_me(alt) == from_me),
            chat_alt,
            sender,
            from_me,
            timestamp: node.u64("t").unwrap_or(0),
            push_name,
            offline: node.has("offline"),
            peer: node.str("category") == Some("peer"),
            from,
            participant,
            recipient,
        })
    }
}

/// Who can write in a group.
fn is_author(jid: &Jid) -> bool {
    jid.is_user() || jid.server == Server::Bot
}

/// An AI bot, in either of its forms (`protocol/messages.md` §10.1).
fn is_bot(jid: &Jid) -> bool {
    let old = |prefix: &str, digits: usize| {
        jid.server == Server::Pn && jid.user.strip_prefix(prefix).is_some_and(|rest| rest.len() == digits)
    };
    jid.server == Server::Bot || old("1313555", 4) || old("131655500", 2)
}
