//! The cache against a model of storage: whatever is read, written, evicted or lost, memory never contradicts it.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::cache::{Cache, LoadOutcome};
use super::key::{Batch, Op, RecordKey};
use super::record::record_key;
use super::records::{LidOfPn, PnOfLid};
use super::table::State;
use super::view::{Gap, View};
use crate::engine::{CommitSeq, Load, LoadId, Loaded};
use crate::error::Misuse;
use crate::wire::Str;

type Storage = BTreeMap<RecordKey, Bytes>;

fn apply(storage: &mut Storage, batch: &Batch) {
    if batch.clear {
        storage.clear();
    }
    for (key, op) in &batch.ops {
        match op {
            Op::Put(value) => drop(storage.insert(key.clone(), value.clone())),
            Op::Delete => drop(storage.remove(key)),
        }
    }
}

fn answer(storage: &Storage, load: &Load) -> Loaded {
    match load {
        Load::Get(keys) => Loaded::Values(keys.iter().map(|key| storage.get(key).cloned()).collect()),
        Load::Range { .. } => Loaded::Range(Vec::new()),
    }
}

fn key(user: u8) -> Str {
    compact_str::format_compact!("{user}")
}

#[derive(Clone, Debug)]
enum Step {
    Want(u8),
    Answer,
    FailAnswer,
    Put(u8, u8),
    Delete(u8),
    Commit,
    Durable,
    Fail,
    Evict,
    Pin(u8),
    Unpin(u8),
    Wipe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Want),
        4 => Just(Step::Answer),
        1 => Just(Step::FailAnswer),
        4 => ((0..6u8), any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
        2 => (0..6u8).prop_map(Step::Delete),
        4 => Just(Step::Commit),
        4 => Just(Step::Durable),
        1 => Just(Step::Fail),
        3 => Just(Step::Evict),
        1 => (0..6u8).prop_map(Step::Pin),
        1 => (0..6u8).prop_map(Step::Unpin),
        1 => Just(Step::Wipe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_never_contradicts_storage(steps in proptest::collection::vec(step(), 1..80)) {
        // Room for about two records, so that eviction is at work all the time.
        let mut cache = Cache::new(1200);
        let mut durable = Storage::new(); // what a restart would find
        let mut issued = Storage::new(); // what storage holds once all commits on the way are through
        let mut logical: Storage = Storage::new(); // what the engine believes
        let mut commits: Vec<(CommitSeq, Batch)> = Vec::new();
        let mut loads: Vec<(LoadId, Load, Storage)> = Vec::new();
        let mut pins = [0u32; 6];
        for step in steps {
            match step {
                Step::Want(k) => {
                    cache.want([record_key::<LidOfPn>(&key(k))]);
                    // The engine closes the transaction first, so a load sees every change made before it.
                    if let Some((seq, batch)) = cache.take_batch() {
                        apply(&mut issued, &batch);
                        commits.push((seq, batch));
                    }
                    loads.extend(cache.take_loads().into_iter().map(|(id, load)| (id, load, issued.clone())));
                }
                Step::Answer | Step::FailAnswer => {
                    if !loads.is_empty() {
                        let (id, load, seen) = loads.remove(0);
                        let found = matches!(step, Step::Answer).then(|| answer(&seen, &load));
                        prop_assert_eq!(cache.check_answer(id, found.as_ref()), Ok(()));
                        prop_assert!(matches!(cache.loaded(id, found), LoadOutcome::Records));
                        prop_assert_eq!(cache.check_answer(id, None), Err(Misuse::UnknownLoad));
                    }
                }
                Step::Put(k, v) => {
                    // Some are larger than the whole limit.
                    let record = LidOfPn(if v % 16 == 0 { "9".repeat(1600).into() } else { key(v) });
                    logical.insert(record_key::<LidOfPn>(&key(k)), super::record::Record::encode(&record).into());
                    cache.put(&key(k), record);
                }
                Step::Delete(k) => {
                    logical.remove(&record_key::<LidOfPn>(&key(k)));
                    cache.delete::<LidOfPn>(&key(k));
                }
                Step::Commit => {
                    if let Some((seq, batch)) = cache.take_batch() {
                        prop_assert!(batch.ops.is_sorted_by(|a, b| a.0 < b.0), "keys ascend, none twice");
                        apply(&mut issued, &batch);
                        prop_assert_eq!(&issued, &logical);
                        commits.push((seq, batch));
                    } else {
                        prop_assert_eq!(&issued, &logical);
                    }
                }
                Step::Durable => {
                    if let Some((seq, batch)) = (!commits.is_empty()).then(|| commits.remove(0)) {
                        apply(&mut durable, &batch);
                        cache.committed(seq);
                        prop_assert_eq!(cache.durable(), seq);
                    }
                }
                Step::Fail => {
                    cache.poison();
                    commits.clear();
                    issued = durable.clone();
                    logical = durable.clone();
                    pins = [0; 6];
                }
                Step::Evict => cache.evict(),
                Step::Pin(k) => {
                    if cache.state::<LidOfPn>(&key(k)).is_some() {
                        cache.pin(&record_key::<LidOfPn>(&key(k)));
                        pins[usize::from(k)] += 1;
                    }
                }
                Step::Unpin(k) => {
                    if pins[usize::from(k)] > 0 {
                        cache.unpin(&record_key::<LidOfPn>(&key(k)));
                        pins[usize::from(k)] -= 1;
                    }
                }
                Step::Wipe => {
                    cache.wipe();
                    logical.clear();
                    pins = [0; 6];
                }
            }
            prop_assert_eq!(cache.used(), cache.recount());
            for k in 0..6u8 {
                let name = record_key::<LidOfPn>(&key(k));
                let state = cache.state::<LidOfPn>(&key(k));
                if pins[usize::from(k)] > 0 {
                    prop_assert!(state.is_some(), "a pinned record stays");
                }
                match state {
                    Some(State::Present(record)) => {
                        let bytes: Bytes = super::record::Record::encode(record).into();
                        prop_assert_eq!(Some(&bytes), logical.get(&name));
                    }
                    Some(State::Absent) => prop_assert_eq!(None, logical.get(&name)),
                    Some(State::Loading | State::Failed) | None => {}
                }
            }
        }
    }
}

#[test]
fn a_view_notes_what_is_missing_and_reads_what_is_there() {
    let mut cache = Cache::new(10_000);
    cache.put(&key(1), LidOfPn(key(9)));
    let view = View::new(&cache);
    assert_eq!(view.get::<LidOfPn>(&key(1)), Ok(Some(&LidOfPn(key(9)))));
    assert_eq!(view.get::<LidOfPn>(&key(2)), Err(Gap));
    view.want::<PnOfLid>([&key(3), &key(4)]);
    let notes = view.into_notes();
    assert_eq!(notes.used, [record_key::<LidOfPn>(&key(1))]);
    assert_eq!(notes.missing.len(), 3);
    cache.want(notes.missing);
    let loads = cache.take_loads();
    assert_eq!(loads.len(), 1, "one batched read for all");
    assert!(cache.take_loads().is_empty(), "asked once");
}

#[test]
fn several_changes_of_a_record_are_one_write() {
    let mut cache = Cache::new(10_000);
    (0..5).for_each(|n| cache.put(&key(1), LidOfPn(key(n))));
    let (seq, batch) = cache.take_batch().unwrap();
    assert_eq!((seq, batch.ops.len()), (CommitSeq(1), 1));
    let unchanged = cache.update::<LidOfPn, (), ()>(&key(1), |_| Err(()));
    assert_eq!(unchanged, Some(Err(())));
    assert_eq!(cache.take_batch(), None, "a change that failed writes nothing");
}

/// A failed read is forgotten so that it is tried again; whoever needs the record still does.
#[test]
fn a_forgotten_record_stays_pinned() {
    let mut cache = Cache::new(0);
    let name = record_key::<LidOfPn>(&key(1));
    cache.want([name.clone()]);
    cache.pin(&name);
    let (id, _) = cache.take_loads().remove(0);
    cache.loaded(id, None);
    cache.forget_record(&name);
    assert!(cache.state::<LidOfPn>(&key(1)).is_none());
    cache.want([name.clone()]);
    let (id, _) = cache.take_loads().remove(0);
    cache.loaded(id, Some(Loaded::Values(vec![None])));
    cache.evict();
    assert!(cache.state::<LidOfPn>(&key(1)).is_some(), "it was evicted under its pin");
    cache.unpin(&name);
    cache.evict();
    assert!(cache.state::<LidOfPn>(&key(1)).is_none());
}

/// Asked, written, evicted, asked again: the first answer is of the time before the write.
#[test]
fn an_old_answer_does_not_count() {
    let mut cache = Cache::new(0);
    cache.want([record_key::<LidOfPn>(&key(1))]);
    let (old, _) = cache.take_loads().remove(0);
    cache.put(&key(1), LidOfPn(key(9)));
    let (seq, batch) = cache.take_batch().unwrap();
    cache.committed(seq);
    cache.evict();
    cache.want([record_key::<LidOfPn>(&key(1))]);
    let (new, load) = cache.take_loads().remove(0);
    cache.loaded(old, Some(Loaded::Values(alloc::vec![None])));
    assert!(matches!(cache.state::<LidOfPn>(&key(1)), Some(State::Loading)));
    let mut storage = Storage::new();
    apply(&mut storage, &batch);
    cache.loaded(new, Some(answer(&storage, &load)));
    assert_eq!(cache.get::<LidOfPn>(&key(1)), Some(&LidOfPn(key(9))));
}

#[test]
fn a_corrupt_record_is_absent_and_reported() {
    let mut cache = Cache::new(10_000);
    cache.want([record_key::<LidOfPn>(&key(1))]);
    let (id, _) = cache.take_loads().remove(0);
    let rubbish = Loaded::Values(alloc::vec![Some(Bytes::from_static(&[0xff; 9]))]);
    assert_eq!(cache.check_answer(id, Some(&Loaded::Values(Vec::new()))), Err(Misuse::WrongShape));
    assert!(matches!(cache.loaded(id, Some(rubbish)), LoadOutcome::Records));
    assert!(matches!(cache.state::<LidOfPn>(&key(1)), Some(State::Absent)));
    assert_eq!(cache.take_corrupt(), [crate::store::Namespace::LidOfPn]);
}
