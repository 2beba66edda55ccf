//! The leases of one store: taken, renewed together, given back, lost together.
//!
//! In the database a lease is `(profile, epoch, holder)`, and a holder is this store for as long as it renews one row:
//! a heartbeat costs the same for one profile and for ten thousand. A holder that ran out stays so; what it held is
//! lost, and the store becomes another holder with the next lease it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, current};
use std::time::{Duration, Instant};

use amarula_core::engine::StorageError;

use super::refused;
use crate::sync::lock;
use crate::term::Moment;
use crate::{AcquireError, Holder, Lease, LeaseTerm, Profile, ProfileRegistry, Registration};

/// The longest sleep while leases are held: the wall clock is looked at after each.
const LOOK: Duration = Duration::from_secs(1);

/// The database's side.
pub(crate) trait Registrar: Send + Sync + 'static {
    /// Becomes a holder, which lasts for `lease` from now by the database's clock. Its number is above zero.
    fn enroll(&self, lease: Duration) -> Result<i64, StorageError>;
    /// Takes a profile for this holder, unless another one that still lasts has it.
    fn take(&self, holder: i64, profile: &Profile) -> Result<Taken, StorageError>;
    /// Makes the holder last for `lease` from now, unless it ran out; then `false`.
    fn renew(&self, holder: i64, lease: Duration) -> Result<bool, StorageError>;
    /// Gives a profile back, if it is still held so.
    fn release(&self, holder: i64, profile: &Profile, epoch: i64) -> Result<(), StorageError>;
    /// Ends the holder.
    fn resign(&self, holder: i64) -> Result<(), StorageError>;
}

/// What became of taking a profile.
pub(crate) enum Taken {
    /// It is ours; the lease's epoch is higher than any before.
    Epoch(i64),
    /// Another holder has it.
    By(Holder),
    /// We are no holder any more.
    RanOut,
}

/// What a commit must be conditional on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// The profile is still held like this.
    Held { holder: i64, epoch: i64 },
    /// Nobody holds it.
    Free,
}

struct Held {
    holder: i64,
    epoch: i64,
    term: LeaseTerm,
}

#[derive(Default)]
struct State {
    /// The current holder, and until when it may believe to be one.
    holder: Option<(i64, Moment)>,
    /// Also what is lost and not yet dropped.
    held: BTreeMap<Profile, Held>,
    /// What could not be given back yet.
    unreleased: Vec<(i64, Profile, i64)>,
    ended: bool,
}

struct Shared<R> {
    registrar: R,
    lease: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct Keeper<R: Registrar> {
    shared: Arc<Shared<R>>,
    registry: ProfileRegistry,
    /// Locked while a lease is taken. The threads start with the first.
    taking: Mutex<Vec<JoinHandle<()>>>,
}

impl<R: Registrar> Keeper<R> {
    pub(crate) fn new(registrar: R, lease: Duration) -> Self {
        let shared = Shared { registrar, lease, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), registry: ProfileRegistry::new(), taking: Mutex::default() }
    }

    /// Takes a lease; `store` is kept alive by it.
    pub(crate) fn acquire(&self, profile: &Profile, store: impl Send + Sync + 'static) -> Result<Lease, AcquireError> {
        let Ok(registration) = self.registry.register(profile) else {
            return Err(AcquireError::InUse { profile: profile.clone(), holder: Holder::ThisProcess });
        };
        let shared = &self.shared;
        let mut threads = lock(&self.taking);
        if threads.is_empty() {
            *threads = shared.start()?;
        }
        let too_slow = || StorageError {
            message: "the database was too slow: the lease ran out while it was taken".into(),
            retryable: true,
        };
        let mut holder = shared.holder()?;
        let mut taken = shared.registrar.take(holder, profile)?;
        if let Taken::RanOut = taken {
            shared.lose_all(holder, "it ran out before it was renewed");
            holder = shared.holder()?;
            taken = shared.registrar.take(holder, profile)?;
        }
        let epoch = match taken {
            Taken::Epoch(epoch) => epoch,
            Taken::By(holder) => return Err(AcquireError::InUse { profile: profile.clone(), holder }),
            Taken::RanOut => return Err(too_slow().into()),
        };
        let mut state = lock(&shared.state);
        let Some((_, until)) = state.holder.filter(|(id, until)| *id == holder && !until.left().is_zero()) else {
            state.unreleased.push((holder, profile.clone(), epoch));
            return Err(too_slow().into());
        };
        let term = LeaseTerm::until_moment(until);
        state.unreleased.retain(|(_, name, _)| name != profile);
        state.held.insert(profile.clone(), Held { holder, epoch, term: term.clone() });
        drop(state);
        shared.changed.notify_all();
        let guard = Guard { shared: Arc::clone(shared), holder, epoch, registration, _store: Box::new(store) };
        Ok(Lease::expiring(profile.clone(), term, guard))
    }

    /// What a commit must be conditional on.
    pub(crate) fn fence(&self, profile: &Profile) -> Result<Fence, StorageError> {
        match lock(&self.shared.state).held.get(profile) {
            None => Ok(Fence::Free),
            Some(held) if held.term.is_lost() => Err(refused(format!(
                "the lease of profile {profile} was lost; close its connection, drop the lease, and acquire it again"
            ))),
            Some(held) => Ok(Fence::Held { holder: held.holder, epoch: held.epoch }),
        }
    }

    /// The database says that this lease does not stand any more.
    pub(crate) fn lose(&self, profile: &Profile, fence: Fence, reason: &str) {
        let state = lock(&self.shared.state);
        let term = state.held.get(profile).and_then(|held| {
            (fence == Fence::Held { holder: held.holder, epoch: held.epoch }).then(|| held.term.clone())
        });
        drop(state);
        if let Some(term) = term {
            term.lose(reason);
        }
    }
}

