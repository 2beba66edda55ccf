//! The state of the explored world, and every step out of it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};

use amarula_core::config::Config;
use amarula_core::engine::command::{Confirm, Connect, Rejected, Request, TicketId};
use amarula_core::engine::{Appetite, CommitSeq, Input, LoadId, Now, Output};
use amarula_core::wire::Str;

use super::client::{Client, Link, Taped};
use crate::server::{ConnId, Server, ServerConfig, ServerOutput};
use crate::time::SimTime;

/// When explored worlds begin: 2026-11-24, about.
pub(super) const START: u64 = 1_795_500_000_000;

/// Names a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(pub usize);

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The consumer gives the next command of its script.
    Command(Actor),
    /// The socket stands.
    Opened(Actor),
    /// The oldest message on its way up reaches the server.
    Up(Actor),
    /// The oldest message on its way down (or the end) reaches the engine.
    Down(Actor),
    /// A read is answered.
    Loaded(Actor, LoadId),
    /// The engine is told that everything up to this commit is durable.
    Committed(Actor, CommitSeq),
    /// Fault: the connection breaks; what was on its way is lost, and both sides learn it.
    Cut(Actor),
    /// Fault: the process dies when everything up to this commit, and nothing behind it, is durable. A new one connects.
    Crash(Actor, CommitSeq),
    /// Fault: the oldest commit fails, and all behind it.
    Fail(Actor),
}

impl Action {
    /// Whether it is something that need not happen.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Cut(_) | Self::Crash(..) | Self::Fail(_))
    }
}

/// How many faults may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Broken connections.
    pub cuts: u8,
    /// Dead processes.
    pub crashes: u8,
    /// Failed commits.
    pub failures: u8,
}

/// The whole world.
#[derive(Clone, Debug)]
pub struct Model {
    /// The server and its phones.
    pub server: Server,
    /// Its clients.
    pub clients: Vec<Client>,
    /// Faults to come.
    pub budget: Budget,
    /// Broken promises of an engine.
    pub broken: Vec<String>,
    /// Stands for the server in a digest: it is a function of all that went into it.
    history: u64,
    /// Stands for what consumers were told.
    told: u64,
    next_conn: u64,
    pub(super) now: u64,
}

