//! One client of the world: engine, store, and what it has said.

use amarula_core::config::Config;
use amarula_core::content::Content;
use amarula_core::engine::command::ReplyValue;
use amarula_core::engine::{Completion, ConnId as EngineConn, Engine, Output, Ticket};
use amarula_core::error::Failure;
use amarula_core::event::{Delivery, Event};
use amarula_core::message::Message;

use super::WorldStore;
use crate::server::ConnId;
use crate::time::SimTime;

/// A client of a [`super::World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// A client and everything it has told so far.
#[derive(Clone, Debug)]
pub struct Client {
    /// The engine.
    pub engine: Engine,
    /// Its configuration, for its next life.
    pub config: Config,
    /// Its storage.
    pub store: WorldStore,
    /// Everything it told its consumer, in every life.
    pub events: Vec<Delivery>,
    /// Answers to commands of this life.
    pub completions: Vec<Completion>,
    /// Every output but `Idle`, if [`Client::keep_log`] is on.
    pub log: Vec<Output>,
    /// Whether outputs are kept.
    pub keep_log: bool,
    pub(super) conn: Option<(EngineConn, ConnId)>,
    pub(super) wake: Option<SimTime>,
    pub(super) generation: u64,
}

impl Client {
    pub(super) fn new(engine: Engine, config: Config) -> Self {
        Self {
            engine,
            config,
            store: WorldStore::default(),
            events: Vec::new(),
            completions: Vec::new(),
            log: Vec::new(),
            keep_log: false,
            conn: None,
            wake: None,
            generation: 0,
        }
    }

    pub(super) fn note(&mut self, output: &Output) {
        if self.keep_log && !matches!(output, Output::Idle { .. }) {
            self.log.push(output.clone());
        }
    }

    /// The server's name for the connection in use.
    #[must_use]
    pub fn server_conn(&self) -> Option<ConnId> {
        self.conn.map(|(_, conn)| conn)
    }

    /// The answer to a command, once it came.
    #[must_use]
    pub fn answer<R: ReplyValue>(&self, ticket: Ticket<R>) -> Option<Result<R, Failure>> {
        self.completions.iter().find_map(|completion| completion.take(ticket))
    }

    /// All events, without their delivery ids.
    pub fn heard(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|delivery| &delivery.event)
    }

    /// All messages it was given.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.heard().filter_map(|event| match event {
            Event::Message(message) => Some(&**message),
            _ => None,
        })
    }

    /// The texts of all messages it was given.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.messages()
            .filter_map(|message| match &message.content {
                Content::Text(text) => Some(text.body.to_string()),
                _ => None,
            })
            .collect()
    }

    /// The newest QR text it showed.
    #[must_use]
    pub fn qr(&self) -> Option<String> {
        use amarula_core::event::Pairing;
        self.heard().collect::<Vec<_>>().into_iter().rev().find_map(|event| match event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
            _ => None,
        })
    }
}
