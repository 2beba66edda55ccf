//! The login sequence (`protocol/transport.md` §9).

use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;
use crate::wire::NodeRef;

/// A question of the login sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// `<active/>`.
    Active,
    /// Server properties.
    Props,
    /// Block list.
    Blocklist,
    /// Privacy settings.
    Privacy,
}

/// How far the login is.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Login {}

impl Login {
    /// `<success>`.
    pub(crate) fn success(&mut self, _cx: &mut Cx, _node: NodeRef<'_>) {}

    /// Logged in: begin the sequence.
    pub(crate) fn begin(&mut self, _cx: &mut Cx) {}

    pub(crate) fn answered(&mut self, _cx: &mut Cx, _step: Step, _answer: IqAnswer<'_>) {}

    pub(crate) fn next_batch(&mut self, _cx: &mut Cx) {}

    pub(crate) fn offline_timeout(&mut self, _cx: &mut Cx) {}

    pub(crate) fn down(&mut self, _cx: &mut Cx) {}
}
