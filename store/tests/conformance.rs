//! Every adapter passes the suite; broken ones do not.

use std::fs;
use std::sync::Arc;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use amarula_store::conformance::{self, Suite};
use amarula_store::{AcquireError, Fault, FaultyStore, FileOptions, FileStore, Lease, MemoryStore, Profile, Store};
use bytes::Bytes;

#[test]
fn memory() {
    let store = MemoryStore::new();
    conformance::run(move || Arc::new(store.clone()));
}

fn files(options: FileOptions) {
    let root = tempfile::tempdir().unwrap();
    let open = || Arc::new(FileStore::open_with(root.path(), options).unwrap()) as Arc<dyn Store>;
    let damage = |profile: &Profile, key: &RecordKey| {
        let path = root.path().join(profile.as_str()).join(key.namespace.name()).join(key.key.as_str());
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&path, content).unwrap();
    };
    Suite::new(open).with_damage(damage).run();
}

#[test]
fn file() {
    files(FileOptions::new());
}

#[test]
fn file_that_moves_records_at_every_commit() {
    files(FileOptions::new().checkpoint_bytes(1).background(false));
}

#[test]
fn file_that_moves_records_in_the_background_all_the_time() {
    files(FileOptions::new().checkpoint_bytes(500));
}

/// Which checks a store fails.
fn fails(open: impl Fn() -> Arc<dyn Store>) -> Vec<&'static str> {
    Suite::new(open)
        .outcomes()
        .into_iter()
        .filter(|outcome| outcome.result.is_err())
        .map(|outcome| outcome.name)
        .collect()
}

#[test]
fn the_suite_notices_failing_commits() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    store.on_every_commit(Some(Fault::Torn));
    assert!(fails(|| Arc::clone(&store) as Arc<dyn Store>).len() > 20);
}

#[test]
fn the_suite_notices_a_store_that_forgets() {
    let failed = fails(|| Arc::new(MemoryStore::new()));
    assert!(failed.contains(&"everything is there after a restart"), "{failed:?}");
}

/// A store that makes one mistake.
struct Sloppy {
    inner: MemoryStore,
    mistake: Mistake,
}

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    AfterIsInclusive,
    IgnoresLimit,
    IgnoresCase,
    OneByOne,
    NoLeases,
    SharesNamespaces,
}

impl Sloppy {
    fn bend(&self, key: &RecordKey) -> RecordKey {
        match self.mistake {
            Mistake::IgnoresCase => RecordKey { namespace: key.namespace, key: key.key.to_ascii_lowercase() },
            Mistake::SharesNamespaces => RecordKey { namespace: Namespace::Session, key: key.key.clone() },
            _ => key.clone(),
        }
    }
}

impl Store for Sloppy {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        if self.mistake == Mistake::NoLeases {
            return Ok(Lease::new(profile.clone(), ()));
        }
        self.inner.acquire(profile)
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.inner.get(profile, &keys.iter().map(|key| self.bend(key)).collect::<Vec<_>>())
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        let limit = if self.mistake == Mistake::IgnoresLimit { u32::MAX } else { limit };
        let mut found = self.inner.range(profile, namespace, after, limit)?;
        if let (Mistake::AfterIsInclusive, Some(after)) = (self.mistake, after) {
            let key = RecordKey { namespace, key: after.into() };
            if let Some(Some(value)) = self.inner.get(profile, std::slice::from_ref(&key))?.pop() {
                found.insert(0, (key, value));
            }
        }
        Ok(found)
    }

    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
        let ops: Vec<_> = batch.ops.iter().map(|(key, op)| (self.bend(key), op.clone())).collect();
        if self.mistake != Mistake::OneByOne {
            return self.inner.commit(profile, &Batch { clear: batch.clear, ops });
        }
        if batch.clear {
            self.inner.clear(profile)?;
        }
        for op in ops {
            self.inner.commit(profile, &Batch { ops: vec![op], ..Batch::default() })?;
            std::thread::sleep(std::time::Duration::from_micros(if batch.ops.len() < 10 { 200 } else { 0 }));
        }
        Ok(())
    }

    fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
        self.inner.clear(profile)
    }

    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
        self.inner.list_profiles()
    }
}

#[test]
fn the_suite_names_each_mistake() {
    for (mistake, check) in [
        (Mistake::AfterIsInclusive, "ranges start after a key, there or not"),
        (Mistake::IgnoresLimit, "ranges keep to the limit, and pages join without gap or overlap"),
        (Mistake::IgnoresCase, "keys that differ only in case"),
        (Mistake::OneByOne, "readers never see half of a commit"),
        (Mistake::NoLeases, "a lease is exclusive and ends when dropped"),
        (Mistake::SharesNamespaces, "namespaces do not see each other"),
    ] {
        let inner = MemoryStore::new();
        let failed = fails(move || Arc::new(Sloppy { inner: inner.clone(), mistake }));
        assert!(failed.contains(&check), "{failed:?} without {check:?}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db");
    let open = || Arc::new(amarula_store::SqliteStore::open(&path).unwrap()) as Arc<dyn Store>;
    let damage = |profile: &Profile, key: &RecordKey| {
        let changed = rusqlite::Connection::open(&path).unwrap().execute(
            "UPDATE record SET value = x'00' WHERE namespace = ?1 AND key = ?2
             AND profile = (SELECT id FROM profile WHERE name = ?3)",
            (key.namespace.number(), key.key.as_bytes(), profile.as_str()),
        );
        assert_eq!(changed, Ok(1));
    };
    Suite::new(open).with_damage(damage).run();
}

#[cfg(feature = "postgres")]
#[test]
fn postgres() {
    let Ok(url) = std::env::var("AMARULA_POSTGRES_URL") else {
        eprintln!("skipped: AMARULA_POSTGRES_URL is not set; run under testvectors/postgres/with-postgres");
        return;
    };
    conformance::run(move || Arc::new(amarula_store::PostgresStore::open(&url).unwrap()));
}
