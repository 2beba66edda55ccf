//! Requests under way. Those of one lane (a chat, the connection, …) are carried out in order, one after the other;
//! lanes run side by side.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Result;
use crate::session::spawn;

/// Most requests under way. More are not read.
const MOST: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// All lanes.
pub(crate) struct Lanes {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The lanes that have a thread, and what waits in them.
    lanes: HashMap<String, VecDeque<Job>>,
    under_way: usize,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Runs a job after all earlier ones of its lane. Waits while too many are under way.
    pub(crate) fn run(self: &Arc<Self>, lane: String, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut inner = self.lock();
        while inner.under_way >= MOST {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.under_way += 1;
        if let Some(waiting) = inner.lanes.get_mut(&lane) {
            waiting.push_back(Box::new(job));
            return Ok(());
        }
        inner.lanes.insert(lane.clone(), VecDeque::from([Box::new(job) as Job]));
        drop(inner);
        let lanes = Arc::clone(self);
        let name = lane.clone();
        if let Err(problem) = spawn("amarula-rpc", move || lanes.work(&name)) {
            let mut inner = self.lock();
            let lost = inner.lanes.remove(&lane).map_or(0, |jobs| jobs.len());
            inner.under_way -= lost;
            return Err(problem);
        }
        Ok(())
    }

    fn work(&self, lane: &str) {
        let mut inner = self.lock();
        loop {
            let Some(job) = inner.lanes.get_mut(lane).and_then(VecDeque::pop_front) else {
                inner.lanes.remove(lane);
                return;
            };
            drop(inner);
            job();
            inner = self.lock();
            inner.under_way -= 1;
            self.changed.notify_all();
        }
    }

    /// Waits until nothing is under way, or so long.
    pub(crate) fn wait_idle(&self, most: Duration) {
        let deadline = Instant::now() + most;
        let mut inner = self.lock();
        while inner.under_way > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No critical section leaves it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn order_within_a_lane_and_none_between() {
        let lanes = Arc::new(Lanes::new());
        let (release, wait) = mpsc::channel::<()>();
        let (sender, done) = mpsc::channel();
        lanes.run("a".into(), move || _ = wait.recv()).expect("a thread");
        for at in 0..10 {
            let sender = sender.clone();
            lanes.run("a".into(), move || sender.send(at).expect("read")).expect("a thread");
        }
        let other = sender.clone();
        lanes.run("b".into(), move || other.send(100).expect("read")).expect("a thread");
        assert_eq!(done.recv_timeout(Duration::from_secs(5)), Ok(100));
        release.send(()).expect("waits");
        for at in 0..10 {
            assert_eq!(done.recv_timeout(Duration::from_secs(5)), Ok(at));
        }
        lanes.wait_idle(Duration::from_secs(5));
        assert_eq!(lanes.lock().under_way, 0);
    }

    #[test]
    fn too_many_wait() {
        let lanes = Arc::new(Lanes::new());
        let (sender, counted) = mpsc::channel();
        let reader = {
            let lanes = Arc::clone(&lanes);
            std::thread::spawn(move || {
                for at in 0..MOST * 3 {
                    let sender = sender.clone();
                    lanes.run(format!("{}", at % 7), move || sender.send(at).expect("read")).expect("a thread");
                }
            })
        };
        let mut all: Vec<_> =
            (0..MOST * 3).map(|_| counted.recv_timeout(Duration::from_secs(5)).expect("runs")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..MOST * 3).collect::<Vec<_>>());
        reader.join().expect("ends");
    }
}
