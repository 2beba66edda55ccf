//! The way into a running driver, from any thread.

use amarula_core::engine::{Input, Reply, Request};

use crate::error::Error;

/// Takes the answer to one command. Dropped unused if the driver ends first.
pub type Answer = Box<dyn FnOnce(Result<Reply, Error>) + Send>;

/// What can be told to a running driver from outside.
#[non_exhaustive]
pub enum Post {
    /// An input for the engine.
    Input(Input),
    /// A command for the engine, and who wants the answer.
    Command(Request, Answer),
    /// The consumer has caught up: look again whether to read.
    Resume,
    /// Nobody holds the client any more: close everything and end, without asking the engine.
    Abort,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Input(_) => "Input(..)",
            Self::Command(..) => "Command(..)",
            Self::Resume => "Resume",
            Self::Abort => "Abort",
        })
    }
}

/// A driver's mailbox. Posts to a driver that ended are dropped, and their answers with them.
pub trait Port: Send + Sync + 'static {
    /// Puts one thing in; never blocks.
    fn post(&self, post: Post);
}
