//! The exclusive use of one profile.

use std::any::Any;
use std::fmt;

use amarula_core::engine::StorageError;

use crate::Profile;

/// The exclusive use of one profile, until dropped. Made by [`Store::acquire`](crate::Store::acquire).
#[must_use = "the profile is free again when this is dropped"]
pub struct Lease {
    profile: Profile,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lease {
    /// For adapters: a lease that ends when `guard` is dropped.
    pub fn new(profile: Profile, guard: impl Any + Send + Sync) -> Self {
        Self { profile, _guard: Box::new(guard) }
    }

    /// Of which profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("profile", &self.profile).finish_non_exhaustive()
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
    /// Somebody who left no name.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThisProcess => f.write_str("this process"),
            Self::Process(pid) => write!(f, "process {pid}"),
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
