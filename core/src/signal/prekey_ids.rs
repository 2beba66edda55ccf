//! Which prekey ids exist, and which the server has (`protocol/signal.md` §5).

use alloc::vec::Vec;

use super::limits::{PREKEY_ID_MAX, PREKEY_ID_MIN, PREKEYS_OUT_OF_ORDER};

/// The two watermarks of a prekey pool. Ids count from 1 to 16 777 215 and then from 1 again:
/// `[first_unuploaded, next_id)` are generated and not known to be on the server.
///
/// Generating and storing keys, and making sure that an id that comes round again is free, is the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreKeyIds {
    next_id: u32,
    first_unuploaded: u32,
    /// Ids in `[first_unuploaded, next_id)` that must never be uploaded, ascending in ring order.
    taken: Vec<u32>,
}

/// Ids to upload, from [`PreKeyIds::plan_upload`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadRange {
    /// The ids, in order.
    pub ids: Vec<u32>,
    /// How many at the end of `ids` have no key yet.
    pub to_generate: usize,
    /// The id behind the range: what [`PreKeyIds::uploaded`] sets the watermark to.
    pub end: u32,
}

impl UploadRange {
    /// The ids that have no key yet: generate and store these first.
    #[must_use]
    pub fn missing(&self) -> &[u32] {
        &self.ids[self.ids.len().saturating_sub(self.to_generate)..]
    }
}

impl Default for PreKeyIds {
    fn default() -> Self {
        Self { next_id: PREKEY_ID_MIN, first_unuploaded: PREKEY_ID_MIN, taken: Vec::new() }
    }
}

impl PreKeyIds {
    /// A pool without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pool as it was stored. `None` when a watermark is no prekey id. Ids in `taken` outside the unuploaded range
    /// mean nothing and are dropped.
    #[must_use]
    pub fn restore(next_id: u32, first_unuploaded: u32, taken: &[u32]) -> Option<Self> {
        let valid = |id| (PREKEY_ID_MIN..=PREKEY_ID_MAX).contains(&id);
        if !valid(next_id) || !valid(first_unuploaded) {
            return None;
        }
        let mut ids = Self { next_id, first_unuploaded, taken: Vec::new() };
        ids.taken = taken.iter().copied().filter(|id| valid(*id) && ids.is_unuploaded(*id)).collect();
        ids.taken.sort_by_key(|id| distance(first_unuploaded, *id));
        ids.taken.dedup();
        ids.taken.truncate(PREKEYS_OUT_OF_ORDER);
        Some(ids)
    }

    /// The id of the next key to generate.
    #[must_use]
    pub const fn next_id(&self) -> u32 {
        self.next_id
    }

    /// The first id that is not known to be on the server.
    #[must_use]
    pub const fn first_unuploaded(&self) -> u32 {
        self.first_unuploaded
    }

    /// The ids that [`Self::take`] took from inside the unuploaded range; to be stored with the watermarks.
    #[must_use]
    pub fn taken(&self) -> &[u32] {
        &self.taken
    }

    /// How many generated keys wait for upload.
    #[must_use]
    pub fn unuploaded(&self) -> u32 {
        let taken = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        distance(self.first_unuploaded, self.next_id).saturating_sub(taken)
    }

    /// The next `count` ids to upload: first those that have keys, then new ones. Changes nothing; planned twice, the
    /// same ids come out, which is what an upload without answer needs.
    ///
    /// Fewer than `count` only if the whole ring of ids were waiting.
    #[must_use]
    pub fn plan_upload(&self, count: u32) -> UploadRange {
        let mut range = UploadRange { ids: Vec::new(), to_generate: 0, end: self.first_unuploaded };
        let mut generated = distance(self.first_unuploaded, self.next_id);
        let mut room = PREKEY_ID_MAX - PREKEY_ID_MIN;
        while range.ids.len() < count as usize && room > 0 {
            let id = range.end;
            range.end = following(id);
            room -= 1;
            let has_key = generated > 0;
            generated = generated.saturating_sub(1);
            if has_key && self.taken.contains(&id) {
                continue;
            }
            range.ids.push(id);
            range.to_generate += usize::from(!has_key);
        }
        range
    }

    /// The keys of `range` are generated and stored. Call it in the commit that stores them.
    pub fn generated(&mut self, range: &UploadRange) {
        if distance(self.first_unuploaded, range.end) > distance(self.first_unuploaded, self.next_id) {
            self.next_id = range.end;
        }
    }

    /// The server has the keys of `range`. A range that is behind the watermark by now changes nothing.
    pub fn uploaded(&mut self, range: &UploadRange) {
        let step = distance(self.first_unuploaded, range.end);
        if step <= distance(self.first_unuploaded, self.next_id) {
            self.first_unuploaded = range.end;
            let taken = core::mem::take(&mut self.taken);
            self.taken = taken.into_iter().filter(|id| self.is_unuploaded(*id)).collect();
        }
    }

