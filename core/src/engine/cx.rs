//! What every flow may use: time, randomness, records, the way out.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::clock::{Mono, Now, Wall};
use super::command::{Completion, Reply, TicketId};
use super::gate::{Gate, Held, LENGTH_BYTES};
use super::input::ConnId;
use super::iq::{Iq, Iqs};
use super::timers::{Timer, Timers};
use crate::config::Config;
use crate::crypto::Rng;
use crate::crypto::aead::TAG_LEN;
use crate::error::{DropCause, EndReason, Failure};
use crate::event::{Delivery, DeliveryId, Event, Warning};
use crate::flows::IqOwner;
use crate::flows::retry::Retries;
use crate::store::Cache;
use crate::store::records::{Account, Me};
use crate::wire::frame::MAX_FRAME_BODY;
use crate::wire::noise::{RecvCipher, SendCipher};
use crate::wire::{EncodeError, Jid, Node, Str, payload};

/// Something that happened in one flow and matters to others. Handled in order, before the input is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    /// The account record is in memory (new or old): the session can begin.
    Loaded,
    /// The handshake is done: stanzas can be sent.
    Secured,
    /// `<success>` came.
    LoggedIn,
    /// The server has made us active: sending works.
    Opened,
    /// The backlog is through.
    CaughtUp,
    /// The connection is of no more use: close it, and try again as the cause asks.
    Drop(DropCause),
    /// The session is over: close, and do not try again. `wipe`: the credentials are dead.
    End {
        /// Why.
        reason: EndReason,
        /// Whether the credentials are dead.
        wipe: bool,
    },
    /// pair-device came: an unpaired connection stands.
    Greeted,
    /// Records needed now could not be read: start over from what is durable.
    StorageFailed(Str),
}

/// A secured connection.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Secured {
    pub(crate) id: ConnId,
    pub(crate) send: SendCipher,
    pub(crate) recv: RecvCipher,
}

/// The engine's shared services.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Cx {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) cache: Cache,
    pub(crate) gate: Gate,
    pub(crate) timers: Timers,
    pub(crate) iqs: Iqs,
    pub(crate) signals: VecDeque<Signal>,
    /// The connection in use, from its opening on.
    pub(crate) conn: Option<ConnId>,
    /// The connection in use, from the end of its handshake on.
    pub(crate) secured: Option<Secured>,
    /// Sending works: logged in and active.
    pub(crate) open: bool,
    /// We show ourselves as online.
    pub(crate) available: bool,
    /// Server time minus our wall clock, milliseconds.
    pub(crate) clock_offset: i64,
    /// The last session id told (`<unified_session>`).
    pub(crate) unified_session: u64,
    /// The newest inbox entry.
    pub(crate) last_delivery: DeliveryId,
    /// Confirmed while the inbox is being read, which may still show them.
    pub(crate) confirmed: BTreeSet<DeliveryId>,
    /// The newest place in the outbox.
    pub(crate) last_place: u64,
    /// How often resends were asked and given.
    pub(crate) retries: Retries,
    /// Commands without an answer.
    pub(crate) tickets: BTreeSet<TicketId>,
}

