//! The flow runner: gathers facts in rounds, acts once, waits for the server's answer, for every flow alike.
//!
//! `Resolving → (Committing →) AwaitingAck`: that a commit is under way is the gate's business; the flow only needs to
//! know, when a connection ends, whether its stanza had left.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::command::{Reply, SendMessage, TicketId};
use super::cx::Cx;
use super::input::{CommitSeq, ConnId};
use super::iq::IqAnswer;
use super::limits;
use super::timers::Timer;
use crate::error::{EndReason, Failure, RejectReason};
use crate::flows::IqOwner;
use crate::flows::query::{self, Finding, Query};
use crate::flows::resend::{self, Resend};
use crate::flows::send::{self, Send, SendError};
use crate::store::records::OutboxEntry;
use crate::store::{Gap, Notes, RecordKey, View};
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
    /// Answers this flow has used or waits for: kept until it ends.
    interest: BTreeSet<Query>,
    pins: Vec<RecordKey>,
    rounds: u32,
}

/// All flows.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Runner {
    last: u64,
    flows: BTreeMap<FlowId, Running>,
    lanes: BTreeMap<Lane, VecDeque<FlowId>>,
    runnable: BTreeSet<FlowId>,
    acks: BTreeMap<Str, FlowId>,
    findings: BTreeMap<Query, Finding>,
    /// Asked of the server, no answer yet.
    open: BTreeSet<Query>,
    references: BTreeSet<Str>,
}

/// What a plan may look at.
pub(crate) struct Facts<'a> {
    pub(crate) view: View<'a>,
    findings: &'a BTreeMap<Query, Finding>,
    needed: core::cell::RefCell<BTreeSet<Query>>,
}

impl Facts<'_> {
    /// The answer to a question that only the server can answer.
    ///
    /// # Errors
    /// [`Gap`] until it was asked and answered.
    pub(crate) fn ask(&self, query: &Query) -> Result<&Finding, Gap> {
        self.needed.borrow_mut().insert(query.clone());
        self.findings.get(query).ok_or(Gap)
    }
}

/// Why a plan did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Facts are missing.
    Gap,
    /// It can never come about.
    Fail(Failure),
}

