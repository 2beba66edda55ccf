//! Random lives of three accounts with everything that goes wrong: steps in any order, broken connections, dead processes,
//! failing stores, damaged, doubled, late and lost deliveries, refused and lost acks, hours of silence. Then faults off, and
//! everything must finish within bounded virtual time, with every message at every device exactly once or a typed report.
//!
//! `PROPTEST_CASES` sets how many lives; a failing one is shrunk and printed as a list of operations.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use amarula_core::content::Content;
use amarula_core::engine::command::{Reply, TicketId};
use amarula_core::error::Failure;
use amarula_core::event::Event;
use amarula_sim::explorer::scenarios::{jid, text};
use amarula_sim::explorer::{Action, Actor, Model};
use amarula_sim::server::faults::{AckFault, DeliveryFault};
use amarula_sim::{AccountId, ServerConfig};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

const PEOPLE: usize = 3;
/// Virtual time in which everything must be finished once faults are off.
const PATIENCE: u64 = 15 * 60_000;
/// No further life is begun after this long.
const REAL_TIME: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug)]
enum Op {
    /// One of the steps that are possible, without faults.
    Step(u8),
    /// Several of them, oldest first.
    Steps(u8),
    /// A client sends to another account, with or without a reference.
    Send(usize, usize, bool),
    /// A phone sends to another account.
    PhoneSend(usize, usize),
    Cut(usize),
    /// The process dies with so many of its pending commits durable.
    Crash(usize, u8),
    /// A commit fails.
    Fail(usize),
    /// The server closes the socket.
    Close(usize),
    Delivery(u8, DeliveryFault),
    Ack(u8, AckFault),
    /// Time passes, with everything that happens meanwhile.
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..PEOPLE;
    let delivery = prop_oneof![
        Just(DeliveryFault::Damage),
        Just(DeliveryFault::Duplicate),
        Just(DeliveryFault::Delay),
        Just(DeliveryFault::Lose),
    ];
    let ack = prop_oneof![
        Just(AckFault::Drop),
        Just(AckFault::LoseMessage),
        Just(AckFault::WrongPhash),
        Just(AckFault::Error(503)),
        Just(AckFault::Error(479)),
    ];
    prop_oneof![
        8 => any::<u8>().prop_map(Op::Step),
        8 => (1u8..40).prop_map(Op::Steps),
        6 => (who.clone(), 1..PEOPLE, any::<bool>()).prop_map(|(from, to, durable)| Op::Send(from, to, durable)),
        3 => (who.clone(), 1..PEOPLE).prop_map(|(from, to)| Op::PhoneSend(from, to)),
        1 => who.clone().prop_map(Op::Cut),
        1 => (who.clone(), any::<u8>()).prop_map(|(who, commits)| Op::Crash(who, commits)),
        1 => who.clone().prop_map(Op::Fail),
        1 => who.prop_map(Op::Close),
        2 => (1u8..4, delivery).prop_map(|(n, fault)| Op::Delivery(n, fault)),
        1 => (1u8..3, ack).prop_map(|(n, fault)| Op::Ack(n, fault)),
        2 => (1u32..40_000).prop_map(Op::Wait),
    ]
}

/// Who said what, and what became of it.
#[derive(Clone, Debug)]
struct Said {
    body: String,
    from: usize,
    to: usize,
    ticket: Option<TicketId>,
    by_phone: bool,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// The server has it.
    Sent,
    /// It has it or not.
    Unknown,
    /// Nothing was sent.
    Failed,
}

#[derive(Clone)]
struct Life {
    model: Model,
    accounts: [AccountId; PEOPLE],
    said: Vec<Said>,
    /// Who lost its memory.
    shaken: [bool; PEOPLE],
}

fn start() -> Life {
    static START: OnceLock<Life> = OnceLock::new();
    let make = || {
        let mut model = Model::new(ServerConfig { seed: [5; 32], ..ServerConfig::default() });
        let accounts =
            [1, 2, 3].map(|n| model.server.add_account(&format!("1555000000{n}"), &format!("20000000000{n}")));
        for account in accounts {
            let config = model.config();
            let actor = model.add_client(config);
            model.client_mut(actor).confirms = true;
            model.pair(actor, account);
        }
        model.begin(true);
        Life { model, accounts, said: Vec::new(), shaken: [false; PEOPLE] }
    };
    START.get_or_init(make).clone()
}

