//! The thread that works for one store.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use amarula_core::engine::{CommitSeq, Input, Load, LoadId, StorageError};
use amarula_core::store::Batch;
use amarula_store::{AcquireError, Lease, Profile, Store, run_load};

use super::Claim;
use crate::port::{Port, Post};
use crate::telemetry;

/// Most jobs looked at in one round, and so the most commits in one write.
const ROUND: usize = 1024;

pub(super) enum Job {
    Acquire { profile: Profile, done: Box<dyn FnOnce(Result<Lease, AcquireError>) + Send> },
    Load { session: u64, profile: Profile, id: LoadId, load: Load, port: Arc<dyn Port> },
    Commit(Commit),
    End { session: u64, claim: Claim, done: Option<Box<dyn FnOnce() + Send>> },
}

pub(super) struct Commit {
    pub(super) session: u64,
    pub(super) epoch: u64,
    pub(super) profile: Profile,
    pub(super) seq: CommitSeq,
    pub(super) batch: Batch,
    pub(super) port: Arc<dyn Port>,
}

/// Works until nobody can ask any more.
pub(super) fn run(store: &dyn Store, jobs: &Receiver<Job>) {
    let mut worker = Worker { store, waiting: Vec::new(), failed: HashMap::new() };
    while let Ok(first) = jobs.recv() {
        worker.take(first);
        for job in jobs.try_iter().take(ROUND - 1) {
            worker.take(job);
        }
        worker.flush();
    }
}

struct Worker<'a> {
    store: &'a dyn Store,
    /// Commits of this round that are not written yet, in order.
    waiting: Vec<Commit>,
    /// The epoch of a session in which a commit failed: others of that epoch are not applied.
    failed: HashMap<u64, u64>,
}

impl Worker<'_> {
    fn take(&mut self, job: Job) {
        match job {
            Job::Commit(commit) => {
                if self.failed.get(&commit.session) != Some(&commit.epoch) {
                    self.waiting.push(commit);
                }
            }
            Job::Load { session, profile, id, load, port } => {
                if self.waiting.iter().any(|commit| commit.session == session) {
                    self.flush();
                }
                let start = Instant::now();
                let result = guarded(|| run_load(self.store, &profile, &load)).unwrap_or_else(Err);
                telemetry::loaded(start.elapsed());
                if let Err(error) = &result {
                    telemetry::store_failed(error);
                }
                port.post(Post::Input(Input::Loaded { id, result }));
            }
            Job::Acquire { profile, done } => {
                self.flush();
                done(guarded(|| self.store.acquire(&profile)).unwrap_or_else(|error| Err(error.into())));
            }
            Job::End { session, claim, done } => {
                self.flush();
                self.failed.remove(&session);
                drop(claim);
                if let Some(done) = done {
                    done();
                }
            }
        }
    }

    /// Writes what waits, and tells everybody.
    fn flush(&mut self) {
        let commits = std::mem::take(&mut self.waiting);
        if commits.is_empty() {
            return;
        }
        let start = Instant::now();
        let group: Vec<_> = commits.iter().map(|commit| (&commit.profile, &commit.batch)).collect();
        let mut results = guarded(|| self.store.commit_group(&group))
            .unwrap_or_else(|error| commits.iter().map(|_| Err(error.clone())).collect());
        telemetry::committed(commits.len(), start.elapsed());
        // A store that answers too little has not said that the rest is durable.
        results.resize_with(commits.len(), || {
            Err(StorageError { message: "the store did not answer for every batch".into(), retryable: false })
        });
        let mut durable: Vec<(&Commit, CommitSeq)> = Vec::new();
        for (commit, result) in commits.iter().zip(results) {
            if self.failed.get(&commit.session) == Some(&commit.epoch) {
                continue;
            }
            let acked = durable.iter_mut().find(|(first, _)| first.session == commit.session);
            match (result, acked) {
                (Ok(()), Some((_, upto))) => *upto = commit.seq,
                (Ok(()), None) => durable.push((commit, commit.seq)),
                (Err(error), acked) => {
                    self.failed.insert(commit.session, commit.epoch);
                    telemetry::store_failed(&error);
                    // What came before it is durable, and said so first.
                    if let Some((_, upto)) = acked.map(|(_, upto)| ((), *upto)) {
                        commit.port.post(Post::Input(Input::Committed { upto }));
                        durable.retain(|(first, _)| first.session != commit.session);
                    }
                    commit.port.post(Post::Input(Input::CommitFailed { seq: commit.seq, error }));
                }
            }
        }
        for (commit, upto) in durable {
            commit.port.post(Post::Input(Input::Committed { upto }));
        }
    }
}

/// A store that panics has failed; the other profiles go on.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| StorageError { message: "the store panicked".into(), retryable: false })
}
