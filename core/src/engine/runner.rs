//! The flow runner: gathers facts in rounds, acts once, waits for the server's answer, for every flow alike.
//!
//! `Resolving → (Committing →) AwaitingAck`: that a commit is under way is the gate's business; the flow only needs to
//! know, when a connection ends, whether its stanza had left.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::command::{Reply, SendMessage, TicketId};
use super::cx::Cx;
use super::facts::{Acted, Facts, Stop};
use super::input::{CommitSeq, ConnId};
use super::iq::IqAnswer;
use super::limits;
use super::timers::Timer;
use crate::error::{EndReason, Failure, RejectReason};
use crate::event::Warning;
use crate::flows::query::{self, Finding, Query};
use crate::flows::resend::{self, Resend};
use crate::flows::send::{self, Send, SendError};
use crate::store::records::{LidOfPn, OutboxEntry};
use crate::store::{Notes, RecordKey};
use crate::wire::{Jid, NodeRef, Str};

/// Names one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowId(u64);

/// What a flow does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// Send a message.
    Send(Send),
    /// Send a message again to one device that could not decrypt it.
    Resend(Resend),
}

/// Flows of one lane run one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Sends to one chat stay in order.
    Chat(Jid),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Another flow of the lane is first.
    Queued,
    /// Facts are being gathered.
    Resolving,
    /// The stanza is on its way out, or out.
    AwaitingAck(Awaiting),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Awaiting {
    id: Str,
    /// The stanza as it was handed to the gate; the same bytes go again after a reconnect.
    frame: Vec<u8>,
    /// It may leave when this is durable.
    after: CommitSeq,
    /// The connection it was last handed to.
    on: Option<ConnId>,
    /// It has left on an earlier connection.
    left: bool,
}

#[derive(Clone, Debug, Hash)]
struct Running {
    flow: Flow,
    ticket: Option<TicketId>,
    lane: Option<Lane>,
    stage: Stage,
    /// Facts asked of the server and not answered yet.
    asked: BTreeSet<Query>,
    /// Records that are being read.
    missing: BTreeSet<RecordKey>,
    /// The server's answers to this flow's questions.
    findings: BTreeMap<Query, Finding>,
    pins: Vec<RecordKey>,
    rounds: u32,
}

impl Running {
    /// Everything it waited for is there.
    fn is_ready(&self) -> bool {
        self.stage == Stage::Resolving && self.asked.is_empty() && self.missing.is_empty()
    }
}

/// All flows.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Runner {
    last: u64,
    flows: BTreeMap<FlowId, Running>,
    lanes: BTreeMap<Lane, VecDeque<FlowId>>,
    runnable: BTreeSet<FlowId>,
    acks: BTreeMap<Str, FlowId>,
    /// Asked of the server, no answer yet.
    open: BTreeSet<Query>,
}

