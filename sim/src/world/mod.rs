//! A small world on virtual time: engines with their stores, a network with faults, one server with its phones.
//!
//! Everything happens in one thread, in an order that the seed decides and nothing else. Each engine is driven as the
//! contract asks: inputs as they come, all outputs carried out, and then a sleep until exactly the moment it named.
//!
//! ```
//! use amarula_sim::world::World;
//! use amarula_core::engine::command::Connect;
//!
//! let mut world = World::new(1);
//! let account = world.server.add_account("15550001", "9001");
//! let client = world.add_client(world.config());
//! world.submit(client, Connect).unwrap();
//! world.scan(client, account).unwrap();
//! assert!(world.run_until(|world| world.is_open(client), 60_000));
//! ```

mod client;
mod net;
mod store;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use amarula_core::config::Config;
use amarula_core::crypto::Rng;
use amarula_core::engine::command::{Command, Completion, Rejected, ReplyValue, Ticket};
use amarula_core::engine::{self, Engine, Now, OpenError, Output, StorageError};
use amarula_core::error::Failure;
use amarula_core::event::{Connection, Delivery, Event, Pairing};
use amarula_core::wire::Str;

use self::client::Client;
use self::net::{Direction, Link};
pub use self::net::{Network, Split};
pub use self::store::Store;
use crate::server::{ConnId, ScanError, Server, ServerConfig, ServerOutput};
use crate::time::SimTime;
use crate::{AccountId, DeviceKey};

/// Names a client of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(usize);

/// When worlds begin: 2026-11-24, about.
const START: u64 = 1_795_500_000_000;
/// Steps without any progress of time that are taken for an endless loop.
const SPIN: u32 = 100_000;

/// Something that will happen.
#[derive(Clone, Debug)]
enum Due {
    /// A client's socket reaches the server.
    Connected(ConnId),
    /// A client's socket could not be opened.
    Refused(ConnId, OpenError),
    /// Bytes, or the end, reach one side.
    Arrival(ConnId, Direction, Option<Vec<u8>>),
    /// The oldest storage operation of a client is finished.
    Stored(ClientId, u32),
}

/// The world. Cloneable: a test may fork it at any point.
#[derive(Clone, Debug)]
pub struct World {
    /// The server and its phones. After a direct call that makes it send, run the world on.
    pub server: Server,
    /// How the network behaves from now on.
    pub net: Network,
    clients: Vec<Client>,
    links: BTreeMap<ConnId, Link>,
    due: BTreeMap<(u64, u64), Due>,
    last: u64,
    now: u64,
    rng: Rng,
    fingerprint: DefaultHasher,
}

