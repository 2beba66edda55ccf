//! The exclusive use of one profile.

use std::any::Any;
use std::fmt;
use std::time::{Duration, Instant};

use amarula_core::engine::StorageError;

use crate::{LeaseLost, LeaseTerm, Profile};

/// The exclusive use of one profile, until dropped. Made by [`Store::acquire`](crate::Store::acquire).
///
/// A lease of a store that only this process can reach ([`MemoryStore`](crate::MemoryStore)), or whose lock the
/// operating system keeps ([`FileStore`](crate::FileStore)), is never lost. One in a database that others share ends
/// by itself if it is not renewed: its holder may have died. Renewing is the store's work; being told that it did not
/// succeed is the holder's:
///
/// * [`on_lost`](Self::on_lost) calls back when the lease is lost. That is *before* somebody else can have it: there
///   is time (a quarter of the lease's length) to close the connection. A driver ends the session then, closes its
///   socket, and only then drops the lease.
/// * [`is_lost`](Self::is_lost) looks at the clock. A process that was stopped for a minute learns from it, before it
///   does anything else, what the callback will tell it in a moment. It costs two clock reads; ask before sending.
/// * Whatever the holder believes, the store refuses commits under a lost lease, with `retryable: false`.
///
/// A lost lease never comes back. Until it is dropped, this store refuses the profile's commits and a new
/// [`acquire`](crate::Store::acquire) of it.
#[must_use = "the profile is free again when this is dropped"]
pub struct Lease {
    profile: Profile,
    term: Option<LeaseTerm>,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lease {
    /// For adapters: a lease that ends when `guard` is dropped, and never before.
    pub fn new(profile: Profile, guard: impl Any + Send + Sync) -> Self {
        Self { profile, term: None, _guard: Box::new(guard) }
    }

    /// For adapters: a lease that ends when `guard` is dropped, and may be lost before. The adapter keeps a clone of
    /// `term` and renews it or ends it.
    pub fn expiring(profile: Profile, term: LeaseTerm, guard: impl Any + Send + Sync) -> Self {
        Self { profile, term: Some(term), _guard: Box::new(guard) }
    }

    /// Of which profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether it is lost: see above. Never becomes `false` again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.term.as_ref().is_some_and(LeaseTerm::is_lost)
    }

    /// When it is lost if it is not renewed before; `None` if it cannot be lost. A moment that is past if it is lost.
    #[must_use]
    pub fn valid_until(&self) -> Option<Instant> {
        self.term.as_ref().map(LeaseTerm::until)
    }

    /// Calls `callback` once when the lease is lost: from a thread of the store, or at once from this one if it is lost
    /// already. Be quick, and do not call the store: post a message. Never called for a lease that cannot be lost, nor
    /// after it was dropped.
    pub fn on_lost(&self, callback: impl FnOnce(&LeaseLost) + Send + 'static) {
        if let Some(term) = &self.term {
            term.on_lost(Box::new(callback));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(term) = &self.term {
            term.forget();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("profile", &self.profile)
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

/// Who uses a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// This process.
    ThisProcess,
    /// Another process of this machine, by its id.
    Process(u32),
    /// A node of a cluster.
    Node {
        /// What it calls itself.
        name: String,
        /// How long its lease lasts if it does not renew it: if the node is dead, try again then.
        expires_in: Duration,
    },
    /// Somebody who left no name.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisProcess => f.write_str("this process"),
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Node { name, expires_in } => {
                write!(f, "node {name:?} (for {} s more if it is dead)", expires_in.as_secs() + 1)
            }
            Self::Unknown => f.write_str("somebody else"),
        }
    }
}

/// A profile could not be acquired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Somebody works on it. Two connections on one credential set corrupt it: wait for that one to end.
    #[error("profile {profile} is in use by {holder}; end that first, two connections on one profile corrupt it")]
    InUse {
        /// Which.
        profile: Profile,
        /// By whom.
        holder: Holder,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AcquireError> for StorageError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Storage(error) => error,
            in_use @ AcquireError::InUse { .. } => Self { message: in_use.to_string().into(), retryable: false },
        }
    }
}
