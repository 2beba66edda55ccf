//! Scans: order, start, limit, pages.

use std::collections::BTreeSet;

use super::{Suite, commit, delete, put, range, same, session};

const KEYS: [&str; 12] = ["", "\u{1}", " ", "%", "10", "2", "A", "Z", "a", "aa", "z", "é"];

fn texts(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

pub(super) fn order(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("range order")?;
    for key in KEYS.iter().rev() {
        commit(&store, &profile, [put(session(key), key)])?;
    }
    same("keys", &range(&store, &profile, None, 100)?, &texts(&KEYS))?;
    drop(store);
    store = suite.open();
    // Some stored, some new.
    commit(&store, &profile, [put(session("aaa"), ""), delete(session("2")), put(session("Z"), "")])?;
    let mut expected = texts(&KEYS);
    expected.retain(|key| key != "2");
    expected.insert(9, "aaa".to_owned());
    same("after a restart", &range(&store, &profile, None, 100)?, &expected)
}

pub(super) fn after(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("range after")?;
    commit(&store, &profile, KEYS.map(|key| put(session(key), key)))?;
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        for after in KEYS.iter().copied().chain(["B", "0", "\u{10ffff}", "a\0"]) {
            let expected: Vec<_> = KEYS.iter().copied().filter(|key| *key > after).collect();
            let what = format!("after {after:?}, restarted: {restarted}");
            same(&what, &range(&store, &profile, Some(after), 100)?, &texts(&expected))?;
        }
    }
    Ok(())
}

pub(super) fn pages(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("range pages")?;
    let keys: BTreeSet<String> = (0..250).map(|i| format!("{}", i * 7919 % 1000)).collect();
    let (early, late): (Vec<_>, Vec<_>) = keys.iter().enumerate().partition(|(i, _)| i % 3 == 0);
    commit(&store, &profile, early.iter().map(|(_, key)| put(session(key), key)))?;
    drop(store);
    store = suite.open();
    commit(&store, &profile, late.iter().map(|(_, key)| put(session(key), key)))?;
    same("limit of none", &range(&store, &profile, None, 0)?, &vec![])?;
    for limit in [1, 7, 249, 250, 251, u32::MAX] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = range(&store, &profile, found.last().map(String::as_str), limit)?;
            let len = u32::try_from(page.len()).unwrap_or(u32::MAX);
            found.extend(page);
            if len > limit {
                return Err(format!("{len} records, with a limit of {limit}"));
            }
            if len < limit || found.len() > keys.len() {
                break;
            }
        }
        same(&format!("pages of {limit}"), &found, &keys.iter().cloned().collect())?;
    }
    Ok(())
}

pub(super) fn changes_between_pages(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("range changes")?;
    commit(&store, &profile, ["a", "c", "e"].map(|key| put(session(key), key)))?;
    drop(store);
    store = suite.open();
    same("first page", &range(&store, &profile, None, 2)?, &texts(&["a", "c"]))?;
    commit(&store, &profile, [put(session("b"), ""), put(session("d"), ""), delete(session("e"))])?;
    same("second page", &range(&store, &profile, Some("c"), 2)?, &texts(&["d"]))?;
    same("from the start", &range(&store, &profile, None, 9)?, &texts(&["a", "b", "c", "d"]))
}

pub(super) fn deleted(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("range deleted")?;
    commit(&store, &profile, ["a", "b", "c", "d"].map(|key| put(session(key), key)))?;
    commit(&store, &profile, [delete(session("a")), delete(session("c"))])?;
    same("keys", &range(&store, &profile, None, 9)?, &texts(&["b", "d"]))?;
    same("limit counts what is there", &range(&store, &profile, None, 2)?, &texts(&["b", "d"]))?;
    drop(store);
    store = suite.open();
    same("after a restart", &range(&store, &profile, None, 9)?, &texts(&["b", "d"]))
}
