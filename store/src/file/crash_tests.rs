//! The file store dies at every operation of several histories, and what is found afterwards is checked: everything
//! acknowledged, and of what was under way all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use super::simfs::{Crash, SimFs, next_random};
use super::{FileOptions, FileStore};
use crate::{Profile, Store};

type Contents = BTreeMap<(Profile, RecordKey), Bytes>;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A commit, or several batches that go as a group.
    Commit(Vec<(Profile, Batch)>),
    Clear(Profile),
    /// Close the store and open it again.
    Reopen,
}

fn profile(name: &str) -> Profile {
    Profile::new(name).unwrap()
}

fn op(namespace: Namespace, key: &str, value: Option<&str>) -> (RecordKey, Op) {
    let value = value.map_or(Op::Delete, |value| Op::Put(Bytes::copy_from_slice(value.as_bytes())));
    (RecordKey { namespace, key: key.into() }, value)
}

fn apply(contents: &mut Contents, profile: &Profile, batch: &Batch) {
    if batch.clear {
        contents.retain(|(name, _), _| name != profile);
    }
    for (key, op) in &batch.ops {
        let place = (profile.clone(), key.clone());
        match op {
            Op::Put(value) => contents.insert(place, value.clone()),
            Op::Delete => contents.remove(&place),
        };
    }
}

/// All that a step may leave behind when it is interrupted, nothing done first, all done last.
fn outcomes(before: &Contents, step: &Step) -> Vec<Contents> {
    let mut outcomes = vec![before.clone()];
    match step {
        // Batches of one profile are applied in order; profiles do not affect each other.
        Step::Commit(group) => {
            let mut profiles: Vec<_> = group.iter().map(|(profile, _)| profile).collect();
            profiles.sort();
            profiles.dedup();
            for profile in profiles {
                let mut more = Vec::new();
                for start in &outcomes {
                    let mut contents = start.clone();
                    for (_, batch) in group.iter().filter(|(name, _)| name == profile) {
                        apply(&mut contents, profile, batch);
                        more.push(contents.clone());
                    }
                }
                outcomes.extend(more);
            }
        }
        Step::Clear(profile) => {
            let mut contents = before.clone();
            contents.retain(|(name, _), _| name != profile);
            outcomes.push(contents);
        }
        Step::Reopen => {}
    }
    outcomes
}

fn open(fs: &SimFs, options: FileOptions) -> Option<FileStore> {
    FileStore::open_on(Arc::new(fs.clone()), "/data".into(), options).ok()
}

/// Whether the step succeeded; `None` if the store is gone.
fn run(fs: &SimFs, options: FileOptions, store: &mut Option<FileStore>, step: &Step) -> Option<bool> {
    match step {
        Step::Commit(group) => {
            let group: Vec<_> = group.iter().map(|(profile, batch)| (profile, batch)).collect();
            Some(store.as_ref()?.commit_group(&group).iter().all(Result::is_ok))
        }
        Step::Clear(profile) => Some(store.as_ref()?.clear(profile).is_ok()),
        Step::Reopen => {
            *store = None;
            *store = open(fs, options);
            store.as_ref().map(|_| true)
        }
    }
}

/// Reads everything, through both kinds of read, and sees that they agree.
fn contents(store: &FileStore, profiles: &[Profile]) -> Contents {
    let mut contents = Contents::new();
    for profile in profiles {
        for &namespace in Namespace::ALL {
            let found = store.range(profile, namespace, None, u32::MAX).unwrap();
            let keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
            assert!(keys.is_sorted());
            let values = store.get(profile, &keys).unwrap();
            for ((key, value), again) in found.into_iter().zip(values) {
                assert_eq!(again.as_ref(), Some(&value));
                contents.insert((profile.clone(), key), value);
            }
        }
    }
    contents
}

fn check(fs: &SimFs, crash: Crash, options: FileOptions, allowed: &[Contents], profiles: &[Profile], what: &str) {
    let after = fs.after(crash);
    let store = open(&after, options).unwrap();
    let found = contents(&store, profiles);
    assert!(allowed.contains(&found), "{what}, {crash:?}: found {found:?}\nallowed {allowed:?}");
    assert_eq!(store.corruptions(), 0, "{what}, {crash:?}");
    // What was once seen stays, also when the machine dies at once.
    let later = after.after(Crash::LoseAll);
    let store = open(&later, options).unwrap();
    assert_eq!(contents(&store, profiles), found, "{what}, {crash:?}, then power loss");
    // And the store works.
    let batch = Batch { ops: vec![op(Namespace::Link, "after", Some("x"))], ..Batch::default() };
    store.commit(&profiles[0], &batch).unwrap();
    drop(store);
    let store = open(&later, options).unwrap();
    let mut expected = found;
    apply(&mut expected, &profiles[0], &batch);
    assert_eq!(contents(&store, profiles), expected, "{what}, {crash:?}, then a commit");
}

