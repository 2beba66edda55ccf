//! One open profile: commits go to the log, readers to the view, a checkpoint moves one into the other.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, TryLockError};
use std::time::{SystemTime, UNIX_EPOCH};

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, RecordKey};
use bytes::Bytes;

use super::checkpoint::{remove, write_records};
use super::errors::{failed, refused};
use super::log::{Append, Log, log_path};
use super::open;
use super::view::{Files, View};
use super::{FileOptions, frame};
use crate::corruption::Damaged;
use crate::store::check_keys;
use crate::sync::{lock, read, write};

/// Commits that wait for the writer are merged into one frame up to this size.
const FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A commit must wait for the checkpoint when the log is this many times longer than wanted.
const PATIENCE: u64 = 8;

pub(crate) struct Slot {
    files: Files,
    root: PathBuf,
    trash: PathBuf,
    options: FileOptions,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    view: RwLock<View>,
    /// The logs that the frozen changes are in. Locked while a checkpoint runs.
    sealed: Mutex<Vec<u64>>,
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    ticket: u64,
    batch: Batch,
    body: Vec<u8>,
}

struct Writer {
    log: Option<Log>,
    /// The folder is there and described, durably.
    created: bool,
    next_generation: u64,
    next_seq: u64,
    /// Length of the log at which a checkpoint is tried.
    checkpoint_at: u64,
    /// Answers of commits that another thread carried out.
    answers: BTreeMap<u64, Result<(), StorageError>>,
    buffer: Vec<u8>,
    /// No more commits: closed, or the log is in doubt.
    ended: Option<StorageError>,
}

impl Slot {
    /// Opens a profile that is locked by `guard`.
    pub(crate) fn open(
        files: Files,
        root: PathBuf,
        options: FileOptions,
        guard: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, StorageError> {
        let trash = root.join(format!(".trash-{}", files.profile));
        open::sweep(&*files.fs, &root, &trash)?;
        open::pin(&*files.fs, &root, &files.dir)?;
        let described = open::check_description(&files)?;
        let mut recovered = open::recover(&files)?;
        recovered.view.frozen = Arc::new(take(&mut recovered.view.active));
        // Generations rise across clean closes too, so that a block of a removed log never passes for one of ours.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        let slot = Self {
            root,
            trash,
            options,
            queue: Mutex::default(),
            writer: Mutex::new(Writer {
                log: None,
                created: false,
                next_generation: u64::try_from(clock).unwrap_or(0).max(recovered.last_generation + 1),
                next_seq: recovered.last_seq + 1,
                checkpoint_at: options.checkpoint_bytes,
                answers: BTreeMap::new(),
                buffer: Vec::new(),
                ended: None,
            }),
            view: RwLock::new(recovered.view),
            sealed: Mutex::new(recovered.logs),
            lock: Mutex::new(Some(guard)),
            files,
        };
        if !described && slot.has_records()? {
            let detail = format!("missing or unreadable in {}", slot.files.dir.display());
            slot.files.reporter.report(&slot.files.profile, Damaged::Description, detail);
        }
        // What the logs hold is durable and readable; if it cannot be moved now, that is tried again later.
        let _ = slot.checkpoint();
        Ok(slot)
    }

    fn has_records(&self) -> Result<bool, StorageError> {
        if !read(&self.view).frozen.is_empty() {
            return Ok(true);
        }
        super::has_records(&*self.files.fs, &self.files.dir)
    }

