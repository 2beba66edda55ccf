//! A server, its people, and their clients; and the judgement at the end.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use amarula_core::event::{Event, Pairing};
use amarula_core::wire::Jid;
use amarula_sim::ws::LoopbackServer;
use amarula_sim::{AccountId, ServerConfig, SimTime};
use tempfile::TempDir;

use crate::ours::Pasture;
use crate::program::{Program, available};
use crate::{Baileys, Driver, Ours, PATIENCE, say};

/// An account.
#[derive(Clone, Debug)]
pub struct Person {
    account: AccountId,
    pn: String,
    lid: String,
}

impl Person {
    /// Its account on the server.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Phone number digits.
    #[must_use]
    pub fn pn(&self) -> &str {
        &self.pn
    }

    /// Its phone-number JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        Jid::pn(self.pn.as_str())
    }

    /// Its hidden JID.
    #[must_use]
    pub fn lid(&self) -> Jid {
        Jid::lid(self.lid.as_str())
    }
}

/// A server of its own for each scenario, and one process for all its Baileys clients.
pub struct Stage {
    server: LoopbackServer,
    program: OnceLock<Arc<Program>>,
    folder: TempDir,
    driver: Driver,
    pasture: Pasture,
    next: Cell<u32>,
}

/// Runs a scenario of our client through a driver, and says how it went.
///
/// # Panics
/// If the scenario fails, or the server objected to anything.
pub fn run(name: &str, driver: Driver, scenario: fn(&Stage)) {
    let label = format!("{name}, {driver:?}");
    if !available(&label) {
        return;
    }
    let begun = Instant::now();
    let stage = Stage::open(driver);
    scenario(&stage);
    stage.judge();
    drop(stage);
    say(&format!("interop: {label}: passed in {:.1} s", begun.elapsed().as_secs_f32()));
}

/// Runs a scenario without a server and without our client.
///
/// # Panics
/// If it fails.
pub fn run_alone(name: &str, scenario: fn()) {
    if !available(name) {
        return;
    }
    let begun = Instant::now();
    scenario();
    say(&format!("interop: {name}: passed in {:.1} s", begun.elapsed().as_secs_f32()));
}

impl Stage {
    fn open(driver: Driver) -> Self {
        let config = ServerConfig { seed: [7; 32], trace: true, ..ServerConfig::default() };
        Self {
            server: LoopbackServer::start(config).expect("a loopback port"),
            program: OnceLock::new(),
            folder: TempDir::new().expect("a folder"),
            driver,
            pasture: Pasture::default(),
            next: Cell::new(1),
        }
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &LoopbackServer {
        &self.server
    }

    /// A new account with a phone.
    #[must_use]
    pub fn person(&self) -> Person {
        let n = self.number();
        let (pn, lid) = (format!("1555000{n:04}"), format!("2000000{n:08}"));
        let account = self.server.with_server(|server, _| server.add_account(&pn, &lid));
        Person { account, pn, lid }
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }

    /// A client of ours, not linked yet.
    #[must_use]
    pub fn unlinked_ours(&self, person: &Person) -> Ours {
        let folder = self.folder.path().join(format!("ours-{}", self.number()));
        Ours::start(self.driver, person, &folder, &self.server, &self.pasture)
    }

    /// A client of ours, linked by QR, online, with prekeys on the server.
    #[must_use]
    pub fn ours(&self, person: &Person) -> Ours {
        let mut ours = self.unlinked_ours(person);
        self.scan(person, &ours.qr());
        self.finish_ours(&mut ours);
        ours
    }

    /// Waits until a client of ours, whose pairing the phone confirmed, is ready.
    pub fn finish_ours(&self, ours: &mut Ours) {
        let person = ours.person().clone();
        let (pn, lid) = ours.event("paired", |event| match event {
            Event::Pairing(Pairing::Paired { pn, lid, .. }) => Some((pn.clone(), lid.clone())),
            _ => None,
        });
        assert_eq!((pn.user(), lid.map(|lid| lid.user().to_owned())), (person.pn(), Some(person.lid.clone())));
        ours.set_device(pn.device());
        ours.wait_open();
        self.wait_ready(&person, ours.device(), 1);
    }

    /// A Baileys, not linked yet. `name` is unique in the scenario.
    #[must_use]
    pub fn unlinked_baileys(&self, person: &Person, name: &str) -> Baileys {
        let program = Arc::clone(self.program.get_or_init(|| Arc::new(Program::start("peer.mjs"))));
        let baileys = Baileys::new(program, name, person, self.folder.path().join(name), &self.server);
        baileys.start();
        baileys
    }

    /// A Baileys, linked by QR, online, with prekeys on the server.
    #[must_use]
    pub fn baileys(&self, person: &Person, name: &str) -> Baileys {
        let mut baileys = self.unlinked_baileys(person, name);
        self.scan(person, &baileys.qr());
        self.finish_baileys(&mut baileys);
        baileys
    }

    /// Waits until a Baileys, whose pairing the phone confirmed, is ready.
    pub fn finish_baileys(&self, baileys: &mut Baileys) {
        let me = baileys.event("paired", |name, data| {
            (name == "paired").then(|| data["me"]["id"].as_str().map(str::to_owned)).flatten()
        });
        let me: Jid = me.parse().expect("a JID");
        assert_eq!(me.bare(), baileys.person().jid());
        baileys.set_device(me.device);
        baileys.wait_open();
        self.wait_ready(&baileys.person().clone(), me.device, 812);
    }

    /// The person's phone scans a QR code, as soon as the client's answer to the refs is at the server.
    ///
    /// # Panics
    /// If the phone refuses it.
    pub fn scan(&self, person: &Person, qr: &str) {
        let shown = self.server.wait_for(PATIENCE, |server| server.can_scan(qr).then_some(()));
        assert!(shown.is_some(), "the refs were not answered");
        self.server.with_server(|server, now| server.scan_qr(now, person.account, qr)).expect("a scan");
    }

    /// The person types a pairing code on the phone, as soon as the client's request is there.
    ///
    /// # Panics
    /// If it does not come.
    pub fn type_code(&self, person: &Person, code: &str) {
        let typed =
            self.server.wait_for(PATIENCE, |server| server.type_code(SimTime::default(), person.account, code).ok());
        typed.expect("a request for a code");
    }

    /// Waits until a device is online, available and has prekeys on the server.
    ///
    /// # Panics
    /// If it does not get so far.
    pub fn wait_ready(&self, person: &Person, device: u16, prekeys: usize) {
        let ready = self.server.wait_for(PATIENCE, |server| {
            let companion = server.account(person.account)?.companions.get(&device)?;
            (companion.available && companion.conn.is_some() && companion.one_time.len() >= prekeys).then_some(())
        });
        assert!(ready.is_some(), "{}:{device} does not become ready", person.pn);
    }

    /// Waits until a device has answered everything that it was sent.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_settled(&self, person: &Person, device: u16) {
        let settled =
            self.server.wait_for(PATIENCE, |server| (server.outstanding(person.account, device) == 0).then_some(()));
        assert!(settled.is_some(), "{}:{device} owes answers", person.pn);
    }

