//! Writing: all that waits in one transaction, each batch in a savepoint of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Op};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::leases::Leases;
use super::open::{Database, now};
use super::read::checksum;
use crate::Profile;
use crate::sql::combine::{Entry, Writer};
use crate::sql::keeper::{Fence, Keeper};
use crate::sql::refused;

pub(super) struct Committer {
    pub(super) connection: Connection,
    pub(super) database: Arc<Database>,
    pub(super) keeper: Arc<Keeper<Leases>>,
}

/// Why nothing more can be done in this transaction.
struct Aborted(StorageError);

impl Writer for Committer {
    fn write(&mut self, entries: &[Entry]) -> Vec<Result<(), StorageError>> {
        let database = Arc::clone(&self.database);
        let _turn = database.turn.wait();
        match self.transaction(entries) {
            Ok(answers) => answers,
            Err(Aborted(error)) => {
                if !self.connection.is_autocommit() {
                    // If this fails too, so does the next BEGIN.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                entries.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

impl Committer {
    fn failed(&self, error: &rusqlite::Error) -> StorageError {
        self.database.failed("write", error)
    }

    fn run(&self, sql: &str) -> Result<(), Aborted> {
        let run = || self.connection.prepare_cached(sql)?.execute([]).map(|_| ());
        run().map_err(|error| Aborted(self.failed(&error)))
    }

    fn transaction(&self, entries: &[Entry]) -> Result<Vec<Result<(), StorageError>>, Aborted> {
        self.run("BEGIN IMMEDIATE")?;
        let mut profiles: BTreeMap<&Profile, Result<i64, StorageError>> = BTreeMap::new();
        let mut failed: BTreeMap<(u64, &Profile), StorageError> = BTreeMap::new();
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let place = (entry.call, &entry.profile);
            let answer = match failed.get(&place) {
                Some(error) => Err(error.clone()),
                None => {
                    let id = match profiles.get(&entry.profile) {
                        Some(id) => id.clone(),
                        None => {
                            let id = self.admit(&entry.profile)?;
                            profiles.insert(&entry.profile, id.clone());
                            id
                        }
                    };
                    match id {
                        Ok(id) => self.savepoint(id, &entry.batch)?,
                        Err(error) => Err(error),
                    }
                }
            };
            if let Err(error) = &answer {
                failed.insert(place, error.clone());
            }
            answers.push(answer);
        }
        self.run("COMMIT")?;
        Ok(answers)
    }

    /// The profile's row, if it may be written: as long as the transaction lasts, nobody can take the lease.
    fn admit(&self, profile: &Profile) -> Result<Result<i64, StorageError>, Aborted> {
        let fence = match self.keeper.fence(profile) {
            Ok(fence) => fence,
            Err(error) => return Ok(Err(error)),
        };
        self.look(profile, fence).map_err(|error| Aborted(self.failed(&error)))
    }

    pub(super) fn look(&self, profile: &Profile, fence: Fence) -> rusqlite::Result<Result<i64, StorageError>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT profile.id, epoch, holder, coalesce(expires, 0) > ?2
             FROM profile LEFT JOIN holder ON holder.id = profile.holder WHERE name = ?1",
        )?;
        let row = statement
            .query_row(params![profile.as_str(), now()], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, bool>(3)?))
            })
            .optional()?;
        match (fence, row) {
            (Fence::Held { holder, epoch }, Some((id, at, by, true))) if (at, by) == (epoch, Some(holder)) => {
                Ok(Ok(id))
            }
            (Fence::Held { .. }, _) => {
                let reason = "it ran out, or somebody else took the profile";
                self.keeper.lose(profile, fence, reason);
                Ok(Err(refused(format!("the lease of profile {profile} was lost: {reason}"))))
            }
            (Fence::Free, Some((_, _, _, true))) => {
                Ok(Err(refused(format!("profile {profile} is in use by another store; acquire a lease first"))))
            }
            (Fence::Free, Some((id, ..))) => Ok(Ok(id)),
            (Fence::Free, None) => {
                let mut insert = self.connection.prepare_cached("INSERT INTO profile (name) VALUES (?1)")?;
                insert.insert([profile.as_str()]).map(Ok)
            }
        }
    }

    fn savepoint(&self, id: i64, batch: &Batch) -> Result<Result<(), StorageError>, Aborted> {
        self.run("SAVEPOINT batch")?;
        match self.apply(id, batch) {
            Ok(()) => {
                self.run("RELEASE batch")?;
                Ok(Ok(()))
            }
            Err(error) => {
                let error = self.failed(&error);
                if self.connection.is_autocommit() {
                    // SQLite took all of it back: the disk is full, or fails.
                    return Err(Aborted(error));
                }
                self.run("ROLLBACK TO batch")?;
                self.run("RELEASE batch")?;
                Ok(Err(error))
            }
        }
    }

    fn apply(&self, id: i64, batch: &Batch) -> rusqlite::Result<()> {
        if batch.clear {
            self.connection.prepare_cached("DELETE FROM record WHERE profile = ?1")?.execute([id])?;
        }
        let mut put = self.connection.prepare_cached(
            "INSERT INTO record (profile, namespace, key, value, crc) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET value = excluded.value, crc = excluded.crc",
        )?;
        let mut delete =
            self.connection.prepare_cached("DELETE FROM record WHERE profile = ?1 AND namespace = ?2 AND key = ?3")?;
        for (key, op) in &batch.ops {
            let (namespace, name) = (key.namespace.number(), key.key.as_bytes());
            match op {
                Op::Put(value) => {
                    put.execute(params![id, namespace, name, &value[..], checksum(key.namespace, name, value)])?
                }
                Op::Delete => delete.execute(params![id, namespace, name])?,
            };
        }
        Ok(())
    }
}
