//! The life of a connection: open, handshake, log in, end, try again (`protocol/transport.md` §1–§3, §12, §13).

use core::time::Duration;

use bytes::Bytes;
use compact_str::{ToCompactString as _, format_compact};

mod verdict;

use super::client_payload;
use crate::crypto::KeyPair;
use crate::engine::cx::{Cx, Secured, Signal};
use crate::engine::gate::Held;
use crate::engine::timers::Timer;
use crate::engine::{ConnId, Endpoint, OpenError, limits};
use crate::error::{DropCause, EndReason};
use crate::event::{self, Event, Warning};
use crate::store::records::{CachedChain, Link, SignedPreKey};
use crate::wire::cert::Trust;
use crate::wire::frame::{self, FrameDecoder};
use crate::wire::noise::{ClientHandshake, HandshakeError, HandshakeFailure, Pattern};
use crate::wire::{Str, payload};

/// Frames during the handshake are small.
const HANDSHAKE_FRAME: usize = 64 * 1024;

/// Connection state, and what it remembers from one connection to the next.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Connect {
    state: State,
    decoder: FrameDecoder,
    /// Connections asked for so far.
    last: u64,
    /// Tries since the last good login.
    attempt: u32,
    /// Position in the back-off sequence.
    steps: u32,
    /// A rate limit closed the last connection: a stable login does not reset the back-off yet.
    rate_limited: bool,
    /// IK failed once in this process: full handshakes from now on.
    ik_failed: bool,
    /// Connections in a row that ended before the handshake was done.
    early_failures: u32,
    /// `xml-not-well-formed` closes in a row.
    malformed: u32,
    /// Restarts asked by the server in a row, without a login between.
    restarts: u32,
    /// Undecodable nodes on this connection.
    bad_nodes: u32,
}

#[derive(Clone, Debug, Hash)]
enum State {
    /// Not wanted.
    Idle,
    /// Wanted; the account is being read.
    Loading,
    /// Wanted; waiting for [`Timer::Reconnect`].
    Waiting,
    /// The WebSocket is being opened.
    Opening(ConnId),
    /// Our hello is out.
    Handshaking(ConnId, ClientHandshake),
    /// Stanzas flow; the server has not said what it thinks of us.
    Greeting(ConnId),
    /// Logged in, or being paired.
    Up(ConnId),
}

/// What a frame was.
pub(crate) enum Frame {
    /// A stanza's bytes.
    Stanza(Bytes),
    /// Of the handshake, or nothing that can be read.
    Taken,
}

