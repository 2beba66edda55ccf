//! Keepalive pings and dead-peer detection (`protocol/transport.md` §11).
//!
//! A ping goes out when nothing was heard for a random 15 to 30 seconds. A peer is dead when nothing came for 20 seconds
//! after the *first* thing that we sent since we last heard from it: counting from the latest would hide a half-open
//! socket as long as we keep sending. Not everything that we send is answered (acks, receipts, a query that the server
//! does not like), so halfway a ping makes sure that a living peer has something to say.

use core::time::Duration;

use crate::engine::cx::Cx;
use crate::engine::iq::{Iq, IqAnswer};
use crate::engine::limits;
use crate::engine::timers::Timer;
use crate::engine::{Mono, Wall};
use crate::flows::IqOwner;

/// What keepalive remembers.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Keepalive {
    heard_at: Mono,
    /// When something first left since then.
    sent_at: Option<Mono>,
    /// A ping left since then.
    probed: bool,
    /// How long a silence makes us ping.
    patience: Duration,
    /// When the ping without an answer went out.
    pinged: Option<(Mono, Wall)>,
    /// The driver has stopped reading while we waited to hear something.
    resting: bool,
}

impl Keepalive {
    /// The connection is secured: pings begin.
    pub(crate) fn start(&mut self, cx: &mut Cx) {
        *self = Self { heard_at: cx.mono(), ..Self::default() };
        self.wait(cx);
    }

    /// Draws the next patience and counts it from now.
    fn wait(&mut self, cx: &mut Cx) {
        let (least, most) = limits::PING_INTERVAL_SECS;
        self.patience = Duration::from_millis(u64::from(least * 1000 + cx.rng.below((most - least) * 1000 + 1)));
        cx.timer_in(Timer::Ping, self.patience);
    }

    /// Bytes came: the peer lives. How they were cut into pieces must not matter, so nothing random happens here.
    pub(crate) fn heard(&mut self, cx: &mut Cx) {
        self.heard_at = cx.mono();
        (self.sent_at, self.probed, self.resting) = (None, false, false);
        cx.timers.clear(Timer::DeadPeer);
    }

    /// A frame left.
    pub(crate) fn sent(&mut self, cx: &mut Cx) {
        if cx.secured.is_some() && self.sent_at.is_none() && !self.resting {
            self.sent_at = Some(cx.mono());
            cx.timer_in(Timer::DeadPeer, limits::DEAD_PEER);
            if !self.probed {
                let due = self.due(cx);
                cx.timers.set(Timer::Ping, due);
            }
        }
    }

    /// Whether the driver has stopped reading: then silence means nothing.
    pub(crate) fn rest(&mut self, cx: &mut Cx, full: bool) {
        if full && self.sent_at.is_some() {
            cx.timers.clear(Timer::DeadPeer);
            self.sent_at = None;
            self.resting = true;
        } else if !full && self.resting {
            // What piled up outside is read now; from here on silence counts again.
            self.resting = false;
            self.sent(cx);
        }
    }

    /// When the next ping goes out, if nothing is heard before.
    fn due(&self, cx: &Cx) -> Mono {
        let silence = (self.heard_at + self.patience).max(cx.mono());
        self.sent_at.map_or(silence, |sent| silence.min(sent + limits::DEAD_PEER / 2))
    }

    /// [`Timer::Ping`].
    pub(crate) fn ping(&mut self, cx: &mut Cx) {
        if cx.secured.is_none() {
            return;
        }
        let due = self.due(cx);
        if due > cx.mono() {
            return cx.timers.set(Timer::Ping, due);
        }
        // An open question is as good as a ping, unless it stays without answer.
        let asked = cx.iqs.any_open() && self.sent_at.is_none();
        if !self.probed && !self.resting && !asked {
            self.probed = true;
            self.pinged = Some((cx.mono(), cx.now.wall));
            cx.ask_within(Iq::get("w:p", None), IqOwner::Ping, limits::DEAD_PEER);
        }
        self.wait(cx);
    }

    /// Any answer is life, an error too; a good one may tell the time. One that does not come at all is the dead-peer
    /// check's business, unless other things were heard: then the next ping asks again.
    pub(crate) fn answered(&mut self, cx: &mut Cx, answer: IqAnswer<'_>) {
        let pinged = self.pinged.take();
        if let (IqAnswer::Result(pong), Some((at, wall))) = (answer, pinged)
            && let Some(t) = pong.u64("t")
        {
            let half = (cx.mono() - at) / 2;
            let middle = i64::try_from(wall.0.saturating_add(u64::try_from(half.as_millis()).unwrap_or(0)));
            let server = i64::try_from(Wall::from_secs(t).0);
            if let (Ok(server), Ok(middle)) = (server, middle) {
                cx.clock_offset = server.saturating_sub(middle);
            }
        }
    }
}
