use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use amarula_core::engine::Loaded;
use amarula_core::store::{Namespace, Op, RecordKey};
use amarula_store::{Fault, FaultyStore, MemoryStore};
use bytes::Bytes;

use super::*;

struct Mailbox(Mutex<Sender<Input>>);

impl Port for Mailbox {
    fn post(&self, post: Post) {
        if let Post::Input(input) = post {
            let _ = lock(&self.0).send(input);
        }
    }
}

fn open(storage: &Storage, profile: &str) -> Result<(Session, Receiver<Input>), Error> {
    let (sender, inputs) = channel();
    let (done, decided) = channel();
    let port = Arc::new(Mailbox(Mutex::new(sender)));
    let profile = Profile::new(profile).expect("a name");
    storage.open(&profile, "test", port, move |session| done.send(session).expect("waits"));
    decided.recv_timeout(Duration::from_secs(5)).expect("decided").map(|session| (session, inputs))
}

fn key(name: &str) -> RecordKey {
    RecordKey { namespace: Namespace::Link, key: name.into() }
}

fn put(name: &str, value: &str) -> Batch {
    Batch { clear: false, ops: vec![(key(name), Op::Put(Bytes::copy_from_slice(value.as_bytes())))] }
}

fn next(inputs: &Receiver<Input>) -> Input {
    inputs.recv_timeout(Duration::from_secs(5)).expect("an answer")
}

fn value(inputs: &Receiver<Input>) -> Option<Bytes> {
    match next(inputs) {
        Input::Loaded { result: Ok(Loaded::Values(values)), .. } => values.into_iter().next().flatten(),
        other => panic!("{other:?}"),
    }
}

/// Holds the worker until released, so that what is asked meanwhile comes in one round.
fn hold(storage: &Storage) -> Sender<()> {
    let (release, released) = channel::<()>();
    let (held, holding) = channel();
    let jobs = storage.jobs().expect("a worker");
    let done = Box::new(move |_| {
        held.send(()).expect("waits");
        let _ = released.recv_timeout(Duration::from_secs(5));
    });
    assert!(jobs.send(Job::Acquire { profile: Profile::new("hold").expect("a name"), done }).is_ok());
    holding.recv_timeout(Duration::from_secs(5)).expect("held");
    release
}

#[test]
fn a_read_sees_the_commits_before_it_and_acks_are_cumulative() {
    let storage = Storage::new(MemoryStore::new());
    let (session, inputs) = open(&storage, "a").expect("free");
    let release = hold(&storage);
    for seq in 1..=3 {
        session.commit(CommitSeq(seq), put("k", &seq.to_string()));
    }
    session.load(LoadId(1), Load::Get(vec![key("k")]));
    session.commit(CommitSeq(4), put("k", "4"));
    drop(release);
    assert_eq!(next(&inputs), Input::Committed { upto: CommitSeq(3) });
    assert_eq!(value(&inputs), Some("3".into()));
    assert_eq!(next(&inputs), Input::Committed { upto: CommitSeq(4) });
}

#[test]
fn after_a_failure_nothing_is_applied_until_it_was_told() {
    let store = FaultyStore::new(MemoryStore::new());
    store.on_commit(2, Fault::Refused { retryable: true });
    let storage = Storage::new(store);
    let (mut session, inputs) = open(&storage, "a").expect("free");
    let release = hold(&storage);
    for seq in 1..=3 {
        session.commit(CommitSeq(seq), put("k", &seq.to_string()));
    }
    drop(release);
    assert_eq!(next(&inputs), Input::Committed { upto: CommitSeq(1) });
    assert!(matches!(next(&inputs), Input::CommitFailed { seq: CommitSeq(2), .. }));
    // Still of the failed epoch, and in a later round.
    session.commit(CommitSeq(4), put("k", "4"));
    session.load(LoadId(1), Load::Get(vec![key("k")]));
    assert_eq!(value(&inputs), Some("1".into()));
    session.failure_was_told();
    session.commit(CommitSeq(5), put("k", "5"));
    assert_eq!(next(&inputs), Input::Committed { upto: CommitSeq(5) });
    session.load(LoadId(2), Load::Get(vec![key("k")]));
    assert_eq!(value(&inputs), Some("5".into()));
}

#[test]
fn profiles_share_a_write_and_not_a_failure() {
    let store = FaultyStore::new(MemoryStore::new());
    store.on_commit(1, Fault::Refused { retryable: false });
    let storage = Storage::new(store);
    let (bad, bad_inputs) = open(&storage, "bad").expect("free");
    let (good, good_inputs) = open(&storage, "good").expect("free");
    let release = hold(&storage);
    bad.commit(CommitSeq(1), put("k", "x"));
    good.commit(CommitSeq(1), put("k", "y"));
    drop(release);
    assert!(matches!(next(&bad_inputs), Input::CommitFailed { seq: CommitSeq(1), .. }));
    assert_eq!(next(&good_inputs), Input::Committed { upto: CommitSeq(1) });
}

#[test]
fn one_holder_per_profile_until_its_commits_are_done() {
    let memory = MemoryStore::new();
    let storage = Storage::new(memory.clone());
    let (session, _inputs) = open(&storage, "a").expect("free");
    assert!(matches!(open(&storage, "a"), Err(Error::ProfileInUse { holder, .. }) if holder == "test"));
    // Another worker over the same store: stopped by the store's own lease.
    assert!(matches!(open(&Storage::new(memory), "a"), Err(Error::ProfileLocked { .. })));
    session.commit(CommitSeq(1), put("k", "last"));
    let (ended, end) = channel();
    session.end(move || ended.send(()).expect("waits"));
    end.recv_timeout(Duration::from_secs(5)).expect("ends");
    let (session, inputs) = open(&storage, "a").expect("free again");
    session.load(LoadId(1), Load::Get(vec![key("k")]));
    assert_eq!(value(&inputs), Some("last".into()));
}

#[test]
fn the_worker_ends_with_its_last_user() {
    let store = Arc::new(MemoryStore::new());
    let weak = Arc::downgrade(&store);
    let storage = Storage::shared(store);
    let (session, inputs) = open(&storage, "a").expect("free");
    drop(storage);
    session.commit(CommitSeq(1), put("k", "v"));
    assert_eq!(next(&inputs), Input::Committed { upto: CommitSeq(1) });
    drop(session);
    for _ in 0..500 {
        if weak.strong_count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the worker still has the store");
}
