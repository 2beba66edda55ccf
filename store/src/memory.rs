//! A store in memory, for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use crate::store::check_keys;
use crate::sync::lock;
use crate::{AcquireError, Holder, Lease, Profile, ProfileRegistry, Store};

type Profiles = BTreeMap<Profile, BTreeMap<RecordKey, Bytes>>;

/// A store in memory, for tests: nothing survives the process.
///
/// Clones share the same records and leases, so "restarting" is dropping the client and starting another on a clone.
/// [`snapshot`](Self::snapshot), [`restore`](Self::restore) and [`fork`](Self::fork) are for crash tests: take the
/// state at a commit boundary, and go on from there as often as you like.
#[derive(Clone, Default)]
pub struct MemoryStore {
    profiles: Arc<Mutex<Profiles>>,
    leases: ProfileRegistry,
}

/// The contents of a [`MemoryStore`] at one moment. Equal contents compare equal.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Snapshot(Profiles);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The contents now. Values are shared, not copied.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(lock(&self.profiles).clone())
    }

    /// Goes back to these contents, for all clones. Leases stay.
    pub fn restore(&self, snapshot: &Snapshot) {
        *lock(&self.profiles) = snapshot.0.clone();
    }

    /// A separate store with the contents of now and no leases.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.snapshot().to_store()
    }
}

impl Snapshot {
    /// A new store with these contents.
    #[must_use]
    pub fn to_store(&self) -> MemoryStore {
        MemoryStore { profiles: Arc::new(Mutex::new(self.0.clone())), leases: ProfileRegistry::new() }
    }

    /// One record.
    #[must_use]
    pub fn get(&self, profile: &Profile, key: &RecordKey) -> Option<&Bytes> {
        self.0.get(profile)?.get(key)
    }

    /// All records of a profile, by namespace and key.
    pub fn records(&self, profile: &Profile) -> impl Iterator<Item = (&RecordKey, &Bytes)> {
        self.0.get(profile).into_iter().flatten()
    }
}

/// Values hold keys and messages: only counts are shown.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(profile, records)| (profile.as_str(), records.len()))).finish()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore").field(&self.snapshot()).finish()
    }
}

impl Store for MemoryStore {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        match self.leases.register(profile) {
            Ok(registration) => Ok(Lease::new(profile.clone(), registration)),
            Err(_) => Err(AcquireError::InUse { profile: profile.clone(), holder: Holder::ThisProcess }),
        }
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        let profiles = lock(&self.profiles);
        let records = profiles.get(profile);
        Ok(keys.iter().map(|key| records?.get(key).cloned()).collect())
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        let start = match after {
            Some(after) => Bound::Excluded(RecordKey { namespace, key: after.into() }),
            None => Bound::Included(RecordKey { namespace, key: "".into() }),
        };
        let profiles = lock(&self.profiles);
        let Some(records) = profiles.get(profile) else { return Ok(Vec::new()) };
        Ok(records
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.namespace == namespace)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
        check_keys(batch)?;
        let mut profiles = lock(&self.profiles);
        let records = profiles.entry(profile.clone()).or_default();
        if batch.clear {
            records.clear();
        }
        for (key, op) in &batch.ops {
            match op {
                Op::Put(value) => records.insert(key.clone(), value.clone()),
                Op::Delete => records.remove(key),
            };
        }
        if records.is_empty() {
            profiles.remove(profile);
        }
        Ok(())
    }

    fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
        lock(&self.profiles).remove(profile);
        Ok(())
    }

    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
        Ok(lock(&self.profiles).keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_and_forks_do_not_move() {
        let profile = Profile::new("p").unwrap();
        let key = RecordKey { namespace: Namespace::Account, key: "a".into() };
        let put = |value: &'static str| Batch { ops: vec![(key.clone(), Op::Put(value.into()))], ..Batch::default() };
        let store = MemoryStore::new();
        store.commit(&profile, &put("1")).unwrap();
        let (snapshot, fork) = (store.snapshot(), store.fork());
        let _lease = store.acquire(&profile).unwrap();
        store.clone().commit(&profile, &put("2")).unwrap();
        assert_eq!(snapshot.get(&profile, &key).unwrap(), "1");
        assert_eq!(fork.get(&profile, std::slice::from_ref(&key)).unwrap(), [Some("1".into())]);
        let _other = fork.acquire(&profile).unwrap();
        store.restore(&snapshot);
        assert_eq!(store.snapshot(), snapshot);
        assert_eq!(format!("{store:?}"), r#"MemoryStore({"p": 1})"#);
    }
}
