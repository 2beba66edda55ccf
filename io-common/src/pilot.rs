//! The part of a driver's loop that needs no socket: feeding the engine, answering commands, storage, events.
//!
//! A driver owns one [`Pilot`], passes what happens to [`Pilot::input`] and [`Pilot::post`], and then carries out
//! [`Pilot::next_act`] until it says [`Act::Sleep`].

use std::collections::HashMap;
use std::sync::Arc;

use amarula_core::Config;
use amarula_core::engine::{Appetite, ConnId, Endpoint, HttpId, HttpRequest, Input, Output, Request, TicketId};

use crate::clock::Clock;
use crate::error::Error;
use crate::events::EventQueue;
use crate::machine::{Machine, MachineFactory};
use crate::port::{Answer, Post};
use crate::recorder::Recording;
use crate::storage::Session;
use crate::telemetry;

/// What a [`Pilot`] is made of.
pub struct Parts<'a> {
    /// For the engine.
    pub config: Config,
    /// Makes the engine; `None`: the real one.
    pub machine: Option<&'a MachineFactory>,
    /// Is told everything.
    pub recording: Option<Recording>,
    /// The profile's storage.
    pub storage: Session,
    /// Where events go.
    pub events: Arc<EventQueue>,
}

/// One engine with everything around it but sockets.
pub struct Pilot {
    machine: Box<dyn Machine>,
    clock: Clock,
    recording: Option<Recording>,
    answers: HashMap<TicketId, Open>,
    /// How many of them wait for the server.
    at_server: usize,
    storage: Option<Session>,
    events: Arc<EventQueue>,
    /// Frames were handed out after which nothing was shown yet.
    unflushed: bool,
    /// An output that waits until they have been written.
    held: Option<Output>,
    /// What the engine was last told of our reading.
    paused: bool,
}

/// A command without an answer yet.
struct Open {
    answer: Answer,
    at_server: bool,
}

/// What is left for the driver to do.
pub enum Act {
    /// Open a WebSocket.
    Open(ConnId, Endpoint),
    /// Send one binary message: now, or with the next [`Flush`](Self::Flush) or [`Sleep`](Self::Sleep).
    Send(ConnId, bytes::Bytes),
    /// Write what is to be sent, as far as it goes without waiting: what comes next is visible to the consumer, who
    /// must not see the effect of a frame that has not left.
    Flush,
    /// Send what is still to be sent, and close.
    Close(ConnId),
    /// Perform an HTTP request.
    Http(HttpId, HttpRequest),
    /// Nothing more: wait for something to happen, or until this instant, and then pass [`Input::Tick`].
    Sleep(Option<std::time::Instant>),
}

