//! Odd keys, odd values, big ones, damaged ones.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Suite, commit, delete, get, get_one, put, range, same, session};
use crate::Damaged;
use crate::sync::lock;

/// Writes these keys, each with itself as value, and reads them in every way, before and after a restart.
fn round_trip(suite: &Suite<'_>, name: &str, keys: &[&str]) -> Result<(), String> {
    let (mut store, profile) = suite.fresh(name)?;
    commit(&store, &profile, keys.iter().map(|key| put(session(key), key)))?;
    let sorted: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>().into_iter().collect();
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        for key in keys {
            let found = get_one(&store, &profile, &session(key))?;
            same(&format!("{key:?}, restarted: {restarted}"), &found, &Some(Bytes::copy_from_slice(key.as_bytes())))?;
        }
        same("range", &range(&store, &profile, None, u32::MAX)?, &sorted)?;
    }
    commit(&store, &profile, keys.iter().map(|key| delete(session(key))))?;
    drop(store);
    same("all deleted", &range(&suite.open(), &profile, None, 9)?, &vec![])
}

pub(super) fn keys(suite: &Suite<'_>) -> Result<(), String> {
    let every_ascii: Vec<String> = (0..128).map(|byte: u8| char::from(byte).to_string()).collect();
    let mut keys: Vec<&str> = every_ascii.iter().map(String::as_str).collect();
    keys.extend([
        "",
        "..",
        "../up",
        "/etc/passwd",
        "a/b/c",
        "a\\b",
        ".hidden",
        ".new-0",
        "log-0000000000000001",
        "%2e",
        "%",
        "%%",
        "100%",
        "+a",
        "~",
        "~0000",
        "trailing ",
        "trailing.",
        "15551234567:3@s.whatsapp.net",
        "a\0b",
        "é",
        "e\u{301}",
        "ß",
        "日本",
        "🦁",
        "\u{10ffff}",
        "\u{feff}",
        "CON",
        "nul.txt",
        "'; DROP TABLE records; --",
    ]);
    keys.sort_unstable();
    keys.dedup();
    round_trip(suite, "keys", &keys)
}

pub(super) fn long_keys(suite: &Suite<'_>) -> Result<(), String> {
    let mut keys: Vec<String> = ["x", "X", "/", "%", "."].iter().map(|text| text.repeat(255)).collect();
    keys.push("é".repeat(127));
    keys.push("🦁".repeat(63));
    for len in [69, 70, 71, 139, 140, 141, 142, 200, 254] {
        keys.push("L".repeat(len));
        keys.push("l".repeat(len));
    }
    // Alike but for their end.
    keys.push("x".repeat(254) + "y");
    keys.push("/".repeat(254) + "y");
    round_trip(suite, "long keys", &keys.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn case(suite: &Suite<'_>) -> Result<(), String> {
    round_trip(suite, "case", &["abc", "Abc", "aBc", "ABC", "abC", "é", "É", "+abc", "^abc"])
}

pub(super) fn values(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("values")?;
    let every: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 5] = [b"", b"\0", &every, &[0; 4096], b"\xff\xfe\r\n\x1a"];
    let keys: Vec<_> = (0..values.len()).map(|i| session(&i.to_string())).collect();
    commit(&store, &profile, keys.iter().zip(values).map(|(key, value)| put(key.clone(), value)))?;
    for _ in 0..2 {
        let expected = values.iter().map(|value| Some(Bytes::copy_from_slice(value))).collect();
        same("values", &get(&store, &profile, &keys)?, &expected)?;
        drop(store);
        store = suite.open();
    }
    Ok(())
}

pub(super) fn big_values(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("big values")?;
    let value = |salt: u32| -> Vec<u8> {
        (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 24) as u8).collect()
    };
    commit(&store, &profile, [put(session("a"), value(1)), put(session("b"), value(2))])?;
    commit(&store, &profile, [put(session("a"), value(3))])?;
    drop(store);
    let found = get(&suite.open(), &profile, &[session("a"), session("b")])?;
    if found == [Some(value(3).into()), Some(value(2).into())] { Ok(()) } else { Err("other values".to_owned()) }
}

pub(super) fn big_batches(suite: &Suite<'_>) -> Result<(), String> {
    let (mut store, profile) = suite.fresh("big batches")?;
    commit(&store, &profile, (0..5000).map(|i| put(session(&format!("{i:04}")), format!("value {i}"))))?;
    for restarted in [false, true] {
        if restarted {
            drop(store);
            store = suite.open();
        }
        let keys: Vec<_> = (0..5000).map(|i| session(&format!("{i:04}"))).collect();
        let expected = (0..5000).map(|i| Some(format!("value {i}").into())).collect();
        same("values", &get(&store, &profile, &keys)?, &expected)?;
        same("count", &range(&store, &profile, None, u32::MAX)?.len(), &5000)?;
    }
    commit(&store, &profile, (0..5000).map(|i| delete(session(&format!("{i:04}")))))?;
    same("deleted", &range(&store, &profile, None, u32::MAX)?.len(), &0)
}

pub(super) fn rewrite(suite: &Suite<'_>) -> Result<(), String> {
    let (store, profile) = suite.fresh("rewrite")?;
    // In groups, so that a store that syncs each commit takes seconds, not minutes.
    for round in 0..20 {
        let batches: Vec<_> =
            (0..100).map(|i| super::batch([put(session("a"), format!("{}", round * 100 + i))])).collect();
        let group: Vec<_> = batches.iter().map(|batch| (&profile, batch)).collect();
        same("answers", &store.commit_group(&group), &vec![Ok(()); 100])?;
    }
    same("value", &get_one(&store, &profile, &session("a"))?, &Some("1999".into()))?;
    drop(store);
    same("after a restart", &get_one(&suite.open(), &profile, &session("a"))?, &Some("1999".into()))
}

pub(super) fn damage(suite: &Suite<'_>) -> Result<(), String> {
    let Some(damage) = &suite.damage else { return Ok(()) };
    let (mut store, profile) = suite.fresh("damage")?;
    commit(&store, &profile, ["a", "b", "c"].map(|key| put(session(key), key)))?;
    drop(store);
    damage(&profile, &session("b"));
    store = suite.open();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    store.watch_corruption(Arc::new(move |corruption| lock(&tell).push(corruption.clone())));
    let found = get(&store, &profile, &["a", "b", "c"].map(session))?;
    same("values", &found, &vec![Some("a".into()), None, Some("c".into())])?;
    let damaged: Vec<_> = lock(&told).drain(..).map(|corruption| (corruption.profile, corruption.damaged)).collect();
    same("told", &damaged, &vec![(profile.clone(), Damaged::Record(session("b")))])?;
    let keys = range(&store, &profile, None, 9)?;
    same("range", &keys, &["a", "c"].map(str::to_owned).to_vec())?;
    commit(&store, &profile, [put(session("b"), "mended")])?;
    drop(store);
    same("mended", &get_one(&suite.open(), &profile, &session("b"))?, &Some("mended".into()))
}
