//! [`FileStore`]: one node, no database.
//!
//! # Layout
//!
//! ```text
//! amarula_data/                 the root, 0700
//!   .locks/alice                locked while alice is in use; holds the process id of the user
//!   .trash-alice/               what a clear is removing
//!   alice/                      a profile, 0700
//!     profile                   whose folder this is, and the version of the layout
//!     log-000657f3a1b2c3d4      recent commits
//!     account/%                 a record, 0600: account, with the empty key
//!     session/4915112345678.0
//! ```
//!
//! Layouts of the files, and the rule of their names, are in the private modules `frame` (log), `record` and `names`.
//!
//! # How a commit becomes durable
//!
//! A commit is appended to the profile's log as one checksummed frame, and the log is synced: one `fdatasync`, however
//! many records it has. Commits that wait meanwhile, from other threads or in the same group, go together in the next
//! frame. Only then do readers see it, in memory. When the log has grown to [`FileOptions::checkpoint_bytes`], a new
//! log is begun, and a thread moves the older changes into record files (temporary file, sync, rename, sync of the
//! folders) and removes the old log. A record that changes with every message is written to its file once for many
//! commits. Closing a profile does the same, so that what is at rest is a plain tree of record files; back it up while
//! it is closed, or take a snapshot of the file system.
//!
//! # After a crash
//!
//! Opening reads the logs that are there, oldest first. A frame counts only if it is complete, which its checksum says;
//! what a crash left of the last one is ignored. So each commit is there wholly or not at all, and none that was
//! acknowledged is missing. A log is removed only when all its changes are synced in record files, and replaying one
//! twice gives the same. A frame is begun only when the one before is durable, so a bad frame *between* good ones is
//! damage: it is reported, and the later ones are kept. A failed write is taken back (truncate, sync); if that fails
//! too, the profile refuses commits until it is opened again.
//!
//! # Clearing
//!
//! A batch that clears is a change in the log like any other, so it is atomic with what goes along: what is below it,
//! in memory or in files, does not show any more. It makes a checkpoint due at once, which removes the files of every
//! record that was not written since, and then the logs.
//!
//! # Limits
//!
//! `fsync` must mean it: disks that lie, and network file systems without locks, are out. Folders cannot be synced on
//! Windows, where a crash of the machine may lose the newest log. On thousands of profiles, use a database.

mod checkpoint;
mod errors;
mod frame;
mod fs;
mod log;
mod names;
mod open;
mod real;
mod record;
mod slot;
mod view;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod simfs;

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;

use self::errors::failed;
use self::fs::{Fs, Locked};
use self::slot::Slot;
use self::view::Files;
use crate::corruption::Reporter;
use crate::sync::lock;
use crate::{AcquireError, CorruptionWatcher, Holder, Lease, Profile, ProfileRegistry, Registration, Store};

/// The environment variable that names the root of [`FileStore::open_default`].
pub const DATA_DIR_ENV: &str = "AMARULA_DATA_DIR";

/// The root of [`FileStore::open_default`] if the environment does not name one. Keep it out of version control.
pub const DEFAULT_ROOT: &str = "./amarula_data";

/// Profiles of a group commit that are synced at the same time.
const PARALLEL: usize = 8;

/// How a [`FileStore`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// Bytes of log per profile after which changes are moved into record files; 1 MiB. The same amount, at most
    /// eightfold if the disk cannot keep up, is held in memory.
    pub checkpoint_bytes: u64,
    /// Move them in a thread of their own (the default), not in the commit that crossed the line.
    pub background: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { checkpoint_bytes: 1024 * 1024, background: true }
    }
}

impl FileOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`checkpoint_bytes`](Self::checkpoint_bytes).
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes.max(1);
        self
    }

    /// Sets [`background`](Self::background).
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }
}

/// Records in files: a folder per profile, a file per record, commits atomic and durable through a log, nothing but a
/// file system needed.
///
/// A profile is opened and locked when it is first used, by [`acquire`](Store::acquire) or by any read or write, and
/// stays so until its lease is dropped or, without one, until the store is. While it is, other processes, and other
/// stores of this process, are told who has it. A clone is the same store.
///
/// Dropping the last clone (and all leases) moves everything into record files; a crash instead costs a recovery at
/// the next opening, and nothing else.
#[derive(Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

