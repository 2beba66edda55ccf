//! The pure, deterministic protocol engine of Amarula, a WhatsApp Web (multi-device companion) client.
//!
//! [`Engine`] is one account's protocol without IO: no socket, no clock, no thread, no randomness but the seed it is
//! given. A *driver* tells it what happened ([`Input`]) and carries out what it wants ([`Output`]). `amarula-tokio` and
//! `amarula-blocking` are drivers with a client on top; this page shows how another one looks.
//!
//! # A driver's loop
//!
//! `drive` and `carry_out` can be copied as they are. `Host` is where your sockets, store, clock and consumer go. The toy
//! one here makes the page run as a test: a map for storage, a clock that jumps instead of sleeping, and a server that
//! accepts connections and then says nothing.
//!
//! ```
//! use std::collections::{BTreeMap, VecDeque};
//!
//! use amarula_core::engine::command::{Command as _, Completion, Connect, Request, Shutdown};
//! use amarula_core::engine::{Appetite, ConnId, HttpError, Load, Loaded, Mono, Now};
//! use amarula_core::event::{Connection, Event};
//! use amarula_core::store::{Batch, Op, RecordKey};
//! use amarula_core::{Config, Engine, Input, Output};
//! use bytes::Bytes;
//!
//! /// What ends a wait.
//! enum Wake {
//!     Input(Input),
//!     Command(Request),
//! }
//!
//! /// Drives an engine until it was shut down.
//! fn drive(engine: &mut Engine, host: &mut Host) {
//!     loop {
//!         let until = carry_out(engine, host);
//!         if engine.is_finished() {
//!             return;
//!         }
//!         let wake = host.wait(until, engine.appetite() == Appetite::Hungry);
//!         let now = host.now();
//!         match wake {
//!             // An error is a mistake of the driver, and nothing has changed.
//!             Wake::Input(input) => engine.handle(now, input).expect("the answer to something that was asked"),
//!             Wake::Command(request) => match engine.submit_request(now, request) {
//!                 Ok(_ticket) => {} // exactly one `Done` with this ticket follows
//!                 Err(rejected) => panic!("nothing has happened: {rejected}"),
//!             },
//!         }
//!     }
//! }
//!
//! /// Carries out everything that the engine wants, in its order. Returns when it wants to be woken.
//! fn carry_out(engine: &mut Engine, host: &mut Host) -> Option<Mono> {
//!     loop {
//!         match engine.poll_output() {
//!             Output::Open(conn, endpoint) => host.open(conn, &endpoint.url), // answer: Opened or OpenFailed
//!             Output::Send(conn, bytes) => host.send(conn, bytes),            // one binary WebSocket message
//!             Output::Close(conn) => host.close(conn),                        // no answer
//!             Output::Load(id, load) => {
//!                 let result = Ok(host.load(&load));
//!                 host.happened.push_back(Input::Loaded { id, result });
//!             }
//!             Output::Commit(seq, batch) => {
//!                 host.commit(batch); // atomic; say `Committed` only when it is durable
//!                 host.happened.push_back(Input::Committed { upto: seq });
//!             }
//!             Output::Http(id, _request) => {
//!                 let result = Err(HttpError { message: "no HTTP in this driver".into() });
//!                 host.happened.push_back(Input::HttpDone { id, result });
//!             }
//!             Output::Event(delivery) => host.events.push(delivery.event),
//!             Output::Done(completion) => host.answers.push(completion),
//!             Output::Idle { until, .. } => return until, // always the last
//!             other => panic!("an output of a newer engine: {other:?}"),
//!         }
//!     }
//! }
//!
//! /// What a driver owns.
//! #[derive(Default)]
//! struct Host {
//!     records: BTreeMap<RecordKey, Bytes>,
//!     /// What happened and the engine was not told yet.
//!     happened: VecDeque<Input>,
//!     /// What the consumer will ask for, and when (ms).
//!     commands: VecDeque<(u64, Request)>,
//!     clock: u64,
//!     sent: Vec<Bytes>,
//!     events: Vec<Event>,
//!     answers: Vec<Completion>,
//! }
//!
//! impl Host {
//!     fn now(&self) -> Now {
//!         Now::new(self.clock, 1_795_500_000_000 + self.clock)
//!     }
//!
//!     /// Waits for the next thing to happen, at most `until`; reads sockets only while the engine is `hungry`.
//!     fn wait(&mut self, until: Option<Mono>, _hungry: bool) -> Wake {
//!         if let Some(input) = self.happened.pop_front() {
//!             return Wake::Input(input);
//!         }
//!         let until = until.map_or(u64::MAX, |until| until.0);
//!         if self.commands.front().is_none_or(|(at, _)| *at > until) {
//!             self.clock = until;
//!             return Wake::Input(Input::Tick);
//!         }
//!         let (at, request) = self.commands.pop_front().expect("looked at above");
//!         self.clock = at;
//!         Wake::Command(request)
//!     }
//!
//!     fn open(&mut self, conn: ConnId, _url: &str) {
//!         self.happened.push_back(Input::Opened { conn });
//!     }
//!
//!     fn send(&mut self, _conn: ConnId, bytes: Bytes) {
//!         self.sent.push(bytes);
//!     }
//!
//!     fn close(&mut self, _conn: ConnId) {}
//!
//!     fn load(&self, load: &Load) -> Loaded {
//!         match load {
//!             Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.records.get(key).cloned()).collect()),
//!             Load::Range { namespace, after, limit } => {
//!                 let rows = self.records.iter().filter(|(key, _)| key.namespace == *namespace);
//!                 let rows = rows.filter(|(key, _)| after.as_ref().is_none_or(|after| key.key > *after));
//!                 Loaded::Range(rows.take(*limit as usize).map(|(key, value)| (key.clone(), value.clone())).collect())
//!             }
//!             other => panic!("a read of a newer engine: {other:?}"),
//!         }
//!     }
//!
//!     fn commit(&mut self, batch: Batch) {
//!         if batch.clear {
//!             self.records.clear();
//!         }
//!         for (key, op) in batch.ops {
//!             match op {
//!                 Op::Put(value) => drop(self.records.insert(key, value)),
//!                 Op::Delete => drop(self.records.remove(&key)),
//!             }
//!         }
//!     }
//! }
//!
//! let mut host = Host::default();
//! host.commands.push_back((0, Connect.into_request()));
//! host.commands.push_back((25_000, Shutdown.into_request()));
//! // A real seed comes from the operating system, a fresh one for every engine.
//! let mut engine = Engine::new(Config::default(), [7; 32], host.now());
//! drive(&mut engine, &mut host);
//!
//! // Twice a hello went out; the first connection was given up after 20 seconds of silence.
//! assert_eq!(host.sent.len(), 2);
//! assert!(host.events.iter().any(|event| matches!(event, Event::Connection(Connection::Dropped { .. }))));
//! // Both commands were answered, and the keys of the device-to-be are stored.
//! assert!(host.answers.iter().all(|answer| answer.result.is_ok()) && host.answers.len() == 2);
//! assert!(!host.records.is_empty());
//! ```
//!
//! What the loop relies on, and what it must keep to:
//!
//! * **Outputs are carried out in their order**, and drained to the end even when the consumer is slow: it is the socket
//!   that rests, while [`Engine::appetite`] is [`Full`](engine::Appetite::Full), or because the consumer is behind, which
//!   [`Input::Reading`] tells the engine.
//! * **Commits are never reordered.** They may be pipelined and merged; a later `Load` must see the earlier ones. Nothing
//!   that depends on a commit comes out before it was acknowledged, so there is no order to get wrong between storage and
//!   network. If one fails, say `CommitFailed` and apply no later one that the engine made before it was told.
//! * **Sleep exactly to `until`**, then pass [`Input::Tick`]. Passing it earlier or oftener does no harm.
//! * **Bytes may be cut anywhere**: pass what the socket gave.
//! * [`Engine::handle`] returns an error only for a mistake of the driver. Whatever the outside world does, bad bytes and
//!   failing disks included, becomes outputs.
//!
//! # What is where
//!
//! | module | |
//! |---|---|
//! | [`engine`] | the machine, its inputs, outputs, commands, limits, [recordings](engine::recording) |
//! | [`event`], [`message`], [`content`], [`error`], [`address`], [`config`] | what a consumer sees |
//! | [`wire`], [`signal`], [`adv`], [`query`], [`sync`], [`crypto`], [`proto`] | protocol functions, pure, usable without the engine |
//! | [`store`](mod@store) | names of records, batches |
//!
//! The feature `aws-lc` takes the primitives from `aws-lc-rs` (needs `std`): the same bytes, faster.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "aws-lc"))]
extern crate std;

pub mod address;
pub mod adv;
pub mod config;
pub mod content;
pub mod crypto;
pub mod engine;
pub mod error;
pub mod event;
mod flows;
pub mod message;
pub mod proto;
pub mod query;
pub mod signal;
pub mod store;
pub mod sync;
pub mod wire;

pub use address::{Address, Kind};
pub use config::Config;
pub use engine::{Engine, Input, Output};
