//! What a device is still owed, or still owes an answer to (transport §14, messages §11, §13).

use std::collections::{BTreeMap, BTreeSet};

use amarula_core::wire::{Jid, Node};

use super::ConnId;
use crate::codec::Read as _;
use crate::time::SimTime;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not sent on the present connection.
    Queued,
    /// Sent and unanswered.
    Sent {
        /// Where.
        conn: ConnId,
        /// When.
        at: SimTime,
        /// Whether it was already reported as unanswered.
        reported: bool,
    },
}

/// A stanza on its way to a device.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) state: State,
    pub(crate) offline: bool,
    /// A retry receipt came; a plain message ack is owed now.
    pub(crate) retried: bool,
    pub(crate) lost: bool,
    /// A test interfered: any answer is fine.
    pub(crate) disturbed: bool,
}

/// What identifies a stanza for its answer.
pub(crate) type Key = (String, String, Jid, Option<Jid>);

/// Tag, id, from, participant.
pub(crate) fn key_of(node: &Node) -> Key {
    let class = if node.tag == "status" { "message" } else { node.tag.as_str() };
    (class.to_owned(), node.text("id"), node.jid("from").unwrap_or_else(Jid::server), node.jid("participant"))
}

/// The queue of one companion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) entries: BTreeMap<u64, Entry>,
    next: u64,
    /// Answered on the present connection, to tell a duplicate answer from an unasked one.
    pub(crate) answered: BTreeSet<Key>,
    /// Sent twice by [`super::faults::DeliveryFault::Duplicate`]: each may be answered a second time.
    pub(crate) doubled: BTreeSet<Key>,
    /// Stanzas held back by [`super::faults::DeliveryFault::Delay`].
    pub(crate) delayed: Vec<Node>,
    /// Backlog still to be announced as complete.
    pub(crate) draining: Option<Drain>,
}

/// A backlog being delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    pub(crate) total: usize,
    pub(crate) sent: usize,
    /// How many more may be sent now.
    pub(crate) credit: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, node: Node) -> u64 {
        let seq = self.next;
        self.next += 1;
        let offline = self.draining.is_some();
        self.entries
            .insert(seq, Entry { node, state: State::Queued, offline, retried: false, lost: false, disturbed: false });
        if let Some(drain) = self.draining.as_mut() {
            drain.total += 1;
        }
        seq
    }

    /// Everything unanswered comes again on the next connection.
    pub(crate) fn disconnected(&mut self) {
        for entry in self.entries.values_mut() {
            entry.state = State::Queued;
            entry.offline = true;
            entry.retried = false;
            entry.lost = false;
        }
        self.answered.clear();
        self.doubled.clear();
        self.delayed.clear();
        self.draining = None;
    }

    /// The unanswered, sent entry with this key.
    pub(crate) fn find(&self, key: &Key) -> Option<u64> {
        self.entries
            .iter()
            .find(|(_, entry)| matches!(entry.state, State::Sent { .. }) && key_of(&entry.node) == *key)
            .map(|(seq, _)| *seq)
    }

    /// The sent entry of this class, id and from, whatever its participant.
    pub(crate) fn find_loosely(&self, class: &str, id: &str, from: &Jid) -> Option<u64> {
        self.entries
            .iter()
            .find(|(_, entry)| {
                let key = key_of(&entry.node);
                matches!(entry.state, State::Sent { .. }) && key.0 == class && key.1 == id && key.2 == *from
            })
            .map(|(seq, _)| *seq)
    }

    /// Whether an answer that fits nothing sent is the second one to what was sent twice.
    pub(crate) fn is_second_answer(&mut self, key: &Key) -> bool {
        self.answered.contains(key) && self.doubled.remove(key)
    }

    pub(crate) fn finish(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        self.answered.insert(key_of(&entry.node));
        Some(entry)
    }
}
