//! The consumer's side.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amarula_core::engine::command::Confirm;
use amarula_core::event::{DeliveryId, Event};
use amarula_io::Error;
use amarula_io::hub::{Hub, Seat};

use crate::client::call;

/// The stream of an account's events. It goes on over reconnects, and ends when the client is shut down.
///
/// While the consumer is behind by the builder's `event_limit`, nothing is read from the server, except while a command
/// waits for its answer: sending from within the loop is fine. Behind by 64 times the limit, answers come late too. So
/// keep reading, or drop this: when all are dropped, events are thrown away.
///
/// Several of them share the events: each event goes to one. Also a [`Stream`](futures_core::Stream).
#[derive(Debug)]
pub struct Events {
    seat: Seat,
}

impl Events {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { seat: Seat::take(hub) }
    }

    /// The next event; `None` after the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.seat.hub().events.poll_take(cx).map(|taken| {
            let taken = taken?;
            if taken.resume {
                self.seat.resume();
            }
            Some(Delivery { inner: taken.delivery, hub: Arc::clone(self.seat.hub()) })
        })
    }
}

impl futures_core::Stream for Events {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll(cx)
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
    pub async fn confirm(&self) -> Result<(), Error> {
        match self.inner.id {
            Some(delivery) => call(&self.hub, Confirm { delivery }).await,
            None => Ok(()),
        }
    }
}
