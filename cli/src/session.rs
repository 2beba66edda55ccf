//! A running client and everything that can happen to a command that uses it, in one queue: events, answers, Ctrl-C.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use amarula_core::event::{Connection, Delivery, Event};

use crate::client::{Client, Events};
use crate::interrupt;
use crate::problem::{Problem, Result};

enum Happening {
    Event(Delivery),
    End,
    Interrupt,
    Answered,
}

/// What [`Session::next`] waited for.
pub(crate) enum Next {
    Event(Delivery),
    /// A call that was [started](Session::start_call) has its answer.
    Answered,
    TimedOut,
}

/// A running client. Shut down in order when dropped, on whatever way out.
pub(crate) struct Session {
    client: Client,
    happenings: Receiver<Happening>,
    sender: Sender<Happening>,
    /// Asks the pump for one event. So events wait in the driver, which stops reading when there are too many.
    want: Sender<()>,
    wanted: bool,
}

impl Session {
    /// Starts a client for a profile that must be linked already.
    pub(crate) fn of_paired(client: Client) -> Result<Self> {
        if client.own_account_at_rest()?.is_none() {
            return Err(Problem::not_paired(client.profile()));
        }
        Self::start(client)
    }

    /// Starts a client.
    pub(crate) fn start(client: Client) -> Result<Self> {
        let (sender, happenings) = mpsc::channel();
        let (want, wanted) = mpsc::channel();
        let events = client.connect()?;
        let to_pump = sender.clone();
        let for_interrupt = sender.clone();
        let session = Self { client, happenings, sender, want, wanted: false };
        interrupt::watch(move || _ = for_interrupt.send(Happening::Interrupt));
        spawn("amarula-events", move || pump(events, &wanted, &to_pump))?;
        Ok(session)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What happens next.
    ///
    /// # Errors
    /// After an interrupt, and when the session or the client has ended.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<Next> {
        if !self.wanted {
            // If the pump is gone, it has sent the end.
            self.wanted = self.want.send(()).is_ok();
        }
        let happening = match deadline {
            None => self.happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => self.happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match happening {
            Ok(Happening::Event(delivery)) => {
                self.wanted = false;
                if let Event::Connection(Connection::Ended { reason, .. }) = &delivery.event {
                    return Err(reason.clone().into());
                }
                Ok(Next::Event(delivery))
            }
            Ok(Happening::Answered) => Ok(Next::Answered),
            Ok(Happening::Interrupt) => Err(Problem::interrupted()),
            Err(RecvTimeoutError::Timeout) => Ok(Next::TimedOut),
            Ok(Happening::End) | Err(RecvTimeoutError::Disconnected) => Err(amarula_io::Error::Stopped.into()),
        }
    }

    /// Starts a call that may take its time. When it is answered, [`next`](Self::next) says so.
    pub(crate) fn start_call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Client) -> T + Send + 'static,
    ) -> Result<Pending<T>> {
        let (sender, answer) = mpsc::channel();
        let (client, happened) = (self.client.clone(), self.sender.clone());
        spawn("amarula-call", move || {
            let _ = sender.send(call(&client));
            let _ = happened.send(Happening::Answered);
        })?;
        Ok(Pending { answer })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.client.shutdown() {
            tracing::warn!(%error, "not shut down in order");
        }
    }
}

/// The answer of a call under way.
pub(crate) struct Pending<T> {
    answer: Receiver<T>,
}

impl<T> Pending<T> {
    /// The answer, if it is there. Once.
    pub(crate) fn take(&self) -> Option<T> {
        self.answer.try_recv().ok()
    }

    /// Waits for it. `None` if it was taken.
    pub(crate) fn wait(self) -> Option<T> {
        self.answer.recv().ok()
    }
}

/// A thread.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| amarula_io::Error::system("a thread", error).into())
}

fn pump(mut events: Events, wanted: &Receiver<()>, sender: &Sender<Happening>) {
    while wanted.recv().is_ok() {
        let happening = events.next().map_or(Happening::End, Happening::Event);
        let end = matches!(happening, Happening::End);
        if sender.send(happening).is_err() || end {
            return;
        }
    }
}
