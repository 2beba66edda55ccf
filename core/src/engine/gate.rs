//! The commit gate: one queue, in which nothing that depends on a write leaves before the write is durable.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::command::Completion;
use super::input::{CommitSeq, ConnId};
use super::output::{Endpoint, Output};
use crate::event::{Delivery, DeliveryId, Event};
use crate::wire::noise::{SendCipher, TransportError};

/// Bytes of a frame's length prefix.
pub(crate) const LENGTH_BYTES: usize = 3;

/// Something that may have to wait for a commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    /// Open a connection.
    Open(ConnId, Endpoint),
    /// Bytes that go out as they are (handshake).
    Raw(ConnId, Bytes),
    /// A frame's plaintext behind three bytes of room for its length; encrypted in place when it leaves, so that counters
    /// follow the real order.
    Frame(ConnId, Vec<u8>),
    /// Close a connection.
    Close(ConnId),
    /// Tell the consumer.
    Event(Delivery),
    /// Answer a command.
    Done(Completion),
    /// The consumer's confirmation of a delivery is durable.
    Confirmed(DeliveryId),
}

/// Everything on its way out.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Gate {
    ready: VecDeque<Output>,
    held: VecDeque<(CommitSeq, Held)>,
    /// Produced by the input being handled.
    fresh: Vec<Held>,
    /// Inbox entries that the consumer was given and has not confirmed: not given twice in one run.
    delivered: BTreeSet<DeliveryId>,
}

impl Gate {
    /// Adds something that may depend on what the current input writes.
    pub(crate) fn push(&mut self, held: Held) {
        self.fresh.push(held);
    }

    /// Adds something that depends on nothing: storage operations and emergency closes.
    pub(crate) fn push_now(&mut self, output: Output) {
        self.ready.push_back(output);
    }

    /// Ends an input: what it produced waits for `after`.
    pub(crate) fn seal(&mut self, after: CommitSeq) {
        self.held.extend(self.fresh.drain(..).map(|held| (after, held)));
    }

    /// Lets go of what waits for nothing more. Frames are encrypted here, by `cipher` of connection `conn`; frames of other
    /// connections are dropped. Returns whether a frame was sent, or the error of a cipher that cannot go on.
    pub(crate) fn release(
        &mut self,
        durable: CommitSeq,
        mut link: Option<(ConnId, &mut SendCipher)>,
        opened: Option<ConnId>,
    ) -> Result<bool, TransportError> {
        let mut sent = false;
        while self.held.front().is_some_and(|(after, _)| *after <= durable) {
            let Some((_, held)) = self.held.pop_front() else { break };
            match held {
                Held::Open(conn, endpoint) => self.ready.push_back(Output::Open(conn, endpoint)),
                Held::Raw(conn, bytes) => {
                    if opened == Some(conn) {
                        self.ready.push_back(Output::Send(conn, bytes));
                        sent = true;
                    }
                }
                Held::Frame(conn, plaintext) => {
                    if let Some((current, cipher)) = &mut link
                        && *current == conn
                    {
                        let mut frame = plaintext;
                        cipher.seal(&mut frame, LENGTH_BYTES)?;
                        let length = u32::try_from(frame.len() - LENGTH_BYTES).unwrap_or(u32::MAX).to_be_bytes();
                        frame[..LENGTH_BYTES].copy_from_slice(&length[1..]);
                        self.ready.push_back(Output::Send(conn, frame.into()));
                        sent = true;
                    }
                }
                Held::Close(conn) => self.ready.push_back(Output::Close(conn)),
                Held::Event(delivery) => {
                    let fresh = delivery.id.is_none_or(|id| self.delivered.insert(id));
                    if fresh {
                        self.ready.push_back(Output::Event(delivery));
                    }
                }
                Held::Done(completion) => self.ready.push_back(Output::Done(completion)),
                Held::Confirmed(id) => {
                    self.delivered.remove(&id);
                }
            }
        }
        Ok(sent)
    }

    /// A commit failed: what waits for it or a later one will never be true. Frames and news of what was received are
    /// dropped; what is true all the same (a connection is closed, its state changed) leaves now. Returns the answers to
    /// commands that were among it.
    pub(crate) fn drop_held(&mut self) -> Vec<Completion> {
        let mut answers = Vec::new();
        for held in self.held.drain(..).map(|(_, held)| held).chain(self.fresh.drain(..)) {
            match held {
                Held::Done(completion) => answers.push(completion),
                Held::Close(conn) => self.ready.push_back(Output::Close(conn)),
                Held::Event(delivery) if matches!(delivery.event, Event::Connection(_) | Event::Warning(_)) => {
                    self.ready.push_back(Output::Event(delivery));
                }
                // Not confirmed after all; but the consumer has it, and is not given it twice in one run.
                Held::Confirmed(_) => {}
                Held::Event(_) | Held::Open(..) | Held::Raw(..) | Held::Frame(..) => {}
            }
        }
        answers
    }

    /// Inbox entries that the consumer has and has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.delivered.len()
    }

    /// The account is gone, and its inbox with it.
    pub(crate) fn forget_deliveries(&mut self) {
        self.delivered.clear();
    }

    /// How many outputs wait for a commit.
    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// The next output that may leave.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    /// Nothing waits and nothing is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty() && self.fresh.is_empty()
    }
}