/// Where a profile's slot is while it is open; locked while it is opened or closed.
type Place = Arc<Mutex<Option<Arc<Slot>>>>;

struct Shared {
    root: PathBuf,
    fs: Arc<dyn Fs>,
    options: FileOptions,
    reporter: Arc<Reporter>,
    leases: ProfileRegistry,
    slots: Mutex<BTreeMap<Profile, Place>>,
}

impl FileStore {
    /// Opens the store in this folder, which is made if it is not there (its parent must be).
    ///
    /// # Errors
    /// The folder cannot be made or is none.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::open_with(root, FileOptions::default())
    }

    /// Opens the store that the environment names ([`DATA_DIR_ENV`]), or [`DEFAULT_ROOT`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_default() -> Result<Self, StorageError> {
        let named = std::env::var_os(DATA_DIR_ENV).filter(|named| !named.is_empty());
        Self::open(named.map_or_else(|| PathBuf::from(DEFAULT_ROOT), PathBuf::from))
    }

    /// Opens the store with other than the default options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: impl Into<PathBuf>, options: FileOptions) -> Result<Self, StorageError> {
        Self::open_on(Arc::new(real::RealFs), root.into(), options)
    }

    fn open_on(fs: Arc<dyn Fs>, root: PathBuf, options: FileOptions) -> Result<Self, StorageError> {
        let make = |path: &Path| fs.create_dir(path).map_err(|error| failed("create", path, &error));
        if make(&root)? {
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs.sync_dir(parent).map_err(|error| failed("sync", parent, &error))?;
        }
        make(&root.join(".locks"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                root,
                fs,
                options,
                reporter: Arc::default(),
                leases: ProfileRegistry::new(),
                slots: Mutex::default(),
            }),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// How many damaged records and logs were found since it was opened. See
    /// [`watch_corruption`](Store::watch_corruption) for which.
    #[must_use]
    pub fn corruptions(&self) -> u64 {
        self.shared.reporter.count()
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

impl Shared {
    /// The profile, opened if it is not yet.
    fn slot(&self, profile: &Profile) -> Result<Arc<Slot>, AcquireError> {
        let place = Arc::clone(lock(&self.slots).entry(profile.clone()).or_default());
        let mut place = lock(&place);
        if let Some(slot) = &*place {
            return Ok(Arc::clone(slot));
        }
        let path = self.root.join(".locks").join(profile.as_str());
        let guard = match self.fs.lock(&path, &std::process::id().to_string()) {
            Ok(Locked::Ours(guard)) => guard,
            Ok(Locked::Theirs(owner)) => {
                let holder = match owner.trim().parse() {
                    Ok(pid) if pid == std::process::id() => Holder::ThisProcess,
                    Ok(pid) => Holder::Process(pid),
                    Err(_) => Holder::Unknown,
                };
                return Err(AcquireError::InUse { profile: profile.clone(), holder });
            }
            Err(error) => return Err(failed("lock", &path, &error).into()),
        };
        let files = Files {
            profile: profile.clone(),
            dir: self.root.join(profile.as_str()),
            fs: Arc::clone(&self.fs),
            reporter: Arc::clone(&self.reporter),
        };
        let slot = Arc::new(Slot::open(files, self.root.clone(), self.options, guard)?);
        Ok(Arc::clone(place.insert(slot)))
    }

    /// Whether this process knows that the profile was cleared.
    fn is_cleared(&self, profile: &Profile) -> bool {
        let place = lock(&self.slots).get(profile).cloned();
        place.is_some_and(|place| lock(&place).as_ref().is_some_and(|slot| slot.is_cleared()))
    }

    fn close(&self, profile: &Profile) {
        let Some(place) = lock(&self.slots).get(profile).cloned() else { return };
        // Held meanwhile: who wants to open it again waits for the lock to be free.
        let mut place = lock(&place);
        if let Some(slot) = place.take() {
            slot.close();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut *lock(&self.slots));
        slots.values().filter_map(|place| lock(place).take()).for_each(|slot| slot.close());
    }
}

/// What a lease of a [`FileStore`] holds.
struct Opened {
    shared: Arc<Shared>,
    registration: Registration,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.shared.close(self.registration.profile());
    }
}

impl Store for FileStore {
    fn acquire(&self, profile: &Profile) -> Result<Lease, AcquireError> {
        let Ok(registration) = self.shared.leases.register(profile) else {
            return Err(AcquireError::InUse { profile: profile.clone(), holder: Holder::ThisProcess });
        };
        self.shared.slot(profile)?;
        Ok(Lease::new(profile.clone(), Opened { shared: Arc::clone(&self.shared), registration }))
    }

    fn get(&self, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.shared.slot(profile)?.get(keys)
    }

    fn range(
        &self,
        profile: &Profile,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        self.shared.slot(profile)?.range(namespace, after, limit)
    }

    fn commit(&self, profile: &Profile, batch: &Batch) -> Result<(), StorageError> {
        self.shared.slot(profile)?.commit(&[batch]).remove(0)
    }

    fn commit_group(&self, commits: &[(&Profile, &Batch)]) -> Vec<Result<(), StorageError>> {
        let mut profiles: BTreeMap<&Profile, Vec<usize>> = BTreeMap::new();
        for (i, (profile, _)) in commits.iter().enumerate() {
            profiles.entry(profile).or_default().push(i);
        }
        let commit = |(profile, places): &(&Profile, Vec<usize>)| -> Vec<Result<(), StorageError>> {
            let batches: Vec<_> = places.iter().map(|i| commits[*i].1).collect();
            match self.shared.slot(profile) {
                Ok(slot) => slot.commit(&batches),
                Err(error) => vec![Err(StorageError::from(error)); batches.len()],
            }
        };
        let profiles: Vec<_> = profiles.into_iter().collect();
        let each = profiles.len().div_ceil(PARALLEL).max(1);
        // Each profile has a log of its own; syncing several at once lets the file system merge the work.
        let done: Vec<_> = std::thread::scope(|scope| {
            let mut shares = profiles.chunks(each);
            let mine = shares.next();
            let others: Vec<_> =
                shares.map(|share| scope.spawn(move || share.iter().map(commit).collect::<Vec<_>>())).collect();
            let mut done: Vec<_> = mine.into_iter().flatten().map(commit).collect();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        let mut answers = vec![Ok(()); commits.len()];
        for ((_, places), results) in profiles.iter().zip(done) {
            for (place, result) in places.iter().zip(results) {
                answers[*place] = result;
            }
        }
        answers
    }

    fn clear(&self, profile: &Profile) -> Result<(), StorageError> {
        self.shared.slot(profile)?.clear()
    }

    fn list_profiles(&self) -> Result<Vec<Profile>, StorageError> {
        let (fs, root) = (&*self.shared.fs, &self.shared.root);
        let mut profiles = Vec::new();
        for entry in fs.list(root).map_err(|error| failed("list", root, &error))? {
            if let (true, Ok(profile)) = (entry.is_dir, Profile::new(&entry.name))
                && !self.shared.is_cleared(&profile)
                && has_records(fs, &root.join(&entry.name))?
            {
                profiles.push(profile);
            }
        }
        profiles.sort_unstable();
        Ok(profiles)
    }

    fn watch_corruption(&self, watcher: CorruptionWatcher) {
        self.shared.reporter.watch(watcher);
    }
}

/// Whether a profile's folder holds a log or a record.
fn has_records(fs: &dyn Fs, dir: &Path) -> Result<bool, StorageError> {
    let list = |path: &Path| match fs.list(path) {
        Ok(entries) => Ok(entries),
        // It may go at any time: another process may clear it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("list", path, &error)),
    };
    for entry in list(dir)? {
        let full = if entry.is_dir {
            Namespace::from_name(&entry.name).is_some()
                && list(&dir.join(&entry.name))?.iter().any(|entry| !entry.name.starts_with('.'))
        } else {
            log::generation_of(&entry.name).is_some()
        };
        if full {
            return Ok(true);
        }
    }
    Ok(false)
}
