//! Which stanza goes where.

use bytes::Bytes;
use compact_str::ToCompactString as _;

use super::Engine;
use super::iq::{IqAnswer, IqError};
use crate::flows::presence;
use crate::wire::{Document, Jid, Node, NodeLimits, NodeRef};

impl Engine {
    /// Routes one stanza. What may need storage waits in the inbound queue, in order; the rest is dealt with at once.
    pub(super) fn route(&mut self, stanza: Bytes) {
        let document = match Document::parse(&stanza, &NodeLimits::default()) {
            Ok(document) => document,
            Err(error) => return self.connect.bad_node(&mut self.cx, error.to_compact_string()),
        };
        let root = document.root();
        match root.tag() {
            "iq" => self.route_iq(root),
            "success" => self.login.success(&mut self.cx, root),
            "failure" => self.connect.failure(&mut self.cx, root),
            "stream:error" => self.connect.stream_error(&mut self.cx, root),
            "xmlstreamend" => self.connect.stream_end(&mut self.cx),
            "ack" => {
                if root.str("class") == Some("message") {
                    self.runner.acked(&mut self.cx, root);
                }
            }
            "presence" => presence::presence(&mut self.cx, root),
            "chatstate" => presence::chatstate(&mut self.cx, root),
            _ => self.inbound.push(stanza.clone()),
        }
    }

    fn route_iq(&mut self, iq: NodeRef<'_>) {
        match iq.str("type") {
            Some(kind @ ("result" | "error")) => {
                let Some(id) = iq.text("id") else { return };
                let Some(owner) = self.cx.iqs.answered(&mut self.cx.timers, &id) else { return };
                if kind == "result" {
                    self.answer(owner, IqAnswer::Result(iq));
                } else {
                    self.answer(owner, IqAnswer::Error(&IqError::of(iq)));
                }
            }
            Some("get") if iq.text("xmlns").as_deref() == Some("urn:xmpp:ping") => {
                let to = iq.jid("from").unwrap_or(Jid::server());
                let pong = Node::new("iq").attr("to", to).attr("type", "result").attr_opt("id", iq.text("id"));
                self.cx.send(&pong);
            }
            Some("set") if iq.text("xmlns").as_deref() == Some("md") => self.pair.iq(&mut self.cx, iq),
            _ => {}
        }
    }
}
