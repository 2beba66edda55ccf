//! One kind of record in memory, and the set of all kinds.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use super::key::{Namespace, Op, RecordKey};
use super::record::Record;
use super::records::{
    Account, DeviceList, Identity, InboxEntry, LidOfPn, Link, OutboxEntry, PnOfLid, PreKey, SenderKey, SentMessage,
    Session, SignedPreKey,
};
use crate::engine::CommitSeq;

/// What is known about one record. Not being in the table means that nothing is known.
#[derive(Clone, Debug, Hash)]
pub(crate) enum State<R> {
    /// A read is on its way.
    Loading,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(R),
    /// The read failed.
    Failed,
}

/// One record's place in memory.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Slot<R> {
    pub(crate) state: State<R>,
    pub(crate) meta: Meta,
}

/// What the cache keeps about any record.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Meta {
    /// Bytes it is counted with.
    pub(crate) cost: usize,
    /// When it was last used, in the cache's own count.
    pub(crate) stamp: u64,
    /// Flows that need it to stay.
    pub(crate) pins: u32,
    /// The last commit that holds a change of it and is not durable yet.
    pub(crate) pending: Option<CommitSeq>,
}

/// All records of one kind that are in memory.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Table<R: Record> {
    pub(crate) slots: BTreeMap<R::Key, Slot<R>>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { slots: BTreeMap::new() }
    }
}

/// The operations that work on a record whatever its type.
pub(crate) trait AnyTable {
    /// Metadata of a slot, if there is one.
    fn meta(&mut self, key: &str) -> Option<&mut Meta>;
    /// Makes a slot in state `Loading` unless there is one. Returns whether it did.
    fn begin_load(&mut self, key: &str) -> bool;
    /// Whether a read of this record is on its way.
    fn is_loading(&self, key: &str) -> bool;
    /// Fills a loading slot and gives its new cost. Other states are newer than the read and stay (`None`). `Err` if the
    /// bytes are corrupt.
    fn finish_load(&mut self, key: &str, value: Option<Option<&Bytes>>) -> Result<Option<usize>, Corrupt>;
    /// The change that storage needs to be like memory.
    fn op(&self, key: &str) -> Option<Op>;
    /// Whether the record is known not to exist.
    fn is_absent(&self, key: &str) -> bool;
    /// Bytes that a slot takes beside the record's encoded size.
    fn overhead(&self) -> usize;
    /// Forgets a slot.
    fn remove(&mut self, key: &str);
}

/// A stored value that could not be decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corrupt;

impl<R: Record> AnyTable for Table<R> {
    fn meta(&mut self, key: &str) -> Option<&mut Meta> {
        let key = R::parse_key(key)?;
        self.slots.get_mut(&key).map(|slot| &mut slot.meta)
    }

    fn begin_load(&mut self, key: &str) -> bool {
        let Some(key) = R::parse_key(key) else { return false };
        let mut fresh = false;
        self.slots.entry(key).or_insert_with(|| {
            fresh = true;
            Slot { state: State::Loading, meta: Meta::default() }
        });
        fresh
    }

    fn is_loading(&self, key: &str) -> bool {
        let slot = R::parse_key(key).and_then(|key| self.slots.get(&key));
        slot.is_some_and(|slot| matches!(slot.state, State::Loading))
    }

    fn finish_load(&mut self, key: &str, value: Option<Option<&Bytes>>) -> Result<Option<usize>, Corrupt> {
        let Some(slot) = R::parse_key(key).and_then(|key| self.slots.get_mut(&key)) else { return Ok(None) };
        if !matches!(slot.state, State::Loading) {
            return Ok(None);
        }
        let (state, result) = match value {
            None => (State::Failed, Ok(Some(0))),
            Some(None) => (State::Absent, Ok(Some(0))),
            Some(Some(bytes)) => match R::decode(bytes) {
                Some(record) => (State::Present(record), Ok(Some(bytes.len()))),
                None => (State::Absent, Err(Corrupt)),
            },
        };
        slot.state = state;
        result
    }

    fn op(&self, key: &str) -> Option<Op> {
        match &self.slots.get(&R::parse_key(key)?)?.state {
            State::Present(record) => Some(Op::Put(record.encode().into())),
            State::Absent => Some(Op::Delete),
            State::Loading | State::Failed => None,
        }
    }

    fn is_absent(&self, key: &str) -> bool {
        let slot = R::parse_key(key).and_then(|key| self.slots.get(&key));
        slot.is_some_and(|slot| matches!(slot.state, State::Absent))
    }

    fn overhead(&self) -> usize {
        // The slot, its key here and in the eviction order, and the maps' own share.
        size_of::<Slot<R>>() + 2 * size_of::<R::Key>() + 128
    }

    fn remove(&mut self, key: &str) {
        if let Some(key) = R::parse_key(key) {
            self.slots.remove(&key);
        }
    }
}

/// A stored value as this version would write it, or `None` if it does not decode as a record of this name or this version
/// uses no such records. For checking stores and copies of them: applied to its own answer it changes nothing.
#[must_use]
pub fn recode(key: &RecordKey, value: &Bytes) -> Option<Bytes> {
    let mut tables = Tables::default();
    let table = tables.any(key.namespace)?;
    if !table.begin_load(&key.key) || table.finish_load(&key.key, Some(Some(value))).is_err() {
        return None;
    }
    match table.op(&key.key)? {
        Op::Put(value) => Some(value),
        Op::Delete => None,
    }
}

/// A record type that has a table.
pub(crate) trait Stored: Record {
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

macro_rules! tables {
    ($($field:ident: $record:ty,)*) => {
        /// Every kind of record the engine uses.
        #[derive(Clone, Debug, Default, Hash)]
        pub(crate) struct Tables {
            $($field: Table<$record>,)*
        }

        impl Tables {
            /// The table of a namespace, or nothing for one that this version does not use.
            pub(crate) fn any(&mut self, namespace: Namespace) -> Option<&mut dyn AnyTable> {
                match namespace {
                    $(<$record>::NAMESPACE => Some(&mut self.$field),)*
                    _ => None,
                }
            }

            /// The change that storage needs to be like memory.
            pub(crate) fn op(&self, key: &RecordKey) -> Option<Op> {
                match key.namespace {
                    $(<$record>::NAMESPACE => self.$field.op(&key.key),)*
                    _ => None,
                }
            }
        }

        $(impl Stored for $record {
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
        })*
    };
}

tables! {
    accounts: Account,
    links: Link,
    sessions: Session,
    identities: Identity,
    prekeys: PreKey,
    signed_prekeys: SignedPreKey,
    sender_keys: SenderKey,
    lids: LidOfPn,
    pns: PnOfLid,
    devices: DeviceList,
    sent: SentMessage,
    inbox: InboxEntry,
    outbox: OutboxEntry,
}