impl World {
    /// A world with a default server.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, ServerConfig { trace: true, ..ServerConfig::default() })
    }

    /// A world with such a server. The server's seed is made from `seed`.
    #[must_use]
    pub fn with(seed: u64, config: ServerConfig) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = Rng::from_seed(key);
        let server = Server::new(ServerConfig { seed: rng.bytes(), ..config });
        Self {
            server,
            net: Network::default(),
            clients: Vec::new(),
            links: BTreeMap::new(),
            due: BTreeMap::new(),
            last: 0,
            now: START,
            rng,
            fingerprint: DefaultHasher::new(),
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

    /// Adds a client with an empty store.
    pub fn add_client(&mut self, config: Config) -> ClientId {
        let id = ClientId(self.clients.len());
        let engine = Engine::new(config.clone(), self.rng.bytes(), self.clock());
        self.clients.push(Client::new(engine, config));
        id
    }

    /// Adds a client that has a copy of another one's store: two processes with the same credentials.
    pub fn add_twin(&mut self, of: ClientId) -> ClientId {
        let config = self.clients[of.0].config().clone();
        let records = self.store(of).records().clone();
        let twin = self.add_client(config);
        *self.store_mut(twin).records_mut() = records;
        twin
    }

    // ---- time --------------------------------------------------------------------------------------------------

    /// The present.
    #[must_use]
    pub fn now(&self) -> SimTime {
        SimTime(self.now)
    }

    fn clock(&self) -> Now {
        Now::new(self.now - START + 1_000, self.now)
    }

    /// Lets the present finish: everything that can happen without time passing.
    pub fn settle(&mut self) {
        self.advance(self.now);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, millis: u64) {
        self.advance(self.now + millis);
    }

    /// Lets time pass until `done`, at most `millis`. Returns whether it came true.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool, millis: u64) -> bool {
        let end = self.now + millis;
        let mut spin = (self.now, 0u32);
        self.drain_server();
        while !done(self) {
            let Some(next) = self.next().filter(|next| *next <= end) else {
                self.now = end;
                return done(self);
            };
            spin = if spin.0 == next { (next, spin.1 + 1) } else { (next, 0) };
            assert!(spin.1 < SPIN, "something is always due at {next}");
            self.now = self.now.max(next);
            self.step();
        }
        true
    }

    fn advance(&mut self, end: u64) {
        self.run_until(|_| false, end - self.now);
    }

    /// When something happens next.
    fn next(&self) -> Option<u64> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        let wakes = self.clients.iter().filter_map(|client| client.wakes()).map(|mono| mono.0 - 1_000 + START);
        let server = self.server.next_deadline().map(|at| at.0);
        due.into_iter().chain(wakes).chain(server).min()
    }

    /// One thing that is due.
    fn step(&mut self) {
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            self.happen(due);
        } else if let Some(index) =
            self.clients.iter().position(|client| client.wakes().is_some_and(|at| at <= self.clock().mono))
        {
            self.input(ClientId(index), engine::Input::Tick);
        } else {
            self.server.tick(self.now());
            self.drain_server();
        }
    }

    fn later(&mut self, at: u64, due: Due) {
        self.last += 1;
        self.due.insert((at, self.last), due);
    }

    // ---- clients -----------------------------------------------------------------------------------------------

    /// Gives a command to a client.
    ///
    /// # Errors
    /// The engine did not take it.
    pub fn submit<C: Command>(&mut self, client: ClientId, command: C) -> Result<Ticket<C::Reply>, Rejected<C>> {
        let now = self.clock();
        let result = self.clients[client.0].engine.submit(now, command);
        self.drain(client);
        result
    }

    /// Cancels a command of a client.
    pub fn cancel(&mut self, client: ClientId, ticket: engine::TicketId) {
        let now = self.clock();
        self.clients[client.0].engine.cancel(now, ticket);
        self.drain(client);
    }

    /// The answer to a command, when there is one.
    #[must_use]
    pub fn reply<R: ReplyValue>(&self, client: ClientId, ticket: Ticket<R>) -> Option<Result<R, Failure>> {
        self.clients[client.0].done.iter().find_map(|completion| completion.take(ticket))
    }

    /// All answers so far, of this run of the client.
    #[must_use]
    pub fn completions(&self, client: ClientId) -> &[Completion] {
        &self.clients[client.0].done
    }

    /// Everything the client's consumer was told so far, across crashes.
    #[must_use]
    pub fn events(&self, client: ClientId) -> &[Delivery] {
        &self.clients[client.0].events
    }

    /// As [`World::events`], and forgets them.
    pub fn take_events(&mut self, client: ClientId) -> Vec<Event> {
        std::mem::take(&mut self.clients[client.0].events).into_iter().map(|delivery| delivery.event).collect()
    }

    /// Whether such an event was seen.
    #[must_use]
    pub fn saw(&self, client: ClientId, is: impl Fn(&Event) -> bool) -> bool {
        self.events(client).iter().any(|delivery| is(&delivery.event))
    }

    /// Whether the client's consumer was told that the connection is open, and nothing against it since.
    #[must_use]
    pub fn is_open(&self, client: ClientId) -> bool {
        self.clients[client.0].open
    }

    /// The engine itself.
    #[must_use]
    pub fn engine(&self, client: ClientId) -> &Engine {
        &self.clients[client.0].engine
    }

    /// What the client's store holds, and its faults.
    #[must_use]
    pub fn store(&self, client: ClientId) -> &Store {
        &self.clients[client.0].store
    }

    /// As [`World::store`], to be changed.
    pub fn store_mut(&mut self, client: ClientId) -> &mut Store {
        &mut self.clients[client.0].store
    }

    /// Kills the client's process: what is not durable is lost, its sockets close, and a new engine (not connected) takes
    /// its place.
    pub fn crash(&mut self, client: ClientId) {
        let links: Vec<_> = self.links_of(client).collect();
        for conn in links {
            self.cut(conn, Direction::ToClient);
        }
        let seed = self.rng.bytes();
        let now = self.clock();
        self.clients[client.0].restart(seed, now);
    }

    /// The host tells the engine something.
    pub fn input(&mut self, client: ClientId, input: engine::Input) {
        let now = self.clock();
        self.clients[client.0].engine.handle(now, input).expect("the world drives engines by their contract");
        self.drain(client);
    }

    // ---- network -----------------------------------------------------------------------------------------------

    /// The connection that a client has now.
    #[must_use]
    pub fn conn(&self, client: ClientId) -> Option<ConnId> {
        self.links_of(client).last()
    }

    fn links_of(&self, client: ClientId) -> impl DoubleEndedIterator<Item = ConnId> + '_ {
        self.links.iter().filter(move |(_, link)| link.client == client).map(|(conn, _)| *conn)
    }

    /// Breaks a client's connection: both sides learn it.
    pub fn break_connection(&mut self, client: ClientId) {
        if let Some(conn) = self.conn(client) {
            self.later(self.now, Due::Arrival(conn, Direction::ToServer, None));
            self.later(self.now, Due::Arrival(conn, Direction::ToClient, None));
        }
    }

    /// From now on nothing passes on the client's connection, and nobody is told.
    pub fn half_open(&mut self, client: ClientId) {
        if let Some(link) = self.conn(client).and_then(|conn| self.links.get_mut(&conn)) {
            link.dead = true;
        }
    }

    /// A link is over; the side that is not told closes it itself or is gone.
    fn cut(&mut self, conn: ConnId, silent: Direction) {
        let Some(link) = self.links.remove(&conn) else { return };
        if silent == Direction::ToClient && link.stands {
            self.server.disconnected(SimTime(self.now), conn);
            self.drain_server();
        }
    }

    fn transmit(&mut self, conn: ConnId, direction: Direction, bytes: Option<Vec<u8>>) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.dead {
            return;
        }
        let pieces = match bytes {
            Some(bytes) => self.net.split.pieces(bytes, &mut self.rng).into_iter().map(Some).collect(),
            None => vec![None],
        };
        for piece in pieces {
            let at = self.net.arrival(self.now, &mut self.rng);
            let at = link.order(direction, at);
            self.last += 1;
            self.due.insert((at, self.last), Due::Arrival(conn, direction, piece));
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Connected(conn) => {
                let Some(link) = self.links.get_mut(&conn) else { return };
                link.stands = true;
                let (client, number) = (link.client, link.number);
                self.server.connect(SimTime(self.now), conn);
                self.drain_server();
                self.input(client, engine::Input::Opened { conn: number });
            }
            Due::Refused(conn, error) => {
                let Some(link) = self.links.remove(&conn) else { return };
                self.input(link.client, engine::Input::OpenFailed { conn: link.number, error });
            }
            Due::Arrival(conn, direction, bytes) => {
                let Some(link) = self.links.get(&conn).filter(|link| !link.dead) else { return };
                let (client, number) = (link.client, link.number);
                match (direction, bytes) {
                    (Direction::ToServer, Some(bytes)) => {
                        self.server.receive(SimTime(self.now), conn, &bytes);
                        self.drain_server();
                    }
                    (Direction::ToServer, None) => {
                        self.server.disconnected(SimTime(self.now), conn);
                        self.drain_server();
                    }
                    (Direction::ToClient, Some(bytes)) => {
                        self.clients[client.0].unread.push_back((number, bytes));
                        self.feed(client);
                    }
                    (Direction::ToClient, None) => {
                        self.cut(conn, Direction::ToServer);
                        self.clients[client.0].unread.retain(|(of, _)| *of != number);
                        self.input(client, engine::Input::Closed { conn: number, code: None });
                    }
                }
            }
            Due::Stored(client, run) => {
                if self.clients[client.0].run == run
                    && let Some(input) = self.clients[client.0].store.finish()
                {
                    self.input(client, input);
                    self.feed(client);
                }
            }
        }
    }

    /// Reads for a client, as far as it wants.
    fn feed(&mut self, client: ClientId) {
        while self.clients[client.0].engine.appetite() == engine::Appetite::Hungry
            && let Some((conn, bytes)) = self.clients[client.0].unread.pop_front()
        {
            self.input(client, engine::Input::Received { conn, bytes: bytes.into() });
        }
    }

    /// Carries out what an engine wants.
    fn drain(&mut self, client: ClientId) {
        loop {
            let output = self.clients[client.0].engine.poll_output();
            // How often an engine is asked what to do next depends on how the network cuts the stream, and must not matter.
            if !matches!(output, Output::Idle { .. }) {
                output.hash(&mut self.fingerprint);
            }
            match output {
                Output::Open(number, _) => self.open(client, number),
                Output::Send(number, bytes) => {
                    if let Some(conn) = self.find(client, number) {
                        self.transmit(conn, Direction::ToServer, Some(bytes.to_vec()));
                    }
                }
                Output::Close(number) => {
                    if let Some(conn) = self.find(client, number) {
                        let stands = self.links.get(&conn).is_some_and(|link| link.stands && !link.dead);
                        self.links.remove(&conn);
                        self.clients[client.0].unread.retain(|(of, _)| *of != number);
                        if stands {
                            self.flush(conn);
                        }
                    }
                }
                Output::Load(id, load) => self.store_op(client, store::Op::Load(id, load)),
                Output::Commit(seq, batch) => self.store_op(client, store::Op::Commit(seq, batch)),
                Output::Event(delivery) => {
                    if let Event::Connection(connection) = &delivery.event {
                        let open = &mut self.clients[client.0].open;
                        *open = match connection {
                            Connection::Open => true,
                            Connection::OfflinePending { .. } | Connection::CaughtUp { .. } => *open,
                            _ => false,
                        };
                    }
                    self.clients[client.0].events.push(delivery);
                }
                Output::Done(completion) => {
                    let done = &mut self.clients[client.0].done;
                    assert!(
                        done.iter().all(|earlier| earlier.ticket != completion.ticket),
                        "a command was answered twice: {completion:?}"
                    );
                    done.push(completion);
                }
                Output::Idle { until, .. } => {
                    self.clients[client.0].until = until;
                    break;
                }
                other => panic!("the simulation does not know {other:?}"),
            }
        }
    }

    /// The client closed: what it had sent still reaches the server, then the end does.
    fn flush(&mut self, conn: ConnId) {
        let rest: Vec<_> = self
            .due
            .iter()
            .filter(|(_, due)| matches!(due, Due::Arrival(of, Direction::ToServer, _) if *of == conn))
            .map(|(key, _)| *key)
            .collect();
        for key in rest {
            if let Some(Due::Arrival(_, _, Some(bytes))) = self.due.remove(&key) {
                self.server.receive(SimTime(self.now), conn, &bytes);
            }
        }
        self.server.disconnected(SimTime(self.now), conn);
        self.drain_server();
    }

    fn open(&mut self, client: ClientId, number: engine::ConnId) {
        self.last += 1;
        let conn = ConnId(self.last);
        self.links.insert(conn, Link::new(client, number));
        if self.net.black_hole {
            return;
        }
        let at = self.net.arrival(self.now, &mut self.rng);
        match self.net.refuse.pop_front() {
            Some(error) => self.later(at, Due::Refused(conn, error)),
            None => self.later(at, Due::Connected(conn)),
        }
    }

    fn find(&self, client: ClientId, number: engine::ConnId) -> Option<ConnId> {
        self.links.iter().find(|(_, link)| link.client == client && link.number == number).map(|(conn, _)| *conn)
    }

    fn store_op(&mut self, client: ClientId, op: store::Op) {
        let state = &mut self.clients[client.0];
        let at = state.store.begin(self.now, op);
        let run = state.run;
        self.later(at, Due::Stored(client, run));
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.poll() {
            match output {
                ServerOutput::Send(conn, bytes) => self.transmit(conn, Direction::ToClient, Some(bytes)),
                ServerOutput::Close(conn) => self.transmit(conn, Direction::ToClient, None),
            }
        }
    }

    // ---- everyday things ---------------------------------------------------------------------------------------

    /// The QR text on the client's screen.
    #[must_use]
    pub fn qr(&self, client: ClientId) -> Option<String> {
        self.events(client).iter().rev().find_map(|delivery| match &delivery.event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
            _ => None,
        })
    }

    /// Waits for a QR code and lets the phone of `account` scan it. Returns the device id.
    ///
    /// # Errors
    /// What the phone's user is told.
    ///
    /// # Panics
    /// If no QR code shows up within a minute.
    pub fn scan(&mut self, client: ClientId, account: AccountId) -> Result<u16, ScanError> {
        assert!(self.run_until(|world| world.qr(client).is_some(), 60_000), "no QR code");
        // So that the answer to pair-device has arrived too.
        self.run_for(1_000);
        let qr = self.qr(client).unwrap_or_default();
        let result = self.server.scan_qr(SimTime(self.now), account, &qr);
        self.drain_server();
        result
    }

    /// Connects a client and links it by QR code, up to the end of its first login.
    ///
    /// # Panics
    /// If that fails.
    pub fn pair(&mut self, client: ClientId, account: AccountId) -> DeviceKey {
        let _ = self.submit(client, engine::command::Connect).expect("connect");
        let device = self.scan(client, account).expect("scan");
        let caught_up =
            |world: &Self| world.saw(client, |event| matches!(event, Event::Connection(Connection::CaughtUp { .. })));
        assert!(self.run_until(caught_up, 120_000), "no login after pairing: {:#?}", self.events(client));
        self.run_for(2_000);
        (account, device)
    }

    /// A number that is equal for equal runs: every output of every engine went into it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    /// Panics with everything that the server objected to.
    ///
    /// # Panics
    /// If it objected to anything.
    pub fn assert_clean(&self) {
        assert!(self.server.violations().is_empty(), "the server objects: {:#?}", self.server.violations());
    }
}

/// A storage error for tests.
#[must_use]
pub fn storage_error() -> StorageError {
    StorageError { message: Str::const_new("simulated"), retryable: true }
}