impl<R: Registrar> Drop for Keeper<R> {
    fn drop(&mut self) {
        let holder = {
            let mut state = lock(&self.shared.state);
            state.ended = true;
            state.holder.take()
        };
        self.shared.changed.notify_all();
        for thread in std::mem::take(&mut *lock(&self.taking)) {
            // A callback of theirs may be what drops the store.
            if thread.thread().id() != current().id() {
                let _ = thread.join();
            }
        }
        if let Some((holder, _)) = holder {
            // If it fails, it runs out.
            let _ = self.shared.registrar.resign(holder);
        }
    }
}

impl<R: Registrar> Shared<R> {
    /// How long a holder believes in itself after a renewal: the rest is for closing connections.
    fn belief(&self) -> Duration {
        self.lease * 3 / 4
    }

    fn start(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, StorageError> {
        let spawn = |name: &str, work: fn(&Self)| {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared));
            thread.map_err(|error| StorageError {
                message: format!("cannot start a thread: {error}").into(),
                retryable: true,
            })
        };
        let watch = spawn("amarula-lease-watch", Self::watch)?;
        match spawn("amarula-lease-renew", Self::renew) {
            Ok(renew) => Ok(vec![watch, renew]),
            Err(error) => {
                lock(&self.state).ended = true;
                Err(error)
            }
        }
    }

    /// The current holder; a new one if there is none that lasts long enough.
    fn holder(&self) -> Result<i64, StorageError> {
        let current = lock(&self.state).holder;
        if let Some((holder, until)) = current {
            if until.left() > self.lease / 4 {
                return Ok(holder);
            }
            let since = Moment::now();
            if self.registrar.renew(holder, self.lease)? && self.extend(holder, since) {
                return Ok(holder);
            }
            self.lose_all(holder, "it ran out before it was renewed");
        }
        let since = Moment::now();
        let holder = self.registrar.enroll(self.lease)?;
        lock(&self.state).holder = Some((holder, since.after(self.belief())));
        self.changed.notify_all();
        Ok(holder)
    }

    /// The holder was renewed by a request sent at `since`. Whether it still believed in itself.
    fn extend(&self, holder: i64, since: Moment) -> bool {
        let mut state = lock(&self.state);
        match &mut state.holder {
            Some((current, until)) if *current == holder && !until.left().is_zero() => {
                *until = since.after(self.belief());
                let until = *until;
                state.held.values().filter(|held| held.holder == holder).for_each(|held| held.term.renew_until(until));
                true
            }
            _ => false,
        }
    }

    /// All leases of this holder are lost.
    fn lose_all(&self, holder: i64, reason: &str) {
        let terms: Vec<_> = {
            let mut state = lock(&self.state);
            state.holder.take_if(|(current, _)| *current == holder);
            state.held.values().filter(|held| held.holder == holder).map(|held| held.term.clone()).collect()
        };
        terms.iter().for_each(|term| term.lose(reason));
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells in time. Never waits for the database.
    fn watch(&self) {
        let mut state = lock(&self.state);
        while !state.ended {
            let Some((holder, until)) = state.holder else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.left();
            if left.is_zero() {
                drop(state);
                self.lose_all(holder, "the database could not be reached in time to renew it");
                state = lock(&self.state);
            } else {
                state = self.sleep(state, left.min(LOOK));
            }
        }
    }

    /// Renews, and gives back what could not be given back at once.
    fn renew(&self) {
        let every = self.lease / 4;
        let mut next = Instant::now() + every;
        let mut state = lock(&self.state);
        while !state.ended {
            let holder = state.holder.map(|(holder, _)| holder);
            let wanted = holder.is_some() && !state.held.is_empty();
            if !wanted && state.unreleased.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let wait = next.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                state = self.sleep(state, wait);
                continue;
            }
            let unreleased = state.unreleased.clone();
            drop(state);
            let since = Moment::now();
            let renewed = holder.map_or(Ok(true), |holder| self.registrar.renew(holder, self.lease));
            match (holder, &renewed) {
                (Some(holder), Ok(true)) => _ = self.extend(holder, since),
                (Some(holder), Ok(false)) => self.lose_all(holder, "it ran out before it was renewed"),
                _ => {}
            }
            // After a failure there is still time for some more tries.
            next = Instant::now() + if renewed.is_ok() { every } else { every / 4 };
            for place in &unreleased {
                // A holder that is not renewed any more runs out by itself; one try makes it quicker.
                let released = self.registrar.release(place.0, &place.1, place.2).is_ok();
                let mut state = lock(&self.state);
                let current = state.holder.is_some_and(|(holder, _)| holder == place.0);
                state.unreleased.retain(|other| other != place || (!released && current));
            }
            state = lock(&self.state);
        }
    }
}

/// What a lease holds. The store goes last.
struct Guard<R: Registrar> {
    shared: Arc<Shared<R>>,
    holder: i64,
    epoch: i64,
    registration: Registration,
    _store: Box<dyn Send + Sync>,
}

impl<R: Registrar> Drop for Guard<R> {
    fn drop(&mut self) {
        let (holder, profile, epoch) = (self.holder, self.registration.profile(), self.epoch);
        let held = lock(&self.shared.state).held.remove(profile);
        // A lost one is probably lost because the database cannot be reached; nobody should wait for that here.
        let lost = held.is_none_or(|held| held.term.is_lost());
        if lost || self.shared.registrar.release(holder, profile, epoch).is_err() {
            // Else the holder, which other leases keep alive, would have it for ever.
            lock(&self.shared.state).unreleased.push((holder, profile.clone(), epoch));
            self.shared.changed.notify_all();
        }
    }
}
