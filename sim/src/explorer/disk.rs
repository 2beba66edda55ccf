//! A store as the contract allows it: commits in order, each durable at a moment of its own, told to the engine one by
//! one or several at once; reads answered at any time, in any order, never blind to a commit asked before them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use amarula_core::engine::{CommitSeq, Load, LoadId, Loaded};
use amarula_core::store::{Batch, Op, RecordKey};
use bytes::Bytes;

/// Durable records, and operations on their way to them.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    records: Arc<BTreeMap<RecordKey, Bytes>>,
    commits: VecDeque<(CommitSeq, Batch)>,
    /// With the newest commit asked before each.
    loads: Vec<(LoadId, Load, CommitSeq)>,
    /// Everything up to here is in `records`.
    durable: CommitSeq,
    /// Everything up to here was told to the engine.
    told: CommitSeq,
    /// Stands for `records` in a digest.
    history: u64,
}

impl Disk {
    /// What would survive a crash now.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<RecordKey, Bytes> {
        &self.records
    }

    /// The newest commit that the engine knows to be durable.
    #[must_use]
    pub fn told(&self) -> CommitSeq {
        self.told
    }

    /// The newest durable commit.
    #[must_use]
    pub fn durable(&self) -> CommitSeq {
        self.durable
    }

    /// Commits asked and not told to be durable, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = CommitSeq> + '_ {
        let applied = (self.told.0 + 1..=self.durable.0).map(CommitSeq);
        applied.chain(self.commits.iter().map(|(seq, _)| *seq))
    }

    /// Commits that are not durable, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = CommitSeq> + '_ {
        self.commits.iter().map(|(seq, _)| *seq)
    }

    /// Reads without an answer.
    pub fn reads(&self) -> impl Iterator<Item = LoadId> + '_ {
        self.loads.iter().map(|(id, _, _)| *id)
    }

    /// Nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.commits.is_empty() && self.loads.is_empty() && self.told == self.durable
    }

    pub(super) fn commit(&mut self, seq: CommitSeq, batch: Batch) {
        self.commits.push_back((seq, batch));
    }

    pub(super) fn load(&mut self, id: LoadId, load: Load) {
        let after = self.commits.back().map_or(self.durable, |(seq, _)| *seq);
        self.loads.push((id, load, after));
    }

    /// Makes everything up to `upto` durable.
    pub(super) fn apply(&mut self, upto: CommitSeq) {
        while self.commits.front().is_some_and(|(seq, _)| *seq <= upto) {
            let Some((seq, batch)) = self.commits.pop_front() else { break };
            let mut hasher = DefaultHasher::new();
            (self.history, &batch).hash(&mut hasher);
            self.history = hasher.finish();
            let records = Arc::make_mut(&mut self.records);
            if batch.clear {
                records.clear();
            }
            for (key, op) in batch.ops {
                match op {
                    Op::Put(value) => records.insert(key, value),
                    Op::Delete => records.remove(&key),
                };
            }
            self.durable = seq;
        }
    }

    pub(super) fn tell(&mut self, upto: CommitSeq) {
        self.apply(upto);
        self.told = self.told.max(upto);
    }

    /// The oldest commit that is not durable fails, and with it all behind it.
    pub(super) fn fail(&mut self) -> Option<CommitSeq> {
        let first = self.commits.front().map(|(seq, _)| *seq);
        if let Some((last, _)) = self.commits.back() {
            // Numbers go on behind what was given up.
            self.durable = *last;
            self.told = *last;
            self.commits.clear();
            let durable = self.durable;
            self.loads.iter_mut().for_each(|(_, _, after)| *after = durable.min(*after));
        }
        first
    }

    /// The answer to a read.
    pub(super) fn answer(&mut self, id: LoadId) -> Option<Loaded> {
        let index = self.loads.iter().position(|(load, _, _)| *load == id)?;
        let (_, load, after) = self.loads.remove(index);
        self.apply(after);
        Some(match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.records.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => {
                let wanted = |key: &&RecordKey| {
                    key.namespace == namespace && after.as_ref().is_none_or(|after| key.key > *after)
                };
                let rows = self.records.keys().filter(wanted).take(limit as usize);
                Loaded::Range(rows.map(|key| (key.clone(), self.records[key].clone())).collect())
            }
            other => panic!("the explorer does not know {other:?}"),
        })
    }

    /// The process is gone; what is durable stays.
    pub(super) fn crash(&mut self) {
        self.commits.clear();
        self.loads.clear();
        self.durable = CommitSeq(0);
        self.told = CommitSeq(0);
    }

    pub(super) fn digest(&self, into: &mut impl std::hash::Hasher) {
        (self.history, self.durable, self.told, &self.commits, &self.loads).hash(into);
    }
}
