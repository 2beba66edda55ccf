//! Several threads at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use amarula_core::store::{Namespace, RecordKey};

use super::{Suite, batch, commit, get, get_one, profile, put, range, said, same, session};

pub(super) const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// One thread writes the same value under all keys with `write`, again and again, while others look at them with `look`.
pub(super) fn watch_writer(
    suite: &Suite<'_>,
    name: &str,
    write: impl Fn(&dyn crate::Store, &crate::Profile, u32) -> Result<(), String>,
    look: impl Fn(&dyn crate::Store, &crate::Profile) -> Result<Vec<bytes::Bytes>, String> + Sync,
) -> Result<(), String> {
    let (store, profile) = suite.fresh(name)?;
    let write = |i| write(&*store, &profile, i);
    write(0)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let values = look(&store, &profile)?;
                same("equal values", &values, &vec![values[0].clone(); KEYS.len()])?;
                let now = String::from_utf8_lossy(&values[0]).parse().map_err(said("value"))?;
                if now < last {
                    return Err(format!("{now} was read after {last}"));
                }
                last = now;
            }
            Ok(())
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let written = (1..100).try_for_each(write);
        done.store(true, Ordering::Relaxed);
        readers.into_iter().try_for_each(|reader| reader.join().unwrap_or_else(|_| Err("panicked".to_owned())))?;
        written
    })
}

fn write_all(store: &dyn crate::Store, profile: &crate::Profile, i: u32) -> Result<(), String> {
    commit(store, profile, KEYS.map(|key| put(session(key), i.to_string())))
}

pub(super) fn atomic_to_readers(suite: &Suite<'_>) -> Result<(), String> {
    watch_writer(suite, "atomic reads", write_all, |store, profile| {
        get(store, profile, &KEYS.map(session)).map(|values| values.into_iter().flatten().collect())
    })
}

pub(super) fn atomic_to_ranges(suite: &Suite<'_>) -> Result<(), String> {
    watch_writer(suite, "atomic ranges", write_all, |store, profile| {
        let found = store.range(profile, Namespace::Session, None, 9).map_err(said("range"))?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    })
}

pub(super) fn many_profiles(suite: &Suite<'_>) -> Result<(), String> {
    let store = suite.open();
    let work = |i: usize| -> Result<(), String> {
        let profile = profile(&format!("thread {i}"))?;
        store.clear(&profile).map_err(said("clear"))?;
        for round in 0..15 {
            let value = format!("{i} {round}");
            commit(&store, &profile, [put(session("a"), &value), put(session(&round.to_string()), &value)])?;
            same("own value", &get_one(&store, &profile, &session("a"))?, &Some(value.into()))?;
        }
        same("own keys", &range(&store, &profile, None, 99)?.len(), &16)
    };
    in_threads(6, work)
}

pub(super) fn one_profile(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("threads together")?;
    in_threads(6, |i| {
        let key = |round: usize| -> RecordKey { session(&format!("{i} {round:02}")) };
        for round in 0..10 {
            commit(&store, &profile, [put(key(round), "x")])?;
            same("own", &get_one(&store, &profile, &key(round))?, &Some("x".into()))?;
        }
        let batches: Vec<_> = (10..20).map(|round| batch([put(key(round), "x")])).collect();
        let group: Vec<_> = batches.iter().map(|batch| (&profile, batch)).collect();
        same("answers", &store.commit_group(&group), &vec![Ok(()); 10])
    })?;
    let expected: BTreeSet<_> = (0..6).flat_map(|i| (0..20).map(move |round| format!("{i} {round:02}"))).collect();
    let expected: Vec<_> = expected.into_iter().collect();
    same("all keys", &range(&store, &profile, None, 999)?, &expected)?;
    drop(store);
    same("all keys after a restart", &range(&suite.open(), &profile, None, 999)?, &expected)
}

fn in_threads(count: usize, work: impl Fn(usize) -> Result<(), String> + Sync) -> Result<(), String> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|i| scope.spawn(move || work(i))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })
}
