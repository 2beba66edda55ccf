//! A client: an engine and what its driver keeps.

use std::collections::VecDeque;

use amarula_core::config::Config;
use amarula_core::engine::command::Completion;
use amarula_core::engine::{ConnId, Engine, Mono, Now};
use amarula_core::event::Delivery;

use super::store::Store;

#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) engine: Engine,
    config: Config,
    pub(super) store: Store,
    /// Arrived and not read yet: the engine is full.
    pub(super) unread: VecDeque<(ConnId, Vec<u8>)>,
    pub(super) events: Vec<Delivery>,
    pub(super) done: Vec<Completion>,
    /// Sending works, as the consumer was told.
    pub(super) open: bool,
    /// When the engine wants to be woken.
    pub(super) until: Option<Mono>,
    /// Counts the processes.
    pub(super) run: u32,
}

impl Client {
    pub(super) fn new(engine: Engine, config: Config) -> Self {
        Self {
            engine,
            config,
            store: Store::default(),
            unread: VecDeque::new(),
            events: Vec::new(),
            done: Vec::new(),
            open: false,
            until: None,
            run: 0,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn wakes(&self) -> Option<Mono> {
        self.until
    }

    pub(super) fn restart(&mut self, seed: [u8; 32], now: Now) {
        self.engine = Engine::new(self.config.clone(), seed, now);
        self.store.crash();
        self.unread.clear();
        self.done.clear();
        self.open = false;
        self.until = None;
        self.run += 1;
    }
}
