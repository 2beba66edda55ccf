//! Every operation of a history fails once, with and without having had its effect, alone and together with the next:
//! the store says so, keeps what it had, goes on, and never shows half of anything.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use super::simfs::{Crash, SimFs};
use super::{FileOptions, FileStore};
use crate::{Profile, Store};

type Contents = BTreeMap<RecordKey, Bytes>;

#[derive(Clone)]
enum Step {
    Commit(Batch),
    Clear,
    Reopen,
}

fn alice() -> Profile {
    Profile::new("alice").unwrap()
}

fn commit(changes: &[(&str, Option<&'static str>)]) -> Step {
    let op = |value: Option<&'static str>| value.map_or(Op::Delete, |value| Op::Put(value.into()));
    let key = |key: &str| RecordKey { namespace: Namespace::Session, key: key.into() };
    Step::Commit(Batch {
        ops: changes.iter().map(|(text, value)| (key(text), op(*value))).collect(),
        ..Batch::default()
    })
}

fn clearing(changes: &[(&str, Option<&'static str>)]) -> Step {
    let Step::Commit(batch) = commit(changes) else { unreachable!() };
    Step::Commit(Batch { clear: true, ..batch })
}

fn history() -> Vec<Step> {
    vec![
        commit(&[("a", Some("1")), ("b", Some("1"))]),
        commit(&[("a", Some("2")), ("b", None)]),
        commit(&[("a", Some("3")), ("b", Some("3"))]),
        Step::Reopen,
        commit(&[("a", None), ("c", Some("4"))]),
        Step::Clear,
        commit(&[("b", Some("5")), ("c", Some("5"))]),
        commit(&[("b", Some("6")), ("c", Some("6"))]),
        clearing(&[("c", Some("7"))]),
        commit(&[("a", Some("8"))]),
        clearing(&[]),
        Step::Reopen,
        commit(&[("b", Some("9"))]),
    ]
}

fn after(before: &Contents, step: &Step) -> Contents {
    let mut contents = before.clone();
    match step {
        Step::Commit(batch) => {
            if batch.clear {
                contents.clear();
            }
            for (key, op) in &batch.ops {
                match op {
                    Op::Put(value) => contents.insert(key.clone(), value.clone()),
                    Op::Delete => contents.remove(key),
                };
            }
        }
        Step::Clear => contents.clear(),
        Step::Reopen => {}
    }
    contents
}

fn open(fs: &SimFs, checkpoint_bytes: u64) -> Result<FileStore, StorageError> {
    let options = FileOptions::new().checkpoint_bytes(checkpoint_bytes).background(false);
    FileStore::open_on(Arc::new(fs.clone()), "/data".into(), options)
}

fn read(store: &FileStore) -> Result<Contents, StorageError> {
    Ok(store.range(&alice(), Namespace::Session, None, 99)?.into_iter().collect())
}

/// Returns whether any fault was met.
fn run(checkpoint_bytes: u64, first: u64, length: u64, effect: bool, give_up: bool) -> bool {
    let what = format!("{length} failures at {first}, effect {effect}, checkpoint at {checkpoint_bytes}");
    let fs = SimFs::new();
    let mut store = open(&fs, checkpoint_bytes).ok();
    for n in first..first + length {
        fs.fail_in(n, [ErrorKind::StorageFull, ErrorKind::Other][usize::try_from(n % 2).unwrap()], effect);
    }
    let end = fs.done() + first + length;
    // What is there, and what else the next opening may find.
    let mut expected = Contents::new();
    let mut doubt: Option<Contents> = None;
    let mut failed = false;
    for step in history() {
        let result = match (&step, &store) {
            (Step::Commit(batch), Some(store)) => store.commit(&alice(), batch),
            (Step::Clear, Some(store)) => store.clear(&alice()),
            (_, _) => {
                drop(store.take());
                open(&fs, checkpoint_bytes).map(|opened| store = Some(opened))
            }
        };
        match result {
            Ok(()) if matches!(step, Step::Reopen) => {}
            Ok(()) => {
                expected = after(&expected, &step);
                doubt = None;
            }
            // What fails has not happened, and never will. Only a failure that could not be taken back is in doubt; it
            // says so, and what follows it is refused outright until a reopen.
            Err(error) => {
                failed = true;
                if error.message.contains("open it again") {
                    doubt = doubt.or_else(|| Some(after(&expected, &step)));
                }
            }
        }
        if give_up && std::mem::take(&mut failed) {
            drop(store.take());
            fs.heal();
        }
        let reopened = store.is_none() || matches!(step, Step::Reopen);
        if store.is_none() {
            store = open(&fs, checkpoint_bytes).ok();
        }
        let Some(Ok(found)) = store.as_ref().map(read) else { continue };
        if found != expected {
            assert!(reopened && doubt.as_ref() == Some(&found), "{what}: found {found:?}, expected {expected:?}");
        }
        if reopened {
            expected = found;
            doubt = None;
        }
    }
    for crash in [Crash::KeepAll, Crash::LoseAll, Crash::Random(first), Crash::Random(!first)] {
        let store = open(&fs.after(crash), checkpoint_bytes).unwrap();
        let found = read(&store).unwrap();
        let allowed = found == expected || doubt.as_ref() == Some(&found);
        let trace = || fs.trace().split_off(usize::try_from(first).unwrap().saturating_sub(1));
        assert!(allowed, "{what}, {crash:?}: found {found:?}, expected {expected:?} or {doubt:?}: {:#?}", trace());
        assert_eq!(store.corruptions(), 0, "{what}, {crash:?}");
    }
    fs.heal();
    drop(store);
    let store = open(&fs, checkpoint_bytes).unwrap();
    let found = read(&store).unwrap();
    assert!(found == expected || doubt.as_ref() == Some(&found), "{what}: found {found:?} after a clean close");
    fs.done() >= end
}

#[test]
fn every_operation_fails() {
    for checkpoint_bytes in [1, 200, 1 << 20] {
        for (length, effect, give_up) in
            [(1, false, false), (1, true, false), (1, true, true), (2, false, false), (2, true, true), (5, true, false)]
        {
            let met = (0..).take_while(|n| run(checkpoint_bytes, *n, length, effect, give_up)).count();
            assert!(met > 20, "{met}");
        }
    }
}

#[test]
fn a_full_disk_is_said_in_words_and_costs_nothing() {
    let fs = SimFs::new();
    let store = open(&fs, 1 << 20).unwrap();
    let key = RecordKey { namespace: Namespace::Session, key: "a".into() };
    let put = |value: &'static str| Batch { ops: vec![(key.clone(), Op::Put(value.into()))], ..Batch::default() };
    store.commit(&alice(), &put("1")).unwrap();
    fs.fail_in(0, ErrorKind::StorageFull, true);
    let error = store.commit(&alice(), &put("2")).unwrap_err();
    assert!(error.message.contains("the disk is full") && error.retryable, "{error}");
    fs.fail_in(0, ErrorKind::ReadOnlyFilesystem, false);
    let error = store.commit(&alice(), &put("2")).unwrap_err();
    assert!(error.message.contains("the file system is read-only") && !error.retryable, "{error}");
    assert_eq!(store.get(&alice(), std::slice::from_ref(&key)).unwrap(), [Some("1".into())]);
    store.commit(&alice(), &put("3")).unwrap();
    // The write fails, and so does taking it back: nothing may follow until the store is opened again.
    fs.fail_in(0, ErrorKind::Other, true);
    fs.fail_in(1, ErrorKind::Other, false);
    let error = store.commit(&alice(), &put("4")).unwrap_err();
    assert!(error.message.contains("open it again") && !error.retryable, "{error}");
    store.commit(&alice(), &put("5")).unwrap_err();
    assert_eq!(store.get(&alice(), std::slice::from_ref(&key)).unwrap(), [Some("3".into())]);
    drop(store);
    let store = open(&fs, 1 << 20).unwrap();
    let found = store.get(&alice(), std::slice::from_ref(&key)).unwrap();
    assert!(found == [Some("3".into())] || found == [Some("4".into())], "{found:?}");
    store.commit(&alice(), &put("6")).unwrap();
}

#[test]
fn a_commit_costs_one_sync() {
    let fs = SimFs::new();
    let store = open(&fs, 1 << 20).unwrap();
    let Step::Commit(batch) = commit(&[("a", Some("1")), ("b", Some("1")), ("c", None)]) else { unreachable!() };
    store.commit(&alice(), &batch).unwrap();
    let before = fs.trace().len();
    store.commit(&alice(), &batch).unwrap();
    let operations = fs.trace()[before..].to_vec();
    assert_eq!(operations.len(), 2, "{operations:?}");
    assert!(operations[0].starts_with("write log-") && operations[1].starts_with("sync_data log-"), "{operations:?}");
    let before = fs.trace().len();
    let alice = alice();
    let group = vec![(&alice, &batch); 50];
    assert!(store.commit_group(&group).iter().all(Result::is_ok));
    assert_eq!(fs.trace().len() - before, 2, "a group of one profile is one frame");
}
