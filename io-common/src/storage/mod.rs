//! Storage for many clients: one worker thread per store.
//!
//! Order is kept per profile: a read sees the commits before it. Commits that wait at the same time, of whatever
//! profiles, become one [`commit_group`](Store::commit_group), so that a thousand accounts share one fsync.
//! Acknowledgements are cumulative. After a commit of a session failed, its later ones are not applied until its
//! engine has been told and has started again from what is durable.

mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use amarula_core::engine::{CommitSeq, Input, Load, LoadId, StorageError};
use amarula_core::store::Batch;
use amarula_store::{AcquireError, Holder, Lease, Profile, Store};

use crate::error::Error;
use crate::port::{Port, Post};
use crate::sync::lock;
use worker::{Commit, Job};

/// A store with its worker. Clone it into the builders of all clients that share the store; the thread starts with the
/// first client and ends with the last.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    /// Weak in effect: the worker ends when the last [`Session`] and this are gone.
    jobs: Mutex<Option<Sender<Job>>>,
    holders: Arc<Holders>,
}

/// Which client of this process holds which profile.
#[derive(Default)]
struct Holders(Mutex<BTreeMap<Profile, String>>);

impl Storage {
    /// A worker for this store.
    pub fn new(store: impl Store + 'static) -> Self {
        Self::shared(Arc::new(store))
    }

    /// A worker for a store that others use too.
    #[must_use]
    pub fn shared(store: Arc<dyn Store>) -> Self {
        Self { shared: Arc::new(Shared { store, jobs: Mutex::new(None), holders: Arc::default() }) }
    }

    /// The store itself, say to list its profiles. Calls go past the worker.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// The name of the client of this process that holds `profile`.
    #[must_use]
    pub fn holder(&self, profile: &Profile) -> Option<String> {
        lock(&self.shared.holders.0).get(profile).cloned()
    }

    /// Claims `profile` for the client `holder` and opens a session on it, whose answers go to `port`. Does not wait
    /// for the store: `done` is called when it is decided, in the worker's thread or in this one.
    pub fn open(
        &self,
        profile: &Profile,
        holder: &str,
        port: Arc<dyn Port>,
        done: impl FnOnce(Result<Session, Error>) + Send + 'static,
    ) {
        let claim = match self.shared.holders.claim(profile, holder) {
            Ok(claim) => claim,
            Err(error) => return done(Err(error)),
        };
        let jobs = match self.jobs() {
            Ok(jobs) => jobs,
            Err(error) => return done(Err(error)),
        };
        let session_jobs = jobs.clone();
        let job = Job::Acquire {
            profile: profile.clone(),
            done: Box::new(move |lease| {
                static NEXT: AtomicU64 = AtomicU64::new(0);
                let mut claim = claim;
                done(match lease {
                    Err(error) => Err(acquire_error(error, &claim)),
                    Ok(lease) => {
                        claim.lease = Some(lease);
                        Ok(Session {
                            profile: claim.profile.clone(),
                            id: NEXT.fetch_add(1, Ordering::Relaxed),
                            epoch: 0,
                            jobs: session_jobs,
                            port,
                            claim: Some(claim),
                        })
                    }
                });
            }),
        };
        if let Err(mpsc::SendError(Job::Acquire { done, .. })) = jobs.send(job) {
            done(Err(AcquireError::Storage(worker_gone())));
        }
    }

    fn jobs(&self) -> Result<Sender<Job>, Error> {
        let mut jobs = lock(&self.shared.jobs);
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let (sender, receiver) = mpsc::channel();
        let store = Arc::clone(&self.shared.store);
        std::thread::Builder::new()
            .name("amarula-store".into())
            .spawn(move || worker::run(&*store, &receiver))
            .map_err(|error| Error::system("a storage thread", error))?;
        Ok(jobs.insert(sender).clone())
    }
}

impl<S: Store + 'static> From<S> for Storage {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("holders", &*lock(&self.shared.holders.0)).finish_non_exhaustive()
    }
}

impl Holders {
    fn claim(self: &Arc<Self>, profile: &Profile, holder: &str) -> Result<Claim, Error> {
        let mut map = lock(&self.0);
        if let Some(other) = map.get(profile) {
            return Err(Error::ProfileInUse { profile: profile.to_string(), holder: other.clone() });
        }
        map.insert(profile.clone(), holder.to_owned());
        Ok(Claim { lease: None, profile: profile.clone(), holders: Arc::clone(self) })
    }
}

/// The right to use a profile: within this process, and with the lease beyond it.
struct Claim {
    lease: Option<Lease>,
    profile: Profile,
    holders: Arc<Holders>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The wider claim first, or somebody of this process could find the profile free here and taken there.
        drop(self.lease.take());
        lock(&self.holders.0).remove(&self.profile);
    }
}

fn acquire_error(error: AcquireError, claim: &Claim) -> Error {
    match error {
        AcquireError::InUse { profile, holder } => {
            let holder = match holder {
                Holder::ThisProcess => "another Storage of this process (share one instead)".to_owned(),
                other => other.to_string(),
            };
            Error::ProfileLocked { profile: profile.to_string(), holder }
        }
        AcquireError::Storage(error) => Error::Storage(error),
        other => Error::ProfileLocked { profile: claim.profile.to_string(), holder: other.to_string() },
    }
}

fn worker_gone() -> StorageError {
    StorageError { message: "the storage thread has ended".into(), retryable: false }
}

/// One engine's storage, and its claim on the profile. When this is dropped, what was asked before is still carried
/// out, and then the profile is free.
pub struct Session {
    profile: Profile,
    id: u64,
    epoch: u64,
    jobs: Sender<Job>,
    port: Arc<dyn Port>,
    claim: Option<Claim>,
}

impl Session {
    /// Of which profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Reads; the answer is posted as `Loaded`.
    pub fn load(&self, id: LoadId, load: Load) {
        let job = Job::Load { session: self.id, profile: self.profile.clone(), id, load, port: Arc::clone(&self.port) };
        if self.jobs.send(job).is_err() {
            self.port.post(Post::Input(Input::Loaded { id, result: Err(worker_gone()) }));
        }
    }

    /// Writes; the answer is posted as `Committed` or `CommitFailed`.
    pub fn commit(&self, seq: CommitSeq, batch: Batch) {
        let job = Job::Commit(Commit {
            session: self.id,
            epoch: self.epoch,
            profile: self.profile.clone(),
            seq,
            batch,
            port: Arc::clone(&self.port),
        });
        if self.jobs.send(job).is_err() {
            self.port.post(Post::Input(Input::CommitFailed { seq, error: worker_gone() }));
        }
    }

    /// The engine has been told of a failed commit: what it commits from now on stands on what is durable, and is
    /// applied again.
    pub fn failure_was_told(&mut self) {
        self.epoch += 1;
    }

    /// Calls `done` in the worker's thread when everything asked so far is carried out and the profile is free.
    pub fn end(mut self, done: impl FnOnce() + Send + 'static) {
        self.finish(Some(Box::new(done)));
    }

    fn finish(&mut self, done: Option<Box<dyn FnOnce() + Send>>) {
        if let Some(claim) = self.claim.take()
            && let Err(mpsc::SendError(Job::End { claim, done, .. })) =
                self.jobs.send(Job::End { session: self.id, claim, done })
        {
            drop(claim);
            if let Some(done) = done {
                done();
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.finish(None);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
