//! The seam between the file store and the file system: every operation it uses, so that tests can stop the world
//! between any two of them.

use std::any::Any;
use std::io;
use std::path::Path;

/// What a lock attempt found.
pub(crate) enum Locked {
    /// Ours until the guard is dropped.
    Ours(Box<dyn Any + Send + Sync>),
    /// Somebody else's, and what they wrote into the file.
    Theirs(String),
}

/// One entry of a folder.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
}

/// A file system. Nothing is durable until it is synced: contents by the file's sync, names by their folder's.
pub(crate) trait Fs: Send + Sync {
    /// Makes one folder, for the owner alone. Whether it is new.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;
    /// The entries of a folder, in no order; names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes an empty file, for the owner alone; one of this name is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file that is there, for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Renames, replacing a file that has the new name. Both are in one folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the contents of many files durable.
    fn sync_files(&self, files: &mut [Box<dyn FsFile>]) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock that this file stands for, and writes `owner` into it.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Locked>;
}

/// An open file.
pub(crate) trait FsFile: Send + Sync {
    /// Writes all of it at this place.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Cuts the file to this length, durably.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}
