//! A whole world in one thread on virtual time: engines with their stores, a network with faults, and the server.
//!
//! The driver loop in here does what a real driver does and nothing more: it carries out outputs in order, and it sleeps
//! exactly until what [`Output::Idle`] says.

mod client;
mod net;
mod store;

use std::collections::BTreeMap;

use amarula_core::config::Config;
use amarula_core::engine::{Command, Engine, Input, Now, Output, Rejected, Ticket};

pub use client::{Client, ClientId};
pub use net::{Net, Split};
pub use store::{StoreFault, WorldStore};

use crate::server::{ConnId, Server, ServerConfig, ServerOutput};
use crate::time::SimTime;
use net::Event;

/// When a world begins: 2026-01-01.
const EPOCH: SimTime = SimTime(1_767_225_600_000);

/// Everything, cloneable: a test may fork it at any point.
#[derive(Clone, Debug)]
pub struct World {
    /// The chat server with its phones.
    pub server: Server,
    /// What the network does to bytes.
    pub net: Net,
    now: SimTime,
    clients: BTreeMap<ClientId, Client>,
    /// What will happen, by time, then in the order it was scheduled.
    agenda: BTreeMap<(SimTime, u64), Event>,
    scheduled: u64,
    last_conn: u64,
    steps: u64,
}

/// The world did not get where the test wanted it in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not reached within {waited_ms} ms of virtual time and {steps} steps")]
pub struct NotReached {
    /// Virtual time that passed.
    pub waited_ms: u64,
    /// Things that happened.
    pub steps: u64,
}

/// Things that may happen in one run before it counts as a runaway.
const STEP_LIMIT: u64 = 2_000_000;

