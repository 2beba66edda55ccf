//! The network between clients and the server.

use std::collections::VecDeque;

use amarula_core::crypto::Rng;
use amarula_core::engine::{self, OpenError};

use super::ClientId;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

/// How bytes are cut on their way. Stream boundaries mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// One piece for each message.
    #[default]
    Whole,
    /// Pieces of at most so many bytes.
    Every(usize),
    /// Two pieces, cut at this byte.
    At(usize),
    /// At random places.
    Random,
}

impl Split {
    pub(super) fn pieces(self, bytes: Vec<u8>, rng: &mut Rng) -> Vec<Vec<u8>> {
        let chunks = |size: usize| bytes.chunks(size.max(1)).map(<[u8]>::to_vec).collect();
        match self {
            Self::Whole => vec![bytes],
            Self::Every(size) => chunks(size),
            Self::At(at) if at > 0 && at < bytes.len() => vec![bytes[..at].to_vec(), bytes[at..].to_vec()],
            Self::At(_) => vec![bytes],
            Self::Random => chunks(1 + rng.below(u32::try_from(bytes.len()).unwrap_or(u32::MAX).max(1)) as usize),
        }
    }
}

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct Network {
    /// Milliseconds one way.
    pub delay: u64,
    /// At most so many milliseconds more, at random. Order is kept.
    pub jitter: u32,
    /// How bytes are cut.
    pub split: Split,
    /// The next opens fail like this.
    pub refuse: VecDeque<OpenError>,
    /// Opens are neither refused nor answered.
    pub black_hole: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay: 20, jitter: 0, split: Split::Whole, refuse: VecDeque::new(), black_hole: false }
    }
}

impl Network {
    pub(super) fn arrival(&self, now: u64, rng: &mut Rng) -> u64 {
        let jitter = if self.jitter == 0 { 0 } else { rng.below(self.jitter + 1) };
        now + self.delay + u64::from(jitter)
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: ClientId,
    /// What the engine calls it.
    pub(super) number: engine::ConnId,
    /// The server knows it.
    pub(super) stands: bool,
    /// Half-open.
    pub(super) dead: bool,
    latest: [u64; 2],
}

impl Link {
    pub(super) fn new(client: ClientId, number: engine::ConnId) -> Self {
        Self { client, number, stands: false, dead: false, latest: [0; 2] }
    }

    /// When what is sent now arrives: not before what was sent earlier.
    pub(super) fn order(&mut self, direction: Direction, at: u64) -> u64 {
        let latest = &mut self.latest[usize::from(direction == Direction::ToClient)];
        *latest = at.max(*latest);
        *latest
    }
}
