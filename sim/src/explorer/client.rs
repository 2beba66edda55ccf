//! A client of the explorer: an engine, its disk, its connection, and what its consumer saw.

use std::collections::{BTreeSet, VecDeque};

use amarula_core::config::Config;
use amarula_core::engine::command::{Completion, Request, TicketId};
use amarula_core::engine::{self, CommitSeq, Engine, Input, Mono, Now};
use amarula_core::event::Delivery;
use bytes::Bytes;

use super::disk::Disk;
use super::watch::Watch;
use crate::server::ConnId;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// What the engine calls it.
    pub(super) number: engine::ConnId,
    /// What the server calls it.
    pub(super) conn: ConnId,
    /// The server knows it.
    pub(super) stands: bool,
    /// On their way up, each with what the engine knew to be durable when it left.
    pub(super) up: VecDeque<(Bytes, CommitSeq)>,
    /// On their way down; `None` is the end.
    pub(super) down: VecDeque<Option<Vec<u8>>>,
}

/// Something that went into an engine.
#[derive(Clone, Debug)]
pub enum Taped {
    /// An input.
    Input(Now, Input),
    /// A command.
    Request(Now, Request),
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    /// The engine.
    pub engine: Engine,
    /// Its store.
    pub disk: Disk,
    /// Commands that the consumer will give, whenever it is chosen to.
    pub script: VecDeque<Request>,
    /// What the consumer was told, across crashes.
    pub events: Vec<Delivery>,
    /// Answers to commands, of this process.
    pub done: Vec<Completion>,
    /// Everything that went into the engine of this process, if it is kept.
    pub tape: Option<Vec<Taped>>,
    /// Confirm every message as soon as it is told.
    pub confirms: bool,
    pub(super) config: Config,
    pub(super) open: BTreeSet<TicketId>,
    /// Confirmations under way.
    pub(super) confirming: Vec<(TicketId, amarula_core::event::DeliveryId)>,
    pub(super) until: Option<Mono>,
    pub(super) run: u32,
    pub(super) link: Option<Link>,
    pub(super) watch: Watch,
}

impl Client {
    pub(super) fn new(config: Config, seed: [u8; 32], now: Now) -> Self {
        Self {
            engine: Engine::new(config.clone(), seed, now),
            disk: Disk::default(),
            script: VecDeque::new(),
            events: Vec::new(),
            done: Vec::new(),
            tape: None,
            confirms: false,
            config,
            open: BTreeSet::new(),
            confirming: Vec::new(),
            until: None,
            run: 0,
            link: None,
            watch: Watch::default(),
        }
    }

    /// Tickets without an answer.
    #[must_use]
    pub fn open_tickets(&self) -> usize {
        self.open.len()
    }

    /// What the engine calls its present connection.
    #[must_use]
    pub fn connection(&self) -> Option<engine::ConnId> {
        self.link.as_ref().map(|link| link.number)
    }

    /// Texts of the messages told, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        use amarula_core::content::Content;
        use amarula_core::event::Event;
        let text = |delivery: &Delivery| match &delivery.event {
            Event::Message(message) => match &message.content {
                Content::Text(text) => Some(text.body.to_string()),
                _ => None,
            },
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    /// Whether the last thing said of the connection is that the backlog is through.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        use amarula_core::event::{Connection, Event};
        let last = self.events.iter().rev().find_map(|delivery| match &delivery.event {
            Event::Connection(connection) => Some(connection),
            _ => None,
        });
        matches!(last, Some(Connection::CaughtUp { .. }))
    }

    /// A new process with a new seed; the disk stays.
    pub(super) fn crash(&mut self, seed: [u8; 32], now: Now) {
        self.engine = Engine::new(self.config.clone(), seed, now);
        self.watch.crash(self.disk.durable());
        self.disk.crash();
        self.done.clear();
        self.open.clear();
        self.confirming.clear();
        self.until = None;
        self.run += 1;
        self.link = None;
        if let Some(tape) = &mut self.tape {
            tape.clear();
        }
    }
}