    /// Takes one new id that will never be uploaded: for the key in a retry receipt, which must not be given to anyone
    /// else. `None` when [`PREKEYS_OUT_OF_ORDER`] such ids wait for an upload to pass them.
    pub fn take(&mut self) -> Option<u32> {
        let id = self.next_id;
        if self.first_unuploaded == id {
            self.first_unuploaded = following(id);
        } else if self.taken.len() < PREKEYS_OUT_OF_ORDER && following(id) != self.first_unuploaded {
            self.taken.push(id);
        } else {
            return None;
        }
        self.next_id = following(id);
        Some(id)
    }

    fn is_unuploaded(&self, id: u32) -> bool {
        distance(self.first_unuploaded, id) < distance(self.first_unuploaded, self.next_id)
    }
}

const fn following(id: u32) -> u32 {
    if id >= PREKEY_ID_MAX { PREKEY_ID_MIN } else { id + 1 }
}

/// Steps from `from` up to `to`, around the ring.
const fn distance(from: u32, to: u32) -> u32 {
    if to >= from { to - from } else { PREKEY_ID_MAX - PREKEY_ID_MIN + 1 - (from - to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_then_again() {
        let mut ids = PreKeyIds::new();
        let first = ids.plan_upload(3);
        assert_eq!((first.ids.as_slice(), first.missing(), first.end), ([1, 2, 3].as_slice(), [1, 2, 3].as_slice(), 4));
        ids.generated(&first);
        assert_eq!((ids.next_id(), ids.first_unuploaded(), ids.unuploaded()), (4, 1, 3));
        // No answer came: the same ids, nothing to generate.
        let again = ids.plan_upload(3);
        assert_eq!((again.ids.clone(), again.to_generate), (first.ids.clone(), 0));
        // More than there are: the rest is new.
        let more = ids.plan_upload(5);
        assert_eq!((more.ids.as_slice(), more.missing()), ([1, 2, 3, 4, 5].as_slice(), [4, 5].as_slice()));
        ids.uploaded(&again);
        assert_eq!((ids.first_unuploaded(), ids.unuploaded()), (4, 0));
        // A late second answer to the same upload.
        ids.uploaded(&again);
        assert_eq!((ids.next_id(), ids.first_unuploaded()), (4, 4));
    }

    #[test]
    fn a_taken_id_is_never_uploaded() {
        let mut ids = PreKeyIds::new();
        assert_eq!(ids.take(), Some(1));
        assert_eq!((ids.next_id(), ids.first_unuploaded(), ids.taken().len()), (2, 2, 0));
        let flight = ids.plan_upload(2);
        ids.generated(&flight);
        assert_eq!(ids.take(), Some(4)); // while 2 and 3 are under way
        assert_eq!((ids.unuploaded(), ids.taken()), (2, [4].as_slice()));
        assert_eq!(ids.plan_upload(4).ids, [2, 3, 5, 6]);
        let stored = PreKeyIds::restore(ids.next_id(), ids.first_unuploaded(), ids.taken()).unwrap();
        assert_eq!(stored, ids);
        ids.uploaded(&flight);
        assert_eq!(ids.plan_upload(1).ids, [5]);
        let rest = ids.plan_upload(1);
        ids.generated(&rest);
        ids.uploaded(&rest);
        assert_eq!((ids.next_id(), ids.first_unuploaded(), ids.taken()), (6, 6, [].as_slice()));
    }

    #[test]
    fn wraps_to_one() {
        let mut ids = PreKeyIds::restore(PREKEY_ID_MAX, PREKEY_ID_MAX - 1, &[]).unwrap();
        let range = ids.plan_upload(4);
        assert_eq!(range.ids, [PREKEY_ID_MAX - 1, PREKEY_ID_MAX, 1, 2]);
        assert_eq!(range.to_generate, 3);
        ids.generated(&range);
        assert_eq!((ids.next_id(), ids.unuploaded()), (3, 4));
        ids.uploaded(&range);
        assert_eq!(ids.first_unuploaded(), 3);
        assert_eq!(PreKeyIds::restore(0, 1, &[]), None);
        assert_eq!(PreKeyIds::restore(1, PREKEY_ID_MAX + 1, &[]), None);
    }

    #[test]
    fn taking_is_limited() {
        let mut ids = PreKeyIds::new();
        ids.generated(&ids.plan_upload(1));
        let taken = core::iter::from_fn(|| ids.take()).count();
        assert_eq!(taken, PREKEYS_OUT_OF_ORDER);
    }
}