    /// Waits until a device's connection is gone.
    ///
    /// # Panics
    /// If it stays.
    pub fn wait_gone(&self, person: &Person, device: u16) {
        let gone = self.server.wait_for(PATIENCE, |server| {
            server.account(person.account)?.companions.get(&device)?.conn.is_none().then_some(())
        });
        assert!(gone.is_some(), "{}:{device} stays connected", person.pn);
    }

    /// Waits until a phone has a text.
    ///
    /// # Panics
    /// If it does not get it.
    pub fn phone_has(&self, person: &Person, text: &str) {
        let found = self.server.wait_for(PATIENCE, |server| {
            server.phone(person.account).texts().iter().any(|found| found == text).then_some(())
        });
        assert!(found.is_some(), "the phone of {} did not get {text:?}", person.pn);
    }

    /// The `type` of the ciphertext for a device in the (last) stanza of this id: `pkmsg` or `msg`.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    pub fn enc_type(&self, id: &str, device: &Jid) -> String {
        let found = self.server.with_server(|server, _| {
            let stanzas = server.trace().iter().rev().filter(|traced| traced.from_client).map(|traced| &traced.node);
            let mut with_id = stanzas.filter(|node| node.tag == "message" && text_attr(node, "id") == id);
            with_id.find_map(|node| {
                let participants = node.nodes().iter().find(|child| child.tag == "participants")?;
                let to = participants.nodes().iter().find(|to| text_attr(to, "jid") == device.to_string())?;
                Some(text_attr(to.nodes().first()?, "type"))
            })
        });
        found.unwrap_or_else(|| panic!("no ciphertext of {id} for {device}"))
    }

    /// The end of a scenario: everybody has answered everything, and the server objected to nothing.
    fn judge(&self) {
        let mut waiting = Vec::new();
        let settled = self.server.wait_for(PATIENCE, |server| {
            let accounts = server.accounts();
            let devices = accounts.flat_map(|(id, account)| account.companions.keys().map(move |device| (id, *device)));
            waiting = devices.filter(|(account, device)| server.outstanding(*account, *device) > 0).collect();
            waiting.is_empty().then_some(())
        });
        assert!(settled.is_some(), "these owe answers: {waiting:?}");
        assert_eq!(self.server.violations(), [], "the server objected");
    }
}

fn text_attr(node: &amarula_core::wire::Node, key: &str) -> String {
    node.get(key).map(|value| value.to_string()).unwrap_or_default()
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.pasture.clear();
        if !std::thread::panicking() {
            return;
        }
        // What happened, without contents.
        let (trace, violations): (Vec<String>, Vec<String>) = self.server.with_server(|server, _| {
            let from = server.trace().len().saturating_sub(60);
            let line = |traced: &amarula_sim::server::Traced| {
                let arrow = if traced.from_client { "→" } else { "←" };
                format!("{} {:?} {arrow} {}", traced.at.0 % 1_000_000, traced.conn, traced.node)
            };
            (
                server.trace()[from..].iter().map(line).collect(),
                server.violations().iter().map(ToString::to_string).collect(),
            )
        });
        say(&format!("the last stanzas:\n  {}", trace.join("\n  ")));
        say(&format!("the server's objections:\n  {}", violations.join("\n  ")));
        if let Some(program) = self.program.get() {
            let warnings = program.warnings();
            let from = warnings.len().saturating_sub(12);
            say(&format!("Baileys' last warnings:\n  {}", warnings[from..].join("\n  ")));
        }
    }
}