impl Pilot {
    /// Makes the engine, with a seed from the operating system.
    ///
    /// # Errors
    /// [`Error::System`] if there is no randomness.
    pub fn new(parts: Parts<'_>) -> Result<Self, Error> {
        let Parts { config, machine, mut recording, storage, events } = parts;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Error::system("randomness", std::io::Error::other(error.to_string())))?;
        let clock = Clock::start();
        let now = clock.now();
        if let Some(recording) = &mut recording {
            recording.start(&config, &seed, now);
        }
        let machine = match machine {
            Some(make) => make(config, seed, now),
            None => Box::new(amarula_core::Engine::new(config, seed, now)),
        };
        telemetry::client_started();
        Ok(Self {
            machine,
            clock,
            recording,
            answers: HashMap::new(),
            at_server: 0,
            storage: Some(storage),
            events,
            unflushed: false,
            held: None,
            paused: false,
        })
    }

    /// Tells the engine what happened.
    pub fn input(&mut self, input: Input) {
        let now = self.clock.now();
        if let Some(recording) = &mut self.recording {
            recording.input(now, &input);
        }
        let commit_failed = matches!(input, Input::CommitFailed { .. });
        if let Err(misuse) = self.machine.handle(now, input) {
            if let Some(recording) = &mut self.recording {
                recording.misuse(misuse);
            }
            tracing::error!(%misuse, "the driver misused the engine; please report this");
        }
        if commit_failed {
            // Everything that stood on the failed commit was handed to the worker before this.
            if let Some(storage) = &mut self.storage {
                storage.failure_was_told();
            }
        }
    }

    /// Gives the engine a command.
    pub fn command(&mut self, request: Request, answer: Answer) {
        let now = self.clock.now();
        telemetry::command();
        if let Some(recording) = &mut self.recording {
            recording.command(now, &request);
        }
        // A confirmation is between us and the store.
        let at_server = !matches!(request, Request::Confirm(_));
        let taken = self.machine.submit(now, request);
        if let Some(recording) = &mut self.recording {
            recording.answer(&taken);
        }
        match taken {
            Ok(ticket) => {
                self.at_server += usize::from(at_server);
                self.answers.insert(ticket, Open { answer, at_server });
            }
            Err(reason) => {
                telemetry::command_failed();
                answer(Err(Error::Rejected(reason)));
            }
        }
    }

    /// Takes a post. Returns whether the driver must [abort](Post::Abort).
    #[must_use]
    pub fn post(&mut self, post: Post) -> bool {
        match post {
            Post::Input(input) => self.input(input),
            Post::Command(request, answer) => self.command(request, answer),
            // The driver looks at `wants_bytes` after every post.
            Post::Resume => {}
            Post::Abort => return true,
        }
        false
    }

    /// The next thing for the driver to do. What needs no socket is done here.
    pub fn next_act(&mut self) -> Act {
        loop {
            let output = self.held.take().unwrap_or_else(|| self.poll());
            if self.unflushed && matches!(output, Output::Event(_) | Output::Done(_)) {
                self.unflushed = false;
                self.held = Some(output);
                return Act::Flush;
            }
            match output {
                Output::Open(conn, endpoint) => return Act::Open(conn, endpoint),
                Output::Send(conn, frame) => {
                    self.unflushed = true;
                    return Act::Send(conn, frame);
                }
                Output::Close(conn) => return Act::Close(conn),
                Output::Http(id, request) => return Act::Http(id, request),
                Output::Load(id, load) => {
                    if let Some(storage) = &self.storage {
                        storage.load(id, load);
                    }
                }
                Output::Commit(seq, batch) => {
                    if let Some(storage) = &self.storage {
                        storage.commit(seq, batch);
                    }
                }
                Output::Event(delivery) => {
                    telemetry::event();
                    self.events.push(delivery);
                }
                Output::Done(completion) => {
                    if completion.result.is_err() {
                        telemetry::command_failed();
                    }
                    if let Some(Open { answer, at_server }) = self.answers.remove(&completion.ticket) {
                        self.at_server -= usize::from(at_server);
                        answer(completion.result.map_err(Error::Failed));
                    }
                }
                // The engine must know why it hears nothing.
                Output::Idle { .. } if self.paused == self.consumer_keeps_up() => {
                    self.paused = !self.paused;
                    self.input(Input::Reading { paused: self.paused });
                }
                Output::Idle { until, reason } => {
                    self.unflushed = false;
                    tracing::trace!(?until, reason, "idle");
                    return Act::Sleep(until.and_then(|until| self.clock.instant(until)));
                }
                _ => tracing::error!("an output that this driver does not know; update it"),
            }
        }
    }

    fn poll(&mut self) -> Output {
        let output = self.machine.poll_output();
        if let Some(recording) = &mut self.recording {
            recording.output(&output);
        }
        output
    }

    /// Whether to read from the socket: the engine has room, and the consumer is not behind, or waits for what only the
    /// socket brings. See [`events`](crate::events).
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        self.consumer_keeps_up() && self.machine.appetite() == Appetite::Hungry
    }

    fn consumer_keeps_up(&self) -> bool {
        if self.at_server > 0 { !self.events.is_flooded() } else { !self.events.is_behind() }
    }

    /// Whether the engine was shut down and all is answered.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.machine.is_finished()
    }

    /// Ends as a drop does, and calls `done` in the storage thread when everything asked of the store is carried out
    /// and the profile is free.
    pub fn end(mut self, done: impl FnOnce() + Send + 'static) {
        if let Some(storage) = self.storage.take() {
            storage.end(done);
        }
    }
}

/// Open commands are answered with [`Error::Stopped`], consumers get the end of their events; the store still carries
/// out what it was asked, and then the profile is free. Also when a driver dies of a panic.
impl Drop for Pilot {
    fn drop(&mut self) {
        telemetry::client_ended();
        self.events.end();
        for (_, open) in self.answers.drain() {
            (open.answer)(Err(Error::Stopped));
        }
    }
}

#[cfg(test)]
mod tests;
