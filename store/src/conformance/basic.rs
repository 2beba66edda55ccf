//! Reading, writing, restarting, clearing, listing, groups.

use amarula_core::engine::{Load, Loaded};
use amarula_core::store::{Batch, Namespace};

use super::{Suite, batch, commit, delete, get, get_one, key, profile, put, range, said, same, session};
use crate::{MAX_KEY_LEN, run_load};

pub(super) fn absent(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("absent")?;
    same("values", &get(&store, &profile, &[session("a"), session("b")])?, &vec![None, None])?;
    same("no keys", &get(&store, &profile, &[])?, &vec![])?;
    same("range", &range(&store, &profile, None, 10)?, &vec![])
}

pub(super) fn order_of_answers(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("order")?;
    commit(&store, &profile, [put(session("a"), "1"), put(session("b"), "2")])?;
    let asked = [session("b"), session("x"), session("a"), session("b")];
    let expected = vec![Some("2".into()), None, Some("1".into()), Some("2".into())];
    same("values", &get(&store, &profile, &asked)?, &expected)
}

pub(super) fn read_your_writes(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("read your writes")?;
    for i in 0..20 {
        let value = format!("{i}");
        commit(&store, &profile, [put(session("a"), &value)])?;
        let other =
            std::thread::scope(|scope| scope.spawn(|| get_one(&store, &profile, &session("a"))).join()).unwrap();
        same("here", &get_one(&store, &profile, &session("a"))?, &Some(value.clone().into()))?;
        same("in another thread", &other?, &Some(value.into()))?;
    }
    Ok(())
}

pub(super) fn replace_and_delete(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("replace")?;
    commit(&store, &profile, [put(session("a"), "long value"), put(session("b"), "1")])?;
    commit(&store, &profile, [put(session("a"), "x"), delete(session("b")), delete(session("never there"))])?;
    same("values", &get(&store, &profile, &[session("a"), session("b")])?, &vec![Some("x".into()), None])?;
    commit(&store, &profile, [put(session("b"), "2")])?;
    same("put again", &get_one(&store, &profile, &session("b"))?, &Some("2".into()))
}

pub(super) fn empty_batch(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("empty")?;
    commit(&store, &profile, [])?;
    same("range", &range(&store, &profile, None, 10)?, &vec![])?;
    commit(&store, &profile, [put(session("a"), "1")])?;
    commit(&store, &profile, [])?;
    same("range", &range(&store, &profile, None, 10)?, &vec!["a".to_owned()])
}

pub(super) fn restart(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("restart")?;
    for round in 0..4 {
        let value = format!("{round}");
        let gone = session(&format!("gone {round}"));
        commit(&store, &profile, [put(session("a"), &value), put(gone.clone(), "x")])?;
        commit(&store, &profile, [put(session(&value), &value), delete(gone)])?;
        drop(store);
        store = suite.open();
        same("rewritten", &get_one(&store, &profile, &session("a"))?, &Some(value.into()))?;
        let mut expected: Vec<_> = (0..=round).map(|round| round.to_string()).collect();
        expected.push("a".to_owned());
        same("keys", &range(&store, &profile, None, 100)?, &expected)?;
    }
    Ok(())
}

pub(super) fn clear(suite: &Suite<'_>) -> Result<(), String> {
    let (store, one) = suite.fresh("clear")?;
    let other = profile("clear not")?;
    store.clear(&other).map_err(said("clear"))?;
    let account = key(Namespace::Account, "");
    commit(&store, &one, [put(session("a"), "1"), put(account.clone(), "2")])?;
    commit(&store, &other, [put(session("a"), "3")])?;
    store.clear(&one).map_err(said("clear"))?;
    store.clear(&one).map_err(said("clear again"))?;
    let look = |store: &dyn crate::Store| {
        same("cleared", &get(store, &one, &[session("a"), account.clone()])?, &vec![None, None])?;
        same("cleared range", &range(store, &one, None, 10)?, &vec![])?;
        same("other", &get_one(store, &other, &session("a"))?, &Some("3".into()))
    };
    look(&store)?;
    drop(store);
    look(&suite.open()).map_err(said("after a restart"))
}

pub(super) fn use_after_clear(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("use after clear")?;
    commit(&store, &profile, [put(session("a"), "1"), put(session("b"), "2")])?;
    store.clear(&profile).map_err(said("clear"))?;
    commit(&store, &profile, [put(session("b"), "3")])?;
    drop(store);
    let store = suite.open();
    same("values", &get(&store, &profile, &[session("a"), session("b")])?, &vec![None, Some("3".into())])
}

