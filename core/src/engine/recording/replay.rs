//! Running a recording again.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};

use super::Malformed;
use super::difference::Difference;
use super::entry::{Answer, Entry, Start};
use super::format::{ReadError, Reader, Torn};
use super::rows::OutputRecord;
use crate::engine::Engine;

/// Why a replay did not come to its end.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error("{0}")]
    Recording(#[from] ReadError),
    /// The engine does something else today.
    #[error("{0}")]
    Differs(Box<Difference>),
}

impl From<Box<Difference>> for ReplayError {
    fn from(difference: Box<Difference>) -> Self {
        Self::Differs(difference)
    }
}

/// What was replayed, all of it equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Entries, the start included.
    pub entries: u64,
    /// Inputs fed.
    pub inputs: u64,
    /// Commands submitted.
    pub commands: u64,
    /// Cancels.
    pub cancels: u64,
    /// Outputs compared.
    pub outputs: u64,
    /// [`Engine::state_digest`] at the end. Equal on every machine for one build; changes with the program.
    pub state: u128,
    /// The recording was cut off inside an entry; everything before it was replayed.
    pub torn: Option<Torn>,
}

/// Replays a whole recording.
///
/// # Errors
/// [`ReplayError`]: the recording cannot be read on, or the first difference.
pub fn replay(mut reader: Reader) -> Result<ReplaySummary, ReplayError> {
    let Some(first) = reader.next_entry()? else {
        return Ok(ReplaySummary { torn: reader.torn(), ..ReplaySummary::default() });
    };
    let Entry::Start(start) = first else {
        let what = Malformed("a recording begins with its start");
        return Err(ReadError::Malformed { entry: 0, offset: 0, what }.into());
    };
    let mut replay = Replay::new(*start);
    while let Some(entry) = reader.next_entry()? {
        replay.step(entry)?;
    }
    Ok(ReplaySummary { torn: reader.torn(), ..replay.summary() })
}

/// A replay entry by entry, for long recordings and for looking at the engine on the way.
#[derive(Clone, Debug)]
pub struct Replay {
    engine: Engine,
    done: ReplaySummary,
    /// What the next entry must say.
    owed: Option<Entry>,
    /// The last call on the engine, and its entry's number.
    cause: (u64, String),
}

impl Replay {
    /// Makes the engine.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            engine: Engine::new(start.config, *start.seed, start.now),
            done: ReplaySummary { entries: 1, ..ReplaySummary::default() },
            owed: None,
            cause: (0, "start".to_string()),
        }
    }

    /// The engine as it is now: after a difference, as it is at the difference.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was done so far.
    #[must_use]
    pub fn summary(&self) -> ReplaySummary {
        ReplaySummary { state: self.engine.state_digest(), ..self.done }
    }

    /// Does what one entry says, or compares what it holds. Replaying on after a difference makes no sense.
    ///
    /// # Errors
    /// The difference.
    pub fn step(&mut self, entry: Entry) -> Result<(), Box<Difference>> {
        let number = self.done.entries;
        self.done.entries += 1;
        let owed = self.owed.take();
        if owed.is_some() || matches!(entry, Entry::Misuse(_) | Entry::Answer(_)) {
            // Not to have been refused is not recorded: the call's entry is followed by others at once.
            return match owed {
                Some(owed) if owed == entry => Ok(()),
                Some(owed) => Err(self.differs(number, entry.describe(), owed.describe(), None)),
                None => Err(self.differs(number, entry.describe(), "no refusal and no answer".to_string(), None)),
            };
        }
        if matches!(entry, Entry::Input { .. } | Entry::Command { .. } | Entry::Cancel { .. }) {
            self.cause = (number, entry.describe());
        }
        match entry {
            Entry::Start(_) => Err(self.differs(number, "another start".to_string(), "none".to_string(), None)),
            Entry::Input { now, input } => {
                self.done.inputs += 1;
                if let Err(misuse) = self.engine.handle(now, input) {
                    self.owed = Some(Entry::Misuse(compact_str::format_compact!("{misuse:?}")));
                }
                Ok(())
            }
            Entry::Command { now, request } => {
                self.done.commands += 1;
                self.owed = Some(Entry::Answer(match self.engine.submit_request(now, request) {
                    Ok(ticket) => Answer::Taken(ticket),
                    Err(rejected) => Answer::Rejected(compact_str::format_compact!("{:?}", rejected.reason)),
                }));
                Ok(())
            }
            Entry::Cancel { now, ticket } => {
                self.done.cancels += 1;
                self.engine.cancel(now, ticket);
                Ok(())
            }
            Entry::Output(recorded) => {
                let replayed = OutputRecord::of(&self.engine.poll_output());
                self.done.outputs += 1;
                match recorded.difference(&replayed) {
                    None => Ok(()),
                    Some(what) => Err(self.differs(number, recorded.to_string(), replayed.to_string(), Some(what))),
                }
            }
            Entry::Misuse(_) | Entry::Answer(_) => Ok(()),
        }
    }

    fn differs(&self, entry: u64, recorded: String, replayed: String, what: Option<String>) -> Box<Difference> {
        let (cause_entry, cause) = self.cause.clone();
        Box::new(Difference { entry, cause_entry, cause, recorded, replayed, what })
    }
}
