//! How long a lease that can be lost still lasts, and who wants to know when it is.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::sync::lock;

/// Why a lease was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost: {reason}; close the connection, this profile may soon be used elsewhere")]
pub struct LeaseLost {
    /// For people.
    pub reason: String,
}

type Callback = Box<dyn FnOnce(&LeaseLost) + Send>;

/// For adapters: how long a lease that can be lost still lasts. Clones are the same term.
///
/// The moment must lie well before the one at which somebody else could have the lease, reckoned from *before* the
/// request that took or renewed it was sent, so that it holds however long the answer was under way.
#[derive(Clone)]
pub struct LeaseTerm {
    state: Arc<Mutex<State>>,
}

struct State {
    until: Moment,
    lost: Option<LeaseLost>,
    callbacks: Vec<Callback>,
}

/// A moment on both clocks, whichever comes first. The monotonic one may rest while the machine sleeps, and the other
/// one may be set; a lease must not outlive either.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    mono: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { mono: Instant::now(), wall: SystemTime::now() }
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self { mono: self.mono + time, wall: self.wall + time }
    }

    /// How long it is until then; zero if it is past.
    pub(crate) fn left(self) -> Duration {
        let wall = self.wall.duration_since(SystemTime::now()).unwrap_or_default();
        self.mono.saturating_duration_since(Instant::now()).min(wall)
    }
}

impl LeaseTerm {
    /// A term that ends after `time` from now. Reckon from before the request was sent: make the term first.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self::until_moment(Moment::now().after(time))
    }

    pub(crate) fn until_moment(until: Moment) -> Self {
        Self { state: Arc::new(Mutex::new(State { until, lost: None, callbacks: Vec::new() })) }
    }

    /// Now it ends `time` after `since`; take `since` before sending the request. Does nothing if it is lost.
    pub fn renew(&self, since: Instant, time: Duration) {
        let passed = since.elapsed();
        let now = Moment::now();
        let until = match time.checked_sub(passed) {
            Some(left) => now.after(left),
            None => now,
        };
        self.renew_until(until);
    }

    pub(crate) fn renew_until(&self, until: Moment) {
        let mut state = lock(&self.state);
        // One that ran out is lost, although nobody was told yet.
        if state.lost.is_none() && !state.until.left().is_zero() {
            state.until = until;
        }
    }

    /// It is lost. Calls back, if this is the first time.
    pub fn lose(&self, reason: impl Into<String>) {
        let (lost, callbacks) = {
            let mut state = lock(&self.state);
            if state.lost.is_some() {
                return;
            }
            let lost = LeaseLost { reason: reason.into() };
            state.lost = Some(lost.clone());
            (lost, std::mem::take(&mut state.callbacks))
        };
        callbacks.into_iter().for_each(|callback| callback(&lost));
    }

    /// Whether it is lost or has run out.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let state = lock(&self.state);
        state.lost.is_some() || state.until.left().is_zero()
    }

    /// When it runs out; if it is lost, a moment that is past.
    #[must_use]
    pub fn until(&self) -> Instant {
        let state = lock(&self.state);
        let now = Instant::now();
        if state.lost.is_some() { now } else { now + state.until.left() }
    }

    pub(crate) fn on_lost(&self, callback: Callback) {
        let mut state = lock(&self.state);
        match state.lost.clone() {
            Some(lost) => {
                drop(state);
                callback(&lost);
            }
            None => state.callbacks.push(callback),
        }
    }

    /// Nobody wants to be told any more.
    pub(crate) fn forget(&self) {
        let callbacks = std::mem::take(&mut lock(&self.state).callbacks);
        drop(callbacks);
    }
}

impl fmt::Debug for LeaseTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("LeaseTerm")
            .field("left", &state.until.left())
            .field("lost", &state.lost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lease, Profile};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn lease(term: &LeaseTerm) -> (Lease, Arc<AtomicU32>) {
        let told = Arc::new(AtomicU32::new(0));
        let lease = Lease::expiring(Profile::new("p").unwrap(), term.clone(), ());
        let tell = Arc::clone(&told);
        lease.on_lost(move |_| _ = tell.fetch_add(1, Ordering::SeqCst));
        (lease, told)
    }

    #[test]
    fn told_once_and_at_once_if_late() {
        let term = LeaseTerm::new(Duration::from_secs(60));
        let (lease, told) = lease(&term);
        assert!(!lease.is_lost() && lease.valid_until().unwrap() > Instant::now());
        term.lose("taken");
        term.lose("again");
        term.renew(Instant::now(), Duration::from_secs(60));
        assert!(lease.is_lost() && lease.valid_until().unwrap() <= Instant::now());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        let (sender, receiver) = std::sync::mpsc::channel();
        lease.on_lost(move |lost| sender.send(lost.to_string()).unwrap());
        assert!(receiver.try_recv().unwrap().contains("taken"));
    }

    #[test]
    fn what_ran_out_is_lost_before_anybody_says_so_and_cannot_be_renewed() {
        let term = LeaseTerm::new(Duration::from_millis(20));
        let (lease, told) = lease(&term);
        term.renew(Instant::now(), Duration::from_millis(40));
        std::thread::sleep(Duration::from_millis(60));
        assert!(lease.is_lost());
        term.renew(Instant::now(), Duration::from_secs(60));
        assert!(lease.is_lost());
        assert_eq!(told.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_dropped_lease_tells_nobody_and_an_ordinary_one_is_never_lost() {
        let term = LeaseTerm::new(Duration::from_secs(60));
        let (dropped, told) = lease(&term);
        drop(dropped);
        term.lose("late");
        assert_eq!(told.load(Ordering::SeqCst), 0);
        let lease = Lease::new(Profile::new("p").unwrap(), ());
        lease.on_lost(|_| panic!());
        assert!(!lease.is_lost() && lease.valid_until().is_none());
    }
}
