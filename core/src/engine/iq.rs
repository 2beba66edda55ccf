//! Queries to the server: ids, open questions, answers.

use alloc::collections::BTreeMap;

use compact_str::format_compact;

use super::clock::Mono;
use super::limits;
use super::timers::{Timer, Timers};
use crate::flows::IqOwner;
use crate::wire::{Jid, Node, NodeRef, Str};

/// A query to be sent: the parts that differ.
#[derive(Clone, Debug)]
pub(crate) struct Iq {
    /// `get` or `set`.
    pub(crate) kind: &'static str,
    /// The `xmlns` attribute.
    pub(crate) xmlns: &'static str,
    /// Usually the server.
    pub(crate) to: Jid,
    /// What is asked.
    pub(crate) content: Option<Node>,
}

impl Iq {
    /// A `get` to the server.
    pub(crate) fn get(xmlns: &'static str, content: impl Into<Option<Node>>) -> Self {
        Self { kind: "get", xmlns, to: Jid::server(), content: content.into() }
    }

    /// A `set` to the server.
    pub(crate) fn set(xmlns: &'static str, content: impl Into<Option<Node>>) -> Self {
        Self { kind: "set", xmlns, to: Jid::server(), content: content.into() }
    }
}

/// How a query ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IqAnswer<'a> {
    /// `type="result"`: the whole stanza.
    Result(NodeRef<'a>),
    /// `type="error"`.
    Error(&'a IqError),
    /// No answer in time.
    Timeout,
    /// The connection ended first.
    Disconnected,
}

/// The server's refusal (`protocol/transport.md` §8).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IqError {
    pub(crate) code: u32,
    pub(crate) text: Str,
    pub(crate) backoff: Option<u32>,
}

impl IqError {
    pub(crate) fn of(iq: NodeRef<'_>) -> Self {
        let error = iq.child("error");
        Self {
            code: error.and_then(|e| e.u32("code")).unwrap_or(0),
            text: error.and_then(|e| e.text("text")).unwrap_or_default(),
            backoff: error.and_then(|e| e.u32("backoff")),
        }
    }
}

/// Open queries.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Iqs {
    prefix: (u8, u8),
    last: u64,
    open: BTreeMap<u64, IqOwner>,
}

impl Iqs {
    pub(crate) fn new(prefix: [u8; 2]) -> Self {
        Self { prefix: (prefix[0], prefix[1]), last: 0, open: BTreeMap::new() }
    }

    /// A stanza id that was never used before.
    pub(crate) fn next_id(&mut self) -> Str {
        self.last += 1;
        format_compact!("{}.{}-{}", self.prefix.0, self.prefix.1, self.last)
    }

    /// Makes the stanza of a query and notes who wants the answer.
    pub(crate) fn ask(&mut self, now: Mono, timers: &mut Timers, iq: Iq, owner: IqOwner) -> Node {
        let id = self.next_id();
        self.open.insert(self.last, owner);
        timers.set(Timer::Iq(self.last), now + limits::IQ_TIMEOUT);
        Node::new("iq")
            .attr("id", id)
            .attr("xmlns", iq.xmlns)
            .attr("type", iq.kind)
            .attr("to", iq.to)
            .child_opt(iq.content)
    }

    /// The number of the newest query.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The owner of the query with this id, which is closed with that.
    pub(crate) fn answered(&mut self, timers: &mut Timers, id: &str) -> Option<IqOwner> {
        let number = self.number(id)?;
        let owner = self.open.remove(&number)?;
        timers.clear(Timer::Iq(number));
        Some(owner)
    }

    /// The owner of a query whose time is up.
    pub(crate) fn expired(&mut self, number: u64) -> Option<IqOwner> {
        self.open.remove(&number)
    }

    /// The connection ended: nothing open will be answered.
    pub(crate) fn abandon(&mut self, timers: &mut Timers) -> impl Iterator<Item = IqOwner> + use<> {
        let open = core::mem::take(&mut self.open);
        open.keys().for_each(|number| timers.clear(Timer::Iq(*number)));
        open.into_values()
    }

    /// Whether any query is open.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (prefix, number) = id.split_once('-')?;
        let (a, b) = prefix.split_once('.')?;
        if a.parse() != Ok(self.prefix.0) || b.parse() != Ok(self.prefix.1) {
            return None;
        }
        number.parse().ok()
    }
}
