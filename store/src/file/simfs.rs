//! A file system that can die before any operation, and that forgets what was not synced.
//!
//! It is meaner than real ones: after a crash, each unsynced write to a file may be there, be missing or be there in
//! part, and each unsynced change of a folder may be there or be missing, whatever the order they were made in. Only a
//! rename is one change.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};

use super::fs::{Entry, Fs, FsFile, Locked};
use crate::sync::lock;

/// How much of what was not synced survives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    /// All: only the process died.
    KeepAll,
    /// Nothing.
    LoseAll,
    /// Each change as this seed decides.
    Random(u64),
}

type Id = usize;

#[derive(Clone)]
enum Node {
    File { now: Vec<u8>, durable: Vec<u8>, pending: Vec<Write> },
    Dir { now: BTreeMap<String, Id>, durable: BTreeMap<String, Id>, pending: Vec<Vec<(String, Option<Id>)>> },
}

#[derive(Clone)]
enum Write {
    At(usize, Vec<u8>),
    Truncate(usize),
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::At(offset, bytes) => {
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::Truncate(len) => content.resize(*len, 0),
        }
    }
}

struct State {
    nodes: Vec<Node>,
    locks: BTreeSet<Id>,
    /// Operations so far.
    done: u64,
    /// Dies at this operation, which happens in part; later ones fail.
    die_at: Option<u64>,
    /// These operations fail with this error; with `bool`, after having had their effect.
    fail: BTreeMap<u64, (ErrorKind, bool)>,
    /// The names of the operations, for finding one to fail.
    trace: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct SimFs {
    state: Arc<Mutex<State>>,
}

fn dir() -> Node {
    Node::Dir { now: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
}

pub(crate) fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SimFs {
    pub(crate) fn new() -> Self {
        Self::with(vec![dir()])
    }

    fn with(nodes: Vec<Node>) -> Self {
        let state =
            State { nodes, locks: BTreeSet::new(), done: 0, die_at: None, fail: BTreeMap::new(), trace: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Dies at the `n`-th operation from now; the first is 0.
    pub(crate) fn die_in(&self, n: u64) {
        let mut state = lock(&self.state);
        state.die_at = Some(state.done + n);
    }

    /// The `n`-th operation from now fails; `after` having had its effect or not.
    pub(crate) fn fail_in(&self, n: u64, kind: ErrorKind, after: bool) {
        let mut state = lock(&self.state);
        let n = state.done + n;
        state.fail.insert(n, (kind, after));
    }

    pub(crate) fn heal(&self) {
        lock(&self.state).fail.clear();
    }

    pub(crate) fn done(&self) -> u64 {
        lock(&self.state).done
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        lock(&self.state).trace.clone()
    }

    /// What another process finds when only this one died: what was not synced still is not.
    pub(crate) fn survivor(&self) -> Self {
        Self::with(lock(&self.state).nodes.clone())
    }

    /// What another process would find after the crash. This one stays as it is.
    pub(crate) fn after(&self, crash: Crash) -> Self {
        let mut nodes = lock(&self.state).nodes.clone();
        let mut seed = match crash {
            Crash::Random(seed) => seed,
            _ => 0,
        };
        let mut fate = |parts: u64| match crash {
            Crash::KeepAll => parts - 1,
            Crash::LoseAll => 0,
            Crash::Random(_) => next_random(&mut seed) % parts,
        };
        for node in &mut nodes {
            match node {
                Node::File { now, durable, pending } => {
                    for write in pending.drain(..) {
                        match (fate(3), &write) {
                            (0, _) => {}
                            (1, Write::At(offset, bytes)) => {
                                let from = usize::try_from(fate(bytes.len() as u64 + 1)).unwrap();
                                let to = from + usize::try_from(fate((bytes.len() - from) as u64 + 1)).unwrap();
                                Write::At(offset + from, bytes[from..to].to_vec()).apply(durable);
                            }
                            _ => write.apply(durable),
                        }
                    }
                    *now = durable.clone();
                }
                Node::Dir { now, durable, pending } => {
                    for changes in pending.drain(..) {
                        if fate(2) == 1 {
                            apply(durable, &changes);
                        }
                    }
                    *now = durable.clone();
                }
            }
        }
        Self::with(nodes)
    }
}

fn apply(names: &mut BTreeMap<String, Id>, changes: &[(String, Option<Id>)]) {
    for (name, id) in changes {
        match id {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

impl State {
    /// Counts an operation that changes something. `Ok(true)`: it has its effect and then dies or fails with the error
    /// that [`Self::end`] gives.
    fn begin(&mut self, name: &str, path: &str) -> io::Result<Effect> {
        self.alive()?;
        let n = self.done;
        self.done += 1;
        self.trace.push(format!("{name} {path}"));
        if self.die_at == Some(n) {
            return Ok(Effect::ThenFail(ErrorKind::Other));
        }
        match self.fail.get(&n) {
            Some((kind, false)) => Err((*kind).into()),
            Some((kind, true)) => Ok(Effect::ThenFail(*kind)),
            None => Ok(Effect::Good),
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.die_at {
            Some(at) if self.done > at => Err(io::Error::other("dead")),
            _ => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<Id> {
        let mut id = 0;
        for part in path.components() {
            let Component::Normal(part) = part else { continue };
            let Node::Dir { now, .. } = &self.nodes[id] else { return Err(ErrorKind::NotADirectory.into()) };
            id = *now.get(part.to_str().unwrap()).ok_or_else(not_found)?;
        }
        Ok(id)
    }

    fn change(&mut self, parent: &Path, changes: Vec<(String, Option<Id>)>) -> io::Result<()> {
        let id = self.find(parent)?;
        let Node::Dir { now, pending, .. } = &mut self.nodes[id] else { return Err(ErrorKind::NotADirectory.into()) };
        apply(now, &changes);
        pending.push(changes);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<Id> {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.change(path.parent().unwrap(), vec![(name(path), Some(id))])?;
        Ok(id)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[derive(Clone, Copy)]
enum Effect {
    Good,
    ThenFail(ErrorKind),
}

impl Effect {
    fn end<T>(self, value: T) -> io::Result<T> {
        match self {
            Self::Good => Ok(value),
            Self::ThenFail(kind) => Err(kind.into()),
        }
    }
}

impl Fs for SimFs {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut state = lock(&self.state);
        state.alive()?;
        if state.find(path).is_ok() {
            return Ok(false);
        }
        let effect = state.begin("create_dir", &path.to_string_lossy())?;
        state.add(path, dir())?;
        effect.end(true)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = lock(&self.state);
        state.alive()?;
        let Node::Dir { now, .. } = &state.nodes[state.find(path)?] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        let is_dir = |id: Id| matches!(state.nodes[id], Node::Dir { .. });
        Ok(now.iter().map(|(name, id)| Entry { name: name.clone(), is_dir: is_dir(*id) }).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = lock(&self.state);
        state.alive()?;
        match &state.nodes[state.find(path)?] {
            Node::File { now, .. } => Ok(now.clone()),
            Node::Dir { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut state = lock(&self.state);
        let effect = state.begin("create", &path.to_string_lossy())?;
        let id = match state.find(path) {
            Ok(id) => {
                if let Node::File { now, pending, .. } = &mut state.nodes[id] {
                    now.clear();
                    pending.push(Write::Truncate(0));
                }
                id
            }
            Err(_) => state.add(path, Node::File { now: Vec::new(), durable: Vec::new(), pending: Vec::new() })?,
        };
        effect.end(Box::new(SimFile { fs: self.clone(), id, name: name(path) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let state = lock(&self.state);
        state.alive()?;
        Ok(Box::new(SimFile { fs: self.clone(), id: state.find(path)?, name: name(path) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent());
        let mut state = lock(&self.state);
        let id = state.find(from)?;
        let effect = state.begin("rename", &format!("{} {}", from.display(), to.display()))?;
        state.change(from.parent().unwrap(), vec![(name(from), None), (name(to), Some(id))])?;
        effect.end(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.alive()?;
        state.find(path)?;
        let effect = state.begin("remove_file", &path.to_string_lossy())?;
        state.change(path.parent().unwrap(), vec![(name(path), None)])?;
        effect.end(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.alive()?;
        state.find(path)?;
        let effect = state.begin("remove_dir_all", &path.to_string_lossy())?;
        state.change(path.parent().unwrap(), vec![(name(path), None)])?;
        effect.end(())
    }

    fn sync_files(&self, files: &mut [Box<dyn FsFile>]) -> io::Result<()> {
        files.iter_mut().try_for_each(|file| file.sync_data())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        let effect = state.begin("sync_dir", &path.to_string_lossy())?;
        let id = state.find(path)?;
        // A sync that does not return has done nothing that can be relied upon.
        if let (Effect::Good, Node::Dir { now, durable, pending }) = (effect, &mut state.nodes[id]) {
            *durable = now.clone();
            pending.clear();
        }
        effect.end(())
    }

    fn lock(&self, path: &Path, _owner: &str) -> io::Result<Locked> {
        let mut state = lock(&self.state);
        state.alive()?;
        let id = match state.find(path) {
            Ok(id) => id,
            Err(_) => state.add(path, Node::File { now: Vec::new(), durable: Vec::new(), pending: Vec::new() })?,
        };
        if !state.locks.insert(id) {
            return Ok(Locked::Theirs(std::process::id().to_string()));
        }
        struct Guard(SimFs, Id);
        impl Drop for Guard {
            fn drop(&mut self) {
                lock(&self.0.state).locks.remove(&self.1);
            }
        }
        let guard: Box<dyn Any + Send + Sync> = Box::new(Guard(self.clone(), id));
        Ok(Locked::Ours(guard))
    }
}

struct SimFile {
    fs: SimFs,
    id: Id,
    name: String,
}

impl SimFile {
    fn write(&self, operation: &str, write: Write) -> io::Result<()> {
        let mut state = lock(&self.fs.state);
        let effect = state.begin(operation, &self.name)?;
        if let Node::File { now, pending, .. } = &mut state.nodes[self.id] {
            write.apply(now);
            pending.push(write);
        }
        effect.end(())
    }

    fn sync(&self, operation: &str) -> io::Result<()> {
        let mut state = lock(&self.fs.state);
        let effect = state.begin(operation, &self.name)?;
        if let (Effect::Good, Node::File { now, durable, pending }) = (effect, &mut state.nodes[self.id]) {
            *durable = now.clone();
            pending.clear();
        }
        effect.end(())
    }
}

impl FsFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write("write", Write::At(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync("sync_data")
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.write("truncate", Write::Truncate(usize::try_from(len).unwrap()))?;
        self.sync("sync_truncate")
    }
}
