//! The liveness phase: no faults, oldest things first, and the clock runs.

use amarula_core::engine::Input;
use amarula_core::engine::command::{Connect, Request};
use amarula_core::event::{Event, Pairing};

use super::model::{Action, Actor, Model, START};
use crate::server::{AccountId, DeviceKey};

/// Steps without progress of time that are taken for an endless loop.
const SPIN: u32 = 20_000;

impl Model {
    /// The next step of a world without faults: the one that a simple driver on a fast machine would see.
    #[must_use]
    pub fn next(&self) -> Option<Action> {
        // One commit after the other.
        self.enabled().into_iter().find(|action| !action.is_fault())
    }

    /// Runs until `done` is true, at most `millis` of virtual time. Returns whether it became true.
    pub fn run(&mut self, done: impl Fn(&Self) -> bool, millis: u64) -> bool {
        let end = self.now + millis;
        let mut spin = 0;
        loop {
            if done(self) {
                return true;
            }
            if let Some(action) = self.next() {
                spin += 1;
                if spin > SPIN {
                    self.broken.push("there is always something to do".to_owned());
                    return false;
                }
                self.apply(action);
                continue;
            }
            spin = 0;
            let wakes = self.clients.iter().filter_map(|client| client.until).map(|at| at.0 - 1_000 + START);
            let server = self.server.next_deadline().map(|at| at.0);
            let Some(at) = wakes.chain(server).min().filter(|at| *at <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(at);
            self.tick();
        }
    }

    /// Wakes whoever wanted to be woken by now.
    fn tick(&mut self) {
        let mono = self.clock().mono;
        for index in 0..self.clients.len() {
            if self.clients[index].until.is_some_and(|at| at <= mono) {
                self.input(Actor(index), Input::Tick);
            }
        }
        if self.server.next_deadline().is_some_and(|at| at.0 <= self.now) {
            self.server.tick(self.time());
            self.note(&"tick");
            self.drain_server();
        }
    }

    /// Faults off, and time: everything must come to its end. See [`Model::is_quiet`].
    pub fn live(&mut self, millis: u64) -> bool {
        self.budget = super::Budget::default();
        self.run(Self::is_quiet, millis)
    }

    /// Everybody is logged in, every command is answered, nothing is on its way anywhere, and the server is owed nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let clients = self.clients.iter().all(|client| {
            client.open.is_empty()
                && client.script.is_empty()
                && client.disk.is_idle()
                && client.is_caught_up()
                && client.link.as_ref().is_some_and(|link| link.up.is_empty() && link.down.is_empty())
        });
        clients && self.nothing_outstanding()
    }

    fn nothing_outstanding(&self) -> bool {
        self.server
            .accounts()
            .all(|(id, account)| account.companions.keys().all(|device| self.server.outstanding(id, *device) == 0))
    }

    /// Connects a client and links it by QR code, up to the end of its first login.
    ///
    /// # Panics
    /// If that fails.
    pub fn pair(&mut self, actor: Actor, account: AccountId) -> DeviceKey {
        self.submit(actor, Request::Connect(Connect));
        let qr = |model: &Self| {
            model.client(actor).events.iter().rev().find_map(|delivery| match &delivery.event {
                Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
                _ => None,
            })
        };
        assert!(self.run(|model| qr(model).is_some() && model.next().is_none(), 60_000), "no QR code");
        let text = qr(self).unwrap_or_default();
        let device = self.server.scan_qr(self.time(), account, &text).expect("the phone scans");
        self.touched("scan");
        let paired = |model: &Self| model.client(actor).is_caught_up() && model.next().is_none() && model.is_quiet();
        assert!(self.run(paired, 120_000), "no login after pairing: {:#?}", self.client(actor).events);
        (account, device)
    }

    /// Ends the set-up: fresh processes, logged in again, with nothing in memory but what a login needs, and no history.
    ///
    /// # Panics
    /// If the set-up broke a promise or a rule of the server.
    pub fn begin(&mut self, connected: bool) {
        for index in 0..self.clients.len() {
            let durable = self.clients[index].disk.durable();
            self.crash(Actor(index), durable);
        }
        if connected {
            assert!(self.run(Self::is_quiet, 60_000), "no login in the set-up");
        }
        self.forget();
        assert!(self.broken.is_empty(), "the set-up breaks promises: {:#?}", self.broken);
        assert!(self.server.violations().is_empty(), "the set-up breaks rules: {:#?}", self.server.violations());
    }

    /// Forgets what consumers saw.
    pub fn forget(&mut self) {
        for client in &mut self.clients {
            // The state of the connection stays known.
            let last = client.events.iter().rposition(|delivery| matches!(delivery.event, Event::Connection(_)));
            client.events = last.map(|at| client.events.swap_remove(at)).into_iter().collect();
            client.done.clear();
        }
    }
}
