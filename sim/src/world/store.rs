//! A client's store: a map that survives its process, and operations on their way to it.

use std::collections::{BTreeMap, VecDeque};

use amarula_core::engine::{CommitSeq, Input, Load, LoadId, Loaded};
use amarula_core::store::{self, Batch, Namespace, RecordKey};
use bytes::Bytes;

use super::storage_error;

/// An operation on its way.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Load(LoadId, Load),
    Commit(CommitSeq, Batch),
}

/// A store with faults.
#[derive(Clone, Debug, Default)]
pub struct Store {
    records: BTreeMap<RecordKey, Bytes>,
    queue: VecDeque<Op>,
    /// Milliseconds that an operation takes.
    pub delay: u64,
    /// So many commits go well before one fails; counts down.
    pub fail_commit_after: Option<u32>,
    /// So many reads go well before one fails; counts down.
    pub fail_load_after: Option<u32>,
    /// Operations are neither done nor answered.
    pub stuck: bool,
    latest: u64,
    commits: u64,
}

impl Store {
    /// A record.
    #[must_use]
    pub fn get(&self, namespace: Namespace, key: &str) -> Option<&Bytes> {
        self.records.get(&RecordKey { namespace, key: key.into() })
    }

    /// How many records of a kind there are.
    #[must_use]
    pub fn count(&self, namespace: Namespace) -> usize {
        self.records.keys().filter(|key| key.namespace == namespace).count()
    }

    /// Everything.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<RecordKey, Bytes> {
        &self.records
    }

    /// Everything, to be damaged.
    pub fn records_mut(&mut self) -> &mut BTreeMap<RecordKey, Bytes> {
        &mut self.records
    }

    /// How many batches became durable.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    pub(super) fn begin(&mut self, now: u64, op: Op) -> u64 {
        self.queue.push_back(op);
        self.latest = self.latest.max(now + self.delay);
        self.latest
    }

    /// Carries out the oldest operation.
    pub(super) fn finish(&mut self) -> Option<Input> {
        if self.stuck {
            return None;
        }
        Some(match self.queue.pop_front()? {
            Op::Load(id, _) if due(&mut self.fail_load_after) => Input::Loaded { id, result: Err(storage_error()) },
            Op::Load(id, load) => Input::Loaded { id, result: Ok(self.load(&load)) },
            Op::Commit(seq, _) if due(&mut self.fail_commit_after) => {
                // With it everything behind it.
                self.queue.retain(|op| !matches!(op, Op::Commit(..)));
                Input::CommitFailed { seq, error: storage_error() }
            }
            Op::Commit(seq, batch) => {
                self.apply(batch);
                Input::Committed { upto: seq }
            }
        })
    }

    fn load(&self, load: &Load) -> Loaded {
        match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.records.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => {
                let after = |key: &&RecordKey| after.as_ref().is_none_or(|after| key.key > *after);
                let rows = self.records.keys().filter(|key| key.namespace == *namespace).filter(after);
                let rows = rows.take(*limit as usize).map(|key| (key.clone(), self.records[key].clone()));
                Loaded::Range(rows.collect())
            }
            other => panic!("the simulation does not know {other:?}"),
        }
    }

    fn apply(&mut self, batch: Batch) {
        self.commits += 1;
        if batch.clear {
            self.records.clear();
        }
        for (key, op) in batch.ops {
            match op {
                store::Op::Put(value) => self.records.insert(key, value),
                store::Op::Delete => self.records.remove(&key),
            };
        }
    }

    /// The process is gone, and with it what was on its way.
    pub(super) fn crash(&mut self) {
        self.queue.clear();
        self.latest = 0;
        self.stuck = false;
    }
}

/// Counts down; true once, at zero.
fn due(counter: &mut Option<u32>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}