/// Dies at every operation of this history. Returns how many there are.
fn explore(history: &[Step], options: FileOptions, seeds: u64) -> u64 {
    let profiles = [profile("alice"), profile("bob")];
    for die_at in 0.. {
        let fs = SimFs::new();
        let mut store = open(&fs, options);
        let mut allowed = vec![Contents::new()];
        fs.die_in(die_at);
        let mut died = false;
        for step in history {
            let all = outcomes(allowed.last().unwrap(), step);
            match run(&fs, options, &mut store, step) {
                Some(true) => allowed = vec![all.last().unwrap().clone()],
                _ => {
                    allowed = all;
                    died = true;
                    break;
                }
            }
        }
        let what = format!("died at {die_at}: {:?}", fs.trace().last());
        let crashes = [Crash::KeepAll, Crash::LoseAll];
        let seeds = (0..seeds).map(|seed| Crash::Random(seed ^ (die_at << 32)));
        // The image is taken while the store still believes to be alive; its death changes nothing on the disk.
        for crash in crashes.into_iter().chain(seeds) {
            check(&fs, crash, options, &allowed, &profiles, &what);
        }
        check_survivor(&fs, options, &allowed, &profiles, &what);
        if !died && fs.done() < die_at {
            return die_at;
        }
    }
    unreachable!()
}

fn simple() -> Vec<Step> {
    let (alice, bob) = (profile("alice"), profile("bob"));
    let one = |profile: &Profile, ops| Step::Commit(vec![(profile.clone(), Batch { ops, ..Batch::default() })]);
    vec![
        one(&alice, vec![op(Namespace::Account, "", Some("a1"))]),
        one(&alice, vec![op(Namespace::Account, "", Some("a2")), op(Namespace::Session, "s", Some("s1"))]),
        one(&bob, vec![op(Namespace::Account, "", Some("b1"))]),
        one(&alice, vec![op(Namespace::Account, "", None), op(Namespace::Session, "s", Some("s2"))]),
        Step::Reopen,
        one(&alice, vec![op(Namespace::Account, "", Some("a3")), op(Namespace::Session, "s", None)]),
        Step::Reopen,
        Step::Reopen,
    ]
}

fn groups_and_clear() -> Vec<Step> {
    let (alice, bob) = (profile("alice"), profile("bob"));
    let batch = |ops| Batch { ops, ..Batch::default() };
    let long = "K".repeat(255);
    vec![
        Step::Commit(vec![
            (alice.clone(), batch(vec![op(Namespace::Inbox, "1", Some("x")), op(Namespace::Inbox, &long, Some("y"))])),
            (alice.clone(), batch(vec![op(Namespace::Inbox, "1", None), op(Namespace::Inbox, "2", Some("z"))])),
        ]),
        Step::Clear(alice.clone()),
        Step::Commit(vec![(alice.clone(), batch(vec![op(Namespace::Inbox, "3", Some("w"))]))]),
        Step::Commit(vec![(bob.clone(), batch(vec![op(Namespace::Inbox, "3", Some("w"))]))]),
        Step::Reopen,
        Step::Clear(alice.clone()),
        Step::Clear(bob),
        Step::Commit(vec![(alice, batch(vec![op(Namespace::Inbox, &long, Some("v"))]))]),
    ]
}

/// Logouts: a clear alone, with changes, between other batches of a group, of a profile that is not there.
fn batches_that_clear() -> Vec<Step> {
    let (alice, bob) = (profile("alice"), profile("bob"));
    let put = |key: &str, value: &str| op(Namespace::Session, key, Some(value));
    let batch = |clear, ops| Batch { clear, ops };
    let one = |profile: &Profile, clear, ops| Step::Commit(vec![(profile.clone(), batch(clear, ops))]);
    vec![
        one(&bob, true, vec![]),
        one(&alice, false, vec![put("a", "1"), put("b", "1"), op(Namespace::Account, "", Some("1"))]),
        Step::Reopen,
        one(&alice, false, vec![put("b", "2"), put("c", "2")]),
        one(&alice, true, vec![put("c", "3"), op(Namespace::Inbox, "i", None)]),
        Step::Commit(vec![
            (alice.clone(), batch(false, vec![put("d", "4")])),
            (bob.clone(), batch(false, vec![put("a", "4")])),
            (alice.clone(), batch(true, vec![put("e", "5")])),
            (alice.clone(), batch(false, vec![op(Namespace::Account, "", Some("6"))])),
        ]),
        one(&alice, true, vec![]),
        Step::Reopen,
        one(&alice, false, vec![put("a", "7")]),
        Step::Clear(alice.clone()),
        one(&alice, true, vec![put("a", "8")]),
    ]
}

