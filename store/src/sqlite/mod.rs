//! [`SqliteStore`]: one node, one database file, thousands of profiles.
//!
//! # Connections
//!
//! One connection writes: SQLite has one writer at a time anyway, and behind a mutex the commits that wait become one
//! transaction, with one sync, instead of fighting for the file's lock. Reads have connections of their own, a few that
//! are kept: in WAL mode a reader neither waits for the writer's sync nor holds it up. Leases have another, so that
//! renewing them does not wait for a large commit's work, only for its transaction.
//!
//! # Tables
//!
//! ```sql
//! -- application_id 0x414d5331 ("AMS1"), user_version 1
//! CREATE TABLE holder (           -- a store that takes leases, renewed as a whole
//!   id INTEGER PRIMARY KEY AUTOINCREMENT,
//!   instance TEXT NOT NULL,       -- names the file that is locked while it lives: <database>-owner-<instance>
//!   pid INTEGER NOT NULL,
//!   expires INTEGER NOT NULL      -- Unix time in milliseconds
//! ) STRICT;
//! CREATE TABLE profile (          -- stays when the profile is cleared
//!   id INTEGER PRIMARY KEY,
//!   name TEXT NOT NULL UNIQUE,
//!   epoch INTEGER NOT NULL,       -- rises with each lease
//!   holder INTEGER                -- who has it
//! ) STRICT;
//! CREATE TABLE record (
//!   profile INTEGER NOT NULL,
//!   namespace INTEGER NOT NULL,   -- the stable number
//!   key BLOB NOT NULL,            -- UTF-8
//!   value BLOB NOT NULL,
//!   crc INTEGER NOT NULL,         -- CRC-32 of namespace, key and value
//!   PRIMARY KEY (profile, namespace, key)
//! ) STRICT, WITHOUT ROWID;
//! ```
//!
//! # Limits
//!
//! WAL needs shared memory: the file must be on a disk of this machine. Deleted values are overwritten where that costs
//! nothing (`secure_delete = FAST`); copies may stay in the `-wal` file until it is reused. To back up a database that
//! is in use, do not copy the file: use `VACUUM INTO` or SQLite's backup API.

mod errors;
mod leases;
mod open;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;
use rusqlite::Connection;

use self::leases::Leases;
use self::open::{Database, Turn};
use self::write::Committer;
use crate::corruption::Reporter;
use crate::sql::combine::Combiner;
use crate::sql::keeper::Keeper;
use crate::sql::{LEASE, MIN_LEASE};
use crate::sync::lock;
use crate::{AcquireError, CorruptionWatcher, Lease, Profile, Store};

/// Reading connections that are kept.
const READERS: usize = 4;

/// How a [`SqliteStore`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How long a lease outlasts a process that hangs; 30 s. That of a process that died is free at once.
    pub lease: Duration,
    /// How long to wait for another process that writes; 5 s.
    pub busy: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { lease: LEASE, busy: Duration::from_secs(5) }
    }
}

impl SqliteOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`lease`](Self::lease); at least 0.2 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(MIN_LEASE);
        self
    }

    /// Sets [`busy`](Self::busy).
    #[must_use]
    pub fn busy(mut self, busy: Duration) -> Self {
        self.busy = busy;
        self
    }
}

/// Records in an SQLite database: one file, commits of all profiles that wait go in one transaction with one sync.
///
/// Commits are durable when they return (WAL, `synchronous = FULL`). Several processes of one machine may share the
/// file; [leases](Lease) keep them off each other's profiles: who died is noticed at once (the operating system ends
/// its file lock), who hangs when its lease has run out. A commit without a lease is refused while somebody has one.
///
/// A clone is the same store.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Combiner<Committer>,
    readers: Mutex<Vec<Connection>>,
    reporter: Arc<Reporter>,
    database: Arc<Database>,
    // Last: it ends the lock of this instance.
    keeper: Arc<Keeper<Leases>>,
}

impl SqliteStore {
    /// Opens the database, which is made if it is not there (its folder must be).
    ///
    /// # Errors
    /// The file cannot be opened, is no database of Amarula, or is one of a newer version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Opens the database with other than the default options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl Into<PathBuf>, options: SqliteOptions) -> Result<Self, StorageError> {
        let database = Arc::new(Database { path: path.into(), busy: options.busy, turn: Turn::default() });
        let writer = database.create()?;
        let leases = Leases::new(Arc::clone(&database))?;
        let keeper = Arc::new(Keeper::new(leases, options.lease));
        let writer = Committer { connection: writer, database: Arc::clone(&database), keeper: Arc::clone(&keeper) };
        Ok(Self {
            shared: Arc::new(Shared {
                writer: Combiner::new(writer),
                readers: Mutex::default(),
                reporter: Arc::default(),
                database,
                keeper,
            }),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.database.path
    }

    /// How many damaged records were found since it was opened. See [`watch_corruption`](Store::watch_corruption) for
    /// which.
    #[must_use]
    pub fn corruptions(&self) -> u64 {
        self.shared.reporter.count()
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageError> {
        let kept = lock(&self.shared.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.shared.database.connect()?,
        };
        let result = work(&connection).map_err(|error| self.shared.database.failed("read", &error));
        if result.is_ok() {
            let mut readers = lock(&self.shared.readers);
            if readers.len() < READERS {
                readers.push(connection);
            }
        }
        result
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared.database.path).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        self.shared.keeper.acquire(profile, Arc::clone(&self.shared))
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.read(|connection| read::get(connection, &self.shared.reporter, profile, keys))
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        self.read(|connection| read::range(connection, &self.shared.reporter, profile, namespace, after, limit))
    }

    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
        self.shared.writer.commit(&[(profile, batch)]).remove(0)
    }

    fn commit_group(&self, commits: &[(&Profile, &Batch)]) -> Vec<Result<(), StorageError>> {
        self.shared.writer.commit(commits)
    }

    fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
        self.commit(profile, &Batch { clear: true, ..Batch::default() })
    }

    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
        self.read(read::list)
    }

    fn watch_corruption(&self, watcher: CorruptionWatcher) {
        self.shared.reporter.watch(watcher);
    }
}
