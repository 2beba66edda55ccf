//! Options of single calls.

use amarula_core::address::Address;
use amarula_core::content::Outgoing;
use amarula_core::engine::command::SendMessage;

/// How one message is sent. `SendOptions::default()` lets the engine choose the id, and does not survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    id: Option<String>,
    reference: Option<String>,
}

impl SendOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The message's id (its stanza id). Sending again under the same id does no harm: receivers show it once.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// A reference of yours, say an order's number. The send then survives a crash or a restart, and is repeated as
    /// the same message, never as a second one. Unique per account while the send is open.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// The command.
    #[must_use]
    pub fn command(self, to: &Address, content: Outgoing) -> SendMessage {
        SendMessage { to: to.clone(), content, id: self.id.map(Into::into), reference: self.reference.map(Into::into) }
    }
}
