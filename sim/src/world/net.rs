//! The network between engines and server.

use amarula_core::engine::{ConnId as EngineConn, OpenError};
use bytes::Bytes;

use super::ClientId;
use crate::server::ConnId;

/// What the network does.
#[derive(Clone, Debug)]
pub struct Net {
    /// Milliseconds each way.
    pub latency_ms: u64,
    /// Milliseconds a storage operation takes.
    pub store_ms: u64,
    /// How messages are cut into pieces, in both directions.
    pub split: Split,
    /// No connection can be opened.
    pub refuse: Option<OpenError>,
}

impl Default for Net {
    fn default() -> Self {
        Self { latency_ms: 5, store_ms: 1, split: Split::Whole, refuse: None }
    }
}

/// A way to cut messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// As they were sent.
    Whole,
    /// Byte by byte.
    Bytes,
    /// In two, at this place (or at the end, if they are shorter).
    At(usize),
}

impl Net {
    pub(super) fn split(&self, bytes: Bytes) -> Vec<Bytes> {
        match self.split {
            Split::Whole => vec![bytes],
            Split::Bytes => (0..bytes.len()).map(|i| bytes.slice(i..=i)).collect(),
            Split::At(at) => {
                let at = at.min(bytes.len());
                [bytes.slice(..at), bytes.slice(at..)].into_iter().filter(|part| !part.is_empty()).collect()
            }
        }
    }
}

/// Something on the agenda.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A WebSocket stands, or was refused.
    Opened { client: ClientId, generation: u64, conn: EngineConn },
    /// Bytes reach the server.
    ToServer { conn: ConnId, bytes: Bytes },
    /// Bytes reach a client.
    ToClient { conn: ConnId, bytes: Bytes },
    /// A client learns that the server closed.
    ServerClosed { conn: ConnId },
    /// The server learns that a client closed.
    ClientClosed { conn: ConnId },
    /// A client's store has done its next operation.
    Stored { client: ClientId, generation: u64 },
}
