//! Events between an engine and its consumer.
//!
//! The queue takes everything that the engine gives, always: an engine's outputs are never held up by a consumer.
//! What a slow consumer holds up is the *socket*: while [`EventQueue::is_behind`], the driver reads nothing, so the
//! engine gets nothing to make events from. The queue is thus bounded by its limit plus what one read can cause.
//!
//! One thing must not be held up: a consumer that waits for the answer to a command, say in its loop over the events,
//! waits for something that only the socket brings. So while such a command is open the driver reads on, until
//! [`EventQueue::is_flooded`]: [`FLOOD`] times the limit. From there on such a command may time out.
//!
//! Without any consumer events are dropped and the socket flows: a program that only sends need not read. What the
//! engine keeps in its inbox stays there and comes again at the next start.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amarula_core::event::Delivery;

use crate::sync::lock;
use crate::telemetry;

/// How many times its limit a queue holds while a command is open.
pub const FLOOD: usize = 64;

/// A queue of events, with any number of consumers; each event goes to one of them.
#[derive(Debug)]
pub struct EventQueue {
    inner: Mutex<Inner>,
    arrived: Condvar,
    behind: AtomicBool,
    flooded: AtomicBool,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Delivery>,
    consumers: usize,
    ended: bool,
    wakers: Vec<Waker>,
}

/// One event taken out.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The event.
    pub delivery: Delivery,
    /// The consumer has caught up by this: tell the driver ([`Post::Resume`](crate::port::Post::Resume)).
    pub resume: bool,
}

impl EventQueue {
    /// A queue whose consumer is behind when so many events wait. At least 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            inner: Mutex::default(),
            arrived: Condvar::new(),
            behind: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
            limit: limit.max(1),
        }
    }

    /// Whether the driver should stop reading the socket because the consumer is behind.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Whether so many events wait that the driver should stop reading in any case.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Acquire)
    }

    /// Puts an event in.
    pub fn push(&self, delivery: Delivery) {
        let mut inner = lock(&self.inner);
        if inner.consumers == 0 {
            drop(inner);
            telemetry::event_unheard();
            return;
        }
        inner.queue.push_back(delivery);
        if inner.queue.len() >= self.limit && !self.behind.swap(true, Ordering::AcqRel) {
            telemetry::consumer_behind(inner.queue.len());
        }
        if inner.queue.len() >= self.limit.saturating_mul(FLOOD) && !self.flooded.swap(true, Ordering::AcqRel) {
            telemetry::consumer_flooded(inner.queue.len());
        }
        self.wake(inner);
    }

    /// No more events will come: consumers get what is there, and then the end.
    pub fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        self.wake(inner);
    }

    /// Another consumer.
    pub fn join(&self) {
        lock(&self.inner).consumers += 1;
    }

    /// A consumer less. With the last one, waiting events are dropped. Returns whether the driver must be told to
    /// [resume](crate::port::Post::Resume).
    #[must_use]
    pub fn leave(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.consumers = inner.consumers.saturating_sub(1);
        if inner.consumers > 0 {
            return false;
        }
        inner.queue.clear();
        self.flooded.store(false, Ordering::Release);
        self.behind.swap(false, Ordering::AcqRel)
    }

    /// Takes an event if there is one. `Poll::Ready(None)` after the end.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut inner = lock(&self.inner);
        match self.take(&mut inner) {
            Some(taken) => Poll::Ready(Some(taken)),
            None if inner.ended => Poll::Ready(None),
            None => {
                if !inner.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    inner.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Waits for an event in this thread, until `deadline` if there is one. [`Waited::Ended`] after the end.
    pub fn wait_take(&self, deadline: Option<Instant>) -> Waited {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(taken) = self.take(&mut inner) {
                return Waited::Taken(taken);
            }
            if inner.ended {
                return Waited::Ended;
            }
            inner = match deadline {
                None => self.arrived.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::TimedOut;
                    }
                    self.arrived.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn take(&self, inner: &mut Inner) -> Option<Taken> {
        let delivery = inner.queue.pop_front()?;
        let left = inner.queue.len();
        let dry = left <= self.limit.saturating_mul(FLOOD / 2) && self.flooded.swap(false, Ordering::AcqRel);
        let resume = left <= self.limit / 2 && self.behind.swap(false, Ordering::AcqRel) || dry;
        if !inner.queue.is_empty() {
            // Another consumer may sleep on an event that was announced to us.
            inner.wakers.drain(..).for_each(Waker::wake);
        }
        Some(Taken { delivery, resume })
    }

    fn wake(&self, mut inner: std::sync::MutexGuard<'_, Inner>) {
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        self.arrived.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// How [`EventQueue::wait_take`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// With an event.
    Taken(Taken),
    /// The time is over.
    TimedOut,
    /// No more events will come.
    Ended,
}

#[cfg(test)]
mod tests {
    use amarula_core::event::{Event, Warning};

    use super::*;

    fn event() -> Delivery {
        Delivery { id: None, event: Event::Warning(Warning::Limit { name: "x" }) }
    }

    fn take(queue: &EventQueue) -> Option<Taken> {
        match queue.wait_take(Some(Instant::now())) {
            Waited::Taken(taken) => Some(taken),
            Waited::TimedOut | Waited::Ended => None,
        }
    }

    #[test]
    fn a_slow_consumer_stops_the_socket_and_not_the_engine() {
        let queue = EventQueue::new(4);
        queue.join();
        for count in 1..=10 {
            queue.push(event());
            assert_eq!(queue.is_behind(), count >= 4);
        }
        let resumed: Vec<usize> = (1..=10).filter(|_| take(&queue).expect("there").resume).collect();
        assert_eq!(resumed, [8], "once, when half of the limit is left");
        assert!(!queue.is_behind());
    }

    #[test]
    fn a_flood_is_told_apart() {
        let queue = EventQueue::new(2);
        queue.join();
        (1..2 * FLOOD).for_each(|_| queue.push(event()));
        assert!(queue.is_behind() && !queue.is_flooded());
        queue.push(event());
        assert!(queue.is_flooded());
        let resumed: Vec<usize> = (1..=2 * FLOOD).filter(|_| take(&queue).expect("there").resume).collect();
        assert_eq!(resumed, [FLOOD, 2 * FLOOD - 1]);
    }

    #[test]
    fn without_a_consumer_nothing_is_kept() {
        let queue = EventQueue::new(1);
        queue.push(event());
        assert!(!queue.is_behind());
        queue.join();
        assert_eq!(take(&queue), None);
        queue.push(event());
        assert!(queue.is_behind());
        assert!(queue.leave(), "the driver must be told");
        assert!(!queue.is_behind());
    }

    #[test]
    fn the_end_comes_last() {
        let queue = EventQueue::new(4);
        queue.join();
        queue.push(event());
        queue.end();
        assert!(take(&queue).is_some());
        assert_eq!(queue.wait_take(None), Waited::Ended);
    }

    #[test]
    fn waiting_thread_is_woken() {
        let queue = EventQueue::new(4);
        queue.join();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait_take(None));
            queue.push(event());
            assert!(matches!(waiting.join(), Ok(Waited::Taken(_))));
        });
    }
}
