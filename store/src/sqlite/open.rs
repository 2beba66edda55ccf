//! The database file: made, checked, connected to.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amarula_core::engine::StorageError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::sql::refused;
use crate::sync::lock;

/// "AMS1": says what the file is.
const APPLICATION_ID: i32 = 0x414d_5331;

/// Version of the tables.
const VERSION: i32 = 1;

const TABLES: &str = "
CREATE TABLE holder (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  instance TEXT NOT NULL,
  pid INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT;
CREATE TABLE profile (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  epoch INTEGER NOT NULL DEFAULT 0,
  holder INTEGER
) STRICT;
CREATE TABLE record (
  profile INTEGER NOT NULL,
  namespace INTEGER NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (profile, namespace, key)
) STRICT, WITHOUT ROWID;
";

/// Whose turn it is to write, among the connections of this store. Unlike SQLite's own lock it is fair: who waits is
/// next, however busy the others are.
#[derive(Default)]
pub(super) struct Turn {
    next: Mutex<()>,
    now: Mutex<()>,
}

impl Turn {
    pub(super) fn wait(&self) -> MutexGuard<'_, ()> {
        let _next = lock(&self.next);
        lock(&self.now)
    }
}

pub(super) struct Database {
    pub(super) path: PathBuf,
    pub(super) busy: Duration,
    pub(super) turn: Turn,
}

/// The wall clock, in milliseconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Owner only, where the system knows owners.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

impl Database {
    /// The first connection; makes the file and the tables if they are not there.
    pub(super) fn create(&self) -> Result<Connection, StorageError> {
        // SQLite gives its other files the mode of this one.
        match private(OpenOptions::new().write(true).create_new(true)).open(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(format!("cannot create {}: {error}", self.path.display()))),
        }
        let mut connection = self.connect()?;
        self.prepare(&mut connection)?;
        Ok(connection)
    }

    fn prepare(&self, connection: &mut Connection) -> Result<(), StorageError> {
        let failed = |error: rusqlite::Error| self.failed("open", &error);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
        let (application, version) = (number("application_id")?, number("user_version")?);
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
        match (application, version, tables) {
            (APPLICATION_ID, VERSION, _) => return Ok(()),
            (0, 0, 0) => {}
            (APPLICATION_ID, newer, _) if newer > VERSION => {
                return Err(refused(format!(
                    "{} was written by a newer version of this program; use that one",
                    self.path.display()
                )));
            }
            _ => {
                return Err(refused(format!("{} is a database of another program", self.path.display())));
            }
        }
        transaction.execute_batch(TABLES).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// One more connection.
    pub(super) fn connect(&self) -> Result<Connection, StorageError> {
        let failed = |error: rusqlite::Error| self.failed("open", &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(failed)?;
        connection.busy_timeout(self.busy).map_err(failed)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(refused(format!(
                "{}: SQLite cannot use its write-ahead log here (the journal mode stays {mode:?}); use a local disk",
                self.path.display()
            )));
        }
        for (name, value) in [
            // Every commit is synced.
            ("synchronous", "FULL"),
            ("fullfsync", "ON"),
            ("checkpoint_fullfsync", "ON"),
            ("secure_delete", "FAST"),
            ("trusted_schema", "OFF"),
            ("cell_size_check", "ON"),
            ("journal_size_limit", "67108864"),
        ] {
            // Some of them answer with the new value.
            connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                error => Err(failed(error)),
            })?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}
