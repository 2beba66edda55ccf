//! Receiving a message: decrypt, keep, answer, deliver.

use bytes::Bytes;

use crate::engine::cx::Cx;
use crate::message::Message;
use crate::store::records::InboxEntry;
use crate::store::{Gap, View};
use crate::wire::NodeRef;

pub(crate) struct Plan;

pub(crate) fn plan(_cx: &Cx, _view: &View<'_>, _node: NodeRef<'_>, _stanza: &Bytes) -> Result<Plan, Gap> {
    Ok(Plan)
}

pub(crate) fn act(_plan: Plan, _cx: &mut Cx, _stanza: &Bytes) {}

/// The message of an inbox entry.
pub(crate) fn message_of(_entry: &InboxEntry) -> Option<Message> {
    None
}
