//! Opening a profile: its description, and what a crash left in its logs.

use std::io::{self, ErrorKind};
use std::path::Path;

use amarula_core::engine::StorageError;

use super::errors::{failed, refused};
use super::frame::{self, Place};
use super::fs::Fs;
use super::log::{generation_of, log_path};
use super::view::{Files, View};
use crate::corruption::Damaged;

/// The file in a profile's folder that says whose it is.
const DESCRIPTION: &str = "profile";

fn description(files: &Files) -> String {
    format!(
        "Amarula profile, file store version 1. Keep private: whoever has these files is the account.\n{}\n",
        files.profile
    )
}

/// Whether a folder is there.
pub(crate) fn exists(fs: &dyn Fs, dir: &Path) -> Result<bool, StorageError> {
    match fs.list(dir) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("list", dir, &error)),
    }
}

/// Makes durable that a profile's folder is there: a [`clear`](crate::Store::clear) that failed may have renamed it to
/// and fro, and a crash must not undo half of that once somebody saw what is in it.
pub(crate) fn pin(fs: &dyn Fs, root: &Path, dir: &Path) -> Result<(), StorageError> {
    if exists(fs, dir)? {
        fs.sync_dir(root).map_err(|error| failed("sync", root, &error))?;
    }
    Ok(())
}

/// Removes what an interrupted [`clear`](crate::Store::clear) left; first it makes sure that the clear is durable.
pub(crate) fn sweep(fs: &dyn Fs, root: &Path, trash: &Path) -> Result<(), StorageError> {
    if exists(fs, trash)? {
        let remove = || fs.sync_dir(root).and_then(|()| fs.remove_dir_all(trash));
        remove().map_err(|error| failed("remove", trash, &error))?;
    }
    Ok(())
}

/// Whether the profile's folder is there, complete and its own.
pub(crate) fn check_description(files: &Files) -> Result<bool, StorageError> {
    let path = files.dir.join(DESCRIPTION);
    let found = match files.fs.read(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let expected = description(files);
    if found == expected.as_bytes() {
        return Ok(true);
    }
    let lines = core::str::from_utf8(&found).ok().and_then(|text| text.strip_suffix('\n')?.split_once('\n'));
    match lines.zip(expected.split_once('\n')) {
        Some(((first, name), (expected, _))) if first == expected => Err(refused(format!(
            "the folder {} belongs to profile {name:?}: this file system takes the two names for the same, or the \
             folder was renamed",
            files.dir.display()
        ))),
        Some(((first, _), _)) if first.starts_with("Amarula profile, file store version ") => Err(refused(format!(
            "{} was written by a newer version of this program; use that one",
            files.dir.display()
        ))),
        _ => Ok(false),
    }
}

/// Makes the folder and its description, durably. They may be there already: whether they are durable is not known, the
/// process that made them may have died before its syncs.
pub(crate) fn create(files: &Files, root: &Path) -> Result<(), StorageError> {
    let described = check_description(files)?;
    let fs = &*files.fs;
    let path = files.dir.join(DESCRIPTION);
    let make = || -> io::Result<()> {
        fs.create_dir(&files.dir)?;
        let mut file = if described { fs.open(&path)? } else { fs.create(&path)? };
        if !described {
            file.write_at(0, description(files).as_bytes())?;
        }
        file.sync_data()?;
        fs.sync_dir(&files.dir)?;
        fs.sync_dir(root)
    };
    make().map_err(|error| failed("create", &path, &error))
}

/// What the logs hold.
pub(crate) struct Recovered {
    pub(crate) view: View,
    /// The logs it comes from.
    pub(crate) logs: Vec<u64>,
    pub(crate) last_seq: u64,
    pub(crate) last_generation: u64,
}

/// Reads the logs, oldest first. What it returns is durable: a frame that the system still had in memory only when the
/// process died is synced before anybody sees it.
pub(crate) fn recover(files: &Files) -> Result<Recovered, StorageError> {
    let mut recovered = Recovered { view: View::default(), logs: Vec::new(), last_seq: 0, last_generation: 0 };
    let entries = match files.fs.list(&files.dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(recovered),
        Err(error) => return Err(failed("list", &files.dir, &error)),
    };
    recovered.logs = entries.iter().filter_map(|entry| generation_of(&entry.name)).collect();
    recovered.logs.sort_unstable();
    for &generation in &recovered.logs {
        recovered.last_generation = generation;
        let path = log_path(&files.dir, generation);
        let file = files.fs.read(&path).map_err(|error| failed("read", &path, &error))?;
        let scan = frame::scan(&file, Place { profile: &files.profile, generation });
        if scan.damaged {
            let detail = format!("commits before the last {} are lost ({})", scan.bodies.len(), path.display());
            files.reporter.report(&files.profile, Damaged::Log, detail);
        }
        if !scan.bodies.is_empty() {
            let sync = || files.fs.open(&path)?.sync_data();
            sync().map_err(|error| failed("sync", &path, &error))?;
        }
        recovered.last_seq = recovered.last_seq.max(scan.last_seq);
        for body in scan.bodies {
            recovered.view.replay(frame::changes(&file[body])?);
        }
    }
    if !recovered.logs.is_empty() {
        files.fs.sync_dir(&files.dir).map_err(|error| failed("sync", &files.dir, &error))?;
    }
    Ok(recovered)
}