impl Life {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Step(which) => {
                let steps: Vec<_> = self.model.enabled().into_iter().filter(|action| !action.is_fault()).collect();
                if !steps.is_empty() {
                    self.model.apply(steps[usize::from(which) % steps.len()]);
                }
            }
            Op::Steps(count) => {
                for _ in 0..count {
                    if let Some(action) = self.model.next() {
                        self.model.apply(action);
                    }
                }
            }
            Op::Send(from, offset, durable) => {
                let (to, body) = ((from + offset) % PEOPLE, format!("message {}", self.said.len()));
                let request = text(&jid(&self.model, self.accounts[to]), &body, durable.then_some(&body));
                if let Ok(ticket) = self.model.offer(Actor(from), request) {
                    let ticket = Some(ticket);
                    self.said.push(Said { body, from, to, ticket, by_phone: false, outcome: Outcome::Open });
                }
            }
            Op::PhoneSend(from, offset) => {
                let (to, body) = ((from + offset) % PEOPLE, format!("message {}", self.said.len()));
                let (time, jid) = (self.model.time(), jid(&self.model, self.accounts[to]));
                self.model.server.phone_send_text(time, self.accounts[from], &jid, &body);
                self.model.touched("phone");
                self.said.push(Said { body, from, to, ticket: None, by_phone: true, outcome: Outcome::Sent });
            }
            Op::Cut(who) => self.model.cut(Actor(who)),
            Op::Crash(who, commits) => {
                self.shaken[who] = true;
                self.settle_tickets();
                let disk = &self.model.client(Actor(who)).disk;
                let pending: Vec<_> = std::iter::once(disk.durable()).chain(disk.pending()).collect();
                let durable = pending[usize::from(commits) % pending.len()];
                self.model.crash(Actor(who), durable);
                for said in self.said.iter_mut().filter(|said| said.from == who && said.outcome == Outcome::Open) {
                    // Nobody will be told.
                    (said.ticket, said.outcome) = (None, Outcome::Unknown);
                }
            }
            Op::Fail(who) => {
                if self.model.client(Actor(who)).disk.pending().next().is_some() {
                    self.model.budget.failures = 1;
                    self.shaken[who] = true;
                    self.model.apply(Action::Fail(Actor(who)));
                }
            }
            Op::Close(who) => {
                let device = |key: Option<amarula_sim::DeviceKey>| key.is_some_and(|key| key.0 == self.accounts[who]);
                let conn = self.model.server.connections().find(|(_, key)| device(*key)).map(|(conn, _)| conn);
                if let Some(conn) = conn {
                    let time = self.model.time();
                    self.model.server.drop_connection(time, conn);
                    self.model.touched("close");
                }
            }
            Op::Delivery(n, fault) => self.model.server.faults().on_delivery(u64::from(n), fault),
            Op::Ack(n, fault) => self.model.server.faults().on_message(u64::from(n), fault),
            Op::Wait(millis) => {
                self.model.run(|_| false, u64::from(millis));
            }
        }
        self.settle_tickets();
    }

    /// Takes the answers to sends.
    fn settle_tickets(&mut self) {
        let answers: Vec<BTreeMap<TicketId, Outcome>> = self
            .model
            .clients
            .iter()
            .map(|client| {
                let outcome = |result: &Result<Reply, Failure>| match result {
                    Ok(_) => Outcome::Sent,
                    Err(Failure::Unknown { .. }) => Outcome::Unknown,
                    Err(_) => Outcome::Failed,
                };
                client.done.iter().map(|done| (done.ticket, outcome(&done.result))).collect()
            })
            .collect();
        for said in self.said.iter_mut().filter(|said| said.outcome == Outcome::Open) {
            if let Some(outcome) = said.ticket.and_then(|ticket| answers[said.from].get(&ticket)) {
                said.outcome = *outcome;
            }
        }
    }

    /// Faults off: what is lost comes again with a new connection, and time passes.
    fn live(&mut self) -> bool {
        self.model.server.faults().disarm();
        for who in 0..PEOPLE {
            self.model.cut(Actor(who));
        }
        let quiet = self.model.live(PATIENCE);
        self.settle_tickets();
        quiet
    }

    fn verify(&self) -> Result<(), String> {
        for said in &self.said {
            if said.outcome == Outcome::Open {
                return Err(format!("no answer: {said:?}"));
            }
            let mut devices = Vec::new();
            for who in [said.to, said.from] {
                if !(said.by_phone && who == said.from) {
                    let copies = self.model.server.phone(self.accounts[who]).texts();
                    devices.push((format!("phone {who}"), copies.iter().filter(|text| **text == said.body).count(), 0));
                }
                if said.by_phone || who != said.from {
                    let (copies, reports) = self.at_client(who, said);
                    devices.push((format!("client {who}"), copies, reports));
                }
            }
            for (device, copies, reports) in devices {
                let good = match said.outcome {
                    Outcome::Sent => copies == 1 || (copies == 0 && reports > 0),
                    Outcome::Unknown => copies <= 1,
                    Outcome::Failed | Outcome::Open => copies == 0,
                };
                if !good {
                    return Err(format!("{copies} copies and {reports} reports at {device}: {said:?}"));
                }
            }
        }
        Ok(())
    }

    /// Different inbox entries with this text, and reports of messages that could not be read (which name no text).
    fn at_client(&self, who: usize, said: &Said) -> (usize, usize) {
        let (mut copies, mut reports) = (std::collections::BTreeSet::new(), 0);
        let events = &self.model.client(Actor(who)).events;
        let reported = |id: &str| {
            events.iter().any(|delivery| matches!(&delivery.event, Event::Undecryptable(report) if report.id == id))
        };
        for delivery in events {
            match &delivery.event {
                Event::Message(message) if matches!(&message.content, Content::Text(t) if t.body == said.body) => {
                    // What was asked for again can come as two ciphertexts, and that one came is remembered in memory.
                    let counts_once = self.shaken[who] && reported(&message.id);
                    copies.insert(delivery.id.filter(|_| !counts_once));
                }
                Event::Undecryptable(report) if !self.arrived(who, &report.id) => reports += 1,
                _ => {}
            }
        }
        (copies.len(), reports)
    }

    fn arrived(&self, who: usize, id: &str) -> bool {
        let events = &self.model.client(Actor(who)).events;
        events.iter().any(|delivery| matches!(&delivery.event, Event::Message(message) if message.id == id))
    }

    fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for (index, client) in self.model.clients.iter().enumerate() {
            let _ = writeln!(out, "client {index}: {} open, idle {}", client.open_tickets(), client.disk.is_idle());
            for delivery in client.events.iter().rev().take(40).rev() {
                let _ = writeln!(out, "  {:?} {:?}", delivery.id, delivery.event);
            }
        }
        out
    }
}

