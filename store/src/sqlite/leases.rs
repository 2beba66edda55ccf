//! Leases in an SQLite database.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amarula_core::engine::StorageError;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::open::{Database, now, private};
use crate::sql::keeper::{Registrar, Taken};
use crate::sql::{refused, unique};
use crate::sync::lock;
use crate::{Holder, Profile};

/// The leases of one open store.
pub(super) struct Leases {
    database: Arc<Database>,
    connection: Mutex<Connection>,
    instance: String,
    /// Locked as long as this lives, however it ends.
    alive: Option<File>,
}

fn owner_path(database: &Database, instance: &str) -> PathBuf {
    let mut path = database.path.clone().into_os_string();
    path.push(format!("-owner-{instance}"));
    path.into()
}

impl Leases {
    pub(super) fn new(database: Arc<Database>) -> Result<Self, StorageError> {
        let instance = unique();
        let path = owner_path(&database, &instance);
        let lock = || {
            let file = private(OpenOptions::new().write(true).create_new(true)).open(&path)?;
            file.try_lock()?;
            Ok::<_, std::io::Error>(file)
        };
        let alive = lock().map_err(|error| refused(format!("cannot lock {}: {error}", path.display())))?;
        let connection = Mutex::new(database.connect()?);
        Ok(Self { database, connection, instance, alive: Some(alive) })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StorageError> {
        let mut connection = lock(&self.connection);
        let _turn = self.database.turn.wait();
        work(&mut connection).map_err(|error| self.database.failed("keep leases in", &error))
    }

    /// Whether the store of this name has ended without a word: then its file can be locked.
    fn is_dead(&self, instance: &str) -> bool {
        let path = owner_path(&self.database, instance);
        // A file that is not there proves nothing: somebody may have tidied up.
        OpenOptions::new().write(true).open(path).is_ok_and(|file| file.try_lock().is_ok())
    }
}

fn after(lease: Duration) -> i64 {
    now().saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

impl Registrar for Leases {
    fn enroll(&self, lease: Duration) -> Result<i64, StorageError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // What ran out long ago is of no use to anybody.
            transaction.execute("DELETE FROM holder WHERE expires < ?1", [now() - 86_400_000])?;
            transaction.execute(
                "INSERT INTO holder (instance, pid, expires) VALUES (?1, ?2, ?3)",
                params![self.instance, std::process::id(), after(lease)],
            )?;
            let id = transaction.last_insert_rowid();
            transaction.commit()?;
            Ok(id)
        })
    }

    fn take(&self, holder: i64, profile: &Profile) -> Result<Taken, StorageError> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("INSERT INTO profile (name) VALUES (?1) ON CONFLICT DO NOTHING", [profile.as_str()])?;
            let other = transaction
                .query_row(
                    "SELECT instance, pid FROM profile JOIN holder ON holder.id = profile.holder
                     WHERE name = ?1 AND holder.id <> ?2 AND expires > ?3",
                    params![profile.as_str(), holder, now()],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)),
                )
                .optional()?;
            let mut dead = None;
            if let Some((instance, pid)) = other {
                if instance == self.instance || !self.is_dead(&instance) {
                    let ours = pid == std::process::id();
                    return Ok(Taken::By(if ours { Holder::ThisProcess } else { Holder::Process(pid) }));
                }
                // With this, whatever else it held is free too.
                transaction.execute("DELETE FROM holder WHERE instance = ?1", [&instance])?;
                dead = Some(instance);
            }
            let epoch = transaction
                .query_row(
                    "UPDATE profile SET epoch = epoch + 1, holder = ?2 WHERE name = ?1
                     AND EXISTS (SELECT 1 FROM holder WHERE id = ?2 AND expires > ?3) RETURNING epoch",
                    params![profile.as_str(), holder, now()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(epoch) = epoch else { return Ok(Taken::RanOut) };
            transaction.commit()?;
            if let Some(instance) = dead {
                let _ = fs::remove_file(owner_path(&self.database, &instance));
            }
            Ok(Taken::Epoch(epoch))
        })
    }

    fn renew(&self, holder: i64, lease: Duration) -> Result<bool, StorageError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("UPDATE holder SET expires = ?2 WHERE id = ?1 AND expires > ?3")?;
            Ok(statement.execute(params![holder, after(lease), now()])? == 1)
        })
    }

    fn release(&self, holder: i64, profile: &Profile, epoch: i64) -> Result<(), StorageError> {
        self.with(|connection| {
            let mut statement = connection
                .prepare_cached("UPDATE profile SET holder = NULL WHERE name = ?1 AND holder = ?2 AND epoch = ?3")?;
            statement.execute(params![profile.as_str(), holder, epoch]).map(|_| ())
        })
    }

    fn resign(&self, holder: i64) -> Result<(), StorageError> {
        self.with(|connection| connection.execute("DELETE FROM holder WHERE id = ?1", [holder]).map(|_| ()))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        // Nothing is held any more: the keeper has ended the holder before.
        let _ = fs::remove_file(owner_path(&self.database, &self.instance));
        drop(self.alive.take());
    }
}