impl Cx {
    pub(crate) fn new(config: Config, seed: [u8; 32], now: Now) -> Self {
        let mut rng = Rng::from_seed(seed);
        let iqs = Iqs::new(rng.bytes());
        let cache = Cache::new(config.limits.cache_bytes);
        Self {
            config,
            now,
            rng,
            cache,
            gate: Gate::default(),
            timers: Timers::default(),
            iqs,
            signals: VecDeque::new(),
            conn: None,
            secured: None,
            open: false,
            available: false,
            clock_offset: 0,
            unified_session: 0,
            last_delivery: DeliveryId(0),
            confirmed: BTreeSet::new(),
            last_place: 0,
            retries: Retries::default(),
            tickets: BTreeSet::new(),
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------

    /// Sets or moves a timer.
    pub(crate) fn timer_in(&mut self, timer: Timer, after: Duration) {
        self.timers.set_in(self.now.mono, timer, after);
    }

    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    /// The present by the server's clock.
    pub(crate) fn server_time(&self) -> Wall {
        Wall(self.now.wall.0.saturating_add_signed(self.clock_offset))
    }

    /// The server named the present.
    pub(crate) fn learn_server_time(&mut self, secs: u64) {
        let server = i64::try_from(Wall::from_secs(secs).0).unwrap_or(i64::MAX);
        let local = i64::try_from(self.now.wall.0).unwrap_or(i64::MAX);
        self.clock_offset = server.saturating_sub(local);
    }

    // ---- the account -------------------------------------------------------------------------------------------

    /// The account record. There from the start of a session to its end.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.cache.get::<Account>(&())
    }

    /// The linked account.
    pub(crate) fn me(&self) -> Option<&Me> {
        self.account().and_then(|account| account.me.as_ref())
    }

    /// Changes the account record.
    pub(crate) fn update_account(&mut self, change: impl FnOnce(&mut Account)) {
        let _ = self.cache.update::<Account, (), core::convert::Infallible>(&(), |account| {
            change(account);
            Ok(())
        });
    }

    // ---- out ---------------------------------------------------------------------------------------------------

    /// Sends a stanza on the connection in use. Without one it goes nowhere: what is owed is owed again later.
    pub(crate) fn send(&mut self, node: &Node) {
        match encode_frame(node) {
            Ok(frame) => self.send_frame(frame),
            Err(error) => self.warn(Warning::BadStanza { what: compact_str::format_compact!("ours: {error}") }),
        }
    }

    /// Sends an encoded stanza (see [`encode_frame`]).
    pub(crate) fn send_frame(&mut self, frame: Vec<u8>) {
        if let Some(secured) = &self.secured {
            self.gate.push(Held::Frame(secured.id, frame));
        }
    }

    /// Sends a query.
    pub(crate) fn ask(&mut self, iq: Iq, owner: IqOwner) {
        let node = self.iqs.ask(self.now.mono, &mut self.timers, iq, owner);
        self.send(&node);
    }

    /// Sends a query that is given up after `timeout` instead of the usual time.
    pub(crate) fn ask_within(&mut self, iq: Iq, owner: IqOwner, timeout: Duration) {
        self.ask(iq, owner);
        self.timers.set(Timer::Iq(self.iqs.last()), self.now.mono + timeout);
    }

    /// Sends a query with several children.
    pub(crate) fn ask_children(&mut self, iq: Iq, children: impl IntoIterator<Item = Node>, owner: IqOwner) {
        let node = self.iqs.ask(self.now.mono, &mut self.timers, iq, owner);
        self.send(&node.children(children));
    }

    /// Tells the consumer, at most once.
    pub(crate) fn event(&mut self, event: Event) {
        self.gate.push(Held::Event(Delivery { id: None, event }));
    }

    /// Tells the operator.
    pub(crate) fn warn(&mut self, warning: Warning) {
        self.event(Event::Warning(warning));
    }

    /// Answers a command, unless it was answered before (by a cancel).
    pub(crate) fn done(&mut self, ticket: impl Into<Option<TicketId>>, result: Result<Reply, Failure>) {
        if let Some(ticket) = ticket.into()
            && self.tickets.remove(&ticket)
        {
            self.gate.push(Held::Done(Completion { ticket, result }));
        }
    }

    /// Tells other flows.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signals.push_back(signal);
    }

    /// A number for the next inbox entry: above every earlier one, also of earlier runs.
    pub(crate) fn next_delivery(&mut self) -> DeliveryId {
        let next = self.last_delivery.0.saturating_add(1);
        self.last_delivery = DeliveryId(next.max(self.now.wall.0 << 12));
        self.last_delivery
    }

    /// A place in the outbox behind every earlier one, also of earlier runs.
    pub(crate) fn next_place(&mut self) -> u64 {
        self.last_place = self.last_place.saturating_add(1).max(self.now.wall.0 << 12);
        self.last_place
    }

    /// Own phone-number JID with device, for the `from` of acks.
    pub(crate) fn own_device(&self) -> Option<Jid> {
        self.me().map(|me| me.pn.clone())
    }
}

/// A stanza as the gate takes it: room for the length, flag byte, node bytes.
pub(crate) fn encode_frame(node: &Node) -> Result<Vec<u8>, EncodeError> {
    // Room for the tag too, so that sealing in place does not move the frame.
    let mut frame = Vec::with_capacity(512);
    frame.resize(LENGTH_BYTES, 0);
    payload::pack(node, &mut frame)?;
    if frame.len() - LENGTH_BYTES + TAG_LEN > MAX_FRAME_BODY {
        return Err(EncodeError::TooLong);
    }
    Ok(frame)
}
