//! Something in the engine's place that does what a test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use amarula_core::Config;
use amarula_core::content::Outgoing;
use amarula_core::engine::command::Sent;
use amarula_core::engine::{
    Appetite, Completion, ConnId, Endpoint, Input, Mono, Now, Output, Reply, Request, TicketId,
};
use amarula_core::error::{Misuse, RejectReason};
use amarula_core::event::{Delivery, Event, Warning};
use amarula_io::machine::{Machine, MachineFactory};
use bytes::Bytes;

use crate::PATIENCE;

/// Something that the machine is told.
#[derive(Debug)]
pub enum Told<'a> {
    /// An input.
    Input(&'a Input),
    /// A command.
    Command(TicketId, &'a Request),
}

/// What a test makes of it: outputs, or `None` for what the script does by itself.
pub type React = dyn FnMut(Now, Told<'_>) -> Option<Vec<Output>> + Send;

/// The test's side of the machine.
///
/// By itself it opens a WebSocket on `Connect`, sends the raw content of `SendMessage` as one frame, shows each
/// received message as a warning event (see [`shown`]), closes on `Disconnect`, and closes and finishes on `Shutdown`.
#[derive(Clone)]
pub struct Script {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    inputs: Vec<(Now, Input)>,
    react: Option<Box<React>>,
    full: bool,
    until: Option<Mono>,
    reject: Option<RejectReason>,
}

impl Default for Script {
    fn default() -> Self {
        let state = State { inputs: Vec::new(), react: None, full: false, until: None, reject: None };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }
}

impl Script {
    /// A script with this reaction.
    #[must_use]
    pub fn reacting(react: impl FnMut(Now, Told<'_>) -> Option<Vec<Output>> + Send + 'static) -> Self {
        let script = Self::default();
        script.lock().react = Some(Box::new(react));
        script
    }

    /// For a builder.
    #[must_use]
    pub fn factory(&self) -> Arc<MachineFactory> {
        let script = self.clone();
        Arc::new(move |config: Config, _seed, _now| {
            Box::new(Actor {
                script: script.clone(),
                url: config.url.to_string(),
                outputs: VecDeque::new(),
                conns: 0,
                tickets: 0,
                finished: false,
            })
        })
    }

    /// What it was told so far.
    #[must_use]
    pub fn inputs(&self) -> Vec<Input> {
        self.lock().inputs.iter().map(|(_, input)| input.clone()).collect()
    }

    /// How many messages it was given.
    #[must_use]
    pub fn received(&self) -> usize {
        self.lock().inputs.iter().filter(|(_, input)| matches!(input, Input::Received { .. })).count()
    }

    /// Waits for an input that `wanted` makes something of.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait<T>(&self, what: &str, mut wanted: impl FnMut(Now, &Input) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(found) = state.inputs.iter().find_map(|(now, input)| wanted(*now, input)) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} came; what came: {:?}", state.inputs);
            state = self.shared.changed.wait_timeout(state, left).expect("not poisoned").0;
        }
    }

    /// Waits for the connection to stand.
    pub fn wait_opened(&self) -> ConnId {
        self.wait("Opened", |_, input| match input {
            Input::Opened { conn } => Some(*conn),
            _ => None,
        })
    }

    /// What `appetite` says. The driver looks when something happens.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// When to wake up.
    pub fn set_until(&self, until: Option<Mono>) {
        self.lock().until = until;
    }

    /// Reject every command from now on.
    pub fn set_reject(&self, reason: Option<RejectReason>) {
        self.lock().reject = reason;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no test thread panicked in here")
    }
}

/// Done, with nothing to say.
pub fn done(ticket: TicketId) -> Output {
    Output::Done(Completion { ticket, result: Ok(Reply::Unit) })
}

/// An event that shows these bytes.
pub fn show(bytes: &[u8]) -> Output {
    let what = String::from_utf8_lossy(bytes).into_owned().into();
    Output::Event(Delivery { id: None, event: Event::Warning(Warning::BadStanza { what }) })
}

/// What an event of [`show`] shows.
#[must_use]
pub fn shown(delivery: &Delivery) -> Option<&str> {
    match &delivery.event {
        Event::Warning(Warning::BadStanza { what }) => Some(what),
        _ => None,
    }
}

struct Actor {
    script: Script,
    url: String,
    outputs: VecDeque<Output>,
    conns: u64,
    tickets: u64,
    finished: bool,
}

impl Actor {
    fn react(&self, now: Now, told: Told<'_>) -> Option<Vec<Output>> {
        // Not under the lock: a reaction may use the script.
        let mut react = self.script.lock().react.take()?;
        let outputs = react(now, told);
        self.script.lock().react = Some(react);
        outputs
    }

    fn conn(&self) -> ConnId {
        ConnId(self.conns)
    }

    fn command(&mut self, ticket: TicketId, request: &Request) {
        match request {
            Request::Connect(_) => {
                self.conns += 1;
                let endpoint = Endpoint { url: self.url.as_str().into(), origin: "https://example.org".into() };
                self.outputs.extend([Output::Open(self.conn(), endpoint), done(ticket)]);
            }
            Request::Disconnect(_) => self.outputs.extend([Output::Close(self.conn()), done(ticket)]),
            Request::Shutdown(_) => {
                self.outputs.extend([Output::Close(self.conn()), done(ticket)]);
                self.finished = true;
            }
            Request::SendMessage(send) => {
                let frame = match &send.content {
                    Outgoing::Raw(bytes) => bytes.clone(),
                    _ => Bytes::new(),
                };
                let sent = Sent { id: "x".into(), to: send.to.clone(), timestamp: 0, devices: 1 };
                self.outputs.extend([
                    Output::Send(self.conn(), frame),
                    Output::Done(Completion { ticket, result: Ok(Reply::Sent(sent)) }),
                ]);
            }
            _ => self.outputs.push_back(done(ticket)),
        }
    }
}

impl Machine for Actor {
    fn handle(&mut self, now: Now, input: Input) -> Result<(), Misuse> {
        let outputs = self.react(now, Told::Input(&input));
        match (outputs, &input) {
            (Some(outputs), _) => self.outputs.extend(outputs),
            (None, Input::Received { bytes, .. }) => self.outputs.push_back(show(bytes)),
            _ => {}
        }
        let mut state = self.script.lock();
        if input == Input::Tick {
            state.until = None;
        }
        state.inputs.push((now, input));
        drop(state);
        self.script.shared.changed.notify_all();
        Ok(())
    }

    fn submit(&mut self, now: Now, request: Request) -> Result<TicketId, RejectReason> {
        if let Some(reason) = self.script.lock().reject.clone() {
            return Err(reason);
        }
        self.tickets += 1;
        let ticket = TicketId(self.tickets);
        match self.react(now, Told::Command(ticket, &request)) {
            Some(outputs) => self.outputs.extend(outputs),
            None => self.command(ticket, &request),
        }
        Ok(ticket)
    }

    fn poll_output(&mut self) -> Output {
        let until = self.script.lock().until;
        self.outputs.pop_front().unwrap_or(Output::Idle { until, reason: "script" })
    }

    fn appetite(&self) -> Appetite {
        if self.script.lock().full { Appetite::Full } else { Appetite::Hungry }
    }

    fn is_finished(&self) -> bool {
        self.finished && self.outputs.is_empty()
    }
}
