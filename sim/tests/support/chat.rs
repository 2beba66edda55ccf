//! Two linked companions and what they do, each thing written as "see to it that it is so": after a crash the same is
//! asked again, as an application would.

use std::collections::BTreeMap;

use amarula_core::engine::command::{Connect, Disconnect, MarkRead, Request};
use amarula_core::event::{Connection, Event, Pairing};
use amarula_core::wire::Jid;
use amarula_sim::explorer::scenarios::{jid, text};
use amarula_sim::explorer::{Action, Actor, Model};
use amarula_sim::server::faults::DeliveryFault;
use amarula_sim::{AccountId, ServerConfig};

pub(crate) const ALICE: Actor = Actor(0);
pub(crate) const BOB: Actor = Actor(1);

/// Everything must be over in this much virtual time.
const PATIENCE: u64 = 10 * 60_000;

/// The steps of the conversation.
pub(crate) const STEPS: usize = 9;

#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) model: Model,
    pub(crate) accounts: [AccountId; 2],
    online: [bool; 2],
    /// Bodies of messages that must have arrived, and from whom.
    expected: BTreeMap<String, Actor>,
    /// Texts that the phone of the other side sent.
    expected_of_phone: Vec<(Actor, String)>,
    damaged: bool,
    read: bool,
}

pub(crate) type Watcher<'a> = &'a mut dyn FnMut(&Chat, Action);

impl Chat {
    pub(crate) fn new() -> Self {
        let mut model = Model::new(ServerConfig { seed: [9; 32], ..ServerConfig::default() });
        let accounts = [
            model.server.add_account("15550000001", "200000000001"),
            model.server.add_account("15550000002", "200000000002"),
        ];
        for _ in 0..2 {
            let config = model.config();
            let actor = model.add_client(config);
            model.client_mut(actor).confirms = true;
        }
        Self {
            model,
            accounts,
            online: [true; 2],
            expected: BTreeMap::new(),
            expected_of_phone: Vec::new(),
            damaged: false,
            read: false,
        }
    }

    fn jid(&self, actor: Actor) -> Jid {
        jid(&self.model, self.accounts[actor.0])
    }

    /// Runs until `done`; `watcher` sees every step before it is made.
    fn run(&mut self, watcher: Watcher<'_>, done: impl Fn(&Self) -> bool, millis: u64) -> bool {
        let end = self.model.time().0 + millis;
        while !done(self) {
            if let Some(action) = self.model.next() {
                watcher(self, action);
                self.model.apply(action);
                continue;
            }
            let left = end - self.model.time().0;
            // Until time has made something possible.
            if left == 0 || !self.model.run(|model| model.next().is_some(), left) && !done(self) {
                return false;
            }
        }
        true
    }

    /// All that are meant to be online are, and nothing is under way.
    fn settled(&self) -> bool {
        let clients = self.model.clients.iter().enumerate().all(|(index, client)| {
            client.open_tickets() == 0 && client.disk.is_idle() && (!self.online[index] || client.is_caught_up())
        });
        let owed = self.model.server.connections().filter_map(|(_, device)| device);
        clients
            && self.model.next().is_none()
            && owed.map(|(account, device)| self.model.server.outstanding(account, device)).sum::<usize>() == 0
    }

    fn settle(&mut self, watcher: Watcher<'_>) {
        let settled = self.run(watcher, Self::settled, PATIENCE);
        assert!(settled, "it never comes to an end: {}", self.describe());
    }

    fn connection(&self, actor: Actor) -> Option<&Connection> {
        self.model.client(actor).events.iter().rev().find_map(|delivery| match &delivery.event {
            Event::Connection(connection) => Some(connection),
            _ => None,
        })
    }

