//! The engine as a driver sees it.

use amarula_core::engine::{Appetite, Command, Input, Now, Output, Request, TicketId};
use amarula_core::error::{Misuse, RejectReason};
use amarula_core::{Config, Engine};

/// What a driver drives: [`Engine`], or a stand-in in the drivers' own tests.
pub trait Machine: Send {
    /// See [`Engine::handle`].
    ///
    /// # Errors
    /// As there.
    fn handle(&mut self, now: Now, input: Input) -> Result<(), Misuse>;
    /// See [`Engine::submit`]. The answer comes as [`Output::Done`] with the returned id.
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
        match request {
            Request::Connect(command) => submit(self, now, command),
            Request::Disconnect(command) => submit(self, now, command),
            Request::Shutdown(command) => submit(self, now, command),
            Request::RequestPairingCode(command) => submit(self, now, command),
            Request::Logout(command) => submit(self, now, command),
            Request::SendMessage(command) => submit(self, now, command),
            Request::MarkRead(command) => submit(self, now, command),
            Request::SetPresence(command) => submit(self, now, command),
            Request::SendChatState(command) => submit(self, now, command),
            Request::SubscribePresence(command) => submit(self, now, command),
            Request::Confirm(command) => submit(self, now, command),
            // A command that this crate does not know of can only come from a newer `amarula-core` than it was built
            // for.
            _ => Err(RejectReason::BadContent("a command that this driver does not know; update it")),
        }
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

fn submit<C: Command>(engine: &mut Engine, now: Now, command: C) -> Result<TicketId, RejectReason> {
    engine.submit(now, command).map(|ticket| ticket.id()).map_err(|rejected| rejected.reason)
}
