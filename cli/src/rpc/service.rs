//! What stands behind the methods: the client, its events, and the answers to requests.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amarula_core::event::Event;
use serde_json::{Value, json};

use super::lanes::Lanes;
use super::methods::{self, Call};
use super::protocol::{self, Error, Incoming, Request};
use super::writer::Writer;
use super::{End, LINE_LIMIT};
use crate::client::{Client, Events};
use crate::events;
use crate::options::Common;
use crate::session::spawn;

pub(crate) struct Service {
    client: Client,
    common: Common,
    writer: Arc<Writer>,
    end: Mutex<Sender<End>>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The last event of the connection, without its name.
    connection: Value,
    /// Somebody writes events already; this ends when it does.
    pump: Option<Receiver<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No critical section leaves its value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    pub(crate) fn new(client: Client, common: &Common, writer: Arc<Writer>, end: Sender<End>) -> Self {
        let state = State { connection: json!({"state": "idle"}), pump: None };
        Self { client, common: common.clone(), writer, end: Mutex::new(end), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// What was last said of the connection.
    pub(crate) fn connection(&self) -> Value {
        lock(&self.state).connection.clone()
    }

    /// Starts the client if need be; its events are written from then on.
    pub(crate) fn connect(&self) -> Result<(), Error> {
        let stream = self.client.connect()?;
        let mut state = lock(&self.state);
        if state.pump.is_none() {
            let (writer, for_pump) = (Arc::clone(&self.writer), Arc::clone(&self.state));
            let (alive, ended) = mpsc::channel();
            spawn("amarula-events", move || {
                pump(stream, &writer, &for_pump);
                drop(alive);
            })?;
            state.pump = Some(ended);
        }
        Ok(())
    }

    /// After a shutdown: waits until the last event is written, or so long.
    pub(crate) fn wait_events(&self, most: Duration) {
        let pump = lock(&self.state).pump.take();
        if let Some(pump) = pump {
            // Nothing is ever sent: it ends with the thread.
            let _ = pump.recv_timeout(most);
        }
    }

    /// Takes one line. Returns when its requests are under way.
    pub(crate) fn line(self: &Arc<Self>, line: &[u8], lanes: &Arc<Lanes>) {
        match protocol::parse(line) {
            Incoming::Single(Err(answer)) => self.writer.write(&answer),
            Incoming::Single(Ok(request)) => {
                let service = Arc::clone(self);
                self.start(request, lanes, move |answer| {
                    if let Some(answer) = answer {
                        service.writer.write(&answer);
                    }
                });
            }
            Incoming::Batch(list) => {
                let batch = Arc::new(Batch::new(Arc::clone(&self.writer), list.len()));
                for request in list {
                    match request {
                        Err(answer) => batch.answer(Some(answer)),
                        Ok(request) => {
                            let batch = Arc::clone(&batch);
                            self.start(request, lanes, move |answer| batch.answer(answer));
                        }
                    }
                }
            }
        }
    }

    /// A line was too long to be read.
    pub(crate) fn too_long(&self) {
        let error = Error::new(protocol::INVALID_REQUEST, format!("Invalid Request: more than {LINE_LIMIT} bytes"));
        self.writer.write(&protocol::failure(&Value::Null, &error));
    }

    fn start(
        self: &Arc<Self>,
        request: Request,
        lanes: &Arc<Lanes>,
        answer: impl FnOnce(Option<Value>) + Send + 'static,
    ) {
        let Request { id, method, params } = request;
        let call = match methods::call(&method, params) {
            Ok(call) => call,
            Err(error) => return answer(id.map(|id| protocol::failure(&id, &error))),
        };
        let service = Arc::clone(self);
        let Some(lane) = call.lane() else {
            // What follows may rely on it, and it takes no time.
            let result = call.carry_out(self);
            return answer(id.map(|id| protocol::answer(&id, result)));
        };
        let job = move || {
            let last = matches!(call, Call::Shutdown);
            let result = call.carry_out(&service);
            answer(id.map(|id| protocol::answer(&id, result)));
            if last {
                let _ = lock(&service.end).send(End::Asked);
            }
        };
        if let Err(problem) = lanes.run(lane, job) {
            tracing::error!(problem.message, "a request was dropped");
        }
    }
}

/// The answers of one batch, written together.
struct Batch {
    writer: Arc<Writer>,
    inner: Mutex<(usize, Vec<Value>)>,
}

impl Batch {
    fn new(writer: Arc<Writer>, requests: usize) -> Self {
        Self { writer, inner: Mutex::new((requests, Vec::new())) }
    }

    /// `None`: it was a notification.
    fn answer(&self, answer: Option<Value>) {
        let mut inner = lock(&self.inner);
        inner.0 -= 1;
        inner.1.extend(answer);
        if inner.0 == 0 && !inner.1.is_empty() {
            let answers = std::mem::take(&mut inner.1);
            drop(inner);
            self.writer.write(&Value::Array(answers));
        }
    }
}

fn pump(mut stream: Events, writer: &Writer, state: &Mutex<State>) {
    while let Some(delivery) = stream.next() {
        let event = events::json(&delivery);
        if let Event::Connection(_) = delivery.event {
            let mut connection = event.clone();
            if let Some(object) = connection.as_object_mut() {
                object.remove("event");
            }
            lock(state).connection = connection;
        }
        writer.write(&protocol::notification("event", &event));
    }
}
