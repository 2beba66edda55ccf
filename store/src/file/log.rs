//! Writing the log: one frame, one sync.

use std::io;
use std::path::{Path, PathBuf};

use amarula_core::engine::StorageError;

use super::errors::{failed, refused};
use super::frame::{FILE_HEADER, Place, put_frame};
use super::fs::{Fs, FsFile};
use crate::Profile;

/// The log grows by this much at a time, so that most commits change no metadata: that makes a sync cheaper.
const STEP: usize = 64 * 1024;

/// Where a log is.
pub(crate) fn log_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("log-{generation:016x}"))
}

/// The generation of a log's file name.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("log-").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

/// The log that commits go to.
pub(crate) struct Log {
    file: Box<dyn FsFile>,
    path: PathBuf,
    pub(crate) generation: u64,
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// Length of the file: beyond `end` are zeros.
    len: u64,
    /// Its name is durable.
    named: bool,
}

impl Log {
    /// A new, empty log. Nothing of it is durable until the first append.
    pub(crate) fn create(fs: &dyn Fs, dir: &Path, generation: u64) -> Result<Self, StorageError> {
        let path = log_path(dir, generation);
        match fs.create(&path) {
            Ok(file) => Ok(Self { file, path, generation, end: 0, len: 0, named: false }),
            Err(error) => Err(failed("create", &path, &error)),
        }
    }

    /// Appends a frame and makes it durable. `buffer` is scratch space.
    ///
    /// If that fails, the frame is removed again; if even that fails, [`Append::Broken`] says that the log must not be
    /// written any more: what is in it is known only after a reopen.
    pub(crate) fn append(
        &mut self,
        fs: &dyn Fs,
        profile: &Profile,
        seq: u64,
        body: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), Append> {
        buffer.clear();
        if self.end == 0 {
            buffer.extend_from_slice(FILE_HEADER);
        }
        put_frame(buffer, Place { profile, generation: self.generation }, seq, body);
        let end = self.end + buffer.len() as u64;
        if end > self.len {
            buffer.resize(buffer.len().next_multiple_of(STEP), 0);
        }
        match self.write(fs, buffer) {
            Ok(()) => {
                self.len = self.len.max(self.end + buffer.len() as u64);
                self.end = end;
                Ok(())
            }
            Err(error) => {
                let error = failed("write", &self.path, &error);
                self.len = self.end;
                match self.file.truncate(self.end) {
                    Ok(()) => Err(Append::Undone(error)),
                    Err(_) => Err(Append::Broken(refused(format!(
                        "{}; and what was half written could not be removed: close this store and open it again",
                        error.message
                    )))),
                }
            }
        }
    }

    fn write(&mut self, fs: &dyn Fs, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.end, bytes)?;
        self.file.sync_data()?;
        if !self.named {
            fs.sync_dir(self.path.parent().expect("a log is in a folder"))?;
            self.named = true;
        }
        Ok(())
    }
}

/// How an append failed.
pub(crate) enum Append {
    /// Nothing happened.
    Undone(StorageError),
    /// It may be in the log or not; nothing may follow it.
    Broken(StorageError),
}
