//! A client's storage: what is durable, and what is on its way there.

use std::collections::{BTreeMap, VecDeque};

use amarula_core::engine::{CommitSeq, Input, Load, LoadId, Loaded, StorageError};
use amarula_core::store::{Batch, Op, RecordKey};
use bytes::Bytes;

/// An operation that was asked and not answered.
#[derive(Clone, Debug)]
enum Pending {
    Load(LoadId, Load),
    Commit(CommitSeq, Batch),
}

/// What goes wrong with storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The commit of this number fails, and what is queued behind it.
    FailCommit(u64),
    /// The n-th read from now on fails (1 is the next).
    FailLoad(u64),
}

/// Storage of one client: operations are done strictly in order, one at a time.
#[derive(Clone, Debug, Default)]
pub struct WorldStore {
    durable: BTreeMap<RecordKey, Bytes>,
    pending: VecDeque<Pending>,
    faults: Vec<StoreFault>,
    commits: u64,
}

impl WorldStore {
    /// What a restart would find.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<RecordKey, Bytes> {
        &self.durable
    }

    /// What a restart would find, to be changed by a test.
    pub fn records_mut(&mut self) -> &mut BTreeMap<RecordKey, Bytes> {
        &mut self.durable
    }

    /// Commits that became durable.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Arms a fault.
    pub fn fail(&mut self, fault: StoreFault) {
        self.faults.push(fault);
    }

    pub(super) fn load(&mut self, id: LoadId, load: Load) {
        self.pending.push_back(Pending::Load(id, load));
    }

    pub(super) fn commit(&mut self, seq: CommitSeq, batch: Batch) {
        self.pending.push_back(Pending::Commit(seq, batch));
    }

    /// What was on its way is lost.
    pub(super) fn crash(&mut self) {
        self.pending.clear();
        self.faults.clear();
    }

    /// Does the next operation.
    pub(super) fn next_answer(&mut self) -> Option<Input> {
        Some(match self.pending.pop_front()? {
            Pending::Load(id, load) => {
                let result = if self.load_fails() { Err(broken()) } else { Ok(self.read(&load)) };
                Input::Loaded { id, result }
            }
            Pending::Commit(seq, batch) => {
                if let Some(place) = self.faults.iter().position(|fault| *fault == StoreFault::FailCommit(seq.0)) {
                    self.faults.remove(place);
                    // Nothing behind a failed commit may be applied.
                    self.pending.retain(|pending| matches!(pending, Pending::Load(..)));
                    return Some(Input::CommitFailed { seq, error: broken() });
                }
                self.apply(batch);
                self.commits += 1;
                Input::Committed { upto: seq }
            }
        })
    }

    fn load_fails(&mut self) -> bool {
        let mut fails = false;
        self.faults.retain_mut(|fault| match fault {
            StoreFault::FailLoad(1) => {
                fails = true;
                false
            }
            StoreFault::FailLoad(n) => {
                *n -= 1;
                true
            }
            StoreFault::FailCommit(_) => true,
        });
        fails
    }

    fn read(&self, load: &Load) -> Loaded {
        match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.durable.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => Loaded::Range(
                self.durable
                    .iter()
                    .filter(|(key, _)| {
                        key.namespace == *namespace && after.as_ref().is_none_or(|after| key.key > *after)
                    })
                    .take(*limit as usize)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            ),
            _ => unreachable!("the world knows every kind of read"),
        }
    }

    fn apply(&mut self, batch: Batch) {
        if batch.clear {
            self.durable.clear();
        }
        for (key, op) in batch.ops {
            match op {
                Op::Put(value) => drop(self.durable.insert(key, value)),
                Op::Delete => drop(self.durable.remove(&key)),
            }
        }
    }
}

fn broken() -> StorageError {
    StorageError { message: "the disk is on fire".into(), retryable: true }
}
