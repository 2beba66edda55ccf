//! Batches that clear: what a logout does.

use amarula_core::store::{Batch, Namespace, Op, RecordKey};

use super::concurrent::{KEYS, watch_writer};
use super::{Suite, batch, commit, delete, get, get_one, key, profile, put, range, said, same, session};
use crate::{AcquireError, Profile, Store};

fn clearing(ops: impl IntoIterator<Item = (RecordKey, Op)>) -> Batch {
    Batch { clear: true, ..batch(ops) }
}

fn commit_clearing(
    store: &dyn Store,
    profile: &Profile,
    ops: impl IntoIterator<Item = (RecordKey, Op)>,
) -> Result<(), String> {
    store.commit(profile, &clearing(ops)).map_err(said("commit that clears"))
}

fn listed(store: &dyn Store, profile: &Profile) -> Result<bool, String> {
    Ok(store.list_profiles().map_err(said("list"))?.contains(profile))
}

pub(super) fn alone_and_with_changes(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("clearing")?;
    let account = key(Namespace::Account, "");
    commit_clearing(&store, &profile, []).map_err(said("of nothing"))?;
    same("listed", &listed(&store, &profile)?, &false)?;
    // Once on what is fresh, once on what a restart moved to wherever old records are.
    for restarted in [false, true] {
        let reopen = |store| {
            drop(store);
            suite.open()
        };
        commit(&store, &profile, [put(session("a"), "1"), put(session("b"), "1"), put(account.clone(), "1")])?;
        if restarted {
            store = reopen(store);
        }
        // The one with changes: of a record that was there, of one that was not, and deletions of both kinds.
        let changes = [put(session("b"), "2"), put(session("c"), "2"), delete(session("a")), delete(session("x"))];
        commit_clearing(&store, &profile, changes)?;
        for again in [false, true] {
            if again && restarted {
                store = reopen(store);
            }
            let found = get(&store, &profile, &[session("a"), session("b"), session("c"), account.clone()])?;
            same("after changes", &found, &vec![None, Some("2".into()), Some("2".into()), None])?;
            same("range after changes", &range(&store, &profile, None, 9)?, &["b", "c"].map(str::to_owned).to_vec())?;
            same("range from within", &range(&store, &profile, Some("b"), 9)?, &vec!["c".to_owned()])?;
            same("accounts", &store.range(&profile, Namespace::Account, None, 9).map_err(said("range"))?, &vec![])?;
        }
        same("listed", &listed(&store, &profile)?, &true)?;
        commit_clearing(&store, &profile, [])?;
        for again in [false, true] {
            if again && restarted {
                store = reopen(store);
            }
            same("alone", &get(&store, &profile, &[session("b"), session("c")])?, &vec![None, None])?;
            same("range", &range(&store, &profile, None, 9)?, &vec![])?;
            same("listed", &listed(&store, &profile)?, &false)?;
        }
    }
    commit(&store, &profile, [put(session("c"), "3")])?;
    drop(store);
    same("used again", &range(&suite.open(), &profile, None, 9)?, &vec!["c".to_owned()])
}

pub(super) fn in_a_group(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, one) = suite.fresh("clearing group 1")?;
    let two = profile("clearing group 2")?;
    store.clear(&two).map_err(said("clear"))?;
    commit(&store, &one, [put(session("old"), "0")])?;
    commit(&store, &two, [put(session("old"), "0")])?;
    let before = batch([put(session("before"), "1"), put(session("both"), "1")]);
    let wipe = clearing([put(session("with"), "2"), put(session("both"), "2")]);
    let after = batch([put(session("after"), "3"), delete(session("never there"))]);
    let group = [(&one, &before), (&two, &wipe), (&one, &wipe), (&two, &before), (&one, &after)];
    same("answers", &store.commit_group(&group), &vec![Ok(()); 5])?;
    let strings = |keys: &[&str]| -> Vec<String> { keys.iter().map(|key| (*key).to_owned()).collect() };
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        same("one", &range(&store, &one, None, 9)?, &strings(&["after", "both", "with"]))?;
        same("one, both", &get_one(&store, &one, &session("both"))?, &Some("2".into()))?;
        same("two", &range(&store, &two, None, 9)?, &strings(&["before", "both", "with"]))?;
        same("two, both", &get_one(&store, &two, &session("both"))?, &Some("1".into()))?;
    }
    Ok(())
}

pub(super) fn others(suite: &Suite<'_>) -> Result<(), String> {
    let (store, one) = suite.fresh("clearing one")?;
    let other = profile("clearing other")?;
    store.clear(&other).map_err(said("clear"))?;
    let lease = store.acquire(&one).map_err(said("acquire"))?;
    commit(&store, &one, [put(session("a"), "1")])?;
    commit(&store, &other, [put(session("a"), "2")])?;
    commit_clearing(&store, &one, [])?;
    same("other", &get_one(&store, &other, &session("a"))?, &Some("2".into()))?;
    match store.acquire(&one) {
        Err(AcquireError::InUse { .. }) => {}
        Err(error) => return Err(format!("acquire: {error}")),
        Ok(_) => return Err("the lease went with the records".to_owned()),
    }
    commit(&store, &one, [put(session("a"), "3")]).map_err(said("under the same lease"))?;
    drop((lease, store));
    let store = suite.open();
    same("one after a restart", &get_one(&store, &one, &session("a"))?, &Some("3".into()))?;
    same("other after a restart", &get_one(&store, &other, &session("a"))?, &Some("2".into()))
}

pub(super) fn atomic(suite: &Suite<'_>) -> Result<(), String> {
    let write = |store: &dyn Store, profile: &Profile, i: u32| {
        commit_clearing(store, profile, KEYS.map(|key| put(session(key), i.to_string())))
    };
    watch_writer(suite, "atomic clears", write, |store, profile| {
        let found = store.range(profile, Namespace::Session, None, 9).map_err(said("range"))?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    })
}
