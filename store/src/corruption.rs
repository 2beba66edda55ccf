//! Telling about damage: counted, and told to whoever asked.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use amarula_core::store::RecordKey;

use crate::Profile;
use crate::sync::{read, write};

/// Something stored turned out to be damaged. It reads as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// Whose.
    pub profile: Profile,
    /// What.
    pub damaged: Damaged,
    /// How it shows and where, for people. Never holds a value.
    pub detail: String,
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damaged {
    /// This record.
    Record(RecordKey),
    /// A file that should be a record, and does not say which.
    UnknownRecord,
    /// Part of the log of recent commits: some of them are lost.
    Log,
    /// What describes the profile itself. It was rebuilt, and no record was lost.
    Description,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile {}: ", self.profile)?;
        match &self.damaged {
            Damaged::Record(key) => write!(f, "record {}/{:?}", key.namespace.name(), key.key)?,
            Damaged::UnknownRecord => f.write_str("a record")?,
            Damaged::Log => f.write_str("the log")?,
            Damaged::Description => f.write_str("the description")?,
        }
        write!(f, " is damaged: {}", self.detail)
    }
}

/// Called for each damage found, from the thread that found it: be quick, and do not call the store.
pub type CorruptionWatcher = Arc<dyn Fn(&Corruption) + Send + Sync>;

/// The counter and the watchers of one store.
#[derive(Default)]
pub(crate) struct Reporter {
    count: AtomicU64,
    watchers: RwLock<Vec<CorruptionWatcher>>,
}

impl Reporter {
    pub(crate) fn watch(&self, watcher: CorruptionWatcher) {
        write(&self.watchers).push(watcher);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self, profile: &Profile, damaged: Damaged, detail: String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let corruption = Corruption { profile: profile.clone(), damaged, detail };
        read(&self.watchers).iter().for_each(|watcher| watcher(&corruption));
    }
}
