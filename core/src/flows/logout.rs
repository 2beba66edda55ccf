//! Unlinking this device (`protocol/transport.md` §16).

use crate::engine::TicketId;
use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;

/// A logout under way.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct LogoutFlow {}

impl LogoutFlow {
    pub(crate) fn begin(&mut self, _cx: &mut Cx, _ticket: TicketId) {}

    pub(crate) fn answered(&mut self, _cx: &mut Cx, _answer: IqAnswer<'_>) {}

    pub(crate) fn timed_out(&mut self, _cx: &mut Cx) {}

    /// The session is over.
    pub(crate) fn ended(&mut self, _cx: &mut Cx) {}
}
