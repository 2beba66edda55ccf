//! What needs a hand inside: faults of the database, and leases that run out.

use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;
use rusqlite::limits::Limit;

use super::write::Committer;
use super::{SqliteOptions, SqliteStore};
use crate::sql::keeper::Fence;
use crate::{AcquireError, Profile, Store};

fn profile(name: &str) -> Profile {
    Profile::new(name).unwrap()
}

fn key(text: &str) -> RecordKey {
    RecordKey { namespace: Namespace::Session, key: text.into() }
}

fn put(text: &str, value: impl Into<Bytes>) -> Batch {
    Batch { ops: vec![(key(text), Op::Put(value.into()))], ..Batch::default() }
}

fn get(store: &SqliteStore, name: &str, text: &str) -> Option<Bytes> {
    store.get(&profile(name), &[key(text)]).unwrap().remove(0)
}

fn open(root: &tempfile::TempDir, lease: Duration) -> SqliteStore {
    SqliteStore::open_with(root.path().join("db"), SqliteOptions::new().lease(lease)).unwrap()
}

fn writer<T>(store: &SqliteStore, work: impl FnOnce(&Committer) -> T) -> T {
    store.shared.writer.with(|writer| work(writer))
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_full_disk_costs_the_transaction_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, LONG);
    let alice = profile("alice");
    store.commit(&alice, &put("a", "1")).unwrap();
    let pages: i64 = writer(&store, |w| w.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap());
    writer(&store, |w| w.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap());
    let big = put("b", vec![7; 1 << 20]);
    let error = store.commit(&alice, &big).unwrap_err();
    assert!(error.message.contains("the disk is full") && error.retryable, "{error}");
    assert_eq!((get(&store, "alice", "a"), get(&store, "alice", "b")), (Some("1".into()), None));
    // What still fits goes on, also in one group with what does not.
    let (small, bob) = (put("a", "2"), profile("bob"));
    let answers = store.commit_group(&[(&alice, &small), (&bob, &big)]);
    assert!(answers[1].is_err());
    assert_eq!(get(&store, "alice", "a"), Some(if answers[0].is_ok() { "2".into() } else { "1".into() }));
    writer(&store, |w| w.connection.pragma_update_and_check(None, "max_page_count", 1 << 30, |_| Ok(())).unwrap());
    store.commit(&alice, &big).unwrap();
    assert_eq!(get(&store, "alice", "b").unwrap().len(), 1 << 20);
}

#[test]
fn a_database_that_cannot_be_written_says_so() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, LONG);
    let alice = profile("alice");
    store.commit(&alice, &put("a", "1")).unwrap();
    writer(&store, |w| w.connection.pragma_update(None, "query_only", true).unwrap());
    let error = store.commit(&alice, &put("a", "2")).unwrap_err();
    assert!(error.message.contains("read-only") && !error.retryable, "{error}");
    writer(&store, |w| w.connection.pragma_update(None, "query_only", false).unwrap());
    store.commit(&alice, &put("a", "3")).unwrap();
    assert_eq!(get(&store, "alice", "a"), Some("3".into()));
}

#[test]
fn a_failing_profile_fails_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root, LONG);
    writer(&store, |w| w.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 100_000).unwrap());
    let (alice, bob) = (profile("alice"), profile("bob"));
    let (small, large) = (put("a", "1"), {
        // A record that goes before the one that fails must go with it.
        let mut batch = put("a", "half");
        batch.ops.extend(put("b", vec![1; 200_000]).ops);
        batch
    });
    let later = put("a", "later");
    let answers =
        store.commit_group(&[(&alice, &small), (&bob, &small), (&alice, &large), (&bob, &later), (&alice, &later)]);
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, false]);
    assert!(answers[2].as_ref().unwrap_err().message.contains("too large"));
    assert_eq!(get(&store, "alice", "a"), Some("1".into()));
    assert_eq!(get(&store, "bob", "a"), Some("later".into()));
}

