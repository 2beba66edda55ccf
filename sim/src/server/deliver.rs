//! Delivery to devices: the live path, the backlog and its batches (transport §9 rows 4 to 7).

use amarula_core::wire::{Content, Jid, Node};
use prost::Message as _;

use super::faults::DeliveryFault;
use super::outbox::{Drain, Entry, State};
use super::{ConnId, DeviceKey, Server};
use crate::proto::PreKeyWhisperMessage;
use crate::violation::Rule;

impl Server {
    /// Gives a stanza to a device: to the phone at once, to a companion through its queue.
    pub(crate) fn give(&mut self, target: DeviceKey, node: Node) {
        if target.1 == 0 {
            return self.phone_receive(target.0, node);
        }
        if let Some(companion) = self.companion_mut(target) {
            companion.outbox.push(node);
            self.pump(target);
        }
    }

    /// A stanza of the test's own making for a companion, as if the server had it from somebody. It is queued, expects
    /// an answer like any other, and any answer of the right form is fine.
    pub fn inject(&mut self, now: crate::SimTime, target: DeviceKey, node: Node) {
        self.advance(now);
        if let Some(companion) = self.companion_mut(target) {
            companion.disturbed = true;
            let seq = companion.outbox.push(node);
            if let Some(entry) = companion.outbox.entries.get_mut(&seq) {
                entry.disturbed = true;
            }
            self.pump(target);
        }
    }

    /// Any bytes of a node straight to a connection, outside all queues: for stanzas that owe no answer.
    pub fn send_raw(&mut self, now: crate::SimTime, conn: ConnId, node: &Node) {
        self.advance(now);
        self.send(conn, node);
    }

    /// Ends a stream with a code of transport §12.1; `conflict` adds that child.
    pub fn force_stream_error(&mut self, now: crate::SimTime, conn: ConnId, code: Option<u16>, conflict: Option<&str>) {
        self.advance(now);
        let error = Node::new("stream:error")
            .attr_opt("code", code)
            .child_opt(conflict.map(|kind| Node::new("conflict").attr("type", kind)));
        self.stream_error(conn, error);
    }

    /// Ends a stream in the planned way: `<xmlstreamend/>` and close.
    pub fn end_stream(&mut self, now: crate::SimTime, conn: ConnId) {
        self.advance(now);
        self.send(conn, &Node::new("xmlstreamend"));
        self.close(conn);
    }

    /// Closes the socket without a word.
    pub fn drop_connection(&mut self, now: crate::SimTime, conn: ConnId) {
        self.advance(now);
        self.close(conn);
    }

    /// The client is ready: what waits for it begins to flow.
    pub(crate) fn activate(&mut self, conn: ConnId, key: DeviceKey) {
        let primer = if self.config.needs_offline_batch { self.config.primer } else { usize::MAX };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if std::mem::replace(&mut state.active, true) {
            return;
        }
        let Some(companion) = self.companion_mut(key) else { return };
        let waiting: Vec<String> = companion
            .outbox
            .entries
            .values_mut()
            .filter(|entry| entry.state == State::Queued)
            .map(|entry| {
                entry.offline = true;
                entry.node.tag.to_string()
            })
            .collect();
        companion.outbox.draining = Some(Drain { total: waiting.len(), sent: 0, credit: primer });
        let count = |tag: &str| waiting.iter().filter(|waiting| *waiting == tag).count();
        let preview = Node::new("offline_preview")
            .attr("count", waiting.len())
            .attr("message", count("message"))
            .attr("notification", count("notification"))
            .attr("receipt", count("receipt"))
            .attr("appdata", 0)
            .attr("call", count("call"))
            .attr("status", count("status"));
        self.send(conn, &Node::new("ib").attr("from", Jid::server()).child(preview));
        self.pump(key);
    }

    pub(crate) fn offline_batch(&mut self, conn: ConnId, key: DeviceKey, count: usize) {
        if count == 0 {
            self.object(Some(conn), Some(key), Rule::Grammar, None, "offline_batch of 0");
        }
        if let Some(drain) = self.companion_mut(key).and_then(|companion| companion.outbox.draining.as_mut()) {
            drain.credit = drain.credit.saturating_add(count);
            self.pump(key);
        }
    }

