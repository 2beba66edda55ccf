//! Presence and chat states, both ways.

use crate::engine::command::{Presence, SendChatState, SubscribePresence};
use crate::engine::cx::Cx;
use crate::wire::{NodeRef, Str};

/// `<presence>` from others.
pub(crate) fn presence(_cx: &mut Cx, _node: NodeRef<'_>) {}

/// `<chatstate>` from others.
pub(crate) fn chatstate(_cx: &mut Cx, _node: NodeRef<'_>) {}

/// The name that presence goes out with.
pub(crate) fn own_name(_cx: &Cx) -> Option<Str> {
    None
}

pub(crate) fn set(_cx: &mut Cx, _presence: Presence) {}

pub(crate) fn send_chatstate(_cx: &mut Cx, _command: &SendChatState) {}

pub(crate) fn subscribe(_cx: &mut Cx, _command: &SubscribePresence) {}
