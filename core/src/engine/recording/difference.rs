//! Where a replay left its recording.

use alloc::string::String;
use core::fmt;

/// The first place at which a replayed engine did something else than the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Number of the entry that does not hold any more; the start is 0.
    pub entry: u64,
    /// Number of the entry with the last call on the engine before it.
    pub cause_entry: u64,
    /// That call.
    pub cause: String,
    /// What the recording has there.
    pub recorded: String,
    /// What the engine does today.
    pub replayed: String,
    /// What exactly is different, where both are of one kind. Never a secret's bytes.
    pub what: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, cause_entry, cause, recorded, replayed, what } = self;
        write!(f, "entry {entry} (after entry {cause_entry}, {cause}): recorded {recorded}, replayed {replayed}")?;
        if let Some(what) = what {
            write!(f, ": {what}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Difference {}