/// Many small commits over few keys, so that logs are ended and moved often.
fn churn(mut seed: u64, steps: usize) -> Vec<Step> {
    let names = [profile("alice"), profile("bob")];
    let mut below = |n: u64| usize::try_from(next_random(&mut seed) % n).unwrap();
    let mut history = Vec::new();
    for i in 0..steps {
        if below(8) == 0 {
            history.push(if below(3) == 0 { Step::Clear(names[below(2)].clone()) } else { Step::Reopen });
            continue;
        }
        let clear = below(6) == 0;
        let mut ops = BTreeMap::new();
        for _ in 0..usize::from(!clear) + below(3) {
            let namespace = [Namespace::Session, Namespace::Identity][below(2)];
            let (key, value) = (["a", "B", "c/d"][below(3)], format!("{i}"));
            let (key, op) = op(namespace, key, (below(4) > 0).then_some(value.as_str()));
            ops.insert(key, op);
        }
        history.push(Step::Commit(vec![(names[below(2)].clone(), Batch { clear, ops: ops.into_iter().collect() })]));
    }
    history
}

fn options(checkpoint_bytes: u64) -> FileOptions {
    FileOptions::new().checkpoint_bytes(checkpoint_bytes).background(false)
}

/// The process died and the machine did not, another one reads what is there while its disk begins to fail, and then
/// the machine dies: what was read is still there.
fn check_survivor(fs: &SimFs, options: FileOptions, allowed: &[Contents], profiles: &[Profile], what: &str) {
    for fails_from in 0..12 {
        let machine = fs.survivor();
        for n in fails_from..200 {
            machine.fail_in(n, std::io::ErrorKind::Other, false);
        }
        let Some(store) = open(&machine, options) else { continue };
        if profiles.iter().any(|profile| store.get(profile, &[]).is_err()) {
            continue;
        }
        let what = format!("{what}, the next process read it, its disk failing from {fails_from}");
        let found = contents(&store, profiles);
        assert!(allowed.contains(&found), "{what}: found {found:?}\nallowed {allowed:?}");
        for crash in [Crash::LoseAll, Crash::Random(fails_from)] {
            let store = open(&machine.after(crash), options).unwrap();
            assert_eq!(contents(&store, profiles), found, "{what}, {crash:?}");
        }
    }
}

#[test]
fn dies_anywhere_in_a_simple_history() {
    for bytes in [1, 150, 1 << 20] {
        let operations = explore(&simple(), options(bytes), 12);
        assert!(operations > 60, "{operations}");
    }
}

#[test]
fn dies_anywhere_around_groups_and_clears() {
    for bytes in [1, 1 << 20] {
        explore(&groups_and_clear(), options(bytes), 12);
    }
}

#[test]
fn dies_anywhere_around_batches_that_clear() {
    for bytes in [1, 150, 1 << 20] {
        explore(&batches_that_clear(), options(bytes), 12);
    }
}

#[test]
fn dies_anywhere_in_a_churn() {
    for seed in 0..6 {
        explore(&churn(seed, 14), options([1, 100, 300][usize::try_from(seed % 3).unwrap()]), 4);
    }
}

#[test]
fn dies_again_while_recovering() {
    for history in [simple(), batches_that_clear()] {
        die_again_while_recovering(&history);
    }
}

fn die_again_while_recovering(history: &[Step]) {
    let profiles = [profile("alice"), profile("bob")];
    let options = options(200);
    for die_at in 0..80 {
        let fs = SimFs::new();
        let mut store = open(&fs, options);
        let mut allowed = vec![Contents::new()];
        fs.die_in(die_at);
        for step in history {
            let all = outcomes(allowed.last().unwrap(), step);
            if run(&fs, options, &mut store, step) != Some(true) {
                allowed = all;
                break;
            }
            allowed = vec![all.last().unwrap().clone()];
        }
        for first in [Crash::KeepAll, Crash::LoseAll, Crash::Random(die_at)] {
            for again in 0.. {
                let recovering = fs.after(first);
                recovering.die_in(again);
                if let Some(store) = open(&recovering, options) {
                    for profile in &profiles {
                        let _ = store.get(profile, &[]);
                    }
                }
                let what = format!("died at {die_at}, and at {again} of the recovery");
                check(&recovering, Crash::Random(again), options, &allowed, &profiles, &what);
                if recovering.done() < again {
                    break;
                }
            }
        }
    }
}
