//! Inbound stanzas in arrival order: each is dealt with when the records it needs are in memory, none overtakes another.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cx::{Cx, Signal};
use super::runner::Runner;
use crate::event::Warning;
use crate::flows::login::Login;
use crate::flows::pair::Pair;
use crate::flows::prekeys::Prekeys;
use crate::flows::{ib, notify, receipts, receive};
use crate::store::{Gap, Notes, RecordKey, View};
use crate::wire::{Document, NodeLimits, NodeRef, Str};

/// How many stanzas are looked at together, so that what they need is read in one round.
const LOOK_AHEAD: usize = 64;

/// The queue.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Inbound {
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// How many from the front have been looked at already.
    looked: usize,
    /// The first one waits for records.
    waiting: bool,
    /// Records that the first one has read or will read: they stay, so that rounds never undo each other.
    pins: Vec<RecordKey>,
    /// A read for the first one failed once already.
    failed: bool,
}

/// The flows that inbound stanzas concern.
pub(crate) struct Handlers<'a> {
    pub(crate) prekeys: &'a mut Prekeys,
    pub(crate) pair: &'a mut Pair,
    pub(crate) runner: &'a mut Runner,
    pub(crate) login: &'a mut Login,
}

/// What is to be done with a stanza, decided on known facts.
#[allow(clippy::large_enum_variant, reason = "made and consumed at once, never kept")]
enum Plan {
    Message(receive::Plan),
    Receipt(receipts::Plan),
    Notification(notify::Plan),
    /// Needs no records.
    Plain,
}

impl Inbound {
    pub(crate) fn push(&mut self, stanza: Bytes) {
        self.bytes += stanza.len();
        self.queue.push_back(stanza);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records came.
    pub(crate) fn wake(&mut self) {
        self.waiting = false;
    }

    /// The connection is gone: what was not dealt with was not acknowledged either, and comes again.
    pub(crate) fn clear(&mut self, cx: &mut Cx) {
        self.pins.iter().for_each(|key| cx.cache.unpin(key));
        *self = Self::default();
    }

    /// Deals with as many stanzas as possible. Returns whether there was one.
    pub(crate) fn run(&mut self, cx: &mut Cx, flows: &mut Handlers<'_>) -> bool {
        let mut any = false;
        if self.waiting {
            self.look_ahead(cx);
        }
        while !self.waiting {
            let Some(stanza) = self.queue.front().cloned() else { break };
            let Ok(document) = Document::parse(&stanza, &NodeLimits::default()) else {
                self.pop(cx);
                continue;
            };
            let node = document.root();
            let (plan, notes) = plan(cx, node);
            match plan {
                Ok(plan) => {
                    notes.used.iter().for_each(|key| cx.cache.touch(key));
                    self.pop(cx);
                    any = true;
                    match plan {
                        Plan::Message(plan) => receive::act(plan, cx, node),
                        Plan::Receipt(plan) => receipts::act(plan, cx, flows.runner, node),
                        Plan::Notification(plan) => notify::act(plan, cx, node, flows.prekeys, flows.pair),
                        Plan::Plain => plain(cx, node, flows.login),
                    }
                    flows.login.took(cx, node);
                    // A signal may end the session; nothing more is taken until that is done.
                    if !cx.signals.is_empty() {
                        return true;
                    }
                }
                Err(Gap) if notes.missing.is_empty() && notes.failed.is_empty() => {
                    // A fault of ours; the stanza is given up rather than all that follow it.
                    debug_assert!(false, "a plan stopped without a reason: {node}");
                    self.pop(cx);
                    cx.warn(Warning::BadStanza { what: Str::const_new("a stanza that could not be planned") });
                    receipts::nack(cx, node, 500);
                }
                Err(Gap) if notes.missing.iter().any(|key| !self.can_load(cx, key)) => {
                    // It names a record that no store can hold; it would wait for ever.
                    self.pop(cx);
                    cx.warn(Warning::BadStanza { what: Str::const_new("a stanza with an impossible name") });
                    receipts::nack(cx, node, 487);
                }
                Err(Gap) => {
                    self.wait(cx, notes);
                    self.look_ahead(cx);
                }
            }
        }
        any
    }

    fn can_load(&self, cx: &mut Cx, key: &RecordKey) -> bool {
        cx.cache.want([key.clone()]);
        cx.cache.is_loading(key)
    }

    fn wait(&mut self, cx: &mut Cx, notes: Notes) {
        if !notes.failed.is_empty() {
            // Perhaps it was read ahead long ago: once more. If that fails too, start over; what is not acknowledged comes
            // again.
            notes.failed.iter().for_each(|key| cx.cache.forget_record(key));
            if core::mem::replace(&mut self.failed, true) {
                cx.signal(Signal::StorageFailed(Str::const_new("a record could not be read")));
            }
        }
        let notes = Notes { missing: notes.missing.union(&notes.failed).cloned().collect(), ..notes };
        cx.cache.want(notes.missing.iter().cloned());
        for key in notes.used.into_iter().chain(notes.missing) {
            if !self.pins.contains(&key) {
                cx.cache.pin(&key);
                self.pins.push(key);
            }
        }
        self.waiting = true;
    }

    /// Asks for what the next stanzas will need while the first one waits.
    fn look_ahead(&mut self, cx: &mut Cx) {
        for stanza in self.queue.iter().take(LOOK_AHEAD).skip(self.looked.max(1)) {
            if let Ok(document) = Document::parse(stanza, &NodeLimits::default()) {
                let (_, notes) = plan(cx, document.root());
                cx.cache.want(notes.missing);
            }
        }
        self.looked = self.queue.len().min(LOOK_AHEAD);
    }

    fn pop(&mut self, cx: &mut Cx) {
        core::mem::take(&mut self.pins).iter().for_each(|key| cx.cache.unpin(key));
        if let Some(stanza) = self.queue.pop_front() {
            self.bytes -= stanza.len();
            self.looked = self.looked.saturating_sub(1);
            self.failed = false;
        }
    }
}

fn plan(cx: &Cx, node: NodeRef<'_>) -> (Result<Plan, Gap>, Notes) {
    let view = View::new(&cx.cache);
    let plan = match node.tag() {
        "message" | "status" => receive::plan(cx, &view, node).map(Plan::Message),
        "receipt" => receipts::plan(cx, &view, node).map(Plan::Receipt),
        "notification" => notify::plan(cx, &view, node).map(Plan::Notification),
        _ => Ok(Plan::Plain),
    };
    (plan, view.into_notes())
}

fn plain(cx: &mut Cx, node: NodeRef<'_>, login: &mut Login) {
    match node.tag() {
        "ib" => ib::received(cx, login, node),
        "call" => receipts::ack(cx, node),
        _ => receipts::unknown_stanza(cx, node),
    }
}
