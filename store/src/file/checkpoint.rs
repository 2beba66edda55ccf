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
const TOGETHER: usize = 64;

/// Writes these changes into record files, durably. May be repeated, also after it failed half-way. Each file is
/// written and synced under a temporary name first, so that an older value is never lost.
pub(crate) fn write_records(files: &Files, changes: &Overlay) -> Result<(), StorageError> {
    let mut touched = BTreeSet::new();
    let mut new_folder = false;
    for key in changes.keys() {
        if touched.insert(key.namespace) {
            let folder = files.folder(key.namespace);
            new_folder |= files.fs.create_dir(&folder).map_err(|error| failed("create", &folder, &error))?;
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
    if new_folder {
        files.fs.sync_dir(&files.dir).map_err(|error| failed("sync", &files.dir, &error))?;
    }
    Ok(())
}

type ChangeRef<'a> = (&'a amarula_core::store::RecordKey, &'a Option<bytes::Bytes>);

fn write_some(files: &Files, changes: &[ChangeRef<'_>]) -> Result<(), StorageError> {
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
                let file = file.map_err(|error| failed("write", &temporary, &error))?;
                written.push((file, temporary, path));
            }
            None => remove(files, &path).map_err(|error| failed("remove", &path, &error))?,
        }
    }
    for (file, temporary, _) in &mut written {
        file.sync_data().map_err(|error| failed("sync", temporary, &error))?;
    }
    for (_, temporary, path) in &written {
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
