//! The consumer's side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amarula_core::engine::command::Confirm;
use amarula_core::event::{DeliveryId, Event};
use amarula_io::Error;
use amarula_io::events::{Taken, Waited};
use amarula_io::hub::{Hub, Seat};

use crate::client::call;

/// The stream of an account's events. It goes on over reconnects, and ends when the client is shut down.
///
/// While the consumer is behind by the builder's `event_limit`, nothing is read from the server, except while a command
/// waits for its answer: sending from within the loop is fine. Behind by 64 times the limit, answers come late too. So
/// keep reading, or drop this: when all are dropped, events are thrown away.
///
/// Several of them, in several threads, share the events: each event goes to one. Also an [`Iterator`], which waits.
#[derive(Debug)]
pub struct Events {
    seat: Seat,
}

/// There was no event in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no event in time")
    }
}

impl std::error::Error for TimedOut {}

impl Events {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { seat: Seat::take(hub) }
    }

    /// The next event, waiting for it at most so long; `None` after the end.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub fn next_timeout(&mut self, most: Duration) -> Result<Option<Delivery>, TimedOut> {
        // A time that the clock cannot hold is for ever.
        match self.seat.hub().events.wait_take(Instant::now().checked_add(most)) {
            Waited::Taken(taken) => Ok(Some(self.deliver(taken))),
            Waited::Ended => Ok(None),
            Waited::TimedOut => Err(TimedOut),
        }
    }

    fn deliver(&self, taken: Taken) -> Delivery {
        if taken.resume {
            self.seat.resume();
        }
        Delivery { inner: taken.delivery, hub: Arc::clone(self.seat.hub()) }
    }
}

impl Iterator for Events {
    type Item = Delivery;

    /// The next event, waiting for it as long as it takes; `None` after the end.
    fn next(&mut self) -> Option<Delivery> {
        match self.seat.hub().events.wait_take(None) {
            Waited::Taken(taken) => Some(self.deliver(taken)),
            Waited::Ended | Waited::TimedOut => None,
        }
    }
}

/// One event, delivered. Confirm it when you have dealt with it: until then it waits in the inbox, and comes again
/// after a restart.
#[derive(Debug)]
pub struct Delivery {
    inner: amarula_core::event::Delivery,
    hub: Arc<Hub>,
}

impl Delivery {
    /// What happened.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.inner.event
    }

    /// The event by value. It can no longer be confirmed by this, only by
    /// [`Client::confirm`](crate::Client::confirm).
    #[must_use]
    pub fn into_event(self) -> Event {
        self.inner.event
    }

    /// The engine's own delivery, likewise.
    #[must_use]
    pub fn into_inner(self) -> amarula_core::event::Delivery {
        self.inner
    }

    /// Its place in the inbox. `None` for what is never delivered twice (states of the connection, presence, …, and
    /// everything if the inbox is off).
    #[must_use]
    pub fn id(&self) -> Option<DeliveryId> {
        self.inner.id
    }

    /// Says that the event has been dealt with; returns when that is durable. At once if there is nothing to confirm.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a shutdown, [`Error::Failed`] if the store failed: it will come again.
    pub fn confirm(&self) -> Result<(), Error> {
        match self.inner.id {
            Some(delivery) => call(&self.hub, Confirm { delivery }),
            None => Ok(()),
        }
    }
}
