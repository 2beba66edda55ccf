//! Info bulletins (`protocol/transport.md` §10). Never acknowledged; unknown ones are ignored.

use super::connect::update_link;
use super::login::Login;
use crate::engine::cx::{Cx, Signal};
use crate::engine::iq::Iq;
use crate::error::EndReason;
use crate::event::{Event, Warning};
use crate::flows::IqOwner;
use crate::store::records::Link;
use crate::wire::{Node, NodeRef, Str};

/// A build is not told to be older than this, whatever the server says (seconds).
const LEAST_BUILD_LIFE: u64 = 3 * 24 * 3600;
/// Longest routing hint taken.
const ROUTING_BYTES: usize = 1024;

/// `<ib>`.
pub(crate) fn received(cx: &mut Cx, login: &mut Login, node: NodeRef<'_>) {
    if node.jid("from").is_some_and(|from| !from.is_server()) {
        return;
    }
    for child in node.children() {
        match child.tag() {
            "dirty" => dirty(cx, login, child),
            "edge_routing" => edge_routing(cx, child),
            "offline_preview" => login.preview(cx, child.u32("count").unwrap_or(0)),
            "offline" => login.backlog_ended(cx, child.u32("count").unwrap_or(0)),
            "client_expiration" => client_expiration(cx, login, child),
            "downgrade_webclient" => {
                cx.signal(Signal::End { reason: EndReason::NoMultiDevice, wipe: false });
                return;
            }
            _ => {}
        }
    }
}

/// Something changed while we were away. What is dirty is asked anew when it is next needed; the server is told that it
/// was seen.
fn dirty(cx: &mut Cx, login: &mut Login, node: NodeRef<'_>) {
    let Some(kind) = node.text("type") else { return };
    let stamp = node.text("timestamp");
    // These two describe what the backlog may still change.
    if matches!(kind.as_str(), "groups" | "newsletter_metadata") && login.holds_back((&kind, stamp.as_ref())) {
        return;
    }
    clean(cx, kind, stamp);
}

/// Tells the server that a dirty bit was dealt with.
pub(super) fn clean(cx: &mut Cx, kind: Str, stamp: Option<Str>) {
    let content = Node::new("clean").attr("type", kind).attr_opt("timestamp", stamp);
    cx.ask(Iq::set("urn:xmpp:whatsapp:dirty", content), IqOwner::Nobody);
}

/// A hint for the next connection.
fn edge_routing(cx: &mut Cx, node: NodeRef<'_>) {
    let Some(info) = node.child("routing_info").and_then(|info| info.bytes()) else { return };
    if info.is_empty() || info.len() > ROUTING_BYTES {
        return;
    }
    let known = cx.cache.get::<Link>(&()).and_then(|link| link.routing.as_deref());
    if known != Some(info) {
        let info = bytes::Bytes::copy_from_slice(info);
        update_link(cx, |link| link.routing = Some(info));
    }
}

/// When this build stops working. Without a time: never mind.
fn client_expiration(cx: &mut Cx, login: &mut Login, node: NodeRef<'_>) {
    if !node.has("t") {
        login.build_expires = None;
        return;
    }
    let Some(t) = node.u64("t") else { return };
    let at = t.max(cx.server_time().secs() + LEAST_BUILD_LIFE);
    if login.build_expires.is_none_or(|known| at < known) {
        login.build_expires = Some(at);
        cx.event(Event::Warning(Warning::VersionExpires { at }));
    }
}
