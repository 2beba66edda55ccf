//! Moving changes from the log into record files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::Path;

use amarula_core::engine::StorageError;
use amarula_core::store::{Namespace, RecordKey};
use bytes::Bytes;

use super::errors::failed;
use super::names;
use super::record;
use super::view::{Files, Overlay};

/// Files written before any of them is synced: the system then syncs them together.
const TOGETHER: usize = 128;

/// Writes these changes into record files, durably. May be repeated, also after it failed half-way. Each file is
/// written and synced under a temporary name first, so that an older value is never lost.
pub(crate) fn write_records(files: &Files, changes: &Overlay) -> Result<(), StorageError> {
    let mut touched = BTreeSet::new();
    let (cleared, changes) = (changes.cleared, &changes.changes);
    if cleared {
        remove_others(files, changes, &mut touched)?;
    }
    for key in changes.keys() {
        if touched.insert(key.namespace) {
            let folder = files.folder(key.namespace);
            files.fs.create_dir(&folder).map_err(|error| failed("create", &folder, &error))?;
        }
    }
    let changes: Vec<_> = changes.iter().collect();
    for some in changes.chunks(TOGETHER) {
        write_some(files, some)?;
    }
    for namespace in touched {
        let folder = files.folder(namespace);
        files.fs.sync_dir(&folder).map_err(|error| failed("sync", &folder, &error))?;
    }
    // Also if no folder is new now: one may be since an attempt that failed.
    files.fs.sync_dir(&files.dir).map_err(|error| failed("sync", &files.dir, &error))
}

/// Removes every record that these changes do not write.
fn remove_others(
    files: &Files,
    changes: &BTreeMap<RecordKey, Option<Bytes>>,
    touched: &mut BTreeSet<Namespace>,
) -> Result<(), StorageError> {
    let mut keep: BTreeSet<(Namespace, String)> = BTreeSet::new();
    for (key, value) in changes {
        if value.is_some() {
            keep.insert((key.namespace, names::encode(&key.key)));
        }
    }
    let list = |path: &Path| files.fs.list(path).map_err(|error| failed("list", path, &error));
    for folder in list(&files.dir)?.into_iter().filter(|entry| entry.is_dir) {
        let path = files.dir.join(&folder.name);
        let Some(namespace) = Namespace::from_name(&folder.name) else {
            files.fs.remove_dir_all(&path).map_err(|error| failed("remove", &path, &error))?;
            continue;
        };
        // Synced also if nothing is found: an attempt that failed may have removed it, and not durably.
        touched.insert(namespace);
        for entry in list(&path)? {
            let place = (namespace, entry.name);
            if !keep.contains(&place) {
                let path = path.join(&place.1);
                remove(files, &path).map_err(|error| failed("remove", &path, &error))?;
            }
        }
    }
    Ok(())
}

type ChangeRef<'a> = (&'a RecordKey, &'a Option<Bytes>);

fn write_some(files: &Files, changes: &[ChangeRef<'_>]) -> Result<(), StorageError> {
    let mut handles = Vec::with_capacity(changes.len());
    let mut written = Vec::with_capacity(changes.len());
    for (i, (key, value)) in changes.iter().enumerate() {
        let folder = files.folder(key.namespace);
        let path = folder.join(names::encode(&key.key));
        match value {
            Some(value) => {
                let temporary = folder.join(format!(".new-{i}"));
                let content = record::encode(key, value)?;
                let file = files.fs.create(&temporary).and_then(|mut file| {
                    file.write_at(0, &content)?;
                    Ok(file)
                });
                handles.push(file.map_err(|error| failed("write", &temporary, &error))?);
                written.push((temporary, path));
            }
            None => remove(files, &path).map_err(|error| failed("remove", &path, &error))?,
        }
    }
    files.fs.sync_files(&mut handles).map_err(|error| failed("sync records in", &files.dir, &error))?;
    for (temporary, path) in &written {
        files.fs.rename(temporary, path).map_err(|error| failed("rename", temporary, &error))?;
    }
    Ok(())
}

/// Removes a file that may be gone already.
pub(crate) fn remove(files: &Files, path: &Path) -> io::Result<()> {
    match files.fs.remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
