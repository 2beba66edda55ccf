//! The two clocks that an engine is told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use amarula_core::engine::{Mono, Now};

/// Reads the operating system's clocks. The monotonic one starts when this is made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present. Milliseconds are rounded down, so that a moment which was slept to has come.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now::new(millis(self.start.elapsed()), millis(wall))
    }

    /// The instant of an engine's moment. `None` if it is too far for the operating system, which is never.
    #[must_use]
    pub fn instant(&self, moment: Mono) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(moment.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_to_a_moment_reaches_it() {
        let clock = Clock::start();
        let until = clock.now().mono + Duration::from_millis(3);
        let instant = clock.instant(until).expect("near");
        std::thread::sleep(instant.saturating_duration_since(Instant::now()));
        assert!(clock.now().mono >= until);
    }
}
