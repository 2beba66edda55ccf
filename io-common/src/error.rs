//! What can go wrong between a caller and its client. Each error says what to do about it.

use std::sync::Arc;

use amarula_core::engine::{OpenError, StorageError};
use amarula_core::error::{Failure, RejectReason};
use amarula_store::ProfileError;

/// Everything a `Client` returns.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The builder was given something that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another client of this process holds the profile.
    #[error(
        "profile {profile:?} is already in use in this process by {holder:?}; use (clone) that client, or shut it down first"
    )]
    ProfileInUse {
        /// The profile.
        profile: String,
        /// The name of the client that holds it (see `name` of the builder).
        holder: String,
    },
    /// Another process or machine holds the profile.
    #[error("profile {profile:?} is held by {holder}; stop that process, or wait until its lease has ended")]
    ProfileLocked {
        /// The profile.
        profile: String,
        /// What the store knows about the holder.
        holder: String,
    },
    /// The store could not be opened for the profile.
    #[error("{0}; nothing was started, and starting can be tried again")]
    Storage(#[from] StorageError),
    /// The operating system gave no randomness, thread or reactor.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its words.
        source: Arc<std::io::Error>,
    },
    /// The recording's file could not be made. An existing file is never overwritten.
    #[error("cannot record to {path}: {source}; give the path of a file that does not exist yet")]
    Recording {
        /// The path.
        path: String,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The async client was started outside of a Tokio runtime.
    #[error("no Tokio runtime here; call this from async code that Tokio runs, with its IO and time drivers on")]
    NoRuntime,
    /// The client was not started yet.
    #[error("the client is not started; call connect() first")]
    NotStarted,
    /// The client was shut down (or its driver ended). Whether an open command was carried out is not known.
    #[error("the client was shut down; build a new one")]
    Stopped,
    /// The command was not taken; nothing happened.
    #[error("not done: {0}")]
    Rejected(#[from] RejectReason),
    /// The command was taken and did not succeed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Error {
    /// An operating system's refusal.
    #[must_use]
    pub fn system(what: &'static str, source: std::io::Error) -> Self {
        Self::System { what, source: Arc::new(source) }
    }
}

/// Something in the configuration cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No store was given.
    #[error("no store was given; call .store(…) with a FileStore, or a MemoryStore in tests")]
    NoStore,
    /// The profile's name cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The address cannot be read.
    #[error("{0:?} is not a wss:// or ws:// address with a host")]
    Url(String),
    /// Plain text to a host that is not this machine.
    #[error("{0:?} is not encrypted and not on this machine; use wss://, or call allow_plain_text() if you must")]
    PlainText(String),
    /// The proxy's address cannot be used.
    #[error("{0:?} is no proxy address; write http://[user:password@]host:port or socks5://[user:password@]host:port")]
    Proxy(String),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A root certificate cannot be read.
    #[error("root certificate {index}: {what}")]
    RootCertificate {
        /// Which of the given ones, from 0.
        index: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A number is out of its range.
    #[error("{name} must be {must}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its range.
        must: &'static str,
    },
}

impl From<ConfigError> for OpenError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string().into())
    }
}