impl Connect {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Idle,
            decoder: FrameDecoder::new(),
            last: 0,
            attempt: 0,
            steps: 0,
            rate_limited: false,
            ik_failed: false,
            early_failures: 0,
            malformed: 0,
            restarts: 0,
            bad_nodes: 0,
        }
    }

    /// Whether the host wants a connection.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Whether this connection was ever asked for.
    pub(crate) fn knows(&self, conn: ConnId) -> bool {
        conn.0 != 0 && conn.0 <= self.last
    }

    // ---- beginning ---------------------------------------------------------------------------------------------

    /// The host wants a connection. Returns whether the account must be read first.
    pub(crate) fn start(&mut self) -> bool {
        let idle = !self.is_wanted();
        if idle {
            self.state = State::Loading;
            (self.attempt, self.steps) = (0, 0);
        }
        idle
    }

    /// The account is there.
    pub(crate) fn loaded(&mut self, cx: &mut Cx) {
        if matches!(self.state, State::Loading) {
            self.open(cx);
        }
    }

    /// The back-off is over, or the host says that the network changed.
    pub(crate) fn retry(&mut self, cx: &mut Cx) {
        if matches!(self.state, State::Waiting) {
            cx.timers.clear(Timer::Reconnect);
            if cx.account().is_some() {
                self.open(cx);
            } else {
                self.state = State::Loading;
            }
        }
    }

    fn open(&mut self, cx: &mut Cx) {
        self.last += 1;
        self.attempt += 1;
        self.bad_nodes = 0;
        self.decoder = FrameDecoder::with_limit(HANDSHAKE_FRAME);
        let conn = ConnId(self.last);
        self.state = State::Opening(conn);
        cx.conn = Some(conn);
        cx.event(Event::Connection(event::Connection::Connecting { attempt: self.attempt }));
        let endpoint = Endpoint { url: cx.config.url.clone(), origin: cx.config.origin.clone() };
        cx.gate.push(Held::Open(conn, endpoint));
        cx.timer_in(Timer::Establish, limits::OPEN_TIMEOUT);
    }

    // ---- inputs ------------------------------------------------------------------------------------------------

    /// The WebSocket stands: our hello goes out.
    pub(crate) fn opened(&mut self, cx: &mut Cx, conn: ConnId) {
        if !matches!(self.state, State::Opening(current) if current == conn) {
            return;
        }
        let Some(handshake) = self.handshake(cx) else {
            cx.signal(Signal::StorageFailed(Str::const_new("the account record is not there")));
            return;
        };
        let routing = cx.cache.get::<Link>(&()).and_then(|link| link.routing.clone());
        let mut bytes = alloc::vec::Vec::with_capacity(256);
        frame::write_intro(&mut bytes, routing.as_deref());
        let written = handshake
            .hello()
            .map_err(|e| e.to_compact_string())
            .and_then(|hello| frame::write_frame(&mut bytes, &hello).map_err(|e| e.to_compact_string()));
        if let Err(what) = written {
            cx.signal(Signal::Drop(DropCause::Handshake(what)));
            return;
        }
        cx.gate.push(Held::Raw(conn, bytes.into()));
        cx.timer_in(Timer::Establish, limits::HANDSHAKE_TIMEOUT);
        self.state = State::Handshaking(conn, handshake);
    }

    fn handshake(&self, cx: &mut Cx) -> Option<ClientHandshake> {
        let ephemeral = KeyPair::generate(&mut cx.rng);
        let account = cx.account()?;
        let link = cx.cache.get::<Link>(&());
        let (noise, payload) = match &account.me {
            Some(me) => (account.noise.clone(), client_payload::login(&cx.config, me, link.map_or(0, |l| l.logins))),
            None => {
                let signed = cx.cache.get::<SignedPreKey>(&account.signed_prekey)?;
                (account.noise.clone(), client_payload::registration(&cx.config, account, &signed.0))
            }
        };
        let now = cx.now.wall.secs();
        let cached =
            link.and_then(|link| link.chain).filter(|chain| (chain.not_before..chain.not_after).contains(&now));
        Some(match cached {
            Some(chain) if cx.config.noise_ik && account.me.is_some() && !self.ik_failed => {
                ClientHandshake::ik(ephemeral, noise, chain.key, payload)
            }
            _ => ClientHandshake::xx(ephemeral, noise, payload),
        })
    }

    /// The WebSocket could not be opened.
    pub(crate) fn open_failed(&mut self, cx: &mut Cx, conn: ConnId, error: OpenError) {
        if !matches!(self.state, State::Opening(current) if current == conn) {
            return;
        }
        cx.conn = None;
        match error {
            OpenError::Config(text) => cx.signal(Signal::End { reason: EndReason::Config(text), wipe: false }),
            OpenError::Status(status) if !matches!(status, 408 | 500 | 501 | 502 | 503 | 504) => {
                let text = format_compact!("the server answers the upgrade with HTTP status {status}");
                cx.signal(Signal::End { reason: EndReason::Config(text), wipe: false });
            }
            error => cx.signal(Signal::Drop(DropCause::Open(error))),
        }
    }

    /// Bytes came.
    pub(crate) fn received(&mut self, cx: &Cx, conn: ConnId, bytes: Bytes) {
        if cx.conn == Some(conn) {
            self.decoder.push(bytes);
        }
    }

    /// Takes the next frame, if a whole one is there. Handshake answers are dealt with inside.
    pub(crate) fn next_frame(&mut self, cx: &mut Cx) -> Option<Frame> {
        if !matches!(self.state, State::Handshaking(..) | State::Greeting(_) | State::Up(_)) || cx.conn.is_none() {
            return None;
        }
        let body = match self.decoder.next_frame() {
            Ok(Some(body)) => body,
            Ok(None) => return None,
            Err(error) => {
                self.give_up(cx, DropCause::Protocol(error.to_compact_string()));
                return None;
            }
        };
        if let State::Handshaking(conn, handshake) = &self.state {
            let (conn, handshake) = (*conn, handshake.clone());
            self.server_hello(cx, conn, handshake, &body);
            return Some(Frame::Taken);
        }
        let Some(secured) = &mut cx.secured else { return None };
        let plaintext = match secured.recv.open(body) {
            Ok(plaintext) => plaintext,
            Err(error) => {
                self.give_up(cx, DropCause::Protocol(error.to_compact_string()));
                return None;
            }
        };
        match payload::unpack(&plaintext, payload::MAX_INFLATED) {
            Ok(stanza) => Some(Frame::Stanza(stanza)),
            Err(error) => {
                self.bad_node(cx, error.to_compact_string());
                Some(Frame::Taken)
            }
        }
    }

    /// A frame was good, what it holds is not: skip it, unless it happens too often.
    pub(crate) fn bad_node(&mut self, cx: &mut Cx, what: Str) {
        self.bad_nodes += 1;
        cx.warn(Warning::BadStanza { what: what.clone() });
        if self.bad_nodes >= limits::BAD_NODES_PER_CONNECTION {
            self.give_up(cx, DropCause::Protocol(what));
        }
    }

    /// Nothing more is read from this connection; the signal ends it.
    fn give_up(&mut self, cx: &mut Cx, cause: DropCause) {
        self.decoder = FrameDecoder::new();
        cx.conn = None;
        cx.signal(Signal::Drop(cause));
    }

    fn server_hello(&mut self, cx: &mut Cx, conn: ConnId, handshake: ClientHandshake, body: &[u8]) {
        let trust = Trust { root: cx.config.root_key, clock_tolerance: cx.config.clock_tolerance.as_secs() };
        let established = match handshake.receive(body, &trust, cx.now.wall.secs()) {
            Ok(established) => established,
            Err(error) => {
                self.state = State::Opening(conn);
                return self.handshake_failed(cx, &error);
            }
        };
        if let Some(reply) = established.reply {
            let mut bytes = alloc::vec::Vec::with_capacity(reply.len() + 3);
            if frame::write_frame(&mut bytes, &reply).is_err() {
                return self.give_up(cx, DropCause::Handshake(Str::const_new("our payload is too large")));
            }
            cx.gate.push(Held::Raw(conn, bytes.into()));
        }
        cx.secured = Some(Secured { id: conn, send: established.send, recv: established.recv });
        self.ik_failed = false;
        self.early_failures = 0;
        if let (Some(chain), true) = (established.chain, cx.me().is_some()) {
            let cached = CachedChain {
                key: chain.server_static(),
                not_before: chain.leaf.not_before.max(chain.intermediate.not_before),
                not_after: chain.leaf.not_after.min(chain.intermediate.not_after),
            };
            update_link(cx, |link| link.chain = Some(cached));
        }
        self.decoder.set_limit(frame::MAX_FRAME_BODY);
        self.state = State::Greeting(conn);
        cx.timer_in(Timer::Establish, limits::LOGIN_TIMEOUT);
        cx.signal(Signal::Secured);
    }

    fn handshake_failed(&mut self, cx: &mut Cx, error: &HandshakeError) {
        if error.counts_against_ik() {
            self.ik_failed = true;
            update_link(cx, |link| link.chain = None);
        }
        let what = error.to_compact_string();
        let cause = match &error.failure {
            HandshakeFailure::Certificate(_) => {
                cx.warn(Warning::Certificate { what: what.clone() });
                // A long back-off: an interceptor gains nothing from many tries, and a broken clock needs a person.
                self.steps = self.steps.max(8);
                DropCause::Certificate(what)
            }
            _ => {
                debug_assert!(matches!(error.pattern, Pattern::Xx | Pattern::Ik | Pattern::XxFallback));
                DropCause::Handshake(what)
            }
        };
        self.give_up(cx, cause);
    }

    /// The peer closed the socket.
    pub(crate) fn closed(&mut self, cx: &mut Cx, conn: ConnId, code: Option<u16>) {
        if cx.conn == Some(conn) {
            cx.conn = None;
            cx.signal(Signal::Drop(DropCause::Closed { code }));
        }
    }

    /// [`Timer::Establish`].
    pub(crate) fn timed_out(&mut self, cx: &mut Cx) {
        let cause = match self.state {
            State::Opening(_) => DropCause::Open(OpenError::Timeout),
            State::Handshaking(..) | State::Greeting(_) => DropCause::HandshakeTimeout,
            _ => return,
        };
        cx.signal(Signal::Drop(cause));
    }

    // ---- what the server says of the connection ------------------------------------------------------------------

    /// The server accepted us, or began a pairing.
    pub(crate) fn greeted(&mut self, cx: &mut Cx) {
        if let State::Greeting(conn) = self.state {
            self.state = State::Up(conn);
            cx.timers.clear(Timer::Establish);
        }
    }

    /// `<success>`: from now on the connection may count as good.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx) {
        self.restarts = 0;
        cx.timer_in(Timer::Stable, limits::STABLE_LOGIN);
        update_link(cx, |link| link.logins = link.logins.wrapping_add(1));
    }

    /// [`Timer::Stable`].
    pub(crate) fn stable(&mut self) {
        // Not at login already: a stanza of ours that is always malformed always comes after it.
        self.malformed = 0;
        if !core::mem::take(&mut self.rate_limited) {
            (self.attempt, self.steps) = (0, 0);
        }
    }

    /// `<xmlstreamend/>`.
    pub(crate) fn stream_end(&mut self, cx: &mut Cx) {
        cx.signal(Signal::Drop(DropCause::StreamEnd));
    }

    // ---- ending ------------------------------------------------------------------------------------------------

    /// Closes what there is. Returns whether there was a connection.
    fn close(&mut self, cx: &mut Cx) -> bool {
        let conn = match self.state {
            State::Opening(conn) | State::Handshaking(conn, _) | State::Greeting(conn) | State::Up(conn) => conn,
            State::Idle | State::Loading | State::Waiting => return false,
        };
        if !matches!(self.state, State::Greeting(_) | State::Up(_)) {
            self.early_failures += 1;
            if self.early_failures >= limits::ROUTING_FAILURES
                && cx.cache.get::<Link>(&()).is_some_and(|link| link.routing.is_some())
            {
                update_link(cx, |link| link.routing = None);
            }
        }
        cx.gate.push(Held::Close(conn));
        cx.conn = None;
        cx.open = false;
        cx.available = false;
        for timer in [Timer::Establish, Timer::Stable, Timer::DeadPeer, Timer::Ping] {
            cx.timers.clear(timer);
        }
        self.decoder = FrameDecoder::new();
        true
    }

    /// Ends the connection; another try follows. Returns whether there was one to end.
    pub(crate) fn dropped(&mut self, cx: &mut Cx, cause: DropCause) -> bool {
        if !self.close(cx) {
            return false;
        }
        let restart = cause == DropCause::RestartRequired && self.restarts < limits::RESTARTS_IN_A_ROW;
        self.restarts += u32::from(restart);
        let wait = if restart { Duration::ZERO } else { self.back_off(cx) };
        if restart {
            self.attempt = 0;
        }
        self.state = State::Waiting;
        cx.timer_in(Timer::Reconnect, wait);
        cx.event(Event::Connection(event::Connection::Dropped { cause, retry_in: wait }));
        true
    }

    /// Ends the session.
    pub(crate) fn ended(&mut self, cx: &mut Cx) {
        self.close(cx);
        cx.timers.clear(Timer::Reconnect);
        self.state = State::Idle;
    }

    /// Storage failed: whatever the state was, read the account again before the next try.
    pub(crate) fn storage_failed(&mut self, cx: &mut Cx, message: &Str) {
        if !self.is_wanted() {
            return;
        }
        if !self.dropped(cx, DropCause::Storage(message.clone())) {
            let wait = self.back_off(cx);
            self.state = State::Waiting;
            cx.timer_in(Timer::Reconnect, wait);
        }
    }

    /// Whether the account has to be read before the connection can go on.
    pub(crate) fn needs_account(&self) -> bool {
        matches!(self.state, State::Loading)
    }

    /// The next wait: Fibonacci seconds, ±10 %, capped (§13).
    fn back_off(&mut self, cx: &mut Cx) -> Duration {
        let (mut a, mut b) = (1u64, 1u64);
        for _ in 0..self.steps.min(32) {
            (a, b) = (b, a + b);
        }
        self.steps = self.steps.saturating_add(1);
        let base = (a * 1000).min(u64::try_from(limits::RECONNECT_CAP.as_millis()).unwrap_or(u64::MAX));
        let jitter = u64::from(cx.rng.below(201));
        Duration::from_millis(base * (900 + jitter) / 1000)
    }
}

/// Changes the link record, making it if it is not there.
pub(crate) fn update_link(cx: &mut Cx, change: impl FnOnce(&mut Link)) {
    let mut link = cx.cache.get::<Link>(&()).cloned().unwrap_or_default();
    change(&mut link);
    cx.cache.put(&(), link);
}
