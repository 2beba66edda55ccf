//! Keepalive pings and dead-peer detection (`protocol/transport.md` §11).
//!
//! A ping goes out when nothing was heard for a random 15 to 30 seconds. A peer is dead when nothing came for 20 seconds
//! after the *first* thing that we sent since we last heard from it: counting from the latest would hide a half-open
//! socket as long as we keep sending.

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
        self.resting = false;
        cx.timers.clear(Timer::DeadPeer);
    }

    /// A frame left.
    pub(crate) fn sent(&mut self, cx: &mut Cx) {
        if cx.secured.is_some() && !self.resting && !cx.timers.is_set(Timer::DeadPeer) {
            cx.timer_in(Timer::DeadPeer, limits::DEAD_PEER);
        }
    }

    /// Whether the driver has stopped reading: then silence means nothing.
    pub(crate) fn rest(&mut self, cx: &mut Cx, full: bool) {
        if full && cx.timers.is_set(Timer::DeadPeer) {
            cx.timers.clear(Timer::DeadPeer);
            self.resting = true;
        } else if !full && self.resting {
            // What piled up outside is read now; from here on silence counts again.
            self.resting = false;
            self.sent(cx);
        }
    }

    /// [`Timer::Ping`].
    pub(crate) fn ping(&mut self, cx: &mut Cx) {
        if cx.secured.is_none() {
            return;
        }
        let due = self.heard_at + self.patience;
        if due > cx.mono() {
            return cx.timers.set(Timer::Ping, due);
        }
        // An open question is as good a probe as a ping.
        if !cx.iqs.any_open() && !self.resting {
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
