//! A connection and its thread.
//!
//! The thread is there so that a store can be used and dropped anywhere: the client drives its socket by itself, which
//! it must not do inside an async runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use amarula_core::engine::StorageError;
use postgres::{Client, Error};

use super::link::{Link, gone, is_lost};

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// The way to a connection.
pub(super) struct Seat {
    jobs: Sender<Job>,
}

/// The thread's side: the connection, if there is one.
pub(super) struct Session {
    link: Link,
    client: Option<Client>,
}

impl Seat {
    /// Starts the thread; it ends with this.
    pub(super) fn new(link: Link) -> Result<Self, StorageError> {
        let (jobs, queue) = channel::<Job>();
        let work = move || {
            let mut session = Session { link, client: None };
            while let Ok(job) = queue.recv() {
                // What a panic left half-way on the connection is of no use.
                if catch_unwind(AssertUnwindSafe(|| job(&mut session))).is_err() {
                    session.client = None;
                }
            }
        };
        let thread = std::thread::Builder::new().name("amarula-postgres".to_owned()).spawn(work);
        match thread {
            Ok(_) => Ok(Self { jobs }),
            Err(error) => {
                Err(StorageError { message: format!("cannot start a thread: {error}").into(), retryable: true })
            }
        }
    }

    /// Does this there.
    pub(super) fn once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> Result<T, StorageError> {
        let (answer, answered) = channel();
        self.jobs.send(Box::new(move |session| _ = answer.send(work(session)))).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }

    /// Does this there, again on another connection if one is lost: it must be harmless to do it twice.
    pub(super) fn repeat<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Client) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.once(move |session| session.repeat(work))?
    }
}

/// How long trying again has gone on.
pub(super) struct Tries {
    until: Instant,
    pause: Duration,
}

impl Tries {
    /// Waits a little before another try; `false` if it was long enough.
    pub(super) fn again(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(Duration::from_secs(1));
        true
    }
}

impl Session {
    pub(super) fn tries(&self) -> Tries {
        Tries { until: Instant::now() + self.link.options.patience, pause: Duration::from_millis(20) }
    }

    /// The connection, made if there is none.
    pub(super) fn client(&mut self) -> Result<&mut Client, StorageError> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = None;
            self.client = Some(self.link.connect()?);
        }
        self.client.as_mut().ok_or_else(gone)
    }

    /// Whatever is under way on the connection is given up.
    pub(super) fn hang_up(&mut self) {
        self.client = None;
    }

    /// Does this once, on a connection that is made if there is none.
    pub(super) fn once<T>(&mut self, work: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Broken> {
        let result = work(self.client().map_err(Broken::lost)?);
        result.map_err(|error| {
            let lost = is_lost(&error);
            if lost || self.client.as_ref().is_none_or(Client::is_closed) {
                self.client = None;
            }
            let said = error.as_db_error().is_some();
            Broken { retry: lost, said: said && !lost, error: self.link.failed("use", &error) }
        })
    }

    pub(super) fn repeat<T>(
        &mut self,
        mut work: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, StorageError> {
        let mut tries = self.tries();
        loop {
            match self.once(&mut work) {
                Ok(value) => return Ok(value),
                Err(broken) if broken.retry && tries.again() => {}
                Err(broken) => return Err(broken.error),
            }
        }
    }
}

/// Why something did not succeed on a connection.
pub(super) struct Broken {
    /// The connection was lost: another one may do better.
    pub(super) retry: bool,
    /// The server said so: what was asked is undone.
    pub(super) said: bool,
    pub(super) error: StorageError,
}

impl Broken {
    /// No connection could be made.
    fn lost(error: StorageError) -> Self {
        Self { retry: error.retryable, said: false, error }
    }
}
