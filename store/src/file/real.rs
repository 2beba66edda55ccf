//! The operating system's file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::thread;

use super::fs::{Entry, Fs, FsFile, Locked};

/// Files synced at the same time.
const SYNC_THREADS: usize = 16;

pub(crate) struct RealFs;

/// Owner only, where the system knows owners.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

impl Fs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_files(&self, files: &mut [Box<dyn FsFile>]) -> io::Result<()> {
        // One by one, each would wait for a journal commit of its own.
        let sync = |files: &mut [Box<dyn FsFile>]| files.iter_mut().try_for_each(|file| file.sync_data());
        let mut shares = files.chunks_mut(files.len().div_ceil(SYNC_THREADS).max(1));
        let first = shares.next();
        thread::scope(|scope| {
            let others: Vec<_> = shares.map(|share| scope.spawn(move || sync(share))).collect();
            let mut result = first.map_or(Ok(()), sync);
            for other in others {
                result = result.and(other.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
            }
            result
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Elsewhere folders cannot be synced, and names are durable with the file system's own journal.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Locked> {
        let mut options = OpenOptions::new();
        let mut file = private(options.read(true).write(true).create(true).truncate(false)).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(owner.as_bytes())?;
                Ok(Locked::Ours(Box::new(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(32).read_to_string(&mut text);
                Ok(Locked::Theirs(text))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl FsFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset))?;
        self.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.sync_all()
    }
}
