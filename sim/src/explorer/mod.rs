//! The explorer: a world in which nothing happens by itself. Every step (a message arrives, a read is answered, commits
//! become durable, a connection breaks, a process dies) is an [`Action`] that somebody chooses; [`search::explore`] chooses
//! every one in every state, and checks the engine's promises in each.
//!
//! Time stands still while it searches. What time alone can change is tried at the end of each path: faults off, the
//! clock runs ([`Model::live`]), and everything must come to a good end.

mod client;
mod disk;
mod live;
mod model;
pub mod scenarios;
mod search;
mod watch;

pub use client::{Client, Taped};
pub use disk::Disk;
pub use model::{Action, Actor, Budget, Model};
pub use search::{AfterFault, Limits, Problem, Report, Scenario, explore};