    fn readable(&self) -> Result<RwLockReadGuard<'_, View>, StorageError> {
        let view = read(&self.view);
        match &view.ended {
            None => Ok(view),
            Some(error) => Err(error.clone()),
        }
    }

    pub(crate) fn get(&self, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        let view = self.readable()?;
        keys.iter().map(|key| view.get(&self.files, key)).collect()
    }

    pub(crate) fn range(
        &self,
        namespace: Namespace,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(RecordKey, Bytes)>, StorageError> {
        self.readable()?.range(&self.files, namespace, after, limit)
    }

    /// Whether it holds nothing because of a clear, although its files may not show that yet.
    pub(crate) fn is_cleared(&self) -> bool {
        read(&self.view).empty
    }

    /// Commits these batches, in order. Whichever thread gets the writer first carries out what all of them queued, in
    /// one frame with one sync; the others find their answers.
    pub(crate) fn commit(self: &Arc<Self>, batches: &[&Batch]) -> Vec<Result<(), StorageError>> {
        let mut invalid = Vec::new();
        let mut prepared = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut body = Vec::with_capacity(batch.bytes() + batch.ops.len() * 8);
            match check_keys(batch).and_then(|()| frame::put_batch(&mut body, batch)) {
                Ok(()) => prepared.push(((*batch).clone(), body)),
                // The later ones must not be applied either.
                Err(error) => {
                    invalid = vec![Err(error); batches.len() - prepared.len()];
                    break;
                }
            }
        }
        let tickets = {
            let queue = &mut *lock(&self.queue);
            let first = queue.next;
            for (batch, body) in prepared {
                queue.waiting.push_back(Waiting { ticket: queue.next, batch, body });
                queue.next += 1;
            }
            first..queue.next
        };
        let mut writer = lock(&self.writer);
        if tickets.clone().any(|ticket| !writer.answers.contains_key(&ticket)) {
            self.write_queue(&mut writer);
        }
        let unanswered = || Err(refused("the commit was given up half-way: a bug"));
        let done: Vec<_> = tickets.map(|ticket| writer.answers.remove(&ticket).unwrap_or_else(unanswered)).collect();
        done.into_iter().chain(invalid).collect()
    }

    fn write_queue(self: &Arc<Self>, writer: &mut Writer) {
        let mut waiting = take(&mut lock(&self.queue).waiting);
        let mut failure: Option<StorageError> = None;
        while let Some(first) = waiting.pop_front() {
            let mut group = vec![first];
            let mut body = take(&mut group[0].body);
            while waiting.front().is_some_and(|next| body.len() + next.body.len() <= FRAME_BYTES) {
                let Some(next) = waiting.pop_front() else { break };
                body.extend_from_slice(&next.body);
                group.push(next);
            }
            let answer = match &failure {
                Some(error) => Err(error.clone()),
                None => self.append(writer, &body),
            };
            match &answer {
                Ok(()) => {
                    let mut view = write(&self.view);
                    group.iter().for_each(|waiting| view.apply(&waiting.batch));
                    if group.iter().any(|waiting| waiting.batch.clear) {
                        // Somebody wants it gone: not only when the log is long.
                        writer.checkpoint_at = 0;
                    }
                }
                Err(error) => failure = Some(error.clone()),
            }
            writer.answers.extend(group.iter().map(|waiting| (waiting.ticket, answer.clone())));
        }
        self.checkpoint_if_due(writer);
    }

    fn append(self: &Arc<Self>, writer: &mut Writer, body: &[u8]) -> Result<(), StorageError> {
        if let Some(error) = &writer.ended {
            return Err(error.clone());
        }
        if body.is_empty() {
            return Ok(());
        }
        if writer.log.as_ref().is_some_and(|log| log.end >= self.options.checkpoint_bytes.saturating_mul(PATIENCE)) {
            self.checkpoint()?;
            self.seal(writer);
        }
        if !writer.created {
            open::create(&self.files, &self.root)?;
            writer.created = true;
        }
        let fs = &*self.files.fs;
        let log = match &mut writer.log {
            Some(log) => log,
            empty => {
                let log = Log::create(fs, &self.files.dir, writer.next_generation)?;
                writer.next_generation += 1;
                empty.insert(log)
            }
        };
        match log.append(fs, &self.files.profile, writer.next_seq, body, &mut writer.buffer) {
            Ok(()) => {
                writer.next_seq += 1;
                writer.buffer.shrink_to(self.options.checkpoint_bytes.try_into().unwrap_or(usize::MAX));
                Ok(())
            }
            Err(Append::Undone(error)) => Err(error),
            Err(Append::Broken(error)) => {
                writer.ended = Some(error.clone());
                Err(error)
            }
        }
    }

    fn checkpoint_if_due(self: &Arc<Self>, writer: &mut Writer) {
        let Some(log) = writer.log.as_ref().filter(|log| log.end >= writer.checkpoint_at) else { return };
        writer.checkpoint_at = log.end + self.options.checkpoint_bytes;
        match self.sealed.try_lock() {
            Err(TryLockError::WouldBlock) => return, // one is running; look again later
            Err(TryLockError::Poisoned(_)) | Ok(_) => {}
        }
        // If one failed earlier, that one is tried again, and this log is sealed next time.
        if read(&self.view).frozen.is_empty() {
            self.seal(writer);
        }
        if self.options.background {
            let slot = Arc::clone(self);
            let thread = std::thread::Builder::new().name("amarula-checkpoint".to_owned());
            if thread.spawn(move || slot.checkpoint()).is_ok() {
                return;
            }
        }
        // A failure costs nothing yet: the log has it all. It is told when the log gets too long.
        let _ = self.checkpoint();
    }

    /// Ends the current log: its changes are frozen, the next commit begins another. Nothing may be frozen.
    fn seal(&self, writer: &mut Writer) {
        let Some(log) = writer.log.take() else { return };
        writer.checkpoint_at = self.options.checkpoint_bytes;
        // Both at once: a checkpoint that saw the log and not the changes would remove it for nothing.
        let mut sealed = lock(&self.sealed);
        let mut view = write(&self.view);
        sealed.push(log.generation);
        view.frozen = Arc::new(take(&mut view.active));
    }

    /// Moves what is frozen into record files, and removes the logs it came from.
    fn checkpoint(&self) -> Result<(), StorageError> {
        let mut sealed = lock(&self.sealed);
        if sealed.is_empty() {
            return Ok(());
        }
        let frozen = Arc::clone(&read(&self.view).frozen);
        write_records(&self.files, &frozen)?;
        write(&self.view).thaw();
        // Replaying a log is harmless only if every later one is replayed too: oldest first, each durably.
        while let Some(&generation) = sealed.first() {
            let path = log_path(&self.files.dir, generation);
            remove(&self.files, &path)
                .and_then(|()| self.files.fs.sync_dir(&self.files.dir))
                .map_err(|error| failed("remove", &path, &error))?;
            sealed.remove(0);
        }
        Ok(())
    }

    /// Removes everything.
    pub(crate) fn clear(&self) -> Result<(), StorageError> {
        let mut writer = lock(&self.writer);
        if let Some(error) = &writer.ended {
            return Err(error.clone());
        }
        let mut sealed = lock(&self.sealed);
        let mut view = write(&self.view);
        let fs = &*self.files.fs;
        let (dir, root, trash) = (&self.files.dir, &self.root, &self.trash);
        open::sweep(fs, root, trash)?;
        if !open::exists(fs, dir)? {
            return Ok(());
        }
        if let Err(error) = fs.rename(dir, trash).and_then(|()| fs.sync_dir(root)) {
            let error = failed("clear", dir, &error);
            let back = || fs.rename(trash, dir).and_then(|()| fs.sync_dir(root)).is_ok();
            if !matches!(open::exists(fs, trash), Ok(false)) && !back() {
                let ended = refused(format!("{}; close this store and open it again", error.message));
                writer.ended = Some(ended.clone());
                view.ended = Some(ended.clone());
                return Err(ended);
            }
            return Err(error);
        }
        writer.log = None;
        writer.created = false;
        writer.checkpoint_at = self.options.checkpoint_bytes;
        sealed.clear();
        *view = View::default();
        // It is gone already, as far as anybody can see; what remains goes when the profile is opened next.
        let _ = fs.remove_dir_all(trash);
        Ok(())
    }

    /// Moves everything into record files, ends commits, and gives the lock back.
    pub(crate) fn close(&self) {
        let mut writer = lock(&self.writer);
        let in_doubt = writer.ended.is_some();
        if self.checkpoint().is_ok() && !in_doubt {
            self.seal(&mut writer);
            // What fails here is in the log, and recovered when the profile is opened next.
            let _ = self.checkpoint();
        }
        let closed = refused("the profile was closed");
        writer.ended = Some(closed.clone());
        write(&self.view).ended = Some(closed);
        *lock(&self.lock) = None;
    }
}
