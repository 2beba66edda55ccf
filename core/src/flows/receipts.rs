//! Receipts and acks, both ways.

use crate::engine::command::MarkRead;
use crate::engine::cx::Cx;
use crate::engine::runner::Runner;
use crate::store::{Gap, View};
use crate::wire::NodeRef;

pub(crate) struct Plan;

pub(crate) fn plan(_cx: &Cx, _view: &View<'_>, _node: NodeRef<'_>) -> Result<Plan, Gap> {
    Ok(Plan)
}

pub(crate) fn act(_plan: Plan, _cx: &mut Cx, _runner: &mut Runner) {}

pub(crate) fn ack(_cx: &mut Cx, _node: NodeRef<'_>) {}

pub(crate) fn unknown_stanza(_cx: &mut Cx, _node: NodeRef<'_>) {}

pub(crate) fn mark_read(_cx: &mut Cx, _command: &MarkRead) {}