#[test]
fn another_writer_is_waited_for_and_then_named() {
    let root = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new().busy(Duration::from_millis(100));
    let store = SqliteStore::open_with(root.path().join("db"), options).unwrap();
    let other = rusqlite::Connection::open(root.path().join("db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(&profile("alice"), &put("a", "1")).unwrap_err();
    assert!(error.message.contains("another program holds") && error.retryable, "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(&profile("alice"), &put("a", "1")).unwrap();
}

#[test]
fn a_store_that_hangs_is_told_before_another_can_have_its_lease_and_cannot_write_after() {
    let root = tempfile::tempdir().unwrap();
    let lease_time = Duration::from_millis(1600);
    let (one, two) = (open(&root, lease_time), open(&root, lease_time));
    let alice = profile("alice");
    let lease = one.acquire(&alice).unwrap();
    let fence = one.shared.keeper.fence(&alice).unwrap();
    one.commit(&alice, &put("a", "1")).unwrap();
    // It is renewed as long as the store works.
    sleep(lease_time * 2);
    assert!(!lease.is_lost() && lease.valid_until().unwrap() > Instant::now());
    assert!(matches!(two.acquire(&alice), Err(AcquireError::InUse { .. })));
    let error = two.commit(&alice, &put("a", "no")).unwrap_err();
    assert!(error.message.contains("in use") && !error.retryable, "{error}");
    let (sender, told) = channel();
    lease.on_lost(move |lost| sender.send(lost.clone()).unwrap());
    // It can do nothing in the database from now on.
    let turn = one.shared.database.turn.wait();
    told.recv_timeout(lease_time * 3).unwrap();
    assert!(lease.is_lost());
    assert!(matches!(two.acquire(&alice), Err(AcquireError::InUse { .. })), "told before, not after");
    let since = Instant::now();
    let theirs = loop {
        match two.acquire(&alice) {
            Ok(lease) => break lease,
            Err(_) if since.elapsed() < lease_time * 3 => sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    };
    two.commit(&alice, &put("a", "2")).unwrap();
    drop(turn);
    let error = one.commit(&alice, &put("a", "late")).unwrap_err();
    assert!(error.message.contains("was lost") && !error.retryable, "{error}");
    // Even if it believed still to have it: the database refuses, because somebody else has it, ...
    let refused = |fence| writer(&one, |w| w.look(&alice, fence).unwrap());
    assert!(refused(fence).unwrap_err().message.contains("was lost"));
    drop(theirs);
    // ... because of the epoch when nobody has it any more, ...
    assert!(refused(fence).unwrap_err().message.contains("was lost"));
    assert!(one.commit(&alice, &put("a", "late")).is_err(), "not dropped yet");
    assert!(matches!(one.acquire(&alice), Err(AcquireError::InUse { .. })), "not dropped yet");
    assert_eq!(get(&one, "alice", "a"), Some("2".into()));
    drop(lease);
    let _lease = one.acquire(&alice).unwrap();
    // ... and also when the same store has it again.
    assert!(refused(fence).unwrap_err().message.contains("was lost"));
    assert_ne!(one.shared.keeper.fence(&alice).unwrap(), fence);
    assert!(matches!(fence, Fence::Held { .. }));
    one.commit(&alice, &put("a", "3")).unwrap();
}

#[test]
fn a_busy_writer_does_not_starve_the_heartbeat() {
    let root = tempfile::tempdir().unwrap();
    let lease_time = Duration::from_millis(2000);
    let store = open(&root, lease_time);
    let alice = profile("alice");
    let lease = store.acquire(&alice).unwrap();
    let since = Instant::now();
    std::thread::scope(|scope| {
        for i in 0..4 {
            let (store, alice) = (&store, &alice);
            scope.spawn(move || {
                while since.elapsed() < lease_time * 2 {
                    store.commit(alice, &put(&i.to_string(), vec![1; 10_000])).unwrap();
                }
            });
        }
    });
    assert!(!lease.is_lost());
}