impl From<Gap> for Stop {
    fn from(_: Gap) -> Self {
        Self::Gap
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}

/// What acting on a plan made.
pub(crate) enum Acted {
    /// A stanza whose ack is awaited.
    Sent {
        /// Its id.
        id: Str,
        /// As [`crate::engine::cx::encode_frame`] makes it.
        frame: Vec<u8>,
    },
    /// Done, with nothing to wait for.
    Finished,
}

impl Runner {
    /// Whether a send can be taken.
    pub(crate) fn admit(&self, send: &SendMessage) -> Result<(), RejectReason> {
        Send::check(send)?;
        match &send.reference {
            Some(reference) if self.references.contains(reference) => Err(RejectReason::DuplicateReference),
            Some(reference) if reference.is_empty() || reference.len() > 200 => {
                Err(RejectReason::BadContent("a reference has 1 to 200 bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Takes a send.
    pub(crate) fn submit(&mut self, cx: &mut Cx, ticket: TicketId, command: SendMessage) {
        if let Some(reference) = &command.reference {
            self.references.insert(reference.clone());
        }
        let lane = Lane::Chat(command.to.jid().bare());
        let timeout = cx.config.limits.command_timeout;
        let id = self.add(Flow::Send(Send::new(cx, command)), Some(ticket), Some(lane));
        cx.timer_in(Timer::Flow(id), timeout);
    }

    /// Starts a resend.
    pub(crate) fn resend(&mut self, cx: &mut Cx, resend: Resend) {
        // One at a time for one message and device: a repeated receipt asks for nothing more.
        if self.flows.values().any(|running| matches!(&running.flow, Flow::Resend(other) if other.same(&resend))) {
            return;
        }
        let id = self.add(Flow::Resend(resend), None, None);
        cx.timer_in(Timer::Flow(id), cx.config.limits.command_timeout);
    }

    /// Durable sends of an earlier run: they wait for an ack again, and go out again when the connection is open.
    pub(crate) fn restore(&mut self, cx: &mut Cx, entries: Vec<(Str, OutboxEntry)>) {
        for (reference, entry) in entries {
            let Some(send) = Send::restored(&reference, &entry) else { continue };
            let open =
                self.flows.iter().find(|(_, r)| matches!(&r.flow, Flow::Send(s) if s.reference() == Some(&reference)));
            let id = match open.map(|(id, running)| (*id, &running.stage)) {
                // The caller has submitted it again before it was read: the old stanza is the answer to that.
                Some((id, Stage::Queued | Stage::Resolving)) => id,
                Some((_, Stage::AwaitingAck(_))) => continue, // this run's own
                None => self.add(Flow::Send(send.clone()), None, None),
            };
            self.references.insert(reference);
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
                    left: false,
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
                interest: BTreeSet::new(),
                pins: Vec::new(),
                rounds: 0,
            },
        );
        id
    }

    /// Records came: whoever waits for some may go on.
    pub(crate) fn records_came(&mut self) {
        let ready = self.flows.iter().filter(|(_, r)| r.stage == Stage::Resolving && r.asked.is_empty());
        self.runnable.extend(ready.map(|(id, _)| *id));
    }

    /// The connection is open: facts can be asked, and stanzas without an ack go again.
    pub(crate) fn opened(&mut self, cx: &mut Cx) {
        self.records_came();
        let waiting: Vec<_> =
            self.flows.iter().filter(|(_, r)| matches!(r.stage, Stage::AwaitingAck(_))).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.transmit(cx, id));
    }

    fn transmit(&mut self, cx: &mut Cx, id: FlowId) {
        if let Some(Running { stage: Stage::AwaitingAck(awaiting), .. }) = self.flows.get_mut(&id) {
            awaiting.on = cx.conn;
            cx.send_frame(awaiting.frame.clone());
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
        let facts = Facts { view: View::new(&cx.cache), findings: &self.findings, needed: Default::default() };
        // The plan is made on facts alone; only then may anything change.
        let plan = match &running.flow {
            Flow::Send(send) => send.plan(cx, &facts).map(Plan::Send),
            Flow::Resend(resend) => resend.plan(cx, &facts).map(Plan::Resend),
        };
        let (needed, notes) = (facts.needed.into_inner(), facts.view.into_notes());
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
            notes.failed.iter().for_each(|key| cx.cache.forget_failure(key));
            return self.finish(cx, id, Err(Failure::Storage));
        }
        cx.cache.want(notes.missing.iter().cloned());
        let Some(running) = self.flows.get_mut(&id) else { return };
        let asked: Vec<_> = needed.iter().filter(|query| !self.findings.contains_key(*query)).cloned().collect();
        if asked.is_empty() && notes.missing.is_empty() {
            return self.finish(cx, id, Err(Failure::Internal("a plan stopped without a reason")));
        }
        running.asked = asked.iter().cloned().collect();
        running.interest.extend(needed);
        wanted.extend(asked);
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
            for (id, running) in &mut self.flows {
                if running.asked.remove(&query) && running.asked.is_empty() && running.stage == Stage::Resolving {
                    self.runnable.insert(*id);
                }
            }
            if self.flows.values().any(|running| running.interest.contains(&query)) {
                self.findings.insert(query, finding);
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
            if let Stage::AwaitingAck(awaiting) = &mut running.stage {
                awaiting.left = has_left(cx, awaiting);
                awaiting.on = None;
            }
        }
        self.open.clear();
        self.findings.clear();
    }

    /// Storage failed: what was made in memory only never happened. What had left is awaited no more: the ratchet that
    /// made it is durable, the answer to it is not tied to this memory.
    pub(crate) fn storage_failed(&mut self, cx: &mut Cx) {
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            let Some(running) = self.flows.get(&id) else { continue };
            let failure = match &running.stage {
                Stage::AwaitingAck(awaiting) if has_left(cx, awaiting) => Failure::Unknown { id: awaiting.id.clone() },
                _ => Failure::Storage,
            };
            self.finish(cx, id, Err(failure));
        }
        *self = Self { last: self.last, ..Self::default() };
    }

    /// The session is over.
    pub(crate) fn end(&mut self, cx: &mut Cx, reason: &EndReason) {
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            let Some(running) = self.flows.get(&id) else { continue };
            let failure = match &running.stage {
                Stage::AwaitingAck(awaiting) if awaiting.left => Failure::Unknown { id: awaiting.id.clone() },
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
            self.references.remove(reference);
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
        self.findings.retain(|query, _| self.flows.values().any(|other| other.interest.contains(query)));
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
enum Plan {
    Send(send::Plan),
    Resend(resend::Plan),
}

/// Whether a stanza has left, on an earlier connection or on the one in use.
fn has_left(cx: &Cx, awaiting: &Awaiting) -> bool {
    let on_this = cx.secured.as_ref().is_some_and(|secured| awaiting.on == Some(secured.id));
    awaiting.left || (on_this && cx.cache.durable() >= awaiting.after)
}

/// Kept apart from [`IqOwner`] so that the runner alone knows who asked.
pub(crate) fn owner(queries: Vec<Query>) -> IqOwner {
    IqOwner::Facts(queries)
}
