//! [`PostgresStore`]: many nodes, one database.
//!
//! # Tables
//!
//! They are made in the first schema of the `search_path` when the store is opened, and nothing else is touched.
//!
//! ```sql
//! CREATE TABLE amarula_meta (version int4 NOT NULL);   -- one row: 1
//! CREATE TABLE amarula_holder (                        -- a store that takes leases, renewed as a whole
//!   id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
//!   name text NOT NULL,                                -- of the node
//!   expires timestamptz NOT NULL);                     -- by the database's clock
//! CREATE TABLE amarula_profile (                       -- stays when the profile is cleared
//!   id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
//!   name text COLLATE "C" NOT NULL UNIQUE,
//!   epoch int8 NOT NULL DEFAULT 0,                     -- rises with each lease
//!   holder int8 REFERENCES amarula_holder (id),        -- who has it
//!   commits int8 NOT NULL DEFAULT 0,                   -- transactions that wrote it
//!   last_commit text);                                 -- the name of the newest of them
//! CREATE TABLE amarula_record (
//!   profile int8 NOT NULL REFERENCES amarula_profile (id),
//!   namespace int2 NOT NULL,                           -- the stable number
//!   key bytea NOT NULL,                                -- UTF-8; text could not hold every key
//!   value bytea NOT NULL,
//!   PRIMARY KEY (profile, namespace, key));
//! ```
//!
//! # How a commit is fenced
//!
//! One transaction: an `UPDATE` locks the rows of the profiles *on the condition* that each has the epoch and the holder
//! its lease got and that this holder has not run out, and gives them the transaction's name; then the records are
//! written; then `COMMIT`. Taking a lease locks the same row. So when somebody else has taken a profile, the condition
//! fails; and while a commit is under way, nobody can take it. What the node believes does not matter.
//!
//! # When the connection breaks
//!
//! Before `COMMIT` was sent nothing has happened, and the transaction is sent again on a new connection. If it breaks
//! between `COMMIT` and its answer, the new connection ends the old one's server process, locks a row of the profile,
//! which waits until the old transaction is over, and looks whether its name is there. Only if all that does not succeed
//! within [`PostgresOptions::patience`] the commit fails, saying that its outcome is unknown; whatever is read or
//! written next of the profile finds out first.

mod commit;
mod leases;
mod link;
mod options;
mod plan;
mod read;
mod schema;
mod seat;

#[cfg(test)]
mod proxy;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;

use self::commit::Committer;
use self::leases::Leases;
use self::link::Link;
pub use self::options::PostgresOptions;
use self::seat::Seat;
use crate::corruption::Reporter;
use crate::sql::combine::Combiner;
use crate::sql::keeper::Keeper;
use crate::sql::refused;
use crate::sync::lock;
use crate::{AcquireError, CorruptionWatcher, Lease, Profile, Store};

/// Profiles for which it is not known yet whether the last commit was applied.
type Doubts = Arc<Mutex<BTreeSet<Profile>>>;

/// Records in a PostgreSQL database that many nodes share.
///
/// Every commit is conditional, in its own transaction, on the lease standing: a node that was stopped, cut off or slow
/// cannot write once somebody else has the profile, whatever it believes. Lease times are the database's. A commit
/// without a lease is refused while somebody has one. Commits of all profiles that wait go in one transaction.
///
/// It has up to four connections (writing, reading, taking leases, renewing them), each with a thread of its own, and opens them again when they
/// break; so it may be used, and dropped, from any thread. Between it and the database there must be no pooler that
/// changes servers between transactions.
///
/// A clone is the same store.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Combiner<Committer>,
    reader: Seat,
    doubts: Doubts,
    reporter: Arc<Reporter>,
    keeper: Arc<Keeper<Leases>>,
    address: String,
    /// What the writing connection is called.
    writing: String,
}

impl PostgresStore {
    /// Connects to the database of this URL (`postgres://user:password@host/database`, or libpq's `key=value` form),
    /// and makes the tables if they are not there.
    ///
    /// # Errors
    /// The URL is wrong, the database cannot be reached or does not let us in, or its tables are of a newer version.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        Self::open_with(url, PostgresOptions::default())
    }

    /// Connects with other than the default options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(url: &str, options: PostgresOptions) -> Result<Self, StorageError> {
        // Without its details, which may quote what was given: the URL holds a password.
        let config: postgres::Config = url.parse().map_err(|_| refused("the URL of the database is not understood"))?;
        let link = Link::new(config, options);
        let seat = |role| Seat::new(link.clone().role(role));
        let (writing, reader) = (seat("write")?, seat("read")?);
        let leases = Leases::new(seat("lease")?, seat("renew")?, link.node().to_owned());
        writing.once(schema::prepare)??;
        let doubts = Doubts::default();
        let keeper = Arc::new(Keeper::new(leases, link.options.lease));
        let writer = Committer::new(writing, Arc::clone(&keeper), Arc::clone(&doubts));
        Ok(Self {
            shared: Arc::new(Shared {
                writer: Combiner::new(writer),
                reader,
                doubts,
                reporter: Arc::default(),
                keeper,
                address: link.address(),
                writing: link.role_name("write"),
            }),
        })
    }

    /// A read must not be overtaken by a commit that was given up and yet arrives.
    fn settle(&self, profile: &Profile) -> Result<(), StorageError> {
        if !lock(&self.shared.doubts).contains(profile) {
            return Ok(());
        }
        let name = profile.clone();
        let writer = self.shared.writing.clone();
        self.shared.reader.repeat(move |client| read::wait_for_writers(client, &writer, &name))?;
        lock(&self.shared.doubts).remove(profile);
        Ok(())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl Store for PostgresStore {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        self.shared.keeper.acquire(profile, Arc::clone(&self.shared))
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.settle(profile)?;
        let (profile, keys) = (profile.clone(), keys.to_vec());
        self.shared.reader.repeat(move |client| read::get(client, &profile, &keys))
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        self.settle(profile)?;
        let (profile, after) = (profile.clone(), after.map(str::to_owned));
        let reporter = Arc::clone(&self.shared.reporter);
        self.shared
            .reader
            .repeat(move |client| read::range(client, &reporter, &profile, namespace, after.as_deref(), limit))
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
        self.shared.reader.repeat(read::list)
    }

    fn watch_corruption(&self, watcher: CorruptionWatcher) {
        self.shared.reporter.watch(watcher);
    }
}
