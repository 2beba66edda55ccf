//! The phone of an account: device 0. It lives inside the server and talks to it without a socket.

mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amarula_core::wire::{Jid, Node};

use crate::signal::Endpoint;
use crate::time::SimTime;

/// A message the phone decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When it arrived.
    pub at: SimTime,
    /// The sending device, as the stanza named it.
    pub from: Jid,
    /// The chat: the sender, the group, or for an own companion's copy the recipient.
    pub chat: Jid,
    /// Stanza id.
    pub id: String,
    /// Whether it is a copy of what an own companion sent.
    pub from_me: bool,
    /// Whether it came as `category="peer"`.
    pub peer: bool,
    /// Encoded `Message`, the wrapper of an own copy removed.
    pub message: Vec<u8>,
}

impl Received {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        crate::proto::text_of(&self.message)
    }
}

/// A receipt the phone got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptSeen {
    /// When it arrived.
    pub at: SimTime,
    /// From whom, as the stanza named it.
    pub from: Jid,
    /// Of which messages.
    pub ids: Vec<String>,
    /// Its type; empty for a delivery.
    pub kind: String,
    /// In a group: whose.
    pub participant: Option<Jid>,
}

/// What a phone sent, to answer retries.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) chat: Jid,
    pub(crate) message: Vec<u8>,
    pub(crate) kind: String,
    pub(crate) resends: BTreeMap<Jid, u64>,
}

/// A phone.
#[derive(Clone, Debug)]
pub struct Phone {
    pub(crate) endpoint: Endpoint,
    raw_id: u32,
    next_key_index: u32,
    name: String,
    available: bool,
    pub(crate) online: bool,
    pub(crate) auto_receipts: bool,
    pub(crate) pending: VecDeque<Node>,
    pub(crate) inbox: Vec<Received>,
    pub(crate) receipts: Vec<ReceiptSeen>,
    pub(crate) chatstates: Vec<Node>,
    pub(crate) sent: BTreeMap<String, Sent>,
    pub(crate) handled: BTreeSet<(String, Jid)>,
    pub(crate) retries: BTreeMap<(String, Jid), u64>,
    pub(crate) refuse_next: u32,
    pub(crate) skdm_sent: BTreeSet<(String, String, u16)>,
}

impl Phone {
    pub(crate) fn new(endpoint: Endpoint, raw_id: u32) -> Self {
        Self {
            endpoint,
            raw_id,
            next_key_index: 1,
            name: "Phone".to_owned(),
            available: true,
            online: true,
            auto_receipts: true,
            pending: VecDeque::new(),
            inbox: Vec::new(),
            receipts: Vec::new(),
            chatstates: Vec::new(),
            sent: BTreeMap::new(),
            handled: BTreeSet::new(),
            retries: BTreeMap::new(),
            refuse_next: 0,
            skdm_sent: BTreeSet::new(),
        }
    }

    pub(crate) fn reregister(&mut self, endpoint: Endpoint, raw_id: u32) {
        let name = self.name.clone();
        *self = Self::new(endpoint, raw_id);
        self.name = name;
    }

    /// Its Signal device.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Constant of the account's registration.
    #[must_use]
    pub fn raw_id(&self) -> u32 {
        self.raw_id
    }

    /// The newest key index given out.
    #[must_use]
    pub fn current_key_index(&self) -> u32 {
        self.next_key_index - 1
    }

    pub(crate) fn take_key_index(&mut self) -> u32 {
        self.next_key_index += 1;
        self.next_key_index - 1
    }

    /// Push name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes the push name.
    pub fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Whether its owner is seen as online.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.available && self.online
    }

    /// Whether delivery receipts are sent by themselves (they are, unless switched off).
    pub fn set_auto_receipts(&mut self, on: bool) {
        self.auto_receipts = on;
    }

    /// Pretend not to be able to decrypt the next `n` messages: they are answered with retry receipts.
    pub fn refuse_next(&mut self, n: u32) {
        self.refuse_next = n;
    }

    /// Messages it decrypted, in order of arrival.
    #[must_use]
    pub fn inbox(&self) -> &[Received] {
        &self.inbox
    }

    /// Receipts it got.
    #[must_use]
    pub fn receipts(&self) -> &[ReceiptSeen] {
        &self.receipts
    }

    /// Chat states it got.
    #[must_use]
    pub fn chatstates(&self) -> &[Node] {
        &self.chatstates
    }

    /// Texts it got, for short assertions.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.inbox.iter().filter_map(Received::text).collect()
    }
}
