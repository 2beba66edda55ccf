//! A town of a few accounts, each with a phone inside the server and a companion that runs the engine.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test file uses another part of it")]

use std::collections::BTreeSet;

use amarula_core::Address;
use amarula_core::config::Config;
use amarula_core::content::{Content, Outgoing};
use amarula_core::engine::command::{Confirm, Connect, Disconnect, SendMessage, Sent, Ticket};
use amarula_core::error::Failure;
use amarula_core::event::{Connection, Event, Receipt, Undecryptable};
use amarula_core::message::Message;
use amarula_core::wire::{Jid, Node};
use amarula_sim::world::{ClientId, World};
use amarula_sim::{AccountId, DeviceKey, ServerConfig};

pub const MINUTE: u64 = 60_000;

/// A person with a phone and a companion.
#[derive(Clone, Debug)]
pub struct Person {
    pub account: AccountId,
    pub client: ClientId,
    pub device: u16,
    pub pn: Jid,
    pub lid: Jid,
}

impl Person {
    pub fn key(&self) -> DeviceKey {
        (self.account, self.device)
    }
}

#[derive(Clone)]
pub struct Town {
    pub world: World,
    pub alice: Person,
    pub bob: Person,
}

#[derive(Clone)]
pub struct Options {
    pub seed: u64,
    pub migrated: bool,
    pub config: fn(&mut Config),
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 7, migrated: false, config: |_| {} }
    }
}

impl Town {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let config = ServerConfig {
            trace: true,
            lid_migrated: options.migrated,
            // The network takes time: what is told and what is sent may cross.
            fanout_grace: 2_000,
            ..ServerConfig::default()
        };
        let mut world = World::with(options.seed, config);
        let alice = Self::settle_in(&mut world, "15550000001", "200000000001", options.config);
        let bob = Self::settle_in(&mut world, "15550000002", "200000000002", options.config);
        Self { world, alice, bob }
    }

    /// One more account with a companion.
    pub fn newcomer(&mut self, pn: &str, lid: &str) -> Person {
        Self::settle_in(&mut self.world, pn, lid, |_| {})
    }

    /// An account with a phone only.
    pub fn phone_only(&mut self, pn: &str, lid: &str) -> (AccountId, Jid, Jid) {
        (self.world.server.add_account(pn, lid), Jid::pn(pn), Jid::lid(lid))
    }

    /// One more companion of an account.
    pub fn companion(&mut self, of: &Person) -> Person {
        let client = self.world.add_client(self.world.config());
        let (_, device) = self.world.pair(client, of.account);
        Person { client, device, ..of.clone() }
    }

    fn settle_in(world: &mut World, pn: &str, lid: &str, change: fn(&mut Config)) -> Person {
        let account = world.server.add_account(pn, lid);
        let mut config = world.config();
        change(&mut config);
        let client = world.add_client(config);
        let (_, device) = world.pair(client, account);
        Person { account, client, device, pn: Jid::pn(pn), lid: Jid::lid(lid) }
    }

    // ---- doing -------------------------------------------------------------------------------------------------

    pub fn say(&mut self, from: &Person, to: &Jid, text: &str) -> Ticket<Sent> {
        self.world.submit(from.client, message(to, text)).expect("taken")
    }

    /// Sends and waits for the server's ack.
    pub fn tell(&mut self, from: &Person, to: &Jid, text: &str) -> Sent {
        let ticket = self.say(from, to, text);
        self.answer(from, ticket).unwrap_or_else(|failure| panic!("{text:?} was not sent: {failure}"))
    }

    pub fn answer(&mut self, from: &Person, ticket: Ticket<Sent>) -> Result<Sent, Failure> {
        let client = from.client;
        assert!(self.world.run_until(|world| world.reply(client, ticket).is_some(), 5 * MINUTE), "no answer");
        self.world.reply(client, ticket).expect("just seen")
    }

    pub fn phone_says(&mut self, from: &Person, to: &Jid, text: &str) -> String {
        let now = self.world.now();
        self.world.server.phone_send_text(now, from.account, to, text)
    }

    pub fn run(&mut self, millis: u64) {
        self.world.run_for(millis);
    }

    /// Runs until a companion has exactly these texts, and a little longer to see that no more come.
    #[track_caller]
    pub fn expect_texts(&mut self, at: &Person, wanted: &[&str]) {
        let client = at.client;
        self.world.run_until(|world| texts(world, client).len() >= wanted.len(), 2 * MINUTE);
        self.run(2_000);
        assert_eq!(texts(&self.world, client), wanted);
    }

    /// The same for a phone.
    #[track_caller]
    pub fn expect_phone_texts(&mut self, at: &Person, wanted: &[&str]) {
        let account = at.account;
        self.world.run_until(|world| world.server.phone(account).texts().len() >= wanted.len(), 2 * MINUTE);
        self.run(2_000);
        assert_eq!(self.world.server.phone(account).texts(), wanted);
    }

    pub fn disconnect(&mut self, who: &Person) {
        let _ = self.world.submit(who.client, Disconnect).expect("taken");
        self.run(100);
    }

    pub fn connect(&mut self, who: &Person) {
        let _ = self.world.submit(who.client, Connect).expect("taken");
    }

    /// Connects and waits for the end of the backlog. Returns how many stanzas it had.
    #[track_caller]
    pub fn catch_up(&mut self, who: &Person) -> u32 {
        let before = self.world.events(who.client).len();
        self.connect(who);
        let client = who.client;
        let caught = |world: &World| {
            world.events(client)[before..].iter().rev().find_map(|delivery| match delivery.event {
                Event::Connection(Connection::CaughtUp { count }) => Some(count),
                _ => None,
            })
        };
        assert!(self.world.run_until(|world| caught(world).is_some(), 5 * MINUTE), "no end of the backlog");
        caught(&self.world).expect("just seen")
    }

    pub fn reopen(&mut self, who: &Person) {
        let client = who.client;
        assert!(self.world.run_until(|world| world.is_open(client), 5 * MINUTE), "not open again");
    }

    pub fn confirm_all(&mut self, who: &Person) {
        let ids: Vec<_> = self.world.events(who.client).iter().filter_map(|delivery| delivery.id).collect();
        for delivery in ids {
            let _ = self.world.submit(who.client, Confirm { delivery }).expect("taken");
        }
        self.run(100);
    }

    /// Both can still talk, in both directions, with every device.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        let (alice, bob) = (self.alice.clone(), self.bob.clone());
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            let text = format!("are you there, {}? {}", to.pn.user, self.world.now().0);
            self.tell(from, &to.pn, &text);
            let (client, account) = (to.client, to.account);
            let there = |world: &World| {
                texts(world, client).contains(&text) && world.server.phone(account).texts().contains(&text)
            };
            assert!(self.world.run_until(there, 2 * MINUTE), "{text:?} did not arrive");
        }
    }
}

