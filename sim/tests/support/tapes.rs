//! Recorded lives of one engine: every input with its time, and how to live them again.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeMap;

use amarula_core::config::Config;
use amarula_core::engine::command::{Disconnect, Request};
use amarula_core::engine::{Engine, Input, Load, Loaded, Now, Output};
use amarula_core::store::{Batch, Op, RecordKey};
use amarula_core::wire::Node;
use amarula_sim::explorer::scenarios::{ALICE, Small, jid, small, text};
use amarula_sim::explorer::{Model, Taped};
use bytes::Bytes;

/// A recorded life.
pub(crate) struct Tape {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) records: BTreeMap<RecordKey, Bytes>,
    pub(crate) steps: Vec<Taped>,
}

const SEED: [u8; 32] = [42; 32];
const WAIT: u64 = 5 * 60_000;

impl Tape {
    /// The engine before its first input.
    pub(crate) fn engine(&self) -> Engine {
        let now = match &self.steps[0] {
            Taped::Input(now, _) | Taped::Request(now, _) => *now,
        };
        Engine::new(self.config.clone(), SEED, now)
    }

    fn take(name: &'static str, model: &Model, records: BTreeMap<RecordKey, Bytes>) -> Self {
        assert!(model.broken.is_empty() && model.server.violations().is_empty(), "{:?}", model.broken);
        let config = { model.config() };
        Self { name, config, records, steps: model.client(ALICE).tape.clone().unwrap_or_default() }
    }
}

/// Starts recording a fresh process that has its records from before.
fn record(model: &mut Model) -> BTreeMap<RecordKey, Bytes> {
    model.client_mut(ALICE).tape = Some(Vec::new());
    let records = model.client(ALICE).disk.records().clone();
    model.restart(ALICE, SEED);
    records
}

/// Linking, up to the end of the first login.
pub(crate) fn pairing() -> Tape {
    let mut model = Model::new(amarula_sim::ServerConfig { seed: [3; 32], ..amarula_sim::ServerConfig::default() });
    let alice = model.server.add_account("15550000001", "200000000001");
    let config = model.config();
    model.add_client(config);
    let records = record(&mut model);
    model.pair(ALICE, alice);
    Tape::take("pairing", &model, records)
}

/// A login without anything new.
pub(crate) fn login() -> Tape {
    let Small { mut model, .. } = small(true);
    let records = record(&mut model);
    model.submit(ALICE, Request::Connect(amarula_core::engine::command::Connect));
    assert!(model.run(Model::is_quiet, WAIT));
    Tape::take("login", &model, records)
}

/// Sends, with and without sessions, and messages of others between them; half a minute with a ping; a broken connection.
pub(crate) fn conversation() -> Tape {
    let Small { mut model, alice, bob, carol } = small(false);
    let records = record(&mut model);
    model.submit(ALICE, Request::Connect(amarula_core::engine::command::Connect));
    assert!(model.run(Model::is_quiet, WAIT));
    let own = jid(&model, alice);
    for round in 0..3 {
        for account in [bob, carol] {
            let to = jid(&model, account);
            let reference = format!("{round} {to}");
            model.submit(ALICE, text(&to, &format!("question {round}"), (round == 1).then_some(&reference)));
            assert!(model.run(Model::is_quiet, WAIT));
        }
        for account in [bob, carol, bob] {
            let time = model.time();
            model.server.phone_send_text(time, account, &own, &format!("answer {round}"));
        }
        model.touched("answers");
        assert!(model.run(Model::is_quiet, WAIT));
    }
    model.run(|_| false, 31_000);
    model.cut(ALICE);
    assert!(model.run(Model::is_quiet, WAIT));
    model.submit(ALICE, Request::Disconnect(Disconnect));
    model.run(|_| false, 1_000);
    Tape::take("conversation", &model, records)
}

/// A login with a backlog.
pub(crate) fn offline() -> Tape {
    let Small { mut model, alice, bob, carol } = small(true);
    model.cut(ALICE);
    let (time, own) = (model.time(), jid(&model, alice));
    for i in 0..6 {
        model.server.phone_send_text(time, if i % 2 == 0 { bob } else { carol }, &own, &format!("missed {i}"));
    }
    model.touched("backlog");
    let records = record(&mut model);
    model.submit(ALICE, Request::Connect(amarula_core::engine::command::Connect));
    assert!(model.run(Model::is_quiet, WAIT));
    assert_eq!(model.client(ALICE).texts().iter().filter(|text| text.starts_with("missed")).count(), 6);
    Tape::take("offline drain", &model, records)
}

