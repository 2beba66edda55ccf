//! What a plan sees: facts that are known now, and a note of everything that is not.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::cache::Cache;
use super::key::RecordKey;
use super::record::record_key;
use super::table::{State, Stored};

/// A fact is missing; the [`View`] has noted which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap;

/// Read-only facts. Reading an unknown one notes it and gives [`Gap`].
pub(crate) struct View<'a> {
    cache: &'a Cache,
    notes: RefCell<Notes>,
}

/// What a plan looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Notes {
    /// Records it read and found known.
    pub(crate) used: Vec<RecordKey>,
    /// Records it needs.
    pub(crate) missing: BTreeSet<RecordKey>,
    /// Records whose read failed.
    pub(crate) failed: BTreeSet<RecordKey>,
}

impl<'a> View<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self { cache, notes: RefCell::default() }
    }

    /// A record, or that it does not exist.
    ///
    /// # Errors
    /// [`Gap`] if it is not known yet.
    pub(crate) fn get<R: Stored>(&self, key: &R::Key) -> Result<Option<&'a R>, Gap> {
        let mut notes = self.notes.borrow_mut();
        let name = record_key::<R>(key);
        match self.cache.state::<R>(key) {
            Some(State::Present(record)) => {
                notes.used.push(name);
                Ok(Some(record))
            }
            Some(State::Absent) => {
                notes.used.push(name);
                Ok(None)
            }
            Some(State::Failed) => {
                notes.failed.insert(name);
                Err(Gap)
            }
            Some(State::Loading) | None => {
                notes.missing.insert(name);
                Err(Gap)
            }
        }
    }

    /// Notes that these records will be needed, so that they are read in one round.
    pub(crate) fn want<'k, R: Stored>(&self, keys: impl IntoIterator<Item = &'k R::Key>)
    where
        R::Key: 'k,
    {
        for key in keys {
            let _ = self.get::<R>(key);
        }
    }

    pub(crate) fn into_notes(self) -> Notes {
        self.notes.into_inner()
    }
}
