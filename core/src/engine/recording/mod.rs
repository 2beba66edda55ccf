//! A recorded session: everything that went into one engine and what came out, so that it can be run again.
//!
//! A driver that records makes a [`Recorder`], tells it of every call on the engine, and writes the bytes it makes to a
//! file. [`replay`] builds a fresh [`Engine`](super::Engine) from the recording, does the same calls, and compares every
//! output with the recorded one: they are equal, byte for byte, or the [`Difference`] says where and in what.
//!
//! **A recording contains private keys and messages** (the seed, and whatever was read from storage). Its first line says
//! so; create the file so that only its owner can read it.
//!
//! ```
//! use amarula_core::engine::{Command as _, Engine, Input, Now, Output, command, recording};
//!
//! let (config, seed, now) = (amarula_core::Config::default(), [7; 32], Now::new(0, 1_764_000_000_000));
//! let mut recorder = recording::Recorder::start(&config, &seed, now)?;
//! let mut engine = Engine::new(config, seed, now);
//!
//! let request = command::Connect.into_request();
//! recorder.command(now, &request)?; // before the engine sees it, so that a crash is recorded too
//! let answer = engine.submit_request(now, request);
//! recorder.answer(&answer)?;
//! loop {
//!     let output = engine.poll_output();
//!     recorder.output(&output)?;
//!     if matches!(output, Output::Idle { .. }) {
//!         break; // else carry it out
//!     }
//! }
//! recorder.input(now, &Input::Tick)?;
//! if let Err(misuse) = engine.handle(now, Input::Tick) {
//!     recorder.misuse(misuse)?;
//! }
//!
//! // Write `recorder.pending()` to the file from time to time, and `recorder.clear()` it. Later:
//! let summary = recording::replay(recording::Reader::of(recorder.pending()))?;
//! assert_eq!((summary.commands, summary.inputs), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Format
//!
//! A line of text ([`MAGIC`] and the format version), then entries: length (varint), protobuf message, check (4 bytes).
//! The check covers all entries so far, so that damage, loss and reordering are told from a difference of behaviour. A
//! recording that ends inside an entry was cut off by a crash: everything before counts ([`Reader::torn`]).

mod difference;
mod entry;
mod format;
mod recorder;
mod replay;
mod rows;
#[cfg(test)]
mod tests;

pub use difference::Difference;
pub use entry::{Answer, Entry, Start};
pub use format::{ReadError, Reader, Torn};
pub use recorder::{Recorder, TooLarge};
pub use replay::{Replay, ReplayError, ReplaySummary, replay};
pub use rows::OutputRecord;

/// How every recording begins; the format version and a line feed follow.
pub const MAGIC: &str =
    "amarula session recording. CONTAINS PRIVATE KEYS AND MESSAGES: whoever has it can read and send. Format ";
/// The version of the format that is written.
pub const VERSION: u32 = 1;
/// Longest entry, in bytes. A longer one cannot be recorded, and makes a recording unreadable.
pub const MAX_ENTRY: usize = 64 << 20;
/// How much of the text of an event or an answer is kept for people, in bytes. Its digest covers all of it.
pub const MAX_TEXT: usize = 1024;

/// An entry that is no entry of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