impl Model {
    /// A world with a server and nobody else.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let server = Server::new(ServerConfig { trace: true, ..config });
        Self {
            server,
            clients: Vec::new(),
            budget: Budget::default(),
            broken: Vec::new(),
            history: 0,
            told: 0,
            next_conn: 0,
            now: START,
        }
    }

    /// A configuration that trusts this world's server.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.url = Str::const_new("ws://127.0.0.1/ws/chat");
        config.root_key = self.server.root_key();
        config.push_name = Some(Str::const_new("Sim"));
        config
    }

    /// Adds a client with an empty disk.
    pub fn add_client(&mut self, config: Config) -> Actor {
        let actor = Actor(self.clients.len());
        self.clients.push(Client::new(config, seed(actor, 0), self.clock()));
        actor
    }

    /// A client.
    #[must_use]
    pub fn client(&self, actor: Actor) -> &Client {
        &self.clients[actor.0]
    }

    /// A client, to be changed.
    pub fn client_mut(&mut self, actor: Actor) -> &mut Client {
        &mut self.clients[actor.0]
    }

    /// The present, for direct calls to the server. Call [`Model::touched`] after each.
    #[must_use]
    pub fn time(&self) -> SimTime {
        SimTime(self.now)
    }

    /// Server and phones were changed from outside: takes what they want to send.
    pub fn touched(&mut self, what: &str) {
        self.note(&what);
        self.drain_server();
    }

    pub(super) fn clock(&self) -> Now {
        Now::new(self.now - START + 1_000, self.now)
    }

    /// Two states with one digest do the same from now on. The server is stood for by everything that went into it.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, self.budget, self.history, self.told, self.now).hash(&mut hasher);
            for client in &self.clients {
                client.disk.digest(&mut hasher);
                (client.run, client.script.len(), &client.until).hash(&mut hasher);
                if let Some(link) = &client.link {
                    (link.conn, link.stands, &link.up, &link.down).hash(&mut hasher);
                }
            }
            hasher.finish()
        };
        let engines = self.clients.iter().fold(0u128, |all, client| {
            all.rotate_left(7) ^ client.engine.state_digest().wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        });
        engines ^ (u128::from(half(0)) << 64 | u128::from(half(1)))
    }

    // ---- steps -------------------------------------------------------------------------------------------------

    /// Every step that is possible now, faults last.
    #[must_use]
    pub fn enabled(&self) -> Vec<Action> {
        let mut out = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            let actor = Actor(index);
            out.extend(client.disk.reads().map(|id| Action::Loaded(actor, id)));
            out.extend(client.disk.unanswered().map(|seq| Action::Committed(actor, seq)));
            if let Some(link) = &client.link {
                if !link.stands {
                    out.push(Action::Opened(actor));
                }
                if !link.up.is_empty() {
                    out.push(Action::Up(actor));
                }
                let end = matches!(link.down.front(), Some(None));
                let full = client.engine.appetite() == Appetite::Full;
                if link.stands && !link.down.is_empty() && (end || !full) {
                    out.push(Action::Down(actor));
                }
            }
            if !client.script.is_empty() {
                out.push(Action::Command(actor));
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let actor = Actor(index);
            if self.budget.cuts > 0 && client.link.is_some() {
                out.push(Action::Cut(actor));
            }
            if self.budget.crashes > 0 {
                out.push(Action::Crash(actor, client.disk.durable()));
                out.extend(client.disk.pending().map(|seq| Action::Crash(actor, seq)));
            }
            if self.budget.failures > 0 && client.disk.pending().next().is_some() {
                out.push(Action::Fail(actor));
            }
        }
        out
    }

    /// Makes a step.
    pub fn apply(&mut self, action: Action) {
        match action {
            Action::Command(actor) => {
                if let Some(request) = self.client_mut(actor).script.pop_front() {
                    self.submit(actor, request);
                }
            }
            Action::Opened(actor) => self.opened(actor),
            Action::Up(actor) => self.up(actor),
            Action::Down(actor) => self.down(actor),
            Action::Loaded(actor, id) => {
                if let Some(loaded) = self.client_mut(actor).disk.answer(id) {
                    self.input(actor, Input::Loaded { id, result: Ok(loaded) });
                }
            }
            Action::Committed(actor, upto) => {
                self.client_mut(actor).disk.tell(upto);
                self.input(actor, Input::Committed { upto });
            }
            Action::Cut(actor) => {
                self.budget.cuts -= 1;
                self.cut(actor);
            }
            Action::Crash(actor, durable) => {
                self.budget.crashes -= 1;
                self.crash(actor, durable);
            }
            Action::Fail(actor) => {
                self.budget.failures -= 1;
                self.fail(actor);
            }
        }
    }

    /// Gives a command, which must be taken.
    pub fn submit(&mut self, actor: Actor, request: Request) {
        if let Err(rejected) = self.offer(actor, request) {
            self.broken.push(format!("a command was rejected: {rejected}: {:?}", rejected.command));
        }
    }

    /// Gives a command.
    ///
    /// # Errors
    /// The engine did not take it.
    #[allow(clippy::result_large_err, reason = "the whole command comes back, as it was given")]
    pub fn offer(&mut self, actor: Actor, request: Request) -> Result<TicketId, Rejected<Request>> {
        let now = self.clock();
        let client = self.client_mut(actor);
        let ticket = client.engine.submit_request(now, request.clone())?;
        if let Some(tape) = &mut client.tape {
            tape.push(Taped::Request(now, request.clone()));
        }
        client.open.insert(ticket);
        if let Request::Confirm(Confirm { delivery }) = request {
            client.confirming.push((ticket, delivery));
        }
        self.drain(actor);
        Ok(ticket)
    }

    /// Hands an input to an engine.
    pub fn input(&mut self, actor: Actor, input: Input) {
        let now = self.clock();
        let client = self.client_mut(actor);
        if let Some(tape) = &mut client.tape {
            tape.push(Taped::Input(now, input.clone()));
        }
        if let Err(misuse) = client.engine.handle(now, input) {
            self.broken.push(format!("the explorer misuses the engine: {misuse}"));
        }
        self.drain(actor);
    }

    fn opened(&mut self, actor: Actor) {
        let time = self.time();
        let Some(link) = &mut self.clients[actor.0].link else { return };
        link.stands = true;
        let (conn, number) = (link.conn, link.number);
        self.server.connect(time, conn);
        self.note(&("open", conn));
        self.drain_server();
        self.input(actor, Input::Opened { conn: number });
    }

    fn up(&mut self, actor: Actor) {
        let Some(link) = &mut self.clients[actor.0].link else { return };
        let conn = link.conn;
        if let Some((bytes, told)) = link.up.pop_front() {
            self.receive(actor, conn, &bytes, told);
        }
    }

    fn receive(&mut self, actor: Actor, conn: ConnId, bytes: &[u8], told: CommitSeq) {
        self.server.receive(self.time(), conn, bytes);
        self.note(&("up", conn, bytes));
        for traced in self.server.take_trace() {
            if traced.from_client
                && traced.conn == conn
                && let Err(what) = self.clients[actor.0].watch.stanza(&traced.node, told)
            {
                self.broken.push(what);
            }
        }
        self.drain_server();
    }

    fn down(&mut self, actor: Actor) {
        let Some(link) = &mut self.clients[actor.0].link else { return };
        let number = link.number;
        match link.down.pop_front() {
            Some(Some(bytes)) => self.input(actor, Input::Received { conn: number, bytes: bytes.into() }),
            Some(None) => {
                self.clients[actor.0].link = None;
                self.input(actor, Input::Closed { conn: number, code: None });
            }
            None => {}
        }
    }

    /// Breaks a connection.
    pub fn cut(&mut self, actor: Actor) {
        let Some(link) = self.client_mut(actor).link.take() else { return };
        self.disconnect(&link);
        let input = if link.stands {
            Input::Closed { conn: link.number, code: None }
        } else {
            let error = amarula_core::engine::OpenError::Network(Str::const_new("cut"));
            Input::OpenFailed { conn: link.number, error }
        };
        self.input(actor, input);
    }

    /// Ends a process in which nothing is under way, and starts another with this seed. It is not connected.
    pub fn restart(&mut self, actor: Actor, seed: [u8; 32]) {
        if let Some(link) = self.client_mut(actor).link.take() {
            self.disconnect(&link);
        }
        let now = self.clock();
        self.client_mut(actor).crash(seed, now);
    }

    /// Kills a process when everything up to `durable` is on disk, and starts another, which connects.
    pub fn crash(&mut self, actor: Actor, durable: CommitSeq) {
        if let Some(link) = self.client_mut(actor).link.take() {
            self.disconnect(&link);
        }
        let now = self.clock();
        let client = self.client_mut(actor);
        client.disk.apply(durable);
        let seed = seed(actor, client.run + 1);
        client.crash(seed, now);
        self.submit(actor, Request::Connect(Connect));
    }

    fn fail(&mut self, actor: Actor) {
        let Some(seq) = self.client_mut(actor).disk.fail() else { return };
        self.client_mut(actor).watch.failed(seq);
        self.input(actor, Input::CommitFailed { seq, error: crate::world::storage_error() });
    }

    fn disconnect(&mut self, link: &Link) {
        if link.stands {
            self.server.disconnected(self.time(), link.conn);
            self.note(&("gone", link.conn));
            self.drain_server();
        }
    }

    // ---- outputs -----------------------------------------------------------------------------------------------

    fn drain(&mut self, actor: Actor) {
        let mut confirm = Vec::new();
        loop {
            let client = &mut self.clients[actor.0];
            let told = client.disk.told();
            match client.engine.poll_output() {
                Output::Open(number, _) => {
                    if client.link.is_some() {
                        self.broken.push(format!("{number:?} is opened beside another"));
                    }
                    self.next_conn += 1;
                    self.clients[actor.0].link = Some(Link {
                        number,
                        conn: ConnId(self.next_conn),
                        stands: false,
                        up: Default::default(),
                        down: Default::default(),
                    });
                }
                Output::Send(number, bytes) => {
                    if let Some(link) = client.link.as_mut().filter(|link| link.number == number) {
                        link.up.push_back((bytes, told));
                    }
                }
                Output::Close(number) => {
                    if let Some(mut link) = client.link.take_if(|link| link.number == number) {
                        // What was written before still arrives.
                        for (bytes, told) in std::mem::take(&mut link.up) {
                            if link.stands {
                                self.receive(actor, link.conn, &bytes, told);
                            }
                        }
                        self.disconnect(&link);
                    }
                }
                Output::Load(id, load) => client.disk.load(id, load),
                Output::Commit(seq, batch) => {
                    if let Err(what) = client.watch.commit(seq, &batch) {
                        self.broken.push(what);
                    }
                    self.clients[actor.0].disk.commit(seq, batch);
                }
                Output::Event(delivery) => {
                    if let Err(what) = client.watch.event(&delivery, told) {
                        self.broken.push(what);
                    }
                    let client = &mut self.clients[actor.0];
                    if client.confirms {
                        confirm.extend(delivery.id);
                    }
                    client.events.push(delivery.clone());
                    self.told = chain(self.told, &(actor, delivery));
                }
                Output::Done(completion) => {
                    if !client.open.remove(&completion.ticket) {
                        self.broken.push(format!("answered without a question: {completion:?}"));
                    }
                    let client = &mut self.clients[actor.0];
                    client.confirming.retain(|(ticket, delivery)| {
                        if *ticket == completion.ticket {
                            match completion.result {
                                Ok(_) => client.watch.confirmed(*delivery),
                                // Not confirmed after all: a careful consumer says it again.
                                Err(_) => confirm.push(*delivery),
                            }
                        }
                        *ticket != completion.ticket
                    });
                    client.done.push(completion.clone());
                    self.told = chain(self.told, &(actor, completion));
                }
                Output::Idle { until, .. } => {
                    client.until = until;
                    let again = client.engine.poll_output();
                    if !matches!(again, Output::Idle { .. }) {
                        self.broken.push(format!("{again:?} comes after Idle"));
                    }
                    break;
                }
                other => self.broken.push(format!("the explorer does not know {other:?}")),
            }
        }
        for delivery in confirm {
            self.submit(actor, Request::Confirm(Confirm { delivery }));
        }
    }

    pub(super) fn drain_server(&mut self) {
        self.server.take_trace();
        while let Some(output) = self.server.poll() {
            let (conn, bytes) = match output {
                ServerOutput::Send(conn, bytes) => (conn, Some(bytes)),
                ServerOutput::Close(conn) => (conn, None),
            };
            let mut links = self.clients.iter_mut().filter_map(|client| client.link.as_mut());
            if let Some(link) = links.find(|link| link.conn == conn) {
                link.down.push_back(bytes);
            }
        }
    }

    pub(super) fn note(&mut self, what: &impl Hash) {
        self.history = chain(self.history, &(self.now, what));
    }
}

fn chain(so_far: u64, what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (so_far, what).hash(&mut hasher);
    hasher.finish()
}

/// The seed of one process of one client.
pub(super) fn seed(actor: Actor, run: u32) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(actor.0 as u64).to_le_bytes());
    seed[8..12].copy_from_slice(&run.to_le_bytes());
    seed
}
