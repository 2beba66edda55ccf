//! The fixed table of timers, each with at most one deadline.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::clock::Mono;
use super::runner::FlowId;

/// What can happen by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Connect again.
    Reconnect,
    /// The opening, the handshake or the login takes too long.
    Establish,
    /// The login has lasted long enough to count as good.
    Stable,
    /// Send a ping.
    Ping,
    /// Nothing was heard since we last sent: the peer is dead.
    DeadPeer,
    /// Show the next QR code, or give up.
    Qr,
    /// The pairing code's life, or the wait for its pair-success, is over.
    PairCode,
    /// After pair-success: the server should have restarted the stream.
    PairRestart,
    /// Ask again to be made active.
    Activate,
    /// Ask for the next part of the backlog.
    OfflineBatch,
    /// The backlog takes too long.
    OfflineEnd,
    /// Try the prekey upload again.
    PrekeyUpload,
    /// Rotate the signed prekey.
    PrekeyRotation,
    /// Look for sent messages that are too old.
    Sweep,
    /// Logout waits for the server.
    Logout,
    /// Shutdown waits for commits.
    Shutdown,
    /// A query's answer is due.
    Iq(u64),
    /// A flow's deadline.
    Flow(FlowId),
}

impl Timer {
    /// For the reason of `Output::Idle`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::Establish => "connection set-up deadline",
            Self::Stable => "login counts as stable",
            Self::Ping => "keepalive ping",
            Self::DeadPeer => "dead-peer check",
            Self::Qr => "next QR code",
            Self::PairCode => "pairing code deadline",
            Self::PairRestart => "restart after pairing",
            Self::Activate => "login retry",
            Self::OfflineBatch => "next backlog batch",
            Self::OfflineEnd => "backlog deadline",
            Self::PrekeyUpload => "prekey upload retry",
            Self::PrekeyRotation => "signed prekey rotation",
            Self::Sweep => "sweep of old sent messages",
            Self::Logout => "logout deadline",
            Self::Shutdown => "shutdown deadline",
            Self::Iq(_) => "query deadline",
            Self::Flow(_) => "flow deadline",
        }
    }
}

/// All deadlines.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Timers {
    by_timer: BTreeMap<Timer, Mono>,
    by_time: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, timer: Timer, at: Mono) {
        if let Some(old) = self.by_timer.insert(timer, at) {
            self.by_time.remove(&(old, timer));
        }
        self.by_time.insert((at, timer));
    }

    /// Sets a deadline from now.
    pub(crate) fn set_in(&mut self, now: Mono, timer: Timer, after: Duration) {
        self.set(timer, now + after);
    }

    /// Removes a deadline.
    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(old) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(old, timer));
        }
    }

    /// Whether a deadline is set.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.by_timer.contains_key(&timer)
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Mono, Timer)> {
        self.by_time.first().copied()
    }

    /// Takes one timer whose time has come, earliest first.
    pub(crate) fn expired(&mut self, now: Mono) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}
