//! The file store on the real file system: layout, modes, locks between processes, damage, a model.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use amarula_store::{AcquireError, Corruption, DATA_DIR_ENV, Damaged, FileOptions, FileStore, Holder, Profile, Store};
use bytes::Bytes;
use proptest::prelude::*;

fn profile(name: &str) -> Profile {
    Profile::new(name).unwrap()
}

fn key(text: &str) -> RecordKey {
    RecordKey { namespace: Namespace::Session, key: text.into() }
}

fn put(text: &str, value: &str) -> Batch {
    Batch { ops: vec![(key(text), Op::Put(Bytes::copy_from_slice(value.as_bytes())))], ..Batch::default() }
}

fn get(store: &FileStore, name: &str, text: &str) -> Option<Bytes> {
    store.get(&profile(name), &[key(text)]).unwrap().remove(0)
}

fn log_of(dir: &Path) -> PathBuf {
    let is_log = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("log-");
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(is_log).unwrap()
}

/// What the process would leave if it died now.
fn crash_image(root: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let image = tempfile::tempdir().unwrap();
    copy(root, image.path());
    image
}

fn watched(root: &Path) -> (FileStore, Arc<Mutex<Vec<Corruption>>>) {
    let store = FileStore::open(root).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    store.watch_corruption(Arc::new(move |corruption| tell.lock().unwrap().push(corruption.clone())));
    (store, told)
}

#[cfg(unix)]
#[test]
fn everything_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(path: &Path) {
        let metadata = fs::metadata(path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("data");
    let store = FileStore::open(&root).unwrap();
    store.commit(&profile("alice"), &put("a", "1")).unwrap();
    check(&root);
    drop(store);
    check(&root);
}

#[test]
fn at_rest_it_is_a_tree_of_records() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    let lease = store.acquire(&profile("alice")).unwrap();
    store.commit(&profile("alice"), &put("15551234567.0", "1")).unwrap();
    log_of(&root.path().join("alice"));
    drop(lease);
    let mut names: Vec<_> =
        fs::read_dir(root.path().join("alice")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["profile", "session"]);
    assert!(root.path().join("alice/session/15551234567.0").is_file());
    // Still the same store: it is opened again by use.
    assert_eq!(get(&store, "alice", "15551234567.0"), Some("1".into()));
}

#[test]
fn a_second_store_of_this_process_is_kept_out() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (FileStore::open(root.path()).unwrap(), FileStore::open(root.path()).unwrap());
    let alice = profile("alice");
    let lease = one.acquire(&alice).unwrap();
    let in_use = AcquireError::InUse { profile: alice.clone(), holder: Holder::ThisProcess };
    assert_eq!(two.acquire(&alice).unwrap_err(), in_use);
    assert_eq!(one.clone().acquire(&alice).unwrap_err(), in_use);
    let error = two.commit(&alice, &put("a", "2")).unwrap_err();
    assert!(error.message.contains("in use by this process") && !error.retryable, "{error}");
    let _other = two.acquire(&profile("bob")).unwrap();
    drop(lease);
    let _lease = two.acquire(&alice).unwrap();
    one.get(&alice, &[]).unwrap_err();
}

/// Not a test: the other process of the next one.
#[test]
fn helper_holds_a_lease() {
    let Some(root) = std::env::var_os("AMARULA_TEST_HOLD") else { return };
    let store = FileStore::open(root).unwrap();
    let _lease = store.acquire(&profile("alice")).unwrap();
    store.commit(&profile("alice"), &put("a", "theirs")).unwrap();
    println!("\nheld");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn another_process_is_kept_out_and_its_death_frees_the_profile() {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_holds_a_lease", "--nocapture"])
        .env("AMARULA_TEST_HOLD", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).find(|line| line == "held").unwrap();
    let store = FileStore::open(root.path()).unwrap();
    let alice = profile("alice");
    let error = store.acquire(&alice).unwrap_err();
    assert_eq!(error, AcquireError::InUse { profile: alice.clone(), holder: Holder::Process(child.id()) });
    assert!(error.to_string().contains(&format!("process {}", child.id())));
    assert_eq!(store.list_profiles().unwrap(), std::slice::from_ref(&alice));
    child.kill().unwrap();
    child.wait().unwrap();
    let _lease = store.acquire(&alice).unwrap();
    assert_eq!(get(&store, "alice", "a"), Some("theirs".into()));
}

#[test]
fn a_damaged_log_loses_what_is_damaged_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    for (text, value) in [("a", "first"), ("b", "second"), ("c", "third")] {
        store.commit(&profile("alice"), &put(text, value)).unwrap();
    }
    let image = crash_image(root.path());
    let log = log_of(&image.path().join("alice"));
    let mut content = fs::read(&log).unwrap();
    let at = content.windows(6).position(|window| window == b"second").unwrap();
    content[at] ^= 1;
    fs::write(&log, content).unwrap();
    let (store, told) = watched(image.path());
    assert_eq!(
        ["a", "b", "c"].map(|text| get(&store, "alice", text)),
        [Some("first".into()), None, Some("third".into())]
    );
    assert_eq!(store.corruptions(), 1);
    let told = told.lock().unwrap();
    assert_eq!((told.len(), &told[0].damaged), (1, &Damaged::Log));
    assert!(!told[0].to_string().contains("second") && !format!("{store:?}").contains("third"));
}