/// A server that says strange things, then bytes that are no frames.
pub(crate) fn hostile() -> Tape {
    let Small { mut model, .. } = small(true);
    let records = record(&mut model);
    model.submit(ALICE, Request::Connect(amarula_core::engine::command::Connect));
    assert!(model.run(Model::is_quiet, WAIT));
    let conn = model.server.connections().map(|(conn, _)| conn).last().expect("a connection");
    let time = model.time();
    let strange = [
        Node::new("message"),
        Node::new("message").attr("from", "nobody").attr("id", "x").child(Node::new("enc")),
        Node::new("message")
            .attr("from", "15550000002@s.whatsapp.net")
            .attr("id", "y")
            .attr("t", 1u8)
            .child(Node::new("enc").attr("v", "2").attr("type", "pkmsg").bytes(vec![0x33, 1, 2, 3])),
        Node::new("receipt").attr("type", "retry"),
        Node::new("notification")
            .attr("type", "account_sync")
            .attr("from", "15550000001@s.whatsapp.net")
            .attr("id", "1"),
        Node::new("ib").child(Node::new("offline").attr("count", "many")),
        Node::new("iq").attr("type", "result").attr("id", "never asked"),
        Node::new("surprise").attr("id", "2").attr("from", "s.whatsapp.net"),
    ];
    for node in &strange {
        model.server.send_raw(time, conn, node);
    }
    model.touched("strange");
    // Answers that nobody asked for are objected to; that is not what is looked at here.
    model.run(|model| model.next().is_none(), WAIT);
    model.server.take_violations();
    model.broken.clear();
    if let Some(number) = model.client(ALICE).connection() {
        for bytes in [&[0u8, 0, 40][..], &[7; 39], &[1; 30], &[0xff; 64]] {
            model.input(ALICE, Input::Received { conn: number, bytes: Bytes::copy_from_slice(bytes) });
        }
    }
    model.run(|_| false, 500);
    model.server.take_violations();
    model.broken.clear();
    Tape::take("hostile", &model, records)
}

/// All of them.
pub(crate) fn all() -> Vec<Tape> {
    vec![pairing(), login(), conversation(), offline(), hostile()]
}

/// A store that does everything at once, when it is asked to.
#[derive(Clone)]
pub(crate) struct Instant {
    pub(crate) records: BTreeMap<RecordKey, Bytes>,
    /// Every commit, in order.
    pub(crate) commits: Vec<Output>,
    pending: Vec<Output>,
}

impl Instant {
    pub(crate) fn new(records: BTreeMap<RecordKey, Bytes>) -> Self {
        Self { records, commits: Vec::new(), pending: Vec::new() }
    }

    /// Takes all outputs: storage operations are kept, the others are returned.
    pub(crate) fn drain(&mut self, engine: &mut Engine) -> Vec<Output> {
        let mut out = Vec::new();
        loop {
            match engine.poll_output() {
                Output::Idle { .. } => return out,
                storage @ (Output::Load(..) | Output::Commit(..)) => {
                    if matches!(storage, Output::Commit(..)) {
                        self.commits.push(storage.clone());
                    }
                    self.pending.push(storage);
                }
                other => out.push(other),
            }
        }
    }

    /// Carries out what is pending, oldest first, until the engine wants nothing more.
    pub(crate) fn serve(&mut self, engine: &mut Engine, now: Now) -> Vec<Output> {
        let mut out = self.drain(engine);
        while !self.pending.is_empty() {
            let input = match self.pending.remove(0) {
                Output::Commit(seq, batch) => {
                    self.apply(batch);
                    Input::Committed { upto: seq }
                }
                Output::Load(id, load) => Input::Loaded { id, result: Ok(self.load(&load)) },
                _ => continue,
            };
            engine.handle(now, input).expect("storage");
            out.extend(self.drain(engine));
        }
        out
    }

    fn apply(&mut self, batch: Batch) {
        if batch.clear {
            self.records.clear();
        }
        for (key, op) in batch.ops {
            match op {
                Op::Put(value) => self.records.insert(key, value),
                Op::Delete => self.records.remove(&key),
            };
        }
    }

    fn load(&self, load: &Load) -> Loaded {
        match load {
            Load::Get(keys) => Loaded::Values(keys.iter().map(|key| self.records.get(key).cloned()).collect()),
            Load::Range { namespace, after, limit } => {
                let wanted = |key: &&RecordKey| {
                    key.namespace == *namespace && after.as_ref().is_none_or(|after| key.key > *after)
                };
                let rows = self.records.keys().filter(wanted).take(*limit as usize);
                Loaded::Range(rows.map(|key| (key.clone(), self.records[key].clone())).collect())
            }
            _ => unreachable!("no such read"),
        }
    }
}
