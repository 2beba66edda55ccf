//! A store that fails on demand, for tests of what stands on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;

use crate::sync::lock;
use crate::{AcquireError, CorruptionWatcher, Lease, Profile, Store};

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails and does nothing.
    Refused {
        /// What the error says about trying again.
        retryable: bool,
    },
    /// It fails, and yet was carried out: the answer got lost. What a crash right after a commit looks like.
    AnswerLost,
    /// It fails, and the first half of the batch was applied, after its clear if it has one. No sound store does this; it shows what a caller makes of
    /// one that does. As [`Refused`](Self::Refused) for reads.
    Torn,
    /// It succeeds, after this long (wall time, in the calling thread).
    Slow(Duration),
}

/// Wraps a store, and fails the operations a test names. Commits and loads are counted from 1, separately, over all
/// profiles; each batch of a group counts.
///
/// ```
/// use amarula_core::store::{Batch, Namespace, Op, RecordKey};
/// use amarula_store::{Fault, FaultyStore, MemoryStore, Profile, Store};
///
/// let store = FaultyStore::new(MemoryStore::new());
/// store.on_commit(2, Fault::Refused { retryable: true });
/// let profile: Profile = "bot".parse()?;
/// let key = RecordKey { namespace: Namespace::Link, key: "k".into() };
/// let put = |value: &'static str| Batch { ops: vec![(key.clone(), Op::Put(value.into()))], ..Batch::default() };
/// store.commit(&profile, &put("first"))?;
/// assert!(store.commit(&profile, &put("second")).unwrap_err().retryable);
/// assert_eq!(store.get(&profile, &[key.clone()])?, [Some("first".into())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FaultyStore<S> {
    inner: S,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    commits: Counted,
    loads: Counted,
}

#[derive(Default)]
struct Counted {
    done: u64,
    faults: BTreeMap<u64, Fault>,
    every: Option<Fault>,
}

impl Counted {
    fn next(&mut self) -> Option<Fault> {
        self.done += 1;
        self.faults.remove(&self.done).or(self.every)
    }
}

impl<S> FaultyStore<S> {
    /// Wraps a store; no faults yet.
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// The store inside, which never fails by plan: look at what is really there.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The `n`-th commit goes wrong; the first is 1.
    pub fn on_commit(&self, n: u64, fault: Fault) {
        lock(&self.plan).commits.faults.insert(n, fault);
    }

    /// The `n`-th read (get or range) goes wrong; the first is 1.
    pub fn on_load(&self, n: u64, fault: Fault) {
        lock(&self.plan).loads.faults.insert(n, fault);
    }

    /// Every commit that has no fault of its own goes wrong like this; `None` ends it.
    pub fn on_every_commit(&self, fault: Option<Fault>) {
        lock(&self.plan).commits.every = fault;
    }

    /// Every read that has no fault of its own goes wrong like this; `None` ends it.
    pub fn on_every_load(&self, fault: Option<Fault>) {
        lock(&self.plan).loads.every = fault;
    }

    /// Takes back all faults that have not happened yet.
    pub fn heal(&self) {
        let plan = &mut *lock(&self.plan);
        for counted in [&mut plan.commits, &mut plan.loads] {
            counted.faults.clear();
            counted.every = None;
        }
    }

    /// Commits so far, good or bad.
    pub fn commits(&self) -> u64 {
        lock(&self.plan).commits.done
    }

    /// Reads so far, good or bad.
    pub fn loads(&self) -> u64 {
        lock(&self.plan).loads.done
    }

    fn load<T>(&self, read: impl FnOnce(&S) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let fault = lock(&self.plan).loads.next();
        match fault {
            None => read(&self.inner),
            Some(Fault::Slow(time)) => {
                sleep(time);
                read(&self.inner)
            }
            Some(Fault::Refused { retryable }) => Err(planned(retryable)),
            Some(Fault::AnswerLost | Fault::Torn) => Err(planned(true)),
        }
    }
}

fn planned(retryable: bool) -> StorageError {
    StorageError { message: "failed by the test's plan".into(), retryable }
}

impl<S> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("commits", &self.commits())
            .field("loads", &self.loads())
            .finish_non_exhaustive()
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        self.inner.acquire(profile)
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.load(|inner| inner.get(profile, keys))
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        self.load(|inner| inner.range(profile, namespace, after, limit))
    }

    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
        let fault = lock(&self.plan).commits.next();
        match fault {
            None => self.inner.commit(profile, batch),
            Some(Fault::Slow(time)) => {
                sleep(time);
                self.inner.commit(profile, batch)
            }
            Some(Fault::Refused { retryable }) => Err(planned(retryable)),
            Some(Fault::AnswerLost) => self.inner.commit(profile, batch).and(Err(planned(true))),
            Some(Fault::Torn) => {
                let half = Batch { clear: batch.clear, ops: batch.ops[..batch.ops.len() / 2].to_vec() };
                self.inner.commit(profile, &half).and(Err(planned(true)))
            }
        }
    }

    fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
        self.inner.clear(profile)
    }

    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
        self.inner.list_profiles()
    }

    fn watch_corruption(&self, watcher: CorruptionWatcher) {
        self.inner.watch_corruption(watcher);
    }
}
