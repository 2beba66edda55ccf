//! Commits of many callers in one transaction: whoever comes first carries out what all of them queued meanwhile.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Mutex;

use amarula_core::engine::StorageError;
use amarula_core::store::Batch;

use super::refused;
use crate::Profile;
use crate::store::check_keys;
use crate::sync::lock;

/// Commits that wait go together up to about this many bytes of values.
const TOGETHER: usize = 16 * 1024 * 1024;

/// One batch of one call. After one of a call and a profile failed, the later ones of the two are not applied.
pub(crate) struct Entry {
    pub(crate) call: u64,
    pub(crate) profile: Profile,
    pub(crate) batch: Batch,
    invalid: Option<StorageError>,
}

impl Entry {
    #[cfg(all(test, feature = "postgres"))]
    pub(crate) fn new(call: u64, profile: Profile, batch: Batch) -> Self {
        Self { call, profile, batch, invalid: None }
    }
}

/// Applies batches in order, each atomically, and makes them durable together.
pub(crate) trait Writer {
    /// The answers, in order.
    fn write(&mut self, entries: &[Entry]) -> Vec<Result<(), StorageError>>;
}

/// The queue before a writer.
pub(crate) struct Combiner<W> {
    queue: Mutex<Queue>,
    writer: Mutex<Working<W>>,
}

#[derive(Default)]
struct Queue {
    next_call: u64,
    next_ticket: u64,
    waiting: Vec<(u64, Entry)>,
}

struct Working<W> {
    writer: W,
    answers: BTreeMap<u64, Result<(), StorageError>>,
}

impl<W: Writer> Combiner<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { queue: Mutex::default(), writer: Mutex::new(Working { writer, answers: BTreeMap::new() }) }
    }

    /// The writer, when no commit is under way.
    #[cfg(test)]
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut W) -> T) -> T {
        work(&mut lock(&self.writer).writer)
    }

    pub(crate) fn commit(&self, commits: &[(&Profile, &Batch)]) -> Vec<Result<(), StorageError>> {
        if commits.is_empty() {
            return Vec::new();
        }
        let entries: Vec<_> = commits.iter().map(|(_, batch)| check_keys(batch).err()).collect();
        let tickets = {
            let queue = &mut *lock(&self.queue);
            let (call, first) = (queue.next_call, queue.next_ticket);
            queue.next_call += 1;
            for ((profile, batch), invalid) in commits.iter().zip(entries) {
                let entry = Entry { call, profile: (*profile).clone(), batch: (*batch).clone(), invalid };
                queue.waiting.push((queue.next_ticket, entry));
                queue.next_ticket += 1;
            }
            first..queue.next_ticket
        };
        let mut working = lock(&self.writer);
        if tickets.clone().any(|ticket| !working.answers.contains_key(&ticket)) {
            self.work(&mut working);
        }
        let unanswered = || Err(refused("the commit was given up half-way: a bug"));
        tickets.map(|ticket| working.answers.remove(&ticket).unwrap_or_else(unanswered)).collect()
    }

    fn work(&self, working: &mut Working<W>) {
        let waiting = take(&mut lock(&self.queue).waiting);
        let (mut tickets, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        // Lasts across the writes: a call may be cut in two.
        let mut failed: BTreeMap<(u64, Profile), StorageError> = BTreeMap::new();
        for (ticket, entry) in waiting {
            bytes += entry.batch.bytes();
            tickets.push(ticket);
            entries.push(entry);
            if bytes > TOGETHER {
                write(working, &mut failed, take(&mut tickets), take(&mut entries));
                bytes = 0;
            }
        }
        write(working, &mut failed, tickets, entries);
    }
}

/// Writes what can be written, and keeps the answers.
fn write<W: Writer>(
    working: &mut Working<W>,
    failed: &mut BTreeMap<(u64, Profile), StorageError>,
    tickets: Vec<u64>,
    entries: Vec<Entry>,
) {
    let (mut kept_tickets, mut kept) = (Vec::new(), Vec::new());
    for (ticket, entry) in tickets.into_iter().zip(entries) {
        let place = (entry.call, entry.profile.clone());
        if let Some(error) = failed.get(&place).or(entry.invalid.as_ref()).cloned() {
            working.answers.insert(ticket, Err(error.clone()));
            failed.insert(place, error);
        } else {
            kept_tickets.push(ticket);
            kept.push(entry);
        }
    }
    if kept.is_empty() {
        return;
    }
    let answers = working.writer.write(&kept);
    for ((ticket, entry), answer) in kept_tickets.into_iter().zip(kept).zip(answers) {
        if let Err(error) = &answer {
            failed.insert((entry.call, entry.profile), error.clone());
        }
        working.answers.insert(ticket, answer);
    }
}
