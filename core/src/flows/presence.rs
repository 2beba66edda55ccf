//! Presence and chat states, both ways (`protocol/queries.md` §4). None of these stanzas is ever answered.

use super::login;
use crate::engine::command::{ChatState, Presence, SendChatState, SubscribePresence};
use crate::engine::cx::Cx;
use crate::event::{ChatStateUpdate, Event, PresenceUpdate};
use crate::wire::{Jid, Node, NodeRef, Str};

/// `<presence>` from others.
pub(crate) fn presence(cx: &mut Cx, node: NodeRef<'_>) {
    let Some(from) = node.jid("from") else { return };
    let kind = node.text("type");
    // A group tells how many are online, and other types are errors of subscriptions: nobody's presence.
    if !from.is_user() || !matches!(kind.as_deref(), None | Some("available" | "unavailable")) {
        return;
    }
    let available = kind.as_deref() != Some("unavailable");
    // `deny` and everything else that is no number: hidden.
    cx.event(Event::Presence(PresenceUpdate { from: from.into(), available, last_seen: node.u64("last") }));
}

/// `<chatstate>` from others.
pub(crate) fn chatstate(cx: &mut Cx, node: NodeRef<'_>) {
    // One with `to` instead of `from` is the echo of another device of ours.
    let Some(chat) = node.jid("from") else { return };
    let state = if let Some(composing) = node.child("composing") {
        if composing.text("media").as_deref() == Some("audio") { ChatState::Recording } else { ChatState::Composing }
    } else if node.child("paused").is_some() {
        ChatState::Paused
    } else {
        return;
    };
    let from = node.jid("participant").unwrap_or_else(|| chat.clone());
    let chat = if chat.is_user() { chat.bare() } else { chat };
    cx.event(Event::ChatState(ChatStateUpdate { chat: chat.into(), from: from.into(), state }));
}

/// The name that presence goes out with.
pub(crate) fn own_name(cx: &Cx) -> Option<Str> {
    let known = cx.me().and_then(|me| me.push_name.as_ref());
    let name = known.into_iter().chain(&cx.config.push_name);
    // The server takes an `@` for the end of a JID's user.
    name.map(|name| name.chars().filter(|c| *c != '@').collect::<Str>()).find(|name| !name.trim().is_empty())
}

/// Shows us as online or not. Does nothing without a name.
pub(crate) fn set(cx: &mut Cx, presence: Presence) {
    let Some(name) = own_name(cx) else { return };
    let available = presence == Presence::Available;
    if available && !cx.available {
        login::unified_session(cx);
    }
    cx.available = available;
    let kind = if available { "available" } else { "unavailable" };
    cx.send(&Node::new("presence").attr("type", kind).attr("name", name));
}

/// Shows typing in a chat.
pub(crate) fn send_chatstate(cx: &mut Cx, command: &SendChatState) {
    let state = match command.state {
        ChatState::Composing => Node::new("composing"),
        ChatState::Recording => Node::new("composing").attr("media", "audio"),
        ChatState::Paused => Node::new("paused"),
    };
    cx.send(&Node::new("chatstate").attr("to", Jid::from(command.to.clone())).child(state));
}

/// Asks for somebody's presence, for as long as this connection lasts.
pub(crate) fn subscribe(cx: &mut Cx, command: &SubscribePresence) {
    cx.send(&Node::new("presence").attr("type", "subscribe").attr("to", Jid::from(command.to.clone())));
}