#[test]
fn files_that_are_no_records_are_told_and_harmless() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    let long = "x".repeat(255);
    store.commit(&profile("alice"), &put("a", "1")).unwrap();
    store.commit(&profile("alice"), &put(&long, "2")).unwrap();
    drop(store);
    let folder = root.path().join("alice/session");
    fs::write(folder.join("UPPER"), "x").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join(".new-3"), "left by a crash").unwrap();
    fs::copy(folder.join("a"), folder.join("copy")).unwrap();
    let hashed = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let hashed = hashed.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with('~')).unwrap();
    fs::write(hashed, "AMRC").unwrap();
    let (store, told) = watched(root.path());
    let found = store.range(&profile("alice"), Namespace::Session, None, 9).unwrap();
    assert_eq!(found, [(key("a"), "1".into())]);
    assert_eq!(get(&store, "alice", &long), None);
    let mut told: Vec<_> = told.lock().unwrap().iter().map(|corruption| format!("{:?}", corruption.damaged)).collect();
    told.sort();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[..3].iter().all(|damaged| damaged.starts_with("Record(")), "{told:?}");
    // A damaged record can be written again.
    store.commit(&profile("alice"), &put(&long, "3")).unwrap();
    drop(store);
    assert_eq!(get(&FileStore::open(root.path()).unwrap(), "alice", &long), Some("3".into()));
}

#[test]
fn a_folder_of_another_name_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    store.commit(&profile("alice"), &put("a", "1")).unwrap();
    drop(store);
    // What a file system that ignores case does.
    fs::rename(root.path().join("alice"), root.path().join("Alice")).unwrap();
    let (store, told) = watched(root.path());
    let error = store.get(&profile("Alice"), &[key("a")]).unwrap_err();
    assert!(error.message.contains("belongs to profile \"alice\""), "{error}");
    fs::write(root.path().join("Alice/profile"), "rot").unwrap();
    assert_eq!(get(&store, "Alice", "a"), Some("1".into()));
    assert_eq!(told.lock().unwrap()[0].damaged, Damaged::Description);
}

#[test]
fn a_root_that_cannot_be_is_an_error_in_words() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "").unwrap();
    let error = FileStore::open(parent.path().join("file")).unwrap_err();
    assert!(error.message.contains("cannot create") && !error.retryable, "{error}");
    FileStore::open(parent.path().join("no/parent")).unwrap_err();
}

/// Not a test: runs with the environment of the next one.
#[test]
fn helper_opens_the_default() {
    if std::env::var_os("AMARULA_TEST_DEFAULT").is_some() {
        println!("\nroot={}", FileStore::open_default().unwrap().root().display());
    }
}

#[test]
fn the_default_root_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("named");
    for (variable, expected) in
        [(None, "./amarula_data"), (Some(""), "./amarula_data"), (named.to_str(), named.to_str().unwrap())]
    {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "helper_opens_the_default", "--nocapture"]).current_dir(dir.path());
        command.env("AMARULA_TEST_DEFAULT", "1").env_remove(DATA_DIR_ENV);
        if let Some(variable) = variable {
            command.env(DATA_DIR_ENV, variable);
        }
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(output.contains(&format!("root={expected}\n")), "{output}");
    }
    assert!(dir.path().join("amarula_data").is_dir() && named.is_dir());
}

