//! The contract between a driver and whatever keeps an account's records.

use amarula_core::engine::{Load, Loaded, StorageError};
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;

use crate::{AcquireError, CorruptionWatcher, Lease, Profile};

/// Longest text of a [`RecordKey`], in bytes. A store may refuse longer ones.
pub const MAX_KEY_LEN: usize = 255;

/// A place for records. Synchronous: drivers call it from a storage worker, never from an async task.
///
/// Promises an adapter makes, each checked by [`conformance`](crate::conformance):
/// * **Durable**: when [`commit`](Store::commit) returns `Ok`, the batch survives the death of the process, and, for
///   an adapter that claims durability, of the machine.
/// * **Atomic**: after any crash, and to any reader at any time, a batch is there wholly or not at all.
/// * **Ordered**: what is there is always the result of a prefix of a profile's successful commits. A commit that
///   failed is not visible to this process; after a crash or a reopen, or if the error says that the outcome is not
///   known (the database was lost in the middle), the *last* commit that failed may have taken effect. It is whole or
///   absent, and that is settled before anything else of the profile is read or written: it never appears later.
/// * **Read your writes**: a read that starts after a commit returned sees it, from any thread.
/// * **Isolated**: profiles and namespaces never see each other; names and keys that differ in one byte are different.
/// * **Corruption is not a crash**: a damaged record reads as absent, and is told to the
///   [watchers](Store::watch_corruption).
/// * **Silent**: values never appear in `Debug`, errors or logs.
///
/// Methods may be called from several threads at once.
///
/// **Fencing.** An adapter whose leases can be lost while the holder believes in them (a database that others share)
/// remembers the epoch its [`acquire`](Store::acquire) got, and makes every commit conditional on it; a commit of a
/// lost lease fails with `retryable: false`, and so does one without a lease while somebody has one. The [`Lease`]
/// tells its holder in time: see there what a driver does.
pub trait Store: Send + Sync {
    /// Makes this caller the only user of a profile until the [`Lease`] is dropped, as far as the adapter reaches:
    /// this process, this machine, all nodes.
    ///
    /// Take it before the engine is made, and drop it only when the connection is closed.
    ///
    /// # Errors
    /// [`AcquireError::InUse`] says who has it; [`AcquireError::Storage`] if it cannot be found out.
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError>;

    /// Reads these records: one entry for each key, in the order asked; `None` for what is not there. One consistent
    /// view: no commit shows in half of the answer.
    ///
    /// # Errors
    /// The store cannot be read. A damaged record is no error.
    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError>;

    /// Reads what exists in a namespace, in ascending byte order of the key text: only keys after `after`, from the
    /// start if `None`, and at most `limit` of them. An answer shorter than `limit` means that there are no more.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError>;

    /// Applies a batch, all or nothing, and returns when it is durable. Deleting what is not there is fine; an empty
    /// batch is fine. One that [clears](Batch::clear) removes every record first, in the same atomic step; the lease
    /// stays, and a profile that holds nothing after it is not [listed](Store::list_profiles).
    ///
    /// # Errors
    /// Nothing was applied (see *Ordered* above for what is known after a crash). The earlier state is intact.
    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError>;

    /// Commits many batches, of one profile or of many, at the cost of as few writes as the adapter can. The answers
    /// are in the order of the batches. Batches of one profile are applied in the order given, each atomically; after
    /// one failed, the later ones of *its* profile are not applied and fail too. Profiles do not affect each other.
    ///
    /// The default commits them one by one.
    fn commit_group(&self, commits: &[(&Profile, &Batch)]) -> Vec<Result<(), StorageError>> {
        let mut failed: Vec<(&Profile, StorageError)> = Vec::new();
        let mut answers = Vec::with_capacity(commits.len());
        for &(profile, batch) in commits {
            let answer = match failed.iter().find(|(name, _)| *name == profile) {
                Some((_, error)) => Err(error.clone()),
                None => self.commit(profile, batch).inspect_err(|error| failed.push((profile, error.clone()))),
            };
            answers.push(answer);
        }
        answers
    }

    /// Removes everything of a profile, atomically: after a crash it is all there or all gone. The lease, if somebody
    /// has it, stays.
    ///
    /// # Errors
    /// Nothing was removed.
    fn clear(&self, profile: &Profile) -> Result<(), StorageError>;

    /// The profiles with something stored, in byte order. One whose last record was deleted by a commit may still be
    /// listed; one that was [cleared](Store::clear) is not.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError>;

    /// From now on, tell this watcher of every damaged record found. For telemetry: a driver counts them. Adapters
    /// that cannot detect damage never call it.
    fn watch_corruption(&self, watcher: CorruptionWatcher) {
        let _ = watcher;
    }
}

macro_rules! delegate {
    ($($type:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $type {
            fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
                (**self).acquire(profile)
            }

            fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
                (**self).get(profile, keys)
            }

            fn range(
                &self,
                profile: &Profile,
                namespace: Namespace,
                after: Option<&str>,
                limit: u32,
            ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
                (**self).range(profile, namespace, after, limit)
            }

            fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
                (**self).commit(profile, batch)
            }

            fn commit_group(&self, commits: &[(&Profile, &Batch)]) -> Vec<Result<(), StorageError>> {
                (**self).commit_group(commits)
            }

            fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
                (**self).clear(profile)
            }

            fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
                (**self).list_profiles()
            }

            fn watch_corruption(&self, watcher: CorruptionWatcher) {
                (**self).watch_corruption(watcher);
            }
        }
    )*};
}

delegate!(&S, std::sync::Arc<S>, Box<S>);

/// Carries out one engine read.
///
/// # Errors
/// Those of the store.
pub fn run_load(store: &(impl Store + ?Sized), profile: &Profile, load: &Load) -> Result<Loaded, StorageError> {
    match load {
        Load::Get(keys) => store.get(profile, keys).map(Loaded::Values),
        Load::Range { namespace, after, limit } => {
            store.range(profile, *namespace, after.as_deref(), *limit).map(Loaded::Range)
        }
        _ => Err(StorageError { message: "this store does not know this kind of read".into(), retryable: false }),
    }
}

/// Refuses keys that are too long.
pub(crate) fn check_keys(batch: &Batch) -> Result<(), StorageError> {
    match batch.ops.iter().find(|(key, _)| key.key.len() > MAX_KEY_LEN) {
        None => Ok(()),
        Some((key, _)) => Err(StorageError {
            message: format!("a key of {} bytes; the most is {MAX_KEY_LEN}", key.key.len()).into(),
            retryable: false,
        }),
    }
}