    /// Sends what may be sent.
    pub(crate) fn pump(&mut self, key: DeviceKey) {
        let Some(conn) = self.conn_of(key) else { return };
        if !self.conns.get(&conn).is_some_and(|state| state.active && !state.silent) {
            return;
        }
        while let Some(node) = self.next_delivery(key, conn) {
            let is_message = node.tag == "message";
            let fault = if is_message { self.faults.next_delivery() } else { None };
            match fault {
                None => self.send(conn, &node),
                Some(DeliveryFault::Damage) => {
                    self.disturb(key, &node, false);
                    self.send(conn, &damage(node));
                    continue;
                }
                Some(DeliveryFault::Lose) => {
                    self.disturb(key, &node, true);
                    continue;
                }
                Some(DeliveryFault::Duplicate) => {
                    self.disturb(key, &node, false);
                    if let Some(companion) = self.companion_mut(key) {
                        companion.outbox.doubled.insert(super::outbox::key_of(&node));
                    }
                    self.send(conn, &node);
                    self.send(conn, &node);
                }
                Some(DeliveryFault::Delay) => {
                    // Nobody can answer it before it comes.
                    self.hold(key, &node, true);
                    if let Some(companion) = self.companion_mut(key) {
                        companion.outbox.delayed.push(node);
                    }
                    continue;
                }
            }
            if is_message {
                let delayed = self.companion_mut(key).map(|companion| std::mem::take(&mut companion.outbox.delayed));
                for node in delayed.unwrap_or_default() {
                    self.hold(key, &node, false);
                    self.send(conn, &node);
                }
            }
        }
        self.finish_drain(key, conn);
    }

    fn next_delivery(&mut self, key: DeviceKey, conn: ConnId) -> Option<Node> {
        let now = self.now;
        let outbox = &mut self.companion_mut(key)?.outbox;
        if outbox.draining.is_some_and(|drain| drain.credit == 0) {
            return None;
        }
        let (_, entry) = outbox.entries.iter_mut().find(|(_, entry)| entry.state == State::Queued)?;
        entry.state = State::Sent { conn, at: now, reported: false };
        let node = entry.node.clone();
        if !entry.offline {
            return Some(node);
        }
        let sent = outbox.draining.as_mut().map_or(0, |drain| {
            drain.credit -= 1;
            drain.sent += 1;
            drain.sent
        });
        Some(node.attr("offline", sent))
    }

    fn disturb(&mut self, key: DeviceKey, node: &Node, lost: bool) {
        let wanted = super::outbox::key_of(node);
        let Some(companion) = self.companion_mut(key) else { return };
        companion.disturbed = true;
        // A message and its resend have one key, and the resend may be out before the first is answered: the newest is meant.
        let sent = |entry: &&mut Entry| {
            matches!(entry.state, State::Sent { .. }) && super::outbox::key_of(&entry.node) == wanted
        };
        if let Some(entry) = companion.outbox.entries.values_mut().rev().find(sent) {
            entry.disturbed = true;
            entry.lost = lost;
        }
    }

    /// Holds a stanza back, or lets it go: its answer is due from then on.
    fn hold(&mut self, key: DeviceKey, node: &Node, held: bool) {
        let (wanted, now) = (super::outbox::key_of(node), self.now);
        let Some(companion) = self.companion_mut(key) else { return };
        // A message and its resend have one key, and the resend may be out before the first is answered: the newest is meant.
        let sent = |entry: &&mut Entry| {
            matches!(entry.state, State::Sent { .. }) && super::outbox::key_of(&entry.node) == wanted
        };
        if let Some(entry) = companion.outbox.entries.values_mut().rev().find(sent) {
            entry.lost = held;
            if let State::Sent { at, .. } = &mut entry.state {
                *at = now;
            }
        }
    }

    fn finish_drain(&mut self, key: DeviceKey, conn: ConnId) {
        let Some(companion) = self.companion_mut(key) else { return };
        let Some(drain) = companion.outbox.draining else { return };
        if drain.sent < drain.total {
            return;
        }
        companion.outbox.draining = None;
        let offline = Node::new("offline").attr("count", drain.total);
        self.send(conn, &Node::new("ib").attr("from", Jid::server()).child(offline));
    }
}

/// Flips one bit of the first ciphertext.
fn damage(mut node: Node) -> Node {
    fn first_enc(node: &mut Node) -> bool {
        if node.tag == "enc" {
            let is_prekey = node.get("type").is_some_and(|kind| kind == "pkmsg");
            if let Content::Bytes(bytes) = &mut node.content {
                *bytes = damage_mac(bytes, is_prekey).into();
                return true;
            }
        }
        match &mut node.content {
            Content::Nodes(nodes) => nodes.iter_mut().any(first_enc),
            _ => false,
        }
    }
    first_enc(&mut node);
    node
}

/// In the MAC or signature: everything still parses, nothing verifies.
fn damage_mac(bytes: &[u8], is_prekey: bool) -> Vec<u8> {
    let flip = |bytes: &mut Vec<u8>| bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let mut out = bytes.to_vec();
    match bytes.split_first().map(|(_, body)| PreKeyWhisperMessage::decode(body)) {
        Some(Ok(mut outer)) if is_prekey => {
            outer.message.iter_mut().for_each(flip);
            out.truncate(1);
            out.extend(outer.encode_to_vec());
        }
        _ => flip(&mut out),
    }
    out
}
