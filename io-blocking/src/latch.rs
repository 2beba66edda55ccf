//! Waiting for the end of something.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use amarula_io::sync::lock;

/// Opens when its [`Guard`] is dropped.
#[derive(Clone)]
pub(crate) struct Latch(Arc<(Mutex<bool>, Condvar)>);

/// What a [`Latch`] waits for.
pub(crate) struct Guard(Latch);

impl Latch {
    pub(crate) fn new() -> (Guard, Self) {
        let latch = Self(Arc::default());
        (Guard(latch.clone()), latch)
    }

    pub(crate) fn wait(&self) {
        let mut open = lock(&self.0.0);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *lock(&self.0.0.0) = true;
        self.0.0.1.notify_all();
    }
}
