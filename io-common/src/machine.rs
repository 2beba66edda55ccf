//! The engine as a driver sees it.

use amarula_core::engine::{Appetite, Input, Now, Output, Request, TicketId};
use amarula_core::error::{Misuse, RejectReason};
use amarula_core::{Config, Engine};

/// What a driver drives: [`Engine`], or a stand-in in the drivers' own tests.
pub trait Machine: Send {
    /// See [`Engine::handle`].
    ///
    /// # Errors
    /// As there.
    fn handle(&mut self, now: Now, input: Input) -> Result<(), Misuse>;
    /// See [`Engine::submit_request`]. The answer comes as [`Output::Done`] with the returned id.
    ///
    /// # Errors
    /// As there.
    fn submit(&mut self, now: Now, request: Request) -> Result<TicketId, RejectReason>;
    /// See [`Engine::poll_output`].
    fn poll_output(&mut self) -> Output;
    /// See [`Engine::appetite`].
    fn appetite(&self) -> Appetite;
    /// See [`Engine::is_finished`].
    fn is_finished(&self) -> bool;
}

/// Makes a [`Machine`] from what an [`Engine`] is made of.
pub type MachineFactory = dyn Fn(Config, [u8; 32], Now) -> Box<dyn Machine> + Send + Sync;

impl Machine for Engine {
    fn handle(&mut self, now: Now, input: Input) -> Result<(), Misuse> {
        Self::handle(self, now, input)
    }

    fn submit(&mut self, now: Now, request: Request) -> Result<TicketId, RejectReason> {
        self.submit_request(now, request).map_err(|rejected| rejected.reason)
    }

    fn poll_output(&mut self) -> Output {
        Self::poll_output(self)
    }

    fn appetite(&self) -> Appetite {
        Self::appetite(self)
    }

    fn is_finished(&self) -> bool {
        Self::is_finished(self)
    }
}
