//! The engine's memory of storage: batched reads, one transaction for each input, deterministic eviction.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::key::{Batch, Namespace, RecordKey};
use super::record::record_key;
use super::table::{Corrupt, Meta, Slot, State, Stored, Tables};
use crate::engine::{CommitSeq, Load, LoadId, Loaded};
use crate::error::Misuse;
use crate::wire::Str;

/// Keys of one batched read.
const LOAD_KEYS: usize = 1024;

/// A read on its way.
#[derive(Clone, Debug, Hash)]
enum OpenLoad {
    Get(Vec<RecordKey>),
    Range(Namespace),
    /// What it asked is of no interest any more: its answer may tell of a world that is gone.
    Stale,
}

/// What a finished read means to the engine.
#[derive(Debug)]
pub(crate) enum LoadOutcome {
    /// Records asked by flows are there (or failed): look again.
    Records,
    /// A range that was asked by [`Cache::range`].
    Range(LoadId, Option<Vec<(RecordKey, Bytes)>>),
}

/// Typed records in memory, in front of storage.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Cache {
    tables: Tables,
    /// Keys to ask with the next read.
    wanted: BTreeSet<RecordKey>,
    /// Range reads to be issued.
    ranges: Vec<(LoadId, Load)>,
    loads: BTreeMap<LoadId, OpenLoad>,
    /// The one read whose answer counts for a record: an older one may tell what was before a write and an eviction.
    expected: BTreeMap<RecordKey, LoadId>,
    last_load: LoadId,
    /// Keys changed since the last commit was made.
    dirty: BTreeSet<RecordKey>,
    /// Commits on their way, and what they change.
    pending: BTreeMap<CommitSeq, Vec<RecordKey>>,
    last_commit: CommitSeq,
    durable: CommitSeq,
    /// Least recently used first.
    order: BTreeMap<u64, RecordKey>,
    stamp: u64,
    used: usize,
    limit: usize,
    corrupt: Vec<Namespace>,
    /// Pins of records that were forgotten under them.
    pinned_unknown: BTreeMap<RecordKey, u32>,
    /// The next commit removes everything else.
    clear: bool,
}

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            tables: Tables::default(),
            wanted: BTreeSet::new(),
            ranges: Vec::new(),
            loads: BTreeMap::new(),
            expected: BTreeMap::new(),
            last_load: LoadId(0),
            dirty: BTreeSet::new(),
            pending: BTreeMap::new(),
            last_commit: CommitSeq(0),
            durable: CommitSeq(0),
            order: BTreeMap::new(),
            stamp: 0,
            used: 0,
            limit,
            corrupt: Vec::new(),
            pinned_unknown: BTreeMap::new(),
            clear: false,
        }
    }

    // ---- reading -----------------------------------------------------------------------------------------------

    /// What is known of a record.
    pub(crate) fn state<R: Stored>(&self, key: &R::Key) -> Option<&State<R>> {
        R::table(&self.tables).slots.get(key).map(|slot| &slot.state)
    }

    /// A record that is known to exist.
    pub(crate) fn get<R: Stored>(&self, key: &R::Key) -> Option<&R> {
        match self.state::<R>(key) {
            Some(State::Present(record)) => Some(record),
            _ => None,
        }
    }

    /// Asks for these records, unless they are known or on their way.
    pub(crate) fn want(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        for key in keys {
            let fresh = self.tables.any(key.namespace).is_some_and(|table| table.begin_load(&key.key));
            if fresh {
                self.account(&key, 0);
                self.pin_again(&key);
                self.wanted.insert(key);
            }
        }
    }

    /// Asks for a part of a namespace. The answer comes as [`LoadOutcome::Range`] with this id.
    pub(crate) fn range(&mut self, namespace: Namespace, after: Option<Str>, limit: u32) -> LoadId {
        self.last_load.0 += 1;
        self.loads.insert(self.last_load, OpenLoad::Range(namespace));
        self.ranges.push((self.last_load, Load::Range { namespace, after, limit }));
        self.last_load
    }

    /// The reads to be issued now.
    pub(crate) fn take_loads(&mut self) -> Vec<(LoadId, Load)> {
        let mut out = core::mem::take(&mut self.ranges);
        while !self.wanted.is_empty() {
            let rest = match self.wanted.iter().nth(LOAD_KEYS).cloned() {
                Some(first) => self.wanted.split_off(&first),
                None => BTreeSet::new(),
            };
            let keys: Vec<_> = core::mem::replace(&mut self.wanted, rest).into_iter().collect();
            self.last_load.0 += 1;
            self.loads.insert(self.last_load, OpenLoad::Get(keys.clone()));
            self.expected.extend(keys.iter().map(|key| (key.clone(), self.last_load)));
            out.push((self.last_load, Load::Get(keys)));
        }
        out
    }

    /// Whether this can be the answer to a read. `None` means that it failed.
    pub(crate) fn check_answer(&self, id: LoadId, answer: Option<&Loaded>) -> Result<(), Misuse> {
        match (self.loads.get(&id), answer) {
            (None, _) => return Err(Misuse::UnknownLoad),
            (Some(OpenLoad::Get(keys)), Some(Loaded::Values(values))) if keys.len() != values.len() => {
                return Err(Misuse::WrongShape);
            }
            (Some(OpenLoad::Get(_)), Some(Loaded::Range(_))) | (Some(OpenLoad::Range(_)), Some(Loaded::Values(_))) => {
                return Err(Misuse::WrongShape);
            }
            (Some(OpenLoad::Range(namespace)), Some(Loaded::Range(rows)))
                if rows.iter().any(|(key, _)| key.namespace != *namespace) =>
            {
                return Err(Misuse::WrongShape);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the answer to a read, which [`Cache::check_answer`] has found good.
    pub(crate) fn loaded(&mut self, id: LoadId, answer: Option<Loaded>) -> LoadOutcome {
        match (self.loads.remove(&id), answer) {
            (Some(OpenLoad::Get(keys)), answer) => {
                let values = match answer {
                    Some(Loaded::Values(values)) => Some(values),
                    _ => None,
                };
                for (i, key) in keys.iter().enumerate() {
                    if self.expected.get(key) != Some(&id) {
                        continue;
                    }
                    self.expected.remove(key);
                    let value = values.as_ref().map(|values| values[i].as_ref());
                    self.finish(key, value);
                }
                LoadOutcome::Records
            }
            (Some(OpenLoad::Stale) | None, _) => LoadOutcome::Records,
            (_, Some(Loaded::Range(rows))) => LoadOutcome::Range(id, Some(rows)),
            _ => LoadOutcome::Range(id, None),
        }
    }

    fn finish(&mut self, key: &RecordKey, value: Option<Option<&Bytes>>) {
        let Some(table) = self.tables.any(key.namespace) else { return };
        match table.finish_load(&key.key, value) {
            Ok(Some(cost)) => self.account(key, cost),
            Ok(None) => {}
            Err(Corrupt) => {
                self.account(key, 0);
                self.corrupt.push(key.namespace);
            }
        }
    }

    /// Namespaces of records that turned out to be corrupt since the last call.
    pub(crate) fn take_corrupt(&mut self) -> Vec<Namespace> {
        core::mem::take(&mut self.corrupt)
    }

    /// Whether a read of this record is on its way.
    pub(crate) fn is_loading(&mut self, key: &RecordKey) -> bool {
        self.tables.any(key.namespace).is_some_and(|table| table.is_loading(&key.key))
    }

    /// Forgets what is known of a record that is not in use: that reading it failed, or that it was corrupt.
    pub(crate) fn forget_record(&mut self, key: &RecordKey) {
        let pins = self.meta(key).map_or(0, |meta| meta.pins);
        self.drop_slot(key);
        if pins > 0 {
            self.pinned_unknown.insert(key.clone(), pins);
        }
    }

    /// A slot was made: whoever pinned the record before it was forgotten still means it.
    fn pin_again(&mut self, key: &RecordKey) {
        if let Some(pins) = self.pinned_unknown.remove(key)
            && let Some(meta) = self.meta(key)
        {
            meta.pins += pins;
        }
    }

    // ---- writing -----------------------------------------------------------------------------------------------

    /// Writes a record; what was known of it before does not matter.
    pub(crate) fn put<R: Stored>(&mut self, key: &R::Key, record: R) {
        self.write(key, State::Present(record));
    }

    /// Removes a record; whether it existed does not matter.
    pub(crate) fn delete<R: Stored>(&mut self, key: &R::Key) {
        self.write::<R>(key, State::Absent);
    }

    fn write<R: Stored>(&mut self, key: &R::Key, state: State<R>) {
        match R::table_mut(&mut self.tables).slots.get_mut(key) {
            Some(slot) => slot.state = state,
            None => {
                R::table_mut(&mut self.tables).slots.insert(key.clone(), Slot { state, meta: Meta::default() });
                self.pin_again(&record_key::<R>(key));
            }
        }
        self.mark::<R>(key);
    }

    /// Changes a record that is known to exist, in place. It is written only if `change` succeeds, which must leave the
    /// record as it was if it does not. `None` if the record is not there.
    pub(crate) fn update<R: Stored, T, E>(
        &mut self,
        key: &R::Key,
        change: impl FnOnce(&mut R) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let result = match R::table_mut(&mut self.tables).slots.get_mut(key) {
            Some(Slot { state: State::Present(record), .. }) => change(record),
            _ => return None,
        };
        if result.is_ok() {
            self.mark::<R>(key);
        }
        Some(result)
    }

    fn mark<R: Stored>(&mut self, key: &R::Key) {
        self.dirty.insert(record_key::<R>(key));
    }

    /// Removes every record of the profile, in memory and, with the next commit, in storage.
    pub(crate) fn wipe(&mut self) {
        self.forget();
        self.dirty.clear();
        self.clear = true;
    }

    /// The number the next commit will have.
    pub(crate) fn next_commit(&self) -> CommitSeq {
        CommitSeq(self.last_commit.0 + 1)
    }

    /// The newest commit made.
    pub(crate) fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    /// Everything up to here is durable.
    pub(crate) fn durable(&self) -> CommitSeq {
        self.durable
    }

    /// Closes the transaction: what changed, each record encoded once.
    pub(crate) fn take_batch(&mut self) -> Option<(CommitSeq, Batch)> {
        if self.dirty.is_empty() && !self.clear {
            return None;
        }
        self.last_commit = self.next_commit();
        let keys: Vec<_> = core::mem::take(&mut self.dirty).into_iter().collect();
        let mut batch = Batch { clear: core::mem::take(&mut self.clear), ..Batch::default() };
        for key in &keys {
            let Some(op) = self.tables.op(key) else { continue };
            let cost = match &op {
                super::key::Op::Put(value) => value.len(),
                super::key::Op::Delete => 0,
            };
            self.account(key, cost);
            let seq = self.last_commit;
            if let Some(meta) = self.meta(key) {
                meta.pending = Some(seq);
            }
            batch.ops.push((key.clone(), op));
        }
        self.pending.insert(self.last_commit, keys);
        Some((self.last_commit, batch))
    }

    /// Everything up to `upto` is durable.
    pub(crate) fn committed(&mut self, upto: CommitSeq) {
        self.durable = self.durable.max(upto);
        while let Some(entry) = self.pending.first_entry() {
            if *entry.key() > upto {
                break;
            }
            let (seq, keys) = entry.remove_entry();
            for key in keys {
                let Some(table) = self.tables.any(key.namespace) else { continue };
                let absent = table.is_absent(&key.key);
                let Some(meta) = table.meta(&key.key) else { continue };
                if meta.pending != Some(seq) {
                    continue;
                }
                meta.pending = None;
                // What was removed is hardly asked for again; that it is gone is not worth remembering.
                if absent && meta.pins == 0 && !self.dirty.contains(&key) {
                    self.drop_slot(&key);
                }
            }
        }
    }

    /// Storage failed: everything in memory may be newer than what is durable. Forget all of it. Commit numbers go on;
    /// open reads will be answered into nothing.
    pub(crate) fn poison(&mut self) {
        self.forget();
        self.clear = false;
        self.dirty.clear();
        self.pending.clear();
        self.durable = self.last_commit;
    }

    /// Reads fail: what is in memory is no longer trusted to be complete. Commits on their way stay on their way, and reads
    /// asked from now on see them.
    pub(crate) fn distrust(&mut self) {
        debug_assert!(self.dirty.is_empty(), "the transaction is closed first");
        self.forget();
    }

    fn forget(&mut self) {
        self.tables = Tables::default();
        self.wanted.clear();
        self.expected.clear();
        for (id, _) in self.ranges.drain(..) {
            self.loads.remove(&id);
        }
        self.loads.values_mut().for_each(|load| *load = OpenLoad::Stale);
        self.order.clear();
        self.pinned_unknown.clear();
        self.used = 0;
    }

    /// What the slots cost, added up anew.
    #[cfg(test)]
    pub(crate) fn recount(&mut self) -> usize {
        let keys: Vec<_> = self.order.values().cloned().collect();
        let cost = |cache: &mut Self, key: &RecordKey| {
            let table = cache.tables.any(key.namespace)?;
            let overhead = table.overhead();
            table.meta(&key.key).map(|meta| meta.cost + overhead)
        };
        keys.iter().filter_map(|key| cost(self, key)).sum()
    }

    // ---- memory ------------------------------------------------------------------------------------------------

    /// Keeps a record in memory until it is unpinned as often as it was pinned.
    pub(crate) fn pin(&mut self, key: &RecordKey) {
        match self.meta(key) {
            Some(meta) => meta.pins += 1,
            None => *self.pinned_unknown.entry(key.clone()).or_insert(0) += 1,
        }
    }

    /// Undoes one [`Cache::pin`].
    pub(crate) fn unpin(&mut self, key: &RecordKey) {
        if let Some(meta) = self.meta(key) {
            meta.pins = meta.pins.saturating_sub(1);
        } else if let Some(pins) = self.pinned_unknown.get_mut(key) {
            *pins -= 1;
            if *pins == 0 {
                self.pinned_unknown.remove(key);
            }
        }
    }

    /// A record was used.
    pub(crate) fn touch(&mut self, key: &RecordKey) {
        if let Some(meta) = self.meta(key) {
            let cost = meta.cost;
            self.account(key, cost);
        }
    }

    /// Bytes counted now.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Drops least recently used records until the limit holds or all that is left is in use.
    pub(crate) fn evict(&mut self) {
        if self.used <= self.limit {
            return;
        }
        let mut victims = Vec::new();
        let mut freed = 0;
        for key in self.order.values() {
            if self.used.saturating_sub(freed) <= self.limit {
                break;
            }
            let Some(table) = self.tables.any(key.namespace) else { continue };
            let overhead = table.overhead();
            let Some(meta) = table.meta(&key.key).map(|meta| *meta) else { continue };
            let in_use = meta.pins > 0 || meta.pending.is_some() || self.dirty.contains(key);
            let loading = self.tables.any(key.namespace).is_some_and(|table| table.is_loading(&key.key));
            if !in_use && !loading {
                freed += meta.cost + overhead;
                victims.push(key.clone());
            }
        }
        victims.iter().for_each(|key| self.drop_slot(key));
    }

    fn meta(&mut self, key: &RecordKey) -> Option<&mut Meta> {
        self.tables.any(key.namespace)?.meta(&key.key)
    }

    /// Sets a slot's cost and makes it the most recently used.
    fn account(&mut self, key: &RecordKey, cost: usize) {
        self.stamp += 1;
        let stamp = self.stamp;
        let Some(table) = self.tables.any(key.namespace) else { return };
        let overhead = table.overhead();
        let Some(meta) = table.meta(&key.key) else { return };
        let old = core::mem::replace(meta, Meta { cost, stamp, ..*meta });
        if old.stamp == 0 {
            self.used += cost + overhead;
        } else {
            self.order.remove(&old.stamp);
            self.used = self.used + cost - old.cost;
        }
        self.order.insert(stamp, key.clone());
    }

    fn drop_slot(&mut self, key: &RecordKey) {
        let Some(table) = self.tables.any(key.namespace) else { return };
        let Some(meta) = table.meta(&key.key).map(|meta| *meta) else { return };
        let overhead = table.overhead();
        table.remove(&key.key);
        if meta.stamp != 0 {
            self.order.remove(&meta.stamp);
            self.used -= meta.cost + overhead;
        }
    }
}
