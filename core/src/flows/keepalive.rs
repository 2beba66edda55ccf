//! Keepalive pings and dead-peer detection (`protocol/transport.md` §11).

use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;

/// What keepalive remembers.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Keepalive {}

impl Keepalive {
    /// The connection is secured: pings begin.
    pub(crate) fn start(&mut self, _cx: &mut Cx) {}

    /// Bytes came: the peer lives.
    pub(crate) fn heard(&mut self, _cx: &mut Cx) {}

    /// A frame left.
    pub(crate) fn sent(&mut self, _cx: &mut Cx) {}

    /// Whether the driver has stopped reading: then silence means nothing.
    pub(crate) fn rest(&mut self, _cx: &mut Cx, _full: bool) {}

    /// [`Timer::Ping`](crate::engine::timers::Timer::Ping).
    pub(crate) fn ping(&mut self, _cx: &mut Cx) {}

    pub(crate) fn answered(&mut self, _cx: &mut Cx, _answer: IqAnswer<'_>) {}
}
