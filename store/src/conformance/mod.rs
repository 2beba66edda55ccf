//! The suite every store must pass. Run it from a test of your own adapter:
//!
//! ```
//! use std::sync::Arc;
//! use amarula_store::{MemoryStore, Store, conformance};
//!
//! let store = MemoryStore::new();
//! // Called for every "restart": it must open the same place each time.
//! conformance::run(move || Arc::new(store.clone()) as Arc<dyn Store>);
//! ```
//!
//! Checks use profiles whose names start with `conformance`, and clear them first: they can run against a place that
//! holds other things. What a crash of the machine does cannot be checked from here; an adapter that claims durability
//! needs tests of its own.

mod basic;
mod clearing;
mod concurrent;
mod isolation;
mod odd;
mod ranges;

use std::sync::Arc;

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use crate::{Profile, Store};

/// Runs every check.
///
/// # Panics
/// If one fails: the message names each that did, and how.
pub fn run(open: impl Fn() -> Arc<dyn Store>) {
    Suite::new(open).run();
}

/// One check's name and outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// Passed, or how it failed.
    pub result: Result<(), String>,
}

/// Damages the stored form of a record. The store is closed meanwhile.
type Damage<'a> = Box<dyn Fn(&Profile, &RecordKey) + 'a>;

/// The suite, with what is optional.
pub struct Suite<'a> {
    open: Box<dyn Fn() -> Arc<dyn Store> + 'a>,
    damage: Option<Damage<'a>>,
}

type Check = fn(&Suite<'_>) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    ("absent records read as none", basic::absent),
    ("answers are in the order asked, also for a key asked twice", basic::order_of_answers),
    ("a commit is read by this handle and by another thread", basic::read_your_writes),
    ("put replaces, delete removes, deleting nothing is fine", basic::replace_and_delete),
    ("an empty batch changes nothing", basic::empty_batch),
    ("everything is there after a restart", basic::restart),
    ("clear removes one profile, for good, and is repeatable", basic::clear),
    ("a cleared profile can be used again", basic::use_after_clear),
    ("a batch that clears removes everything, and its changes stay", clearing::alone_and_with_changes),
    ("batches that clear keep their place in a group", clearing::in_a_group),
    ("a batch that clears leaves other profiles and the lease alone", clearing::others),
    ("readers never see half of a commit that clears", clearing::atomic),
    ("profiles are listed, in order, until cleared", basic::list_profiles),
    ("a group is applied in order and answered in order", basic::group),
    ("after a failed batch of a group, later ones of its profile fail, others do not", basic::group_failure),
    ("engine reads are answered in their shape", basic::loads),
    ("ranges ascend by bytes", ranges::order),
    ("ranges start after a key, there or not", ranges::after),
    ("ranges keep to the limit, and pages join without gap or overlap", ranges::pages),
    ("ranges follow commits made between pages", ranges::changes_between_pages),
    ("ranges do not show deleted records", ranges::deleted),
    ("namespaces do not see each other", isolation::namespaces),
    ("profiles do not see each other", isolation::profiles),
    ("profile names that differ in one byte are different", isolation::odd_profiles),
    ("hostile profile names are refused", isolation::hostile_profiles),
    ("a lease is exclusive and ends when dropped", isolation::leases),
    ("keys of any text", odd::keys),
    ("keys of 255 bytes", odd::long_keys),
    ("keys that differ only in case", odd::case),
    ("empty values and values of any bytes", odd::values),
    ("values of 1 MiB", odd::big_values),
    ("batches of 5,000 changes", odd::big_batches),
    ("one record written 2,000 times", odd::rewrite),
    ("readers never see half of a commit", concurrent::atomic_to_readers),
    ("ranges never see half of a commit", concurrent::atomic_to_ranges),
    ("threads on profiles of their own", concurrent::many_profiles),
    ("threads on one profile lose nothing", concurrent::one_profile),
    ("a damaged record reads as absent and is reported, others are intact", odd::damage),
];

