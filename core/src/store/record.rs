//! What a stored record is: a typed value with a stable name and a stable encoding.

use alloc::vec::Vec;
use core::fmt;
use core::hash::Hash;

use bytes::Bytes;

use super::key::{Namespace, RecordKey};
use crate::wire::Str;

/// A typed record. Its encoding is a protobuf message, so that older and newer versions can read each other's.
pub(crate) trait Record: Clone + Hash + Sized {
    /// How the engine names it.
    type Key: Clone + Ord + Hash + fmt::Debug;

    /// Where it is stored.
    const NAMESPACE: Namespace;

    /// The stored name of `key`. Different keys have different names.
    fn key_text(key: &Self::Key) -> Str;

    /// The key of a stored name.
    fn parse_key(text: &str) -> Option<Self::Key>;

    /// The stored form.
    fn encode(&self) -> Vec<u8>;

    /// Back from it. `None` if it is corrupt: the record then counts as absent.
    fn decode(bytes: &Bytes) -> Option<Self>;
}

/// The full stored name of a record.
pub(crate) fn record_key<R: Record>(key: &R::Key) -> RecordKey {
    RecordKey { namespace: R::NAMESPACE, key: R::key_text(key) }
}
