//! Sending a message to a chat.

use crate::engine::command::{Reply, SendMessage};
use crate::engine::cx::Cx;
use crate::engine::runner::{Acted, Facts, Stop};
use crate::error::{Failure, RejectReason};
use crate::store::records::OutboxEntry;
use crate::wire::{NodeRef, Str};

/// A send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Send {
    command: SendMessage,
}

/// It failed while being made; nothing has changed.
pub(crate) struct SendError(pub(crate) Failure);

pub(crate) struct Plan;

impl Send {
    pub(crate) fn check(_command: &SendMessage) -> Result<(), RejectReason> {
        Ok(())
    }

    pub(crate) fn new(_cx: &mut Cx, command: SendMessage) -> Self {
        Self { command }
    }

    pub(crate) fn restored(_reference: &Str, _entry: &OutboxEntry) -> Option<Self> {
        None
    }

    pub(crate) fn reference(&self) -> Option<&Str> {
        self.command.reference.as_ref()
    }

    pub(crate) fn plan(&self, _cx: &Cx, _facts: &Facts<'_>) -> Result<Plan, Stop> {
        Err(Stop::Gap)
    }

    pub(crate) fn act(&self, _plan: Plan, _cx: &mut Cx) -> Result<Acted, SendError> {
        Ok(Acted::Finished)
    }

    pub(crate) fn acked(&self, _cx: &mut Cx, _ack: NodeRef<'_>) -> Result<Reply, Failure> {
        Ok(Reply::Unit)
    }
}