pub(super) fn list_profiles(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, first) = suite.fresh("list Ä")?;
    let second = profile("list b")?;
    store.clear(&second).map_err(said("clear"))?;
    let listed = |store: &dyn crate::Store| -> Result<Vec<bool>, String> {
        let profiles = store.list_profiles().map_err(said("list"))?;
        if !profiles.is_sorted() {
            return Err("profiles are not in order".to_owned());
        }
        Ok([&first, &second].map(|profile| profiles.contains(profile)).to_vec())
    };
    same("nothing stored", &listed(&store)?, &vec![false, false])?;
    get_one(&store, &first, &session("a"))?;
    same("only read", &listed(&store)?, &vec![false, false])?;
    commit(&store, &first, [put(session("a"), "1")])?;
    same("one", &listed(&store)?, &vec![true, false])?;
    commit(&store, &second, [put(session("a"), "1")])?;
    same("two", &listed(&store)?, &vec![true, true])?;
    drop(store);
    store = suite.open();
    same("after a restart", &listed(&store)?, &vec![true, true])?;
    store.clear(&first).map_err(said("clear"))?;
    same("one cleared", &listed(&store)?, &vec![false, true])
}

pub(super) fn group(suite: &Suite<'_>) -> Result<(), String> {
    let (store, one) = suite.fresh("group 1")?;
    let mut profiles = vec![one];
    for i in 2..=12 {
        profiles.push(profile(&format!("group {i}"))?);
    }
    let mut batches = Vec::new();
    for round in 0..3 {
        for profile in &profiles {
            store.clear(profile).map_err(said("clear"))?;
            let value = format!("{profile} {round}");
            let there = put(session("round"), &value);
            batches.push((profile, batch([there, put(session(&format!("{round}")), &value), delete(session("1"))])));
        }
    }
    let commits: Vec<_> = batches.iter().map(|(profile, batch)| (*profile, batch)).collect();
    let answers = store.commit_group(&commits);
    same("answers", &answers, &vec![Ok(()); batches.len()])?;
    same("no commits", &store.commit_group(&[]), &vec![])?;
    for profile in &profiles {
        let newest = Some(format!("{profile} 2").into());
        same("newest", &get_one(&store, profile, &session("round"))?, &newest)?;
        same("keys", &range(&store, profile, None, 10)?, &["0", "2", "round"].map(str::to_owned).to_vec())?;
    }
    Ok(())
}

pub(super) fn group_failure(suite: &Suite<'_>) -> Result<(), String> {
    let (store, bad) = suite.fresh("group failure")?;
    let good = profile("group success")?;
    store.clear(&good).map_err(said("clear"))?;
    // A store may take longer keys than it must; then there is nothing to see here.
    let too_long = batch([put(session("b"), "2"), put(session(&"x".repeat(MAX_KEY_LEN + 1)), "2")]);
    let (first, last) = (batch([put(session("a"), "1")]), batch([put(session("a"), "3")]));
    let answers =
        store.commit_group(&[(&bad, &first), (&bad, &too_long), (&good, &first), (&bad, &last), (&good, &last)]);
    if answers.iter().all(Result::is_ok) {
        return Ok(());
    }
    let ok: Vec<_> = answers.iter().map(Result::is_ok).collect();
    same("answers", &ok, &vec![true, false, true, false, true])?;
    same("bad", &get(&store, &bad, &[session("a"), session("b")])?, &vec![Some("1".into()), None])?;
    same("good", &get_one(&store, &good, &session("a"))?, &Some("3".into()))?;
    commit(&store, &bad, [put(session("b"), "4")])?;
    same("goes on", &get_one(&store, &bad, &session("b"))?, &Some("4".into()))
}

pub(super) fn loads(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("loads")?;
    let changes: Batch = batch([put(session("a"), "1"), put(session("b"), "2")]);
    store.commit(&profile, &changes).map_err(said("commit"))?;
    let load = |load: Load| run_load(&*store, &profile, &load).map_err(said("load"));
    let values = load(Load::Get(vec![session("b"), session("c")]))?;
    same("get", &values, &Loaded::Values(vec![Some("2".into()), None]))?;
    let found = load(Load::Range { namespace: Namespace::Session, after: Some("a".into()), limit: 9 })?;
    same("range", &found, &Loaded::Range(vec![(session("b"), "2".into())]))
}