    fn qr(&self, actor: Actor) -> Option<String> {
        self.model.client(actor).events.iter().rev().find_map(|delivery| match &delivery.event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
            _ => None,
        })
    }

    fn see_paired(&mut self, actor: Actor, watcher: Watcher<'_>) {
        let mut scanned = None;
        if self.model.client(actor).events.is_empty() {
            self.model.submit(actor, Request::Connect(Connect));
        }
        for _ in 0..6 {
            let before = scanned.clone();
            let done = self.run(
                watcher,
                |chat| {
                    let next = chat.model.next().is_none();
                    let ended = matches!(chat.connection(actor), Some(Connection::Ended { .. }));
                    next && (chat.model.client(actor).is_caught_up() || ended || chat.qr(actor) != before)
                },
                PATIENCE,
            );
            assert!(done, "pairing stops: {}", self.describe());
            if self.model.client(actor).is_caught_up() {
                return;
            }
            if matches!(self.connection(actor), Some(Connection::Ended { .. })) {
                self.model.submit(actor, Request::Connect(Connect));
                continue;
            }
            scanned = self.qr(actor);
            let (time, account) = (self.model.time(), self.accounts[actor.0]);
            // A code of an earlier process is refused; its successor will come.
            let _ = self.model.server.scan_qr(time, account, scanned.as_deref().unwrap_or_default());
            self.model.touched("scan");
        }
        panic!("pairing does not come to an end: {}", self.describe());
    }

    fn has(&self, actor: Actor, body: &str) -> bool {
        self.model.client(actor).texts().iter().any(|text| text == body)
    }

    fn see_sent(&mut self, sends: &[(Actor, &str)], watcher: Watcher<'_>) {
        for _ in 0..3 {
            self.settle(watcher);
            let mut all = true;
            for (from, body) in sends {
                self.expected.insert((*body).to_owned(), *from);
                let to = Actor(1 - from.0);
                let arrived = |chat: &Self| {
                    let phones = chat
                        .accounts
                        .iter()
                        .all(|account| chat.model.server.phone(*account).texts().iter().any(|text| text == body));
                    phones && (!chat.online[to.0] || chat.has(to, body))
                };
                if !arrived(self) {
                    all = false;
                    let request = text(&self.jid(to), body, Some(body));
                    self.model.submit(*from, request);
                }
            }
            if all {
                return;
            }
        }
        panic!("{sends:?} do not arrive: {}", self.describe());
    }

    /// Makes sure that one step of the conversation has been done.
    pub(crate) fn step(&mut self, step: usize, watcher: Watcher<'_>) {
        match step {
            0 => self.see_paired(ALICE, watcher),
            1 => self.see_paired(BOB, watcher),
            2 => self.see_sent(&[(ALICE, "a1")], watcher),
            3 => self.see_sent(&[(BOB, "b1")], watcher),
            4 => self.see_sent(&[(ALICE, "a2"), (BOB, "b2")], watcher),
            5 => {
                if self.online[BOB.0] && !self.expected.contains_key("a3") {
                    self.settle(watcher);
                    self.model.submit(BOB, Request::Disconnect(Disconnect));
                    self.online[BOB.0] = false;
                }
                self.see_sent(&[(ALICE, "a3"), (ALICE, "a4")], watcher);
                if self.expected_of_phone.is_empty() {
                    self.expected_of_phone.push((BOB, "p1".to_owned()));
                    let (time, to) = (self.model.time(), self.jid(BOB));
                    self.model.server.phone_send_text(time, self.accounts[ALICE.0], &to, "p1");
                    self.model.touched("phone");
                }
                self.settle(watcher);
            }
            6 => {
                if !self.online[BOB.0] {
                    self.online[BOB.0] = true;
                    self.model.submit(BOB, Request::Connect(Connect));
                }
                self.settle(watcher);
            }
            7 => {
                self.settle(watcher);
                if !self.read {
                    self.read = true;
                    let ids = self.model.server.phone(self.accounts[BOB.0]).inbox().iter();
                    let ids = ids.filter(|message| message.text().as_deref() == Some("a3"));
                    let ids = ids.map(|message| message.id.as_str().into()).collect();
                    let read = MarkRead { chat: self.jid(ALICE).into(), sender: None, ids };
                    self.model.submit(BOB, Request::MarkRead(read));
                }
                self.settle(watcher);
            }
            _ => {
                if !self.damaged {
                    self.settle(watcher);
                    self.damaged = true;
                    self.model.server.faults().on_delivery(1, DeliveryFault::Damage);
                }
                self.see_sent(&[(ALICE, "a5")], watcher);
            }
        }
    }

    /// What must be true in the end, after one more message each way.
    pub(crate) fn finish(&mut self) {
        let watcher = &mut |_: &Self, _| {};
        for actor in [ALICE, BOB] {
            self.see_paired(actor, watcher);
            if !self.online[actor.0] {
                self.online[actor.0] = true;
                self.model.submit(actor, Request::Connect(Connect));
            }
        }
        self.see_sent(&[(ALICE, "a9"), (BOB, "b9")], watcher);
        self.see_sent(&[(BOB, "b10")], watcher);
        self.see_sent(&[(ALICE, "a10")], watcher);
        self.settle(watcher);
        assert!(self.model.broken.is_empty(), "{:#?}\n{}", self.model.broken, self.describe());
        let violations = self.model.server.violations();
        assert!(violations.is_empty(), "the server objects: {violations:#?}\n{}", self.describe());
        let mut expected: Vec<_> = self.expected.iter().map(|(body, from)| (Actor(1 - from.0), body.clone())).collect();
        expected.extend(self.expected_of_phone.clone());
        for (to, body) in &expected {
            let ids: Vec<_> = self.deliveries(*to, body);
            assert_eq!(ids.len(), 1, "{body} was delivered as {ids:?} to {to:?}: {}", self.describe());
        }
        for body in self.expected.keys() {
            for account in self.accounts {
                let copies = self.model.server.phone(account).texts().iter().filter(|text| *text == body).count();
                assert_eq!(copies, 1, "copies of {body} at the phone of {account:?}: {}", self.describe());
            }
        }
    }

    /// The different inbox entries with this text.
    fn deliveries(&self, actor: Actor, body: &str) -> Vec<u64> {
        let told = self.model.client(actor).events.iter().filter_map(|delivery| match &delivery.event {
            Event::Message(message) => match &message.content {
                amarula_core::content::Content::Text(text) if text.body == body => Some(delivery.id?.0),
                _ => None,
            },
            _ => None,
        });
        let mut ids: Vec<_> = told.collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(crate) fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for (index, client) in self.model.clients.iter().enumerate() {
            let _ =
                writeln!(out, "client {index}: {} open tickets, idle {}", client.open_tickets(), client.disk.is_idle());
            for delivery in client.events.iter().rev().take(25).rev() {
                let _ = writeln!(out, "  {:?} {:?}", delivery.id, delivery.event);
            }
            for completion in client.done.iter().filter(|done| done.result.is_err()) {
                let _ = writeln!(out, "  {completion:?}");
            }
        }
        for account in self.accounts {
            let _ = writeln!(out, "phone {account:?}: {:?}", self.model.server.phone(account).texts());
        }
        let _ = write!(out, "broken {:?} violations {:?}", self.model.broken, self.model.server.violations());
        out
    }
}
