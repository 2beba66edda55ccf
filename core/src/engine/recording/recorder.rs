//! Writing a recording.

use alloc::format;
use alloc::vec::Vec;

use zeroize::Zeroize as _;

use super::MAX_ENTRY;
use super::entry::EntryRow;
use super::format::{Check, write_entry, write_header};
use super::rows::OutputRecord;
use crate::config::Config;
use crate::engine::{Input, Now, Output, Rejected, Request, TicketId};
use crate::error::Misuse;

/// An entry is longer than [`MAX_ENTRY`]. It was not written, so the recording ends before it: stop recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("an entry of {bytes} bytes cannot be recorded, the limit is {MAX_ENTRY}")]
pub struct TooLarge {
    /// Its length.
    pub bytes: usize,
}

/// Writes down what is done with one engine. It does nothing with the engine itself: tell it of every call, in order.
///
/// The bytes gather in memory until the driver has written them somewhere: [`Recorder::pending`], [`Recorder::clear`].
/// They are wiped then, and when the recorder is dropped.
pub struct Recorder {
    out: Vec<u8>,
    pub(super) check: Check,
    entries: u64,
}

impl Recorder {
    /// Begins the recording of `Engine::new(config, seed, now)`.
    ///
    /// # Errors
    /// [`TooLarge`]; this goes for every method.
    pub fn start(config: &Config, seed: &[u8; 32], now: Now) -> Result<Self, TooLarge> {
        let mut recorder = Self { out: Vec::new(), check: Check::new(), entries: 0 };
        write_header(&mut recorder.out);
        recorder.put(&EntryRow::start(config, seed, now))?;
        Ok(recorder)
    }

    /// `engine.handle(now, input)` is about to be called.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn input(&mut self, now: Now, input: &Input) -> Result<(), TooLarge> {
        self.put(&EntryRow::input(now, input))
    }

    /// `handle` has refused the input that was recorded last.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn misuse(&mut self, misuse: Misuse) -> Result<(), TooLarge> {
        self.put(&EntryRow::misuse(format!("{misuse:?}")))
    }

    /// `engine.submit_request(now, request)` is about to be called. [`Recorder::answer`] must follow.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn command(&mut self, now: Now, request: &Request) -> Result<(), TooLarge> {
        self.put(&EntryRow::command(now, request))
    }

    /// What the engine said to the command that was recorded last.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn answer<C>(&mut self, answer: &Result<TicketId, Rejected<C>>) -> Result<(), TooLarge> {
        match answer {
            Ok(ticket) => self.put(&EntryRow::taken(*ticket)),
            Err(rejected) => self.put(&EntryRow::rejected(format!("{:?}", rejected.reason))),
        }
    }

    /// `engine.cancel(now, ticket)` is about to be called.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn cancel(&mut self, now: Now, ticket: TicketId) -> Result<(), TooLarge> {
        self.put(&EntryRow::cancel(now, ticket))
    }

    /// `engine.poll_output()` gave this. To be called for every output, [`Output::Idle`] too.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn output(&mut self, output: &Output) -> Result<(), TooLarge> {
        self.put(&EntryRow::output(OutputRecord::of(output)))
    }

    /// What is not written yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.out
    }

    /// What was pending has been written: forget it.
    pub fn clear(&mut self) {
        self.out.zeroize();
    }

    /// Entries made so far, the start included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn put(&mut self, row: &EntryRow) -> Result<(), TooLarge> {
        write_entry(&mut self.out, &mut self.check, row).map_err(|bytes| TooLarge { bytes })?;
        self.entries += 1;
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.clear();
    }
}

impl core::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Recorder")
            .field("entries", &self.entries)
            .field("pending", &self.out.len())
            .finish_non_exhaustive()
    }
}
