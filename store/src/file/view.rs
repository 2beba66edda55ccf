//! What a profile holds, as readers see it: recent commits in memory, over the record files.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use super::errors::failed;
use super::frame::Change;
use super::fs::Fs;
use super::names::{self, Named};
use super::record;
use crate::Profile;
use crate::corruption::{Damaged, Reporter};
use crate::sync::lock;

/// Changes that are in a log and not in record files.
#[derive(Default)]
pub(crate) struct Overlay {
    /// All records from before are gone: whatever is below this does not show.
    pub(crate) cleared: bool,
    /// `None` is a deletion.
    pub(crate) changes: BTreeMap<RecordKey, Option<Bytes>>,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        !self.cleared && self.changes.is_empty()
    }

    fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    /// The value, or that there is none; `None` if what is below decides.
    fn get(&self, key: &RecordKey) -> Option<Option<Bytes>> {
        self.changes.get(key).cloned().or_else(|| self.cleared.then_some(None))
    }
}

/// The record files of one profile.
pub(crate) struct Files {
    pub(crate) profile: Profile,
    pub(crate) dir: PathBuf,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) reporter: Arc<Reporter>,
}

impl Files {
    pub(crate) fn folder(&self, namespace: Namespace) -> PathBuf {
        self.dir.join(namespace.name())
    }

    fn read(&self, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        let path = self.folder(key.namespace).join(names::encode(&key.key));
        let file = match self.fs.read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let detail = match record::decode(key.namespace, file) {
            Ok((inside, value)) if inside == key.key => return Ok(Some(value)),
            Ok(_) => "it holds another key".to_owned(),
            Err(detail) => detail,
        };
        let detail = format!("{detail} ({})", path.display());
        self.reporter.report(&self.profile, Damaged::Record(key.clone()), detail);
        Ok(None)
    }

    /// The keys that have a file, in order.
    fn keys(&self, namespace: Namespace) -> Result<Vec<RecordKey>, StorageError> {
        let folder = self.folder(namespace);
        let entries = match self.fs.list(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &folder, &error)),
        };
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| !entry.name.starts_with('.')) {
            let path = folder.join(&entry.name);
            let found = match names::decode(&entry.name) {
                Named::Key(key) => Ok(key),
                Named::Nothing => Err("no record has such a file name".to_owned()),
                Named::InFile => {
                    let file = self.fs.read(&path).map_err(|error| failed("read", &path, &error))?;
                    record::decode(namespace, file).map(|(key, _)| key)
                }
            };
            match found {
                Ok(key) => keys.push(RecordKey { namespace, key: key.into() }),
                Err(detail) => {
                    let detail = format!("{detail} ({})", path.display());
                    self.reporter.report(&self.profile, Damaged::UnknownRecord, detail);
                }
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }
}

/// The state of one profile. A reader holds it unchanged for as long as it reads; record files change only under keys
/// that are in an overlay, so what it sees is one moment.
#[derive(Default)]
pub(crate) struct View {
    /// Newest: what went to the current log.
    pub(crate) active: Overlay,
    /// What is being moved into record files.
    pub(crate) frozen: Arc<Overlay>,
    /// It was cleared, and nothing was written since: there is no record, whatever files there still are.
    pub(crate) empty: bool,
    /// Reads are refused: the profile is closed, or its files are in doubt.
    pub(crate) ended: Option<StorageError>,
    /// Keys with a file, of the namespace that was listed last: scans come in pages.
    listing: Mutex<Option<(Namespace, Arc<Vec<RecordKey>>)>>,
}

impl View {
    pub(crate) fn apply(&mut self, batch: &Batch) {
        if batch.clear {
            self.active.clear();
            self.empty = true;
        }
        self.empty &= !batch.ops.iter().any(|(_, op)| matches!(op, Op::Put(_)));
        for (key, op) in &batch.ops {
            // A copy: the caller's value may be a piece of something large.
            let value = match op {
                Op::Put(value) => Some(Bytes::copy_from_slice(value)),
                Op::Delete => None,
            };
            self.active.changes.insert(key.clone(), value);
        }
    }

    pub(crate) fn replay(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Clear => {
                    self.active.clear();
                    self.empty = true;
                }
                Change::Set(key, value) => {
                    self.empty &= value.is_none();
                    self.active.changes.insert(key, value);
                }
            }
        }
    }

    /// The frozen changes are in the files.
    pub(crate) fn thaw(&mut self) {
        self.frozen = Arc::default();
        *lock(&self.listing) = None;
    }

    pub(crate) fn get(&self, files: &Files, key: &RecordKey) -> Result<Option<Bytes>, StorageError> {
        match self.active.get(key).or_else(|| self.frozen.get(key)) {
            Some(value) => Ok(value),
            None => files.read(key),
        }
    }

    pub(crate) fn range(
        &self,
        files: &Files,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        // Only what is above the newest clear shows.
        let frozen_shows = !self.active.cleared;
        let files_show = frozen_shows && !self.frozen.cleared;
        let listed = if files_show { self.list(files, namespace)? } else { Arc::default() };
        let start = match after {
            Some(after) => Bound::Excluded(RecordKey { namespace, key: after.into() }),
            None => Bound::Included(RecordKey { namespace, key: "".into() }),
        };
        let from = match &start {
            Bound::Excluded(key) => listed.partition_point(|listed| listed <= key),
            _ => 0,
        };
        let within = |overlay: &Overlay| -> Vec<RecordKey> {
            let range = overlay.changes.range((start.clone(), Bound::Unbounded));
            // Every key of an overlay may be a deletion, so `limit` does not bound how many are looked at.
            range.map(|(key, _)| key).take_while(|key| key.namespace == namespace).cloned().collect()
        };
        let active = within(&self.active);
        let frozen = if frozen_shows { within(&self.frozen) } else { Vec::new() };
        let mut sources = [listed[from..].iter().peekable(), active.iter().peekable(), frozen.iter().peekable()];
        while found.len() < limit {
            let Some(key) = sources.iter_mut().filter_map(|source| source.peek().copied()).min() else { break };
            for source in &mut sources {
                source.next_if(|next| *next == key);
            }
            if let Some(value) = self.get(files, key)? {
                found.push((key.clone(), value));
            }
        }
        if found.len() < limit {
            *lock(&self.listing) = None; // the last page
        }
        Ok(found)
    }

    fn list(&self, files: &Files, namespace: Namespace) -> Result<Arc<Vec<RecordKey>>, StorageError> {
        let mut listing = lock(&self.listing);
        if let Some((cached, keys)) = &*listing
            && *cached == namespace
        {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(files.keys(namespace)?);
        *listing = Some((namespace, Arc::clone(&keys)));
        Ok(keys)
    }
}