impl Runner {
    /// How many flows are open.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether a send can be taken.
    pub(crate) fn admit(&self, send: &SendMessage) -> Result<(), RejectReason> {
        Send::check(send)?;
        let same_id = |flow: &Flow| matches!(flow, Flow::Send(open) if Some(open.id()) == send.id.as_ref());
        if self.flows.values().any(|running| same_id(&running.flow)) {
            return Err(RejectReason::BadContent("a message with this id is being sent"));
        }
        let waited_for = |reference: &Str| {
            self.flows.values().any(|running| {
                running.ticket.is_some() && matches!(&running.flow, Flow::Send(s) if s.reference() == Some(reference))
            })
        };
        match &send.reference {
            Some(reference) if waited_for(reference) => Err(RejectReason::DuplicateReference),
            Some(reference) if reference.is_empty() || reference.len() > 200 => {
                Err(RejectReason::BadContent("a reference has 1 to 200 bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Takes a send.
    pub(crate) fn submit(&mut self, cx: &mut Cx, ticket: TicketId, command: SendMessage) {
        if let Some(reference) = &command.reference {
            let open = self
                .flows
                .iter_mut()
                .find(|(_, r)| matches!(&r.flow, Flow::Send(s) if s.reference() == Some(reference)));
            if let Some((id, running)) = open {
                // It is on its way already, with nobody waiting: this caller does from now on.
                running.ticket = Some(ticket);
                let id = *id;
                return cx.timer_in(Timer::Flow(id), cx.config.limits.ack_timeout);
            }
        }
        let chat = command.to.jid().bare();
        // Both names of a person are one lane, as far as the mapping is in memory.
        let lane = match cx.cache.get::<LidOfPn>(&chat.user) {
            Some(LidOfPn(lid)) if chat.is_pn() => Lane::Chat(Jid::lid(lid.clone())),
            _ => Lane::Chat(chat),
        };
        let timeout = cx.config.limits.command_timeout;
        let id = self.add(Flow::Send(Send::new(cx, command)), Some(ticket), Some(lane));
        cx.timer_in(Timer::Flow(id), timeout);
    }

    /// Starts a resend.
    pub(crate) fn resend(&mut self, cx: &mut Cx, resend: Resend) {
        let resends =
            || self.flows.values().filter_map(|r| if let Flow::Resend(other) = &r.flow { Some(other) } else { None });
        // One at a time for one message and device: a repeated receipt asks for nothing more.
        if resends().any(|other| other.same(&resend)) {
            return;
        }
        if resends().count() >= limits::OPEN_RESENDS {
            // The device asks again.
            return cx.warn(Warning::Limit { name: "open_resends" });
        }
        if !resend.count_in(&mut cx.retries) {
            return;
        }
        let id = self.add(Flow::Resend(resend), None, None);
        cx.timer_in(Timer::Flow(id), cx.config.limits.command_timeout);
    }

    /// Durable sends of an earlier run: they wait for an ack again, and go out again when the connection is open.
    pub(crate) fn restore(&mut self, cx: &mut Cx, entries: Vec<(Str, OutboxEntry)>) {
        let mut entries = entries;
        entries.sort_by_key(|(_, entry)| entry.place);
        for (reference, entry) in entries {
            cx.last_place = cx.last_place.max(entry.place);
            let Some(send) = Send::restored(&reference, &entry) else { continue };
            let open =
                self.flows.iter().find(|(_, r)| matches!(&r.flow, Flow::Send(s) if s.reference() == Some(&reference)));
            let id = match open.map(|(id, running)| (*id, &running.stage)) {
                // The caller has submitted it again before it was read: the old stanza is the answer to that.
                Some((id, Stage::Queued | Stage::Resolving)) => id,
                Some((_, Stage::AwaitingAck(_))) => continue, // this run's own
                None => self.add(Flow::Send(send.clone()), None, None),
            };
            self.runnable.remove(&id);
            let stanza_id: Str = entry.id.as_str().into();
            let mut lane = None;
            if let Some(running) = self.flows.get_mut(&id) {
                running.flow = Flow::Send(send);
                lane = running.lane.take();
                running.stage = Stage::AwaitingAck(Awaiting {
                    id: stanza_id.clone(),
                    frame: entry.stanza.to_vec(),
                    after: CommitSeq(0),
                    on: None,
                    // It may have, in the earlier run.
                    left: true,
                });
            }
            if let Some(lane) = lane {
                self.next_in_lane(&lane, id);
            }
            self.acks.insert(stanza_id, id);
            if cx.open {
                self.transmit(cx, id);
            }
        }
    }

    fn add(&mut self, flow: Flow, ticket: Option<TicketId>, lane: Option<Lane>) -> FlowId {
        self.last += 1;
        let id = FlowId(self.last);
        let mut stage = Stage::Resolving;
        if let Some(lane) = &lane {
            let queue = self.lanes.entry(lane.clone()).or_default();
            if !queue.is_empty() {
                stage = Stage::Queued;
            }
            queue.push_back(id);
        }
        if stage == Stage::Resolving {
            self.runnable.insert(id);
        }
        self.flows.insert(
            id,
            Running {
                flow,
                ticket,
                lane,
                stage,
                asked: BTreeSet::new(),
                missing: BTreeSet::new(),
                findings: BTreeMap::new(),
                pins: Vec::new(),
                rounds: 0,
            },
        );
        id
    }

    /// Records came: who has all that it waited for may go on.
    pub(crate) fn records_came(&mut self, cx: &mut Cx) {
        for (id, running) in &mut self.flows {
            running.missing.retain(|key| cx.cache.is_loading(key));
            if running.is_ready() {
                self.runnable.insert(*id);
            }
        }
    }

    /// The connection is open: facts can be asked, and stanzas without an ack go again.
    pub(crate) fn opened(&mut self, cx: &mut Cx) {
        self.records_came(cx);
        let waiting: Vec<_> =
            self.flows.iter().filter(|(_, r)| matches!(r.stage, Stage::AwaitingAck(_))).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.transmit(cx, id));
    }

    fn transmit(&mut self, cx: &mut Cx, id: FlowId) {
        if let Some(Running { stage: Stage::AwaitingAck(awaiting), .. }) = self.flows.get_mut(&id) {
            awaiting.on = cx.conn;
            cx.send_frame(awaiting.frame.clone());
            // Somebody waits for an answer: from now on it can come.
            if self.flows.get(&id).is_some_and(|running| running.ticket.is_some()) {
                cx.timer_in(Timer::Flow(id), cx.config.limits.ack_timeout);
            }
        }
    }

    /// Runs what can run. Returns whether anything did.
    pub(crate) fn run(&mut self, cx: &mut Cx) -> bool {
        if !cx.open || self.runnable.is_empty() {
            return false;
        }
        let mut wanted = BTreeSet::new();
        while let Some(id) = self.runnable.pop_first() {
            self.step(cx, id, &mut wanted);
        }
        wanted.retain(|query| !self.open.contains(query));
        self.open.extend(wanted.iter().cloned());
        query::ask(cx, wanted);
        true
    }

    fn step(&mut self, cx: &mut Cx, id: FlowId, wanted: &mut BTreeSet<Query>) {
        let Some(running) = self.flows.get_mut(&id) else { return };
        if running.stage != Stage::Resolving {
            return;
        }
        running.rounds += 1;
        if running.rounds > limits::FLOW_ROUNDS {
            return self.finish(cx, id, Err(Failure::Internal("a send found no end of missing facts")));
        }
        let facts = Facts::new(&cx.cache, &running.findings);
        // The plan is made on facts alone; only then may anything change.
        let plan = match &running.flow {
            Flow::Send(send) => send.plan(cx, &facts).map(Plan::Send),
            Flow::Resend(resend) => resend.plan(cx, &facts).map(Plan::Resend),
        };
        let (needed, notes) = facts.into_notes();
        let acted = match (plan, &mut running.flow) {
            (Err(stop), _) => return self.stopped(cx, id, stop, needed, notes, wanted),
            (Ok(plan), flow) => {
                notes.used.iter().for_each(|key| cx.cache.touch(key));
                match (plan, flow) {
                    (Plan::Send(plan), Flow::Send(send)) => send.act(plan, cx),
                    (Plan::Resend(plan), Flow::Resend(resend)) => resend.act(plan, cx),
                    _ => unreachable!("a plan is made by its own flow"),
                }
            }
        };
        match acted {
            Ok(Acted::Sent { id: stanza, frame }) => {
                cx.send_frame(frame.clone());
                self.acks.insert(stanza.clone(), id);
                let after = cx.cache.next_commit();
                if let Some(running) = self.flows.get_mut(&id) {
                    running.stage = Stage::AwaitingAck(Awaiting { id: stanza, frame, after, on: cx.conn, left: false });
                }
                let timeout = cx.config.limits.ack_timeout;
                cx.timer_in(Timer::Flow(id), timeout);
                self.unpin(cx, id);
                // Order is settled once the stanza is queued; the next one need not wait for the ack.
                if let Some(lane) = self.flows.get_mut(&id).and_then(|running| running.lane.take()) {
                    self.next_in_lane(&lane, id);
                }
            }
            Ok(Acted::Finished) => self.finish(cx, id, Ok(Reply::Unit)),
            Err(SendError(failure)) => self.finish(cx, id, Err(failure)),
        }
    }

    fn stopped(
        &mut self,
        cx: &mut Cx,
        id: FlowId,
        stop: Stop,
        needed: BTreeSet<Query>,
        notes: Notes,
        wanted: &mut BTreeSet<Query>,
    ) {
        if let Stop::Fail(failure) = stop {
            return self.finish(cx, id, Err(failure));
        }
        if !notes.failed.is_empty() {
            notes.failed.iter().for_each(|key| cx.cache.forget_record(key));
            return self.finish(cx, id, Err(Failure::Storage));
        }
        cx.cache.want(notes.missing.iter().cloned());
        let Some(running) = self.flows.get_mut(&id) else { return };
        running.asked = needed.into_iter().filter(|query| !running.findings.contains_key(query)).collect();
        running.missing = notes.missing.iter().filter(|key| cx.cache.is_loading(key)).cloned().collect();
        if running.asked.is_empty() && running.missing.is_empty() {
            return self.finish(cx, id, Err(Failure::Internal("a plan stopped without a reason")));
        }
        wanted.extend(running.asked.iter().cloned());
        // What it has read and will read stays until it is done, so that rounds never undo each other.
        for key in notes.used.into_iter().chain(notes.missing) {
            if !running.pins.contains(&key) {
                cx.cache.pin(&key);
                running.pins.push(key);
            }
        }
    }

    /// The server answered questions about facts.
    pub(crate) fn answered(&mut self, cx: &mut Cx, queries: Vec<Query>, answer: IqAnswer<'_>) {
        for query in &queries {
            self.open.remove(query);
        }
        if matches!(answer, IqAnswer::Disconnected) {
            // Asked again when the connection is open again.
            self.flows.values_mut().for_each(|running| running.asked.retain(|asked| !queries.contains(asked)));
            return;
        }
        for (query, finding) in query::answered(cx, queries, answer) {
            let mut given = false;
            for (id, running) in &mut self.flows {
                if !running.asked.remove(&query) {
                    continue;
                }
                // The one-time key of a bundle is good for one session: the first flow starts it, the others look again
                // and find it.
                if !(given && matches!(finding, Finding::Bundle(_))) {
                    running.findings.insert(query.clone(), finding.clone());
                    given = true;
                }
                if running.is_ready() {
                    self.runnable.insert(*id);
                }
            }
        }
    }

    /// `<ack class="message">`.
    pub(crate) fn acked(&mut self, cx: &mut Cx, ack: NodeRef<'_>) {
        let Some(id) = ack.text("id").and_then(|id| self.acks.get(&id).copied()) else { return };
        let result = match self.flows.get(&id).map(|running| &running.flow) {
            Some(Flow::Send(send)) => send.acked(cx, ack),
            Some(Flow::Resend(_)) | None => Ok(Reply::Unit),
        };
        self.finish(cx, id, result);
    }

    /// A flow's deadline.
    pub(crate) fn timed_out(&mut self, cx: &mut Cx, id: FlowId) {
        let Some(running) = self.flows.get(&id) else { return };
        if let (Flow::Send(send), Stage::AwaitingAck(awaiting)) = (&running.flow, &running.stage)
            && send.reference().is_some()
        {
            // It is in the outbox and stays there: the caller is told that nothing is known, and later how it ended.
            let failure = Failure::Unknown { id: awaiting.id.clone() };
            let ticket = self.flows.get_mut(&id).and_then(|running| running.ticket.take());
            return cx.done(ticket, Err(failure));
        }
        let failure = match &running.stage {
            Stage::Queued | Stage::Resolving => Failure::Timeout,
            Stage::AwaitingAck(awaiting) if has_left(cx, awaiting) => Failure::Unknown { id: awaiting.id.clone() },
            Stage::AwaitingAck(_) => Failure::NotSent,
        };
        self.finish(cx, id, Err(failure));
    }

    /// The connection is about to be forgotten: note what had left.
    pub(crate) fn down(&mut self, cx: &mut Cx) {
        for running in self.flows.values_mut() {
            running.asked.clear();
            running.findings.clear();
            if let Stage::AwaitingAck(awaiting) = &mut running.stage {
                awaiting.left = has_left(cx, awaiting);
                awaiting.on = None;
            }
        }
        self.open.clear();
    }

    /// Storage failed: what was made in memory only never happened. What may have left, or may be in the outbox, is of
    /// unknown fate; what is in the outbox is read again and goes on.
    pub(crate) fn storage_failed(&mut self, cx: &mut Cx) {
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            let Some(running) = self.flows.get(&id) else { continue };
            let durable = matches!(&running.flow, Flow::Send(send) if send.reference().is_some());
            let failure = match &running.stage {
                Stage::AwaitingAck(awaiting) if durable || has_left(cx, awaiting) => {
                    Failure::Unknown { id: awaiting.id.clone() }
                }
                _ => Failure::Storage,
            };
            self.end_flow(cx, id, Err(failure), false);
        }
        *self = Self { last: self.last, ..Self::default() };
    }

    /// The session is over.
    pub(crate) fn end(&mut self, cx: &mut Cx, reason: &EndReason) {
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            let Some(running) = self.flows.get(&id) else { continue };
            let failure = match &running.stage {
                Stage::AwaitingAck(awaiting)
                    if awaiting.left || matches!(&running.flow, Flow::Send(s) if s.reference().is_some()) =>
                {
                    Failure::Unknown { id: awaiting.id.clone() }
                }
                _ => Failure::SessionEnded(reason.clone()),
            };
            // A durable send stays in the outbox for the next session.
            self.end_flow(cx, id, Err(failure), false);
        }
    }

    fn finish(&mut self, cx: &mut Cx, id: FlowId, result: Result<Reply, Failure>) {
        self.end_flow(cx, id, result, true);
    }

    fn end_flow(&mut self, cx: &mut Cx, id: FlowId, result: Result<Reply, Failure>, settled: bool) {
        self.unpin(cx, id);
        let Some(running) = self.flows.remove(&id) else { return };
        self.runnable.remove(&id);
        cx.timers.clear(Timer::Flow(id));
        if let Stage::AwaitingAck(awaiting) = &running.stage {
            self.acks.remove(&awaiting.id);
        }
        if let Flow::Send(send) = &running.flow
            && let Some(reference) = send.reference()
        {
            let known = matches!(running.stage, Stage::AwaitingAck(_));
            let answered = !matches!(result, Err(Failure::Unknown { .. } | Failure::NotSent));
            if settled && known && answered {
                cx.cache.delete::<OutboxEntry>(reference);
                if running.ticket.is_none() {
                    // Of an earlier run: nobody holds a ticket for it any more.
                    send.tell(cx, reference, &result);
                }
            }
        }
        if let Some(lane) = running.lane {
            self.next_in_lane(&lane, id);
        }
        cx.done(running.ticket, result);
    }

    fn next_in_lane(&mut self, lane: &Lane, ended: FlowId) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        queue.retain(|id| *id != ended);
        match queue.front() {
            None => {
                self.lanes.remove(lane);
            }
            Some(next) => {
                if let Some(running) = self.flows.get_mut(next)
                    && running.stage == Stage::Queued
                {
                    running.stage = Stage::Resolving;
                    self.runnable.insert(*next);
                }
            }
        }
    }

    fn unpin(&mut self, cx: &mut Cx, id: FlowId) {
        if let Some(running) = self.flows.get_mut(&id) {
            core::mem::take(&mut running.pins).iter().for_each(|key| cx.cache.unpin(key));
        }
    }
}

/// The plan of a flow.
#[allow(clippy::large_enum_variant, reason = "made and consumed at once, never kept")]
enum Plan {
    Send(send::Plan),
    Resend(resend::Plan),
}

/// Whether a stanza has left, on an earlier connection or on the one in use.
fn has_left(cx: &Cx, awaiting: &Awaiting) -> bool {
    let on_this = cx.secured.as_ref().is_some_and(|secured| awaiting.on == Some(secured.id));
    awaiting.left || (on_this && cx.cache.durable() >= awaiting.after)
}