pub fn message(to: &Jid, text: &str) -> SendMessage {
    SendMessage { to: Address::from(to.clone()), content: Outgoing::text(text), id: None, reference: None }
}

pub fn durable(to: &Jid, text: &str, reference: &str) -> SendMessage {
    SendMessage { reference: Some(reference.into()), ..message(to, text) }
}

pub fn text_of(message: &Message) -> Option<String> {
    match &message.content {
        Content::Text(text) => Some(text.body.to_string()),
        _ => None,
    }
}

pub fn messages(world: &World, client: ClientId) -> Vec<Message> {
    let events = world.events(client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::Message(message) => Some((**message).clone()),
            _ => None,
        })
        .collect()
}

pub fn texts(world: &World, client: ClientId) -> Vec<String> {
    messages(world, client).iter().filter_map(text_of).collect()
}

pub fn receipts(world: &World, client: ClientId) -> Vec<Receipt> {
    let events = world.events(client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::Receipt(receipt) => Some(receipt.clone()),
            _ => None,
        })
        .collect()
}

pub fn undecryptable(world: &World, client: ClientId) -> Vec<Undecryptable> {
    let events = world.events(client).iter();
    events
        .filter_map(|delivery| match &delivery.event {
            Event::Undecryptable(event) => Some((**event).clone()),
            _ => None,
        })
        .collect()
}

/// No message was delivered to a consumer twice.
#[track_caller]
pub fn assert_once(world: &World, client: ClientId) {
    let mut seen = BTreeSet::new();
    for message in messages(world, client) {
        let name = (message.chat.to_string(), message.sender.to_string(), message.id.to_string());
        assert!(seen.insert(name), "delivered twice: {message:?}");
    }
}

/// What a device sent, as the server saw it, of one tag.
pub fn sent_stanzas(world: &World, key: DeviceKey, tag: &str) -> Vec<Node> {
    // Connections of a device come and go; its stanzas are found by who may have sent them.
    let conns: BTreeSet<_> = world
        .server
        .trace()
        .iter()
        .filter(|traced| !traced.from_client && traced.node.tag == "success")
        .filter(|traced| {
            traced
                .node
                .get("lid")
                .and_then(|lid| lid.parse::<Jid>().ok())
                .is_some_and(|lid| world.server.locate(&lid.bare()).map(|(account, _)| account) == Some(key.0))
        })
        .map(|traced| traced.conn)
        .collect();
    let trace = world.server.trace().iter();
    trace
        .filter(|traced| traced.from_client && traced.node.tag == tag && conns.contains(&traced.conn))
        .map(|traced| traced.node.clone())
        .collect()
}

/// The kinds (`msg`, `pkmsg`) of the ciphertexts of a message stanza, by device.
pub fn enc_kinds(stanza: &Node) -> Vec<(String, String)> {
    let participants = stanza.nodes().iter().find(|node| node.tag == "participants");
    participants
        .map(|node| node.nodes())
        .unwrap_or_default()
        .iter()
        .map(|to| {
            let jid = to.get("jid").unwrap_or_default().to_string();
            let kind = to.nodes().first().and_then(|enc| enc.get("type")).unwrap_or_default();
            (jid, kind.to_string())
        })
        .collect()
}
