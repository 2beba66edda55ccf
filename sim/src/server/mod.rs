//! The simulated chat server: sans-IO, deterministic, strict.
//!
//! Feed it bytes ([`Server::receive`]) and time ([`Server::tick`]), take what it sends ([`Server::poll`]), and ask at
//! the end what it objected to ([`Server::violations`]). Phones live inside ([`Server::add_account`]).

mod account;
mod acks;
mod code;
mod config;
mod conn;
mod deliver;
pub mod faults;
mod grammar;
mod groups;
mod hostile;
mod iq;
mod login;
mod message_checks;
mod messages;
mod notify;
mod outbox;
mod pairing;
mod prekeys;
mod presence;
mod resend;
mod route;
mod timers;
mod usync;

use std::collections::{BTreeMap, VecDeque};

use amarula_core::crypto::{KeyPair, PublicKey, Rng};
use amarula_core::wire::{Jid, Node, Server as Domain};

pub use account::{Account, AccountId, Companion, DeviceKey};
pub use config::{ClientProfile, IkPolicy, ServerConfig};
pub use groups::Group;
pub use pairing::ScanError;
pub(crate) use prekeys::{bundle_nodes, key_of as one_time_of, signed_of};
pub(crate) use usync::phash;

use crate::certs::Authority;
use crate::phone::Phone;
use crate::signal::Endpoint;
use crate::signal::inspect::Position;
use crate::time::SimTime;
use crate::violation::{Rule, Violation};
use conn::Conn;
use faults::Faults;

/// Names a connection; chosen by the driver, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What the server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutput {
    /// Write one WebSocket message.
    Send(ConnId, Vec<u8>),
    /// Close the socket.
    Close(ConnId),
}

/// One line of the transcript ([`ServerConfig::trace`]).
#[derive(Clone, Debug)]
pub struct Traced {
    /// When.
    pub at: SimTime,
    /// On which connection.
    pub conn: ConnId,
    /// Client to server, or the other way round.
    pub from_client: bool,
    /// The stanza.
    pub node: Node,
}

/// The simulated WhatsApp. Cloneable: a test may fork it at any point.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) rng: Rng,
    pub(crate) authority: Authority,
    pub(crate) noise: KeyPair,
    pub(crate) now: SimTime,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) outputs: VecDeque<ServerOutput>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) faults: Faults,
    pub(crate) chains: BTreeMap<(DeviceKey, Option<DeviceKey>, Position), [u8; 32]>,
    pub(crate) next_stanza: u64,
    pub(crate) trace: Vec<Traced>,
}

impl Server {
    /// A server with fresh keys of the configured seed.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let mut rng = Rng::from_seed(config.seed);
        let authority = Authority::generate(&mut rng);
        let noise = KeyPair::generate(&mut rng);
        Self {
            config,
            authority,
            noise,
            rng,
            now: SimTime::default(),
            conns: BTreeMap::new(),
            accounts: BTreeMap::new(),
            groups: BTreeMap::new(),
            outputs: VecDeque::new(),
            violations: Vec::new(),
            faults: Faults::default(),
            chains: BTreeMap::new(),
            next_stanza: 1,
            trace: Vec::new(),
        }
    }

    /// The public key that a client must pin as root of the certificate chain.
    #[must_use]
    pub fn root_key(&self) -> PublicKey {
        self.authority.root().public
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// The configuration, to be changed between events.
    pub fn config_mut(&mut self) -> &mut ServerConfig {
        &mut self.config
    }

    /// The armed faults.
    pub fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Adds an account with a phone. `pn` and `lid` are digits.
    ///
    /// # Panics
    /// If one of them is taken.
    pub fn add_account(&mut self, pn: &str, lid: &str) -> AccountId {
        assert!(
            self.accounts.values().all(|account| account.pn != pn && account.lid != lid),
            "{pn} or {lid} is already an account"
        );
        let id = AccountId(u32::try_from(self.accounts.len()).unwrap_or(u32::MAX));
        let endpoint = Endpoint::generate(&mut self.rng);
        let raw_id = u32::from_be_bytes(self.rng.bytes());
        let account = Account {
            pn: pn.to_owned(),
            lid: lid.to_owned(),
            phone: Phone::new(endpoint, raw_id),
            companions: BTreeMap::new(),
            lid_migrated: self.config.lid_migrated,
            business_name: None,
            blocklist: Vec::new(),
            privacy: iq::default_privacy(),
            subscribers: std::collections::BTreeSet::new(),
            list_changed: 0,
            tokens: BTreeMap::new(),
        };
        self.accounts.insert(id, account);
        id
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// An account, to be changed.
    pub fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(&id)
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, &Account)> {
        self.accounts.iter().map(|(id, account)| (*id, account))
    }

    /// The phone of an account.
    ///
    /// # Panics
    /// If there is no such account.
    #[must_use]
    pub fn phone(&self, id: AccountId) -> &Phone {
        &self.accounts[&id].phone
    }

    /// The account and device that a JID names, in either namespace.
    #[must_use]
    pub fn locate(&self, jid: &Jid) -> Option<DeviceKey> {
        self.accounts.iter().find(|(_, account)| account.is(jid)).map(|(id, _)| (*id, jid.device))
    }

    /// Whether the device exists.
    #[must_use]
    pub fn device_exists(&self, key: DeviceKey) -> bool {
        self.accounts.get(&key.0).is_some_and(|account| key.1 == 0 || account.companions.contains_key(&key.1))
    }

    /// What was objected to so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// As [`Self::violations`], and forgets them.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// The transcript, if kept.
    #[must_use]
    pub fn trace(&self) -> &[Traced] {
        &self.trace
    }

    /// As [`Self::trace`], and forgets it.
    pub fn take_trace(&mut self) -> Vec<Traced> {
        std::mem::take(&mut self.trace)
    }

    /// How many stanzas wait for a device, sent and unanswered ones included.
    #[must_use]
    pub fn outstanding(&self, account: AccountId, device: u16) -> usize {
        self.accounts
            .get(&account)
            .and_then(|account| account.companions.get(&device))
            .map_or(0, |companion| companion.outbox.entries.len())
    }

    /// What the server wants done next. Drain it after every call.
    pub fn poll(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    pub(crate) fn companion(&self, key: DeviceKey) -> Option<&Companion> {
        self.accounts.get(&key.0)?.companions.get(&key.1)
    }

    pub(crate) fn companion_mut(&mut self, key: DeviceKey) -> Option<&mut Companion> {
        self.accounts.get_mut(&key.0)?.companions.get_mut(&key.1)
    }

    pub(crate) fn object(
        &mut self,
        conn: Option<ConnId>,
        device: Option<DeviceKey>,
        rule: Rule,
        stanza: Option<&Node>,
        detail: impl Into<String>,
    ) {
        let device = device.or_else(|| conn.and_then(|conn| self.conns.get(&conn)?.device()));
        let device = device.and_then(|(account, device)| {
            self.accounts.get(&account).map(|account| account.device_jid(&Domain::Pn, device))
        });
        let stanza = stanza.map(ToString::to_string);
        self.violations.push(Violation { at: self.now, conn, device, rule, detail: detail.into(), stanza });
    }

    pub(crate) fn advance(&mut self, now: SimTime) {
        self.now = self.now.max(now);
    }

    pub(crate) fn stanza_id(&mut self) -> String {
        self.next_stanza += 1;
        format!("{}-{}", self.now.secs() % 1_000_000, self.next_stanza)
    }
}
