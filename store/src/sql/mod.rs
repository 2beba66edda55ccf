//! What the database adapters have in common: commits of many threads in one transaction, and leases that are renewed.

pub(crate) mod combine;
pub(crate) mod keeper;

use std::time::Duration;

use amarula_core::engine::StorageError;

/// How long a lease lasts without being renewed, if the options do not say.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Shortest lease that makes sense.
pub(crate) const MIN_LEASE: Duration = Duration::from_millis(200);

/// An error that trying again does not mend.
pub(crate) fn refused(message: impl Into<String>) -> StorageError {
    StorageError { message: message.into().into(), retryable: false }
}

/// A text that no other store of this or any other process has.
pub(crate) fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // Keys from the operating system; they also tell apart two stores that are made at the same moment.
    let mut text = String::with_capacity(32);
    for _ in 0..2 {
        let number = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
        text.push_str(&format!("{number:016x}"));
    }
    text
}
