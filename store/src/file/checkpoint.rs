//! Moving changes from the log into record files.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use amarula_core::engine::StorageError;

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

type ChangeRef<'a> = (&'a amarula_core::store::RecordKey, &'a Option<bytes::Bytes>);

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
