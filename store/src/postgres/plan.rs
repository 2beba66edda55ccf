//! What a transaction is to do: the batches of each profile made into one.

use std::collections::BTreeMap;

use amarula_core::engine::StorageError;
use amarula_core::store::{Op, RecordKey};
use bytes::Bytes;

use crate::Profile;
use crate::sql::combine::Entry;
use crate::sql::keeper::Fence;
use crate::sql::refused;

/// Most bytes of values of one profile in one transaction: the protocol's messages end at 1 GiB.
const MOST: usize = 256 * 1024 * 1024;

/// The changes of one profile.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) profile: Profile,
    pub(super) fence: Fence,
    pub(super) clear: bool,
    /// `None` deletes.
    pub(super) changes: BTreeMap<RecordKey, Option<Bytes>>,
    bytes: usize,
}

/// The parts, and for each entry its part, or why it has none.
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    pub(super) of: Vec<Result<usize, StorageError>>,
}

impl Plan {
    pub(super) fn new(entries: &[Entry], fence: impl Fn(&Profile) -> Result<Fence, StorageError>) -> Self {
        let mut plan = Self { parts: Vec::new(), of: Vec::with_capacity(entries.len()) };
        let mut places: BTreeMap<&Profile, Result<usize, StorageError>> = BTreeMap::new();
        let mut failed: BTreeMap<(u64, &Profile), StorageError> = BTreeMap::new();
        for entry in entries {
            let call = (entry.call, &entry.profile);
            let place = match failed.get(&call) {
                Some(error) => Err(error.clone()),
                None => places
                    .entry(&entry.profile)
                    .or_insert_with(|| {
                        let fence = fence(&entry.profile)?;
                        plan.parts.push(Part {
                            profile: entry.profile.clone(),
                            fence,
                            clear: false,
                            changes: BTreeMap::new(),
                            bytes: 0,
                        });
                        Ok(plan.parts.len() - 1)
                    })
                    .clone()
                    .and_then(|place| plan.parts[place].add(entry).map(|()| place)),
            };
            if let Err(error) = &place {
                failed.insert(call, error.clone());
            }
            plan.of.push(place);
        }
        plan
    }
}

impl Part {
    fn add(&mut self, entry: &Entry) -> Result<(), StorageError> {
        let bytes = entry.batch.bytes();
        if self.bytes + bytes > MOST {
            return Err(refused(format!("{} bytes in one commit are too many", self.bytes + bytes)));
        }
        self.bytes += bytes;
        if entry.batch.clear {
            self.clear = true;
            self.changes.clear();
        }
        for (key, op) in &entry.batch.ops {
            let value = match op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            };
            self.changes.insert(key.clone(), value);
        }
        Ok(())
    }
}
