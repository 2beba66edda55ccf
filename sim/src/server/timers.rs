//! What happens by itself as time passes.

use amarula_core::wire::{Jid, Node};

use super::conn::{Asked, Role};
use super::outbox::State;
use super::{ConnId, DeviceKey, Server};
use crate::codec::Read as _;
use crate::time::SimTime;
use crate::violation::Rule;

impl Server {
    /// When [`Self::tick`] has something to do, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<SimTime> {
        let mut out: Vec<SimTime> = Vec::new();
        for state in self.conns.values().filter(|state| !state.silent) {
            out.extend(state.expires);
            out.extend(
                state.asked.values().filter(|(a, _)| *a != Asked::Ping).map(|(_, at)| *at + self.config.ack_deadline),
            );
            if let Role::Unpaired(unpaired) = &state.role {
                out.extend(unpaired.outbox.entries.values().filter_map(|entry| match entry.state {
                    State::Sent { at, reported: false, .. } => Some(at + self.config.ack_deadline),
                    _ => None,
                }));
            }
            out.extend(
                state
                    .asked
                    .values()
                    .filter(|(asked, _)| *asked == Asked::Ping)
                    .map(|(_, at)| *at + self.config.ping_deadline),
            );
            if self.config.ping_interval > 0 && matches!(state.role, Role::Device(_)) {
                out.push(state.last_ping.max(state.last_received) + self.config.ping_interval);
            }
        }
        for account in self.accounts.values() {
            for entry in account.companions.values().flat_map(|companion| companion.outbox.entries.values()) {
                if let State::Sent { at, reported: false, .. } = entry.state
                    && !entry.lost
                {
                    out.push(at + self.config.ack_deadline);
                }
            }
        }
        out.into_iter().min()
    }

    /// Time has come to `now`.
    pub fn tick(&mut self, now: SimTime) {
        self.advance(now);
        let now = self.now;
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.tick_conn(conn, now);
        }
        let keys: Vec<DeviceKey> = self
            .accounts
            .iter()
            .flat_map(|(id, account)| account.companions.keys().map(move |device| (*id, *device)))
            .collect();
        for key in keys {
            self.tick_outbox(key, now);
        }
    }

    fn tick_conn(&mut self, conn: ConnId, now: SimTime) {
        let Some(state) = self.conns.get(&conn).filter(|state| !state.silent) else { return };
        if state.expires.is_some_and(|at| at <= now) {
            return self.close(conn);
        }
        let deadline = self.config.ping_deadline;
        let late = state.asked.values().any(|(asked, at)| *asked == Asked::Ping && *at + deadline <= now);
        if late {
            self.object(Some(conn), None, Rule::Ping, None, "a ping of the server stayed unanswered");
            return self.close(conn);
        }
        self.tick_asked(conn, now);
        let Some(state) = self.conns.get(&conn) else { return };
        let waits = state.asked.values().any(|(asked, _)| *asked == Asked::Ping);
        let idle = state.last_ping.max(state.last_received) + self.config.ping_interval <= now;
        if self.config.ping_interval > 0 && idle && !waits && matches!(state.role, Role::Device(_)) {
            self.ping(now, conn);
        }
    }

    /// Pairing requests and notifications that an unpaired client does not answer.
    fn tick_asked(&mut self, conn: ConnId, now: SimTime) {
        let deadline = self.config.ack_deadline;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let due = |asked: Asked, at: SimTime| asked != Asked::Ping && at + deadline <= now;
        let late = state.asked.iter().find(|(_, (asked, at))| due(*asked, *at)).map(|(id, _)| id.clone());
        let mut details = Vec::new();
        if let Some((asked, _)) = late.and_then(|id| state.asked.remove(&id)) {
            details.push((format!("{asked:?} got no answer"), None));
        }
        if let Role::Unpaired(unpaired) = &mut state.role {
            for entry in unpaired.outbox.entries.values_mut() {
                if let State::Sent { at, reported, .. } = &mut entry.state
                    && !*reported
                    && *at + deadline <= now
                {
                    *reported = true;
                    details.push(("owes an ack".to_owned(), Some(entry.node.clone())));
                }
            }
        }
        for (detail, node) in details {
            self.object(Some(conn), None, Rule::Unanswered, node.as_ref(), detail);
        }
    }

    /// Sends a server ping (transport §11).
    pub fn ping(&mut self, now: SimTime, conn: ConnId) {
        self.advance(now);
        let id = self.stanza_id();
        let now = self.now;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.last_ping = now;
        state.asked.insert(id.clone(), (Asked::Ping, now));
        let node = Node::new("iq")
            .attr("from", Jid::server())
            .attr("type", "get")
            .attr("id", id)
            .attr("xmlns", "urn:xmpp:ping")
            .child(Node::new("ping"));
        self.send(conn, &node);
    }

    fn tick_outbox(&mut self, key: DeviceKey, now: SimTime) {
        let deadline = self.config.ack_deadline;
        let Some(companion) = self.companion_mut(key) else { return };
        let mut late: Vec<(ConnId, Node)> = Vec::new();
        for entry in companion.outbox.entries.values_mut().filter(|entry| !entry.lost) {
            if let State::Sent { conn, at, reported } = &mut entry.state
                && !*reported
                && *at + deadline <= now
            {
                *reported = true;
                late.push((*conn, entry.node.clone()));
            }
        }
        let mut closing = None;
        for (conn, node) in late {
            self.object(Some(conn), Some(key), Rule::Unanswered, Some(&node), "owes an ack or receipt");
            closing.get_or_insert((conn, node));
        }
        if let Some((conn, node)) = closing.filter(|_| self.config.enforce_acks) {
            let ack = Node::new("ack").attr("class", node.tag.clone()).attr("id", node.text("id"));
            self.stream_error(conn, Node::new("stream:error").child(ack));
        }
    }
}
