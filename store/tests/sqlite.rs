//! The SQLite store from outside: processes that die and hang, files, versions.
#![cfg(feature = "sqlite")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use amarula_store::{AcquireError, Holder, Profile, SqliteOptions, SqliteStore, Store};
use bytes::Bytes;

fn alice() -> Profile {
    Profile::new("alice").unwrap()
}

fn key(text: &str) -> RecordKey {
    RecordKey { namespace: Namespace::Session, key: text.into() }
}

fn put(text: &str, value: &str) -> Batch {
    Batch { ops: vec![(key(text), Op::Put(Bytes::copy_from_slice(value.as_bytes())))], ..Batch::default() }
}

/// Not a test: the other process of the next ones. Says what it has committed.
#[test]
fn helper_commits_for_ever() {
    let Some(path) = std::env::var_os("AMARULA_TEST_SQLITE") else { return };
    let store = SqliteStore::open_with(path, SqliteOptions::new().lease(Duration::from_secs(2))).unwrap();
    let _lease = store.acquire(&alice()).unwrap();
    for i in 0.. {
        let mut batch = put("a", &i.to_string());
        batch.ops.extend(put("b", &i.to_string()).ops);
        store.commit(&alice(), &batch).unwrap();
        println!("\ncommitted {i}");
    }
}

/// Starts it, and waits until it committed some.
fn helper(path: &Path) -> (Child, impl Iterator<Item = u32>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_commits_for_ever", "--nocapture"])
        .env("AMARULA_TEST_SQLITE", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut committed =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse::<u32>().ok());
    committed.find(|i| *i >= 20).unwrap();
    (child, committed)
}

fn value(store: &SqliteStore) -> u32 {
    let found = store.get(&alice(), &[key("a"), key("b")]).unwrap();
    assert_eq!(found[0], found[1]);
    String::from_utf8(found[0].as_ref().unwrap().to_vec()).unwrap().parse().unwrap()
}

#[test]
fn a_killed_process_loses_nothing_and_frees_its_profiles_at_once() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db");
    for _ in 0..3 {
        let (mut child, committed) = helper(&path);
        let store = SqliteStore::open(&path).unwrap();
        let in_use = AcquireError::InUse { profile: alice(), holder: Holder::Process(child.id()) };
        assert_eq!(store.acquire(&alice()).unwrap_err(), in_use);
        store.commit(&alice(), &put("a", "no")).unwrap_err();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = committed.last().unwrap_or(20);
        let lease = store.acquire(&alice()).unwrap();
        let found = value(&store);
        assert!(found == last || found == last + 1, "{found} after {last} was acknowledged");
        store.commit(&alice(), &put("a", "yes")).unwrap();
        drop((lease, store));
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["db"], "nothing else stays");
    }
}

#[cfg(unix)]
#[test]
fn a_stopped_process_is_waited_for_and_cannot_write_when_it_goes_on() {
    let signal = |child: &Child, name: &str| {
        let id = child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db");
    let (mut child, _committed) = helper(&path);
    let store = SqliteStore::open(&path).unwrap();
    // A process that is stopped in the middle of a transaction keeps everybody out, which is right, but not what is
    // wanted here.
    let since = Instant::now();
    loop {
        signal(&child, "-STOP");
        let other = rusqlite::Connection::open(&path).unwrap();
        other.busy_timeout(Duration::from_millis(50)).unwrap();
        if other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
            break;
        }
        signal(&child, "-CONT");
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(7));
    }
    let lease = loop {
        match store.acquire(&alice()) {
            Ok(lease) => break lease,
            Err(AcquireError::InUse { .. }) if since.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let mut batch = put("a", "1000000");
    batch.ops.extend(put("b", "1000000").ops);
    store.commit(&alice(), &batch).unwrap();
    signal(&child, "-CONT");
    // Its commit is refused, so it panics.
    assert!(!child.wait().unwrap().success());
    assert_eq!(value(&store), 1_000_000);
    drop(lease);
}

#[cfg(unix)]
#[test]
fn files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(root.path().join("db")).unwrap();
    let _lease = store.acquire(&alice()).unwrap();
    store.commit(&alice(), &put("a", "1")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(root.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert_eq!(files, 4, "database, -wal, -shm, -owner");
}

#[test]
fn other_files_and_newer_versions_are_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let refused = |path: &Path| SqliteStore::open(path).unwrap_err();
    let text = root.path().join("text");
    std::fs::write(&text, "this is no database, but long enough to be read as one".repeat(100)).unwrap();
    assert!(refused(&text).message.contains("not an SQLite database"));
    let other = root.path().join("other");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(refused(&other).message.contains("another program"));
    let newer = root.path().join("newer");
    drop(SqliteStore::open(&newer).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(refused(&newer).message.contains("newer version"));
    assert!(!refused(&root.path().join("no/folder")).retryable);
}

#[test]
fn many_profiles_in_one_group_and_the_one_that_is_leased_elsewhere_fails_alone() {
    let root = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(root.path().join("db")).unwrap();
    let (store, other) = (open(), open());
    let profiles: Vec<_> = (0..500).map(|i| Profile::new(&format!("p{i:03}")).unwrap()).collect();
    let batch = put("a", "1");
    let group: Vec<_> = profiles.iter().map(|profile| (profile, &batch)).collect();
    assert!(store.commit_group(&group).iter().all(Result::is_ok));
    assert_eq!(store.list_profiles().unwrap(), profiles);
    let lease = store.acquire(&profiles[0]).unwrap();
    let answers = other.commit_group(&group);
    assert!(answers[0].is_err() && answers[1..].iter().all(Result::is_ok));
    drop(lease);
    assert!(other.commit_group(&group).iter().all(Result::is_ok));
}

#[test]
fn it_syncs_every_commit_in_wal_mode() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db");
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&alice(), &put("a", "secret")).unwrap();
    assert!(path.with_file_name("db-wal").is_file());
    assert!(!format!("{store:?}").contains("secret"));
    drop(store);
    assert!(!path.with_file_name("db-wal").exists(), "moved into the database at the end");
    assert_eq!(SqliteStore::open(&path).unwrap().list_profiles().unwrap(), [alice()]);
}