impl World {
    /// A world with an empty server of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::with_server(ServerConfig { seed: bytes, ..ServerConfig::default() })
    }

    /// A world with a configured server.
    #[must_use]
    pub fn with_server(config: ServerConfig) -> Self {
        Self {
            server: Server::new(config),
            net: Net::default(),
            now: EPOCH,
            clients: BTreeMap::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            last_conn: 0,
            steps: 0,
        }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The present as engines see it. Their monotonic clock starts with the world.
    #[must_use]
    pub fn engine_now(&self) -> Now {
        Now::new(self.now.since(EPOCH), self.now.0)
    }

    /// A configuration for clients of this world's server.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.url = "ws://127.0.0.1/ws/chat".into();
        config.root_key = self.server.root_key();
        config.push_name = Some("Robot".into());
        config
    }

    /// A client with an empty store. It does nothing until it is told to connect.
    pub fn add_client(&mut self, config: Config) -> ClientId {
        let id = ClientId(self.clients.len());
        let engine = Engine::new(config.clone(), seed(id, 0), self.engine_now());
        self.clients.insert(id, Client::new(engine, config));
        id
    }

    /// A client.
    ///
    /// # Panics
    /// For an id of another world.
    #[must_use]
    pub fn client(&self, id: ClientId) -> &Client {
        &self.clients[&id]
    }

    /// A client.
    ///
    /// # Panics
    /// For an id of another world.
    pub fn client_mut(&mut self, id: ClientId) -> &mut Client {
        self.clients.get_mut(&id).expect("a client of this world")
    }

    /// Ids of all clients.
    pub fn client_ids(&self) -> impl Iterator<Item = ClientId> + use<> {
        (0..self.clients.len()).map(ClientId)
    }

    /// Gives a client a command and carries out what comes of it.
    ///
    /// # Errors
    /// The engine's rejection.
    pub fn submit<C: Command>(&mut self, id: ClientId, command: C) -> Result<Ticket<C::Reply>, Rejected<C>> {
        let now = self.engine_now();
        let result = self.client_mut(id).engine.submit(now, command);
        self.drain(id);
        result
    }

    /// The process of a client dies: what is not durable is gone. A new one starts on what is.
    pub fn crash(&mut self, id: ClientId) {
        let now = self.engine_now();
        let client = self.client_mut(id);
        client.generation += 1;
        client.store.crash();
        let conn = client.conn.take();
        client.engine = Engine::new(client.config.clone(), seed(id, client.generation), now);
        client.completions.clear();
        client.wake = None;
        if let Some((_, server_conn)) = conn {
            self.server.disconnected(self.now, server_conn);
            self.pump_server();
        }
    }

    /// The network cuts a client's connection; both sides notice at once.
    pub fn cut(&mut self, id: ClientId) {
        if let Some((conn, server_conn)) = self.client_mut(id).conn.take() {
            self.server.disconnected(self.now, server_conn);
            self.pump_server();
            self.input(id, Input::Closed { conn, code: Some(1006) });
        }
    }

    /// Runs until `done`, or until so much virtual time has passed, or nothing will ever happen again.
    ///
    /// # Errors
    /// [`NotReached`].
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool, limit_ms: u64) -> Result<(), NotReached> {
        let (start, steps) = (self.now, self.steps);
        loop {
            if done(self) {
                return Ok(());
            }
            let fail = NotReached { waited_ms: self.now.since(start), steps: self.steps - steps };
            let Some(next) = self.next_moment() else { return Err(fail) };
            if next.since(start) > limit_ms || self.steps - steps > STEP_LIMIT {
                return Err(fail);
            }
            self.step();
        }
    }

    /// Lets so much virtual time pass.
    pub fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.next_moment().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// When the next thing happens.
    fn next_moment(&self) -> Option<SimTime> {
        let agenda = self.agenda.keys().next().map(|(at, _)| *at);
        let server = self.server.next_deadline();
        let clients = self.clients.values().filter_map(|client| client.wake).min();
        [agenda, server, clients].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Does the next thing.
    pub fn step(&mut self) {
        let Some(at) = self.next_moment() else { return };
        self.steps += 1;
        self.now = self.now.max(at);
        if let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            return self.happen(event);
        }
        if self.server.next_deadline().is_some_and(|at| at <= self.now) {
            self.server.tick(self.now);
            return self.pump_server();
        }
        let due =
            self.clients.iter().find(|(_, client)| client.wake.is_some_and(|at| at <= self.now)).map(|(id, _)| *id);
        if let Some(id) = due {
            self.input(id, Input::Tick);
        }
    }

    fn schedule(&mut self, after_ms: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.now + after_ms, self.scheduled), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Opened { client, generation, conn } => {
                if self.client(client).generation != generation {
                    return;
                }
                if let Some(error) = self.net.refuse.clone() {
                    return self.input(client, Input::OpenFailed { conn, error });
                }
                self.last_conn += 1;
                let server_conn = ConnId(self.last_conn);
                self.client_mut(client).conn = Some((conn, server_conn));
                self.server.connect(self.now, server_conn);
                self.input(client, Input::Opened { conn });
                self.pump_server();
            }
            Event::ToServer { conn, bytes } => {
                self.server.receive(self.now, conn, &bytes);
                self.pump_server();
            }
            Event::ToClient { conn, bytes } => {
                if let Some((id, engine_conn)) = self.owner(conn) {
                    for bytes in self.net.split(bytes) {
                        self.input(id, Input::Received { conn: engine_conn, bytes });
                    }
                }
            }
            Event::ServerClosed { conn } => {
                if let Some((id, engine_conn)) = self.owner(conn) {
                    self.client_mut(id).conn = None;
                    self.input(id, Input::Closed { conn: engine_conn, code: Some(1000) });
                }
            }
            Event::ClientClosed { conn } => {
                self.server.disconnected(self.now, conn);
                self.pump_server();
            }
            Event::Stored { client, generation } => {
                if self.client(client).generation == generation
                    && let Some(input) = self.client_mut(client).store.next_answer()
                {
                    self.input(client, input);
                }
            }
        }
    }

    fn owner(&self, conn: ConnId) -> Option<(ClientId, amarula_core::engine::ConnId)> {
        self.clients.iter().find_map(|(id, client)| match client.conn {
            Some((engine_conn, server_conn)) if server_conn == conn => Some((*id, engine_conn)),
            _ => None,
        })
    }

    /// Passes an input to a client's engine and carries out what comes of it.
    ///
    /// # Panics
    /// If the engine calls it a misuse: the world makes none.
    pub fn input(&mut self, id: ClientId, input: Input) {
        let now = self.engine_now();
        self.client_mut(id).engine.handle(now, input).expect("the world misuses no engine");
        self.drain(id);
    }

    fn drain(&mut self, id: ClientId) {
        loop {
            let output = self.client_mut(id).engine.poll_output();
            self.client_mut(id).note(&output);
            match output {
                Output::Idle { until, .. } => {
                    self.client_mut(id).wake = until.map(|at| EPOCH + at.0);
                    return;
                }
                output => self.carry_out(id, output),
            }
        }
    }

    fn carry_out(&mut self, id: ClientId, output: Output) {
        let generation = self.client(id).generation;
        match output {
            Output::Open(conn, _) => {
                self.schedule(self.net.latency_ms, Event::Opened { client: id, generation, conn });
            }
            Output::Send(conn, bytes) => {
                if let Some((current, server_conn)) = self.client(id).conn
                    && current == conn
                {
                    for bytes in self.net.split(bytes) {
                        self.schedule(self.net.latency_ms, Event::ToServer { conn: server_conn, bytes });
                    }
                }
            }
            Output::Close(conn) => {
                if let Some((current, server_conn)) = self.client(id).conn
                    && current == conn
                {
                    self.client_mut(id).conn = None;
                    self.schedule(self.net.latency_ms, Event::ClientClosed { conn: server_conn });
                }
            }
            Output::Load(load_id, load) => {
                self.client_mut(id).store.load(load_id, load);
                self.schedule(self.net.store_ms, Event::Stored { client: id, generation });
            }
            Output::Commit(seq, batch) => {
                self.client_mut(id).store.commit(seq, batch);
                self.schedule(self.net.store_ms, Event::Stored { client: id, generation });
            }
            Output::Event(delivery) => self.client_mut(id).events.push(delivery),
            Output::Done(completion) => self.client_mut(id).completions.push(completion),
            _ => {}
        }
    }

    /// Carries out what the server wants.
    pub fn pump_server(&mut self) {
        while let Some(output) = self.server.poll() {
            match output {
                ServerOutput::Send(conn, bytes) => {
                    self.schedule(self.net.latency_ms, Event::ToClient { conn, bytes: bytes.into() });
                }
                ServerOutput::Close(conn) => self.schedule(self.net.latency_ms, Event::ServerClosed { conn }),
            }
        }
    }
}

fn seed(id: ClientId, generation: u64) -> [u8; 32] {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&(id.0 as u64).to_le_bytes());
    seed[8..16].copy_from_slice(&generation.to_le_bytes());
    seed
}