#[derive(Clone, Debug)]
enum Action {
    Commit(u8, bool, Vec<(u8, Option<u16>)>),
    Clear(u8),
    /// Close properly and open again.
    Reopen,
    /// Go on from what a killed process would leave.
    Crash,
    Range(u8, Option<u8>, u32),
    Lease(u8),
}

fn action() -> impl Strategy<Value = Action> {
    let change = (0..12u8, proptest::option::weighted(0.75, any::<u16>()));
    prop_oneof![
        8 => (0..3u8, proptest::bool::weighted(0.1), proptest::collection::vec(change, 0..6)).prop_map(|(profile, clear, ops)| Action::Commit(profile, clear, ops)),
        1 => (0..3u8).prop_map(Action::Clear),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
        3 => (0..3u8, proptest::option::of(0..12u8), 0..8u32).prop_map(|(p, after, limit)| Action::Range(p, after, limit)),
        1 => (0..3u8).prop_map(Action::Lease),
    ]
}

const TEXTS: [&str; 12] = ["", "a", "A", "aa", "a/b", "%", ".", "é", "10", "9", "\0", "~"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn like_a_map(actions in proptest::collection::vec(action(), 1..40), bytes in prop_oneof![Just(1u64), Just(400), Just(1 << 20)], background: bool) {
        let options = FileOptions::new().checkpoint_bytes(bytes).background(background);
        let mut root = tempfile::tempdir().unwrap();
        let mut store = Some(FileStore::open_with(root.path(), options).unwrap());
        let mut model: BTreeMap<(Profile, RecordKey), Bytes> = BTreeMap::new();
        let profiles = ["alice", "bob", "Çelik 3"].map(profile);
        let text = |i: u8| TEXTS[usize::from(i)];
        for action in actions {
            let open = store.as_ref().unwrap();
            match action {
                Action::Commit(who, clear, changes) => {
                    let who = &profiles[usize::from(who)];
                    let changes: BTreeMap<_, _> = changes.into_iter().map(|(i, value)| (key(text(i)), value)).collect();
                    let value = |value: Option<u16>| value.map(|value| Bytes::from(value.to_string()));
                    let ops = changes.iter().map(|(key, new)| (key.clone(), value(*new).map_or(Op::Delete, Op::Put)));
                    open.commit(who, &Batch { clear, ops: ops.collect() }).unwrap();
                    if clear {
                        model.retain(|(profile, _), _| profile != who);
                    }
                    for (key, new) in changes {
                        match value(new) {
                            Some(value) => model.insert((who.clone(), key), value),
                            None => model.remove(&(who.clone(), key)),
                        };
                    }
                }
                Action::Clear(who) => {
                    let who = &profiles[usize::from(who)];
                    open.clear(who).unwrap();
                    model.retain(|(profile, _), _| profile != who);
                }
                Action::Lease(who) => drop(open.acquire(&profiles[usize::from(who)]).unwrap()),
                Action::Range(who, after, limit) => {
                    let who = &profiles[usize::from(who)];
                    let after = after.map(text);
                    let expected: Vec<_> = model
                        .iter()
                        .filter(|((profile, key), _)| profile == who && after.is_none_or(|after| key.key.as_str() > after))
                        .take(limit as usize)
                        .map(|((_, key), value)| (key.clone(), value.clone()))
                        .collect();
                    prop_assert_eq!(open.range(who, Namespace::Session, after, limit).unwrap(), expected);
                }
                Action::Reopen => {
                    drop(store.take());
                    store = Some(FileStore::open_with(root.path(), options).unwrap());
                }
                // A copy is no snapshot while a thread moves files.
                Action::Crash if background => {}
                Action::Crash => {
                    let image = crash_image(root.path());
                    drop(store.take());
                    root = image;
                    store = Some(FileStore::open_with(root.path(), options).unwrap());
                }
            }
            let open = store.as_ref().unwrap();
            for who in &profiles {
                let keys = TEXTS.map(key);
                let expected: Vec<_> = keys.iter().map(|key| model.get(&(who.clone(), key.clone())).cloned()).collect();
                prop_assert_eq!(open.get(who, &keys).unwrap(), expected);
            }
        }
        prop_assert_eq!(store.unwrap().corruptions(), 0);
    }
}
