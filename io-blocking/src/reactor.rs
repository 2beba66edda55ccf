//! Threads that serve all accounts of the process: an idle account costs memory, not a thread.
//!
//! Each reactor is one thread that waits for its sockets, its mailbox and its next deadline. There are a few of them,
//! made when first needed, so that one busy account does not hold up all others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use amarula_io::port::{Port, Post};
use amarula_io::sync::lock;
use mio::{Events, Poll, Token, Waker};

use crate::account::{Account, Turn, Wake};
use crate::workers::Workers;

/// Most reactors of a process.
const MOST: usize = 4;
/// The mailbox's token. Accounts count from 0 and never get there.
const MAILBOX: Token = Token(usize::MAX);

/// All reactors of the process, and their workers.
#[derive(Default)]
pub(crate) struct Reactors {
    reactors: Vec<Arc<Shared>>,
    workers: Workers,
}

static REACTORS: LazyLock<Mutex<Reactors>> = LazyLock::new(Mutex::default);

impl Reactors {
    /// A place on the least busy reactor.
    pub(crate) fn place() -> io::Result<(Place, Workers)> {
        let mut all = lock(&REACTORS);
        let most = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let least = all.reactors.iter().min_by_key(|shared| shared.accounts.load(Ordering::Relaxed)).cloned();
        let shared = match least {
            Some(shared) if all.reactors.len() >= most || shared.accounts.load(Ordering::Relaxed) == 0 => shared,
            _ => {
                let shared = spawn()?;
                all.reactors.push(Arc::clone(&shared));
                shared
            }
        };
        shared.accounts.fetch_add(1, Ordering::Relaxed);
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let address = Address { shared, account: NEXT.fetch_add(1, Ordering::Relaxed) };
        Ok((Place { address, taken: false }, all.workers.clone()))
    }
}

struct Shared {
    mailbox: Mutex<Vec<Mail>>,
    waker: Waker,
    accounts: AtomicUsize,
}

enum Mail {
    Join(usize, Box<Account>),
    Wake(usize, Wake),
}

impl Shared {
    fn send(&self, mail: Mail) {
        let first = {
            let mut mailbox = lock(&self.mailbox);
            mailbox.push(mail);
            mailbox.len() == 1
        };
        if first && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a reactor");
        }
    }
}

/// Where to reach an account.
#[derive(Clone)]
pub(crate) struct Address {
    shared: Arc<Shared>,
    account: usize,
}

impl Address {
    pub(crate) fn account(&self) -> usize {
        self.account
    }

    /// What is sent to an account that has ended is dropped.
    pub(crate) fn send(&self, wake: Wake) {
        self.shared.send(Mail::Wake(self.account, wake));
    }
}

impl Port for Address {
    fn post(&self, post: Post) {
        self.send(Wake::Post(post));
    }
}

/// A place that is kept for an account. Given back if it is not [taken](Self::take).
pub(crate) struct Place {
    address: Address,
    taken: bool,
}

impl Place {
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn take(mut self, account: Account) {
        self.taken = true;
        self.address.shared.send(Mail::Join(self.address.account, Box::new(account)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.address.shared.accounts.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn spawn() -> io::Result<Arc<Shared>> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), MAILBOX)?;
    let shared = Arc::new(Shared { mailbox: Mutex::default(), waker, accounts: AtomicUsize::new(0) });
    let mut reactor = Reactor {
        shared: Arc::clone(&shared),
        poll,
        accounts: BTreeMap::new(),
        deadlines: BTreeSet::new(),
        ready: BTreeSet::new(),
    };
    std::thread::Builder::new().name("amarula".into()).spawn(move || reactor.run())?;
    Ok(shared)
}

struct Reactor {
    shared: Arc<Shared>,
    poll: Poll,
    accounts: BTreeMap<usize, Seat>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Accounts with something to do.
    ready: BTreeSet<usize>,
}

struct Seat {
    account: Box<Account>,
    deadline: Option<Instant>,
}

impl Reactor {
    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = if self.ready.is_empty() {
                self.deadlines.first().map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "a reactor cannot wait for its sockets");
                    // Not a busy loop, should it come again.
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            for event in &events {
                let Token(id) = event.token();
                if let Some(seat) = self.accounts.get_mut(&id) {
                    seat.account.changed();
                    self.ready.insert(id);
                }
            }
            self.read_mail();
            let now = Instant::now();
            while let Some(&(deadline, id)) = self.deadlines.first()
                && deadline <= now
            {
                self.deadlines.pop_first();
                self.ready.insert(id);
            }
            for id in std::mem::take(&mut self.ready) {
                self.turn(id);
            }
        }
    }

    fn read_mail(&mut self) {
        let mail = std::mem::take(&mut *lock(&self.shared.mailbox));
        for mail in mail {
            match mail {
                Mail::Join(id, account) => {
                    self.accounts.insert(id, Seat { account, deadline: None });
                    self.ready.insert(id);
                }
                Mail::Wake(id, wake) => {
                    let registry = self.poll.registry();
                    if let Some(seat) = self.accounts.get_mut(&id) {
                        match catch_unwind(AssertUnwindSafe(|| seat.account.take(wake, registry))) {
                            Ok(()) => _ = self.ready.insert(id),
                            Err(_) => self.panicked(id),
                        }
                    }
                }
            }
        }
    }

    fn turn(&mut self, id: usize) {
        let Some(seat) = self.accounts.get_mut(&id) else { return };
        if let Some(deadline) = seat.deadline.take() {
            self.deadlines.remove(&(deadline, id));
        }
        let registry = self.poll.registry();
        match catch_unwind(AssertUnwindSafe(|| seat.account.turn(registry))) {
            Ok(Turn::More) => _ = self.ready.insert(id),
            Ok(Turn::Sleep(until)) => {
                seat.deadline = until;
                self.deadlines.extend(until.map(|until| (until, id)));
            }
            Ok(Turn::Finished) => {
                if let Some(seat) = self.remove(id) {
                    seat.account.end();
                }
            }
            Err(_) => self.panicked(id),
        }
    }

    /// The account ends, and whoever waits for it is told; the others go on.
    fn panicked(&mut self, id: usize) {
        tracing::error!("an account's driver panicked; please report this");
        let seat = self.remove(id);
        if catch_unwind(AssertUnwindSafe(|| drop(seat))).is_err() {
            tracing::error!("and again when it was dropped");
        }
    }

    fn remove(&mut self, id: usize) -> Option<Seat> {
        let seat = self.accounts.remove(&id)?;
        if let Some(deadline) = seat.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        self.shared.accounts.fetch_sub(1, Ordering::Relaxed);
        Some(seat)
    }
}
