//! What comes out: one ordered stream of things for the driver to do and for the consumer to see.

use alloc::vec::Vec;

use bytes::Bytes;

use super::clock::Mono;
use super::command::Completion;
use super::input::{CommitSeq, ConnId, HttpId, LoadId};
use crate::event::Delivery;
use crate::store::{Batch, Namespace, RecordKey};
use crate::wire::Str;

/// Do this, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Output {
    /// Open a WebSocket; answer with `Opened` or `OpenFailed`.
    Open(ConnId, Endpoint),
    /// Send one binary WebSocket message on it, now.
    Send(ConnId, Bytes),
    /// Close it. Nothing more is expected from it.
    Close(ConnId),
    /// Read from storage; answer with `Loaded`.
    Load(LoadId, Load),
    /// Write one atomic batch; answer with `Committed` or `CommitFailed`. May be pipelined and merged with later ones,
    /// never reordered. A later `Load` must see it.
    Commit(CommitSeq, Batch),
    /// Perform an HTTP request; answer with `HttpDone`.
    Http(HttpId, HttpRequest),
    /// Show this to the consumer.
    Event(Delivery),
    /// The answer to one command.
    Done(Completion),
    /// Nothing more now, always last: sleep until there is input, or until this moment of the monotonic clock (then
    /// pass `Input::Tick`). `None`: there is nothing to wake up for.
    Idle {
        /// When to wake up.
        until: Option<Mono>,
        /// What will happen then.
        reason: &'static str,
    },
}

/// Where a WebSocket goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `wss://…`, or `ws://…` for a loopback server.
    pub url: Str,
    /// Value of the `Origin` header.
    pub origin: Str,
}

/// A storage read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Load {
    /// The values of these keys.
    Get(Vec<RecordKey>),
    /// What exists in a namespace, in ascending byte order of the key text.
    Range {
        /// Where.
        namespace: Namespace,
        /// Only keys after this one; `None` from the start.
        after: Option<Str>,
        /// At most so many.
        limit: u32,
    },
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Absolute.
    pub url: Str,
    /// Header lines.
    pub headers: Vec<(Str, Str)>,
    /// Request body.
    pub body: Bytes,
    /// Longest answer taken, in bytes.
    pub limit: u32,
}
