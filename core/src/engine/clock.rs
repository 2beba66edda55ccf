//! Time as the engine sees it: two integers that the driver passes in. There is no other clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Milliseconds of a monotonic clock with an arbitrary start. Timers run on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Milliseconds since 1970-01-01 UTC. Stamps are made from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

/// The present, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// For timers. Must not go backwards; if it does it is taken to stand still.
    pub mono: Mono,
    /// For stamps. May jump.
    pub wall: Wall,
}

impl Now {
    /// The present, from milliseconds.
    #[must_use]
    pub const fn new(mono_ms: u64, wall_ms: u64) -> Self {
        Self { mono: Mono(mono_ms), wall: Wall(wall_ms) }
    }

    /// Both clocks moved on.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let ms = millis(by);
        Self { mono: Mono(self.mono.0.saturating_add(ms)), wall: Wall(self.wall.0.saturating_add(ms)) }
    }
}

impl Wall {
    /// Whole seconds since 1970, the unit of most stanza stamps.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// From whole seconds since 1970.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
