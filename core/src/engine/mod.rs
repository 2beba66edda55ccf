//! The machine: bytes, time and storage results in; frames, storage operations and events out.

pub mod clock;
pub mod command;
pub mod input;
pub mod limits;
pub mod output;

pub use clock::{Mono, Now, Wall};
pub use command::{Command, Completion, Rejected, Reply, Request, Ticket, TicketId};
pub use input::{CommitSeq, ConnId, HttpError, HttpId, HttpResponse, Input, LoadId, Loaded, OpenError, StorageError};
pub use limits::Limits;
pub use output::{Endpoint, HttpRequest, Load, Output};

use crate::config::Config;
use crate::error::Misuse;

/// Whether the driver should go on reading from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Appetite {
    /// Feed on.
    Hungry,
    /// Stop reading the socket (never stop draining outputs) until outputs have been carried out.
    Full,
}

/// One account's protocol engine. See the crate documentation for the driver's loop.
#[derive(Clone)]
pub struct Engine {
    config: Config,
}

impl Engine {
    /// An engine that does nothing yet. `seed` is its only randomness: 32 fresh bytes from the operating system.
    #[must_use]
    pub fn new(config: Config, _seed: [u8; 32], _now: Now) -> Self {
        Self { config }
    }

    /// Takes one input; all work happens here.
    ///
    /// # Errors
    /// [`Misuse`] for what only a programmer's mistake can cause; then nothing has changed.
    pub fn handle(&mut self, _now: Now, _input: Input) -> Result<(), Misuse> {
        Ok(())
    }

    /// Takes one command. Exactly one [`Output::Done`] follows for its ticket.
    ///
    /// # Errors
    /// The command comes back if it cannot be taken; then nothing has happened.
    pub fn submit<C: Command>(&mut self, _now: Now, command: C) -> Result<Ticket<C::Reply>, Rejected<C>> {
        let _ = &self.config;
        Err(Rejected { command, reason: crate::error::RejectReason::ShutDown })
    }

    /// "Don't tell me": the ticket is answered as cancelled at once; what is under way goes on. Unknown ids are ignored.
    pub fn cancel(&mut self, _now: Now, _ticket: TicketId) {}

    /// The next thing to do. Only pops; the last one is always [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output {
        Output::Idle { until: None, reason: "" }
    }

    /// Whether to feed more bytes.
    #[must_use]
    pub fn appetite(&self) -> Appetite {
        Appetite::Hungry
    }

    /// The session was shut down and everything is answered: the driver may end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        false
    }

    /// A fingerprint of the whole state, for exploration and replay. Equal states have equal digests.
    #[must_use]
    pub fn state_digest(&self) -> u128 {
        0
    }
}
