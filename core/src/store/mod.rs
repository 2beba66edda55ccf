//! Storage as the engine sees it: names of records, their codecs, and a typed cache in front of the host's store.

mod cache;
#[cfg(test)]
mod cache_tests;
pub mod key;
mod own;
pub(crate) mod record;
pub(crate) mod records;
mod table;
mod view;

pub(crate) use cache::{Cache, LoadOutcome};
pub use key::{Batch, Namespace, Op, RecordKey};
pub use own::{CorruptAccount, OwnAccount};
pub(crate) use record::record_key;
pub(crate) use table::State;
pub use table::recode;
pub(crate) use view::{Gap, Notes, View};
