//! Prekey maintenance: upload, refill, digest, rotation (`protocol/messages.md` §1).

use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;
use crate::wire::NodeRef;

/// A question of prekey maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// How many are on the server.
    Count,
    /// Upload of the range that ends here.
    Upload,
    /// Digest.
    Digest,
    /// Rotation to this signed prekey.
    Rotate(u32),
}

/// State of prekey maintenance on one connection.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Prekeys {}

impl Prekeys {
    /// The account is in memory.
    pub(crate) fn loaded(&mut self, _cx: &mut Cx) {}

    /// Called by the login sequence.
    pub(crate) fn logged_in(&mut self, _cx: &mut Cx) {}

    /// The backlog is through.
    pub(crate) fn caught_up(&mut self, _cx: &mut Cx) {}

    /// Upload now, unless one is under way.
    pub(crate) fn upload(&mut self, _cx: &mut Cx) {}

    /// Rotate the signed prekey, if it is due.
    pub(crate) fn rotate(&mut self, _cx: &mut Cx) {}

    /// `<notification type="encrypt">` from the server: `<count/>` or `<digest/>`.
    pub(crate) fn notified(&mut self, _cx: &mut Cx, _node: NodeRef<'_>) {}

    pub(crate) fn answered(&mut self, _cx: &mut Cx, _ask: Ask, _answer: IqAnswer<'_>) {}

    pub(crate) fn down(&mut self, _cx: &mut Cx) {}
}
