//! What goes in: everything the outside world can tell the engine.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::RecordKey;
use crate::wire::Str;

/// One attempt at a WebSocket connection. Never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One storage read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// The place of a commit in the one order of all commits; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitSeq(pub u64);

/// One HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpId(pub u64);

/// Something happened outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// Nothing but time. What a driver passes when it wakes up at the deadline.
    Tick,
    /// The WebSocket of [`Output::Open`](super::Output::Open) stands.
    Opened {
        /// Which.
        conn: ConnId,
    },
    /// It could not be opened.
    OpenFailed {
        /// Which.
        conn: ConnId,
        /// Why.
        error: OpenError,
    },
    /// Bytes came, one binary WebSocket message or any piece of one: the boundaries mean nothing.
    Received {
        /// From which connection.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The connection is over. Not reported for one that the engine closed itself, though doing so is harmless.
    Closed {
        /// Which.
        conn: ConnId,
        /// WebSocket close code, if the peer sent one.
        code: Option<u16>,
    },
    /// Answer to [`Output::Load`](super::Output::Load).
    Loaded {
        /// Which.
        id: LoadId,
        /// What was read.
        result: Result<Loaded, StorageError>,
    },
    /// Every commit up to and including this one is durable.
    Committed {
        /// The newest durable one.
        upto: CommitSeq,
    },
    /// This commit failed, and with it every later one: the driver must not apply those.
    CommitFailed {
        /// The first that failed.
        seq: CommitSeq,
        /// Why.
        error: StorageError,
    },
    /// Answer to [`Output::Http`](super::Output::Http).
    HttpDone {
        /// Which.
        id: HttpId,
        /// The answer, or why there is none.
        result: Result<HttpResponse, HttpError>,
    },
    /// The driver stopped reading from the socket for a reason of its own (its consumer is behind), or reads again. While it
    /// does not read, silence does not mean that the peer is dead. What [`Engine::appetite`](super::Engine::appetite) asks
    /// for need not be told.
    Reading {
        /// It stopped.
        paused: bool,
    },
    /// The host believes that the network changed or the machine woke up: a waiting reconnect is tried at once.
    NetworkChanged,
}

/// What a storage read found.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loaded {
    /// For [`Load::Get`](super::Load::Get): one entry for each asked key, in the order asked.
    Values(Vec<Option<Bytes>>),
    /// For [`Load::Range`](super::Load::Range): what exists, in key order.
    Range(Vec<(RecordKey, Bytes)>),
}

/// Values hold keys and messages: only how many there are is shown.
impl core::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Values(values) => write!(f, "Values([{} values])", values.len()),
            Self::Range(rows) => write!(f, "Range([{} rows])", rows.len()),
        }
    }
}

/// Why a WebSocket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// DNS, TCP, TLS or proxy trouble: worth another try.
    #[error("network: {0}")]
    Network(Str),
    /// The server answered the upgrade with another HTTP status than 101.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// The address or the configuration is unusable: another try would end the same.
    #[error("configuration: {0}")]
    Config(Str),
    /// No answer within the connect time.
    #[error("no answer in time")]
    Timeout,
}

/// The store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("storage: {message}")]
pub struct StorageError {
    /// For people.
    pub message: Str,
    /// Whether trying again can help (a lost database connection) or not (a lease that somebody else holds).
    pub retryable: bool,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Body, as far as the request's limit allowed.
    pub body: Bytes,
    /// Seconds of `Retry-After`, if given.
    pub retry_after: Option<u32>,
}

/// No HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("http: {message}")]
pub struct HttpError {
    /// For people.
    pub message: Str,
}
