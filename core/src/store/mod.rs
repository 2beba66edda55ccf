//! Storage as the engine sees it: names of records, their codecs, and a typed cache in front of the host's store.

pub mod key;

pub use key::{Batch, Namespace, Op, RecordKey};
