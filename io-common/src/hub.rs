//! What all handles of one client share.

use std::sync::Arc;

use crate::events::EventQueue;
use crate::port::{Port, Post};

/// The way from handles to a running driver. When the last handle is gone, the driver aborts.
pub struct Hub {
    /// The driver's mailbox.
    pub port: Arc<dyn Port>,
    /// What the driver has for consumers.
    pub events: Arc<EventQueue>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.port.post(Post::Abort);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub(..)")
    }
}

/// One consumer's place at the queue. Keeps the client alive.
#[derive(Debug)]
pub struct Seat {
    hub: Arc<Hub>,
}

impl Seat {
    /// Takes a place.
    #[must_use]
    pub fn take(hub: &Arc<Hub>) -> Self {
        hub.events.join();
        Self { hub: Arc::clone(hub) }
    }

    /// Whose.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// To be called when an event was taken with `resume`.
    pub fn resume(&self) {
        self.hub.port.post(Post::Resume);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.hub.events.leave() {
            self.resume();
        }
    }
}