impl<'a> Suite<'a> {
    /// The suite for a store; `open` is called for every "restart", and must open the same place each time. The handle
    /// from before is dropped first.
    pub fn new(open: impl Fn() -> Arc<dyn Store> + 'a) -> Self {
        Self { open: Box::new(open), damage: None }
    }

    /// Checks damage too: `damage` flips bits in the stored form of a record, while no store is open.
    #[must_use]
    pub fn with_damage(mut self, damage: impl Fn(&Profile, &RecordKey) + 'a) -> Self {
        self.damage = Some(Box::new(damage));
        self
    }

    /// The outcome of every check. The one of damage passes if there is no way to do any.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        CHECKS.iter().map(|(name, check)| Outcome { name, result: check(self) }).collect()
    }

    /// Runs every check.
    ///
    /// # Panics
    /// If one fails: the message names each that did, and how.
    pub fn run(&self) {
        let failed: Vec<_> = self
            .outcomes()
            .into_iter()
            .filter_map(|outcome| Some(format!("  {}: {}", outcome.name, outcome.result.err()?)))
            .collect();
        assert!(failed.is_empty(), "{} of {} checks failed:\n{}", failed.len(), CHECKS.len(), failed.join("\n"));
    }

    fn open(&self) -> Arc<dyn Store> {
        (self.open)()
    }

    /// An open store, and an empty profile in it.
    fn fresh(&self, name: &str) -> Result<(Arc<dyn Store>, Profile), String> {
        let (store, profile) = (self.open(), profile(name)?);
        store.clear(&profile).map_err(said("clear"))?;
        Ok((store, profile))
    }
}

fn said<E: std::fmt::Display>(doing: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::new(&format!("conformance {name}")).map_err(said("profile"))
}

fn key(namespace: Namespace, key: &str) -> RecordKey {
    RecordKey { namespace, key: key.into() }
}

/// A key of the namespace that most checks use.
fn session(text: &str) -> RecordKey {
    key(Namespace::Session, text)
}

fn put(key: RecordKey, value: impl AsRef<[u8]>) -> (RecordKey, Op) {
    (key, Op::Put(Bytes::copy_from_slice(value.as_ref())))
}

fn delete(key: RecordKey) -> (RecordKey, Op) {
    (key, Op::Delete)
}

/// A batch as the engine makes them: ascending keys.
fn batch(ops: impl IntoIterator<Item = (RecordKey, Op)>) -> Batch {
    let mut ops: Vec<_> = ops.into_iter().collect();
    ops.sort_by(|(a, _), (b, _)| a.cmp(b));
    Batch { ops, ..Batch::default() }
}

fn commit(store: &dyn Store, profile: &Profile, ops: impl IntoIterator<Item = (RecordKey, Op)>) -> Result<(), String> {
    store.commit(profile, &batch(ops)).map_err(said("commit"))
}

fn get(store: &dyn Store, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, String> {
    store.get(profile, keys).map_err(said("get"))
}

fn get_one(store: &dyn Store, profile: &Profile, key: &RecordKey) -> Result<Option<Bytes>, String> {
    let mut values = get(store, profile, std::slice::from_ref(key))?;
    if values.len() == 1 { Ok(values.remove(0)) } else { Err(format!("{} answers to one key", values.len())) }
}

/// A range of the namespace that most checks use, as key texts.
fn range(store: &dyn Store, profile: &Profile, after: Option<&str>, limit: u32) -> Result<Vec<String>, String> {
    let found = store.range(profile, Namespace::Session, after, limit).map_err(said("range"))?;
    if found.iter().any(|(key, _)| key.namespace != Namespace::Session) {
        return Err("a range gave keys of another namespace".to_owned());
    }
    Ok(found.into_iter().map(|(key, _)| key.key.to_string()).collect())
}

/// Compares without showing more of a long value than its start.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let short = |value: &T| {
        let mut text = format!("{value:?}");
        if let Some((end, _)) = text.char_indices().nth(300) {
            text.truncate(end);
            text.push('…');
        }
        text
    };
    Err(format!("{what}: found {}, expected {}", short(found), short(expected)))
}
