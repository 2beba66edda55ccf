//! Profiles, namespaces and leases keep apart.

use amarula_core::store::Namespace;

use super::{Suite, commit, get, get_one, key, profile, put, range, said, same, session};
use crate::{AcquireError, Profile};

pub(super) fn namespaces(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("namespaces")?;
    commit(&store, &profile, Namespace::ALL.iter().map(|&namespace| put(key(namespace, "same"), namespace.name())))?;
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        for &namespace in Namespace::ALL {
            let record = key(namespace, "same");
            same("value", &get_one(&store, &profile, &record)?, &Some(namespace.name().into()))?;
            let found = store.range(&profile, namespace, None, 9).map_err(said("range"))?;
            same("range", &found, &vec![(record, namespace.name().into())])?;
        }
    }
    Ok(())
}

pub(super) fn profiles(suite: &Suite<'_>) -> Result<(), String> {
    let (store, one) = suite.fresh("isolation 1")?;
    let two = profile("isolation 2")?;
    store.clear(&two).map_err(said("clear"))?;
    commit(&store, &one, [put(session("a"), "1"), put(session("b"), "1")])?;
    same("nothing of the other", &get(&store, &two, &[session("a")])?, &vec![None])?;
    commit(&store, &two, [put(session("a"), "2")])?;
    same("one", &get_one(&store, &one, &session("a"))?, &Some("1".into()))?;
    same("two", &get_one(&store, &two, &session("a"))?, &Some("2".into()))?;
    same("range", &range(&store, &two, None, 9)?, &vec!["a".to_owned()])
}

pub(super) fn odd_profiles(suite: &Suite<'_>) -> Result<(), String> {
    let longest = "x".repeat(Profile::MAX_LEN - "conformance ".len());
    let names = ["é", "e\u{301}", "%41", "~", "a.b", "a:b", "a'b\"c;--", "アリス 🦁", "a%2fb", "CON", &longest];
    let mut store = suite.open();
    for name in names {
        let profile = profile(name)?;
        store.clear(&profile).map_err(said(name))?;
        commit(&store, &profile, [put(session("name"), name)]).map_err(said(name))?;
    }
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        let listed = store.list_profiles().map_err(said("list"))?;
        for name in names {
            let profile = profile(name)?;
            same(name, &get_one(&store, &profile, &session("name"))?, &Some(name.to_owned().into()))?;
            if !listed.contains(&profile) {
                return Err(format!("{profile:?} is not listed"));
            }
        }
    }
    names.iter().try_for_each(|name| store.clear(&profile(name)?).map_err(said(name)))
}

pub(super) fn hostile_profiles(_: &Suite<'_>) -> Result<(), String> {
    let long = "x".repeat(Profile::MAX_LEN + 1);
    for name in ["", ".", "..", "../x", "a/../b", "/etc/passwd", "a\\b", "..\\x", "a\0", "a\nb", ".locks", &long] {
        if Profile::new(name).is_ok() {
            return Err(format!("{name:?} was taken"));
        }
    }
    Ok(())
}

pub(super) fn leases(suite: &Suite<'_>) -> Result<(), String> {
    let (store, one) = suite.fresh("leases 1")?;
    let two = profile("leases 2")?;
    let lease = store.acquire(&one).map_err(said("acquire"))?;
    same("profile", lease.profile(), &one)?;
    match store.acquire(&one) {
        Err(AcquireError::InUse { profile, .. }) => same("who", &profile, &one)?,
        Err(error) => return Err(format!("the second acquire failed otherwise: {error}")),
        Ok(_) => return Err("a profile was leased twice".to_owned()),
    }
    let other = store.acquire(&two).map_err(said("acquire another"))?;
    commit(&store, &one, [put(session("a"), "1")])?;
    drop(lease);
    let lease = store.acquire(&one).map_err(said("acquire again"))?;
    same("value", &get_one(&store, &one, &session("a"))?, &Some("1".into()))?;
    drop((lease, other));
    Ok(())
}