#[test]
fn everything_that_goes_wrong() {
    let began = Instant::now();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(240);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let seed = std::env::var("RANDOM_SEED").ok().and_then(|text| text.parse::<u8>().ok());
    let rng = proptest::test_runner::TestRng::from_seed(
        proptest::test_runner::RngAlgorithm::ChaCha,
        &[seed.unwrap_or(1); 32],
    );
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (mut lives, mut messages, mut arrived) = (0usize, 0usize, 0usize);
    let limited = seed.is_none() && std::env::var_os("PROPTEST_CASES").is_none();
    let mut body = |ops: Vec<Op>| {
        if limited && began.elapsed() > REAL_TIME {
            return Ok(());
        }
        let mut life = start();
        for op in ops {
            life.apply(op);
        }
        let quiet = life.live();
        let fail = |what: String| Err(TestCaseError::fail(format!("{what}\n{}", life.describe())));
        if let Some(what) = life.model.broken.first() {
            return fail(what.clone());
        }
        if let Some(violation) = life.model.server.violations().first() {
            return fail(format!("the server objects: {violation}"));
        }
        if !quiet {
            return fail("it never comes to an end".to_owned());
        }
        if let Err(what) = life.verify() {
            return fail(what);
        }
        lives += 1;
        messages += life.said.len();
        arrived += life.said.iter().filter(|said| said.outcome == Outcome::Sent).count();
        Ok(())
    };
    let cell = std::cell::RefCell::new(&mut body);
    let result = runner.run(&prop::collection::vec(op(), 1..60), |ops| (cell.borrow_mut())(ops));
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{lives} lives, {messages} messages, {arrived} told to be sent, {:.1} s", began.elapsed().as_secs_f32());
}
