//! Storage for Amarula: what an account must remember across a restart, behind one small trait.
//!
//! A driver carries out the engine's [`Load`](amarula_core::engine::Load) and
//! [`Commit`](amarula_core::engine::Output::Commit) outputs against a [`Store`]. Everything is scoped by
//! *{profile, namespace, key}*; values are opaque bytes. Whoever can read a store is the account: treat it like a
//! password vault, and back it up.
//!
//! | here | for |
//! |---|---|
//! | [`Store`], [`run_load`] | the contract, and the way from an engine's read to its answer |
//! | [`Profile`] | a checked name of one account's credentials |
//! | [`Lease`], [`LeaseTerm`], [`ProfileRegistry`] | one live connection per profile; being told when that is over |
//! | [`FileStore`] | the default: one node, no database |
//! | `SqliteStore` (feature `sqlite`) | one node, thousands of profiles in one database |
//! | `PostgresStore` (feature `postgres`, encrypted: `postgres-tls`) | many nodes, fenced commits |
//! | [`MemoryStore`] | tests |
//! | [`FaultyStore`] | tests of what happens when storage fails |
//! | [`conformance`] | the suite every adapter must pass, yours too |
//!
//! ```
//! use amarula_core::store::{Batch, Namespace, Op, RecordKey};
//! use amarula_store::{MemoryStore, Profile, Store};
//!
//! let store = MemoryStore::new();
//! let profile: Profile = "alice".parse()?;
//! let _lease = store.acquire(&profile)?; // nobody else works on this profile meanwhile
//! let key = RecordKey { namespace: Namespace::Link, key: "routing".into() };
//! store.commit(&profile, &Batch { ops: vec![(key.clone(), Op::Put("x".into()))], ..Batch::default() })?;
//! assert_eq!(store.get(&profile, &[key])?, [Some("x".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod conformance;
mod corruption;
mod faulty;
mod file;
mod lease;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod profile;
mod registry;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod sync;
mod term;

pub use corruption::{Corruption, CorruptionWatcher, Damaged};
pub use faulty::{Fault, FaultyStore};
pub use file::{DATA_DIR_ENV, DEFAULT_ROOT, FileOptions, FileStore};
pub use lease::{AcquireError, Holder, Lease};
pub use memory::{MemoryStore, Snapshot};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresOptions, PostgresStore};
pub use profile::{Profile, ProfileError};
pub use registry::{AlreadyConnected, ProfileRegistry, Registration};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{MAX_KEY_LEN, Store, run_load};
pub use term::{LeaseLost, LeaseTerm};
