//! The machine: bytes, time and storage results in; frames, storage operations and events out.

pub(crate) mod back_off;
pub mod clock;
pub mod command;
pub(crate) mod cx;
mod digest;
pub(crate) mod facts;
pub(crate) mod gate;
mod inbound;
pub mod input;
pub(crate) mod iq;
pub mod limits;
pub mod output;
pub mod recording;
mod recovery;
mod router;
pub(crate) mod runner;
mod submit;
pub(crate) mod timers;

pub use clock::{Mono, Now, Wall};
pub use command::{Command, Completion, Rejected, Reply, Request, Ticket, TicketId};
pub use input::{CommitSeq, ConnId, HttpError, HttpId, HttpResponse, Input, LoadId, Loaded, OpenError, StorageError};
pub use limits::Limits;
pub use output::{Endpoint, HttpRequest, Load, Output};

use compact_str::ToCompactString as _;

use self::cx::{Cx, Signal};
use self::inbound::{Handlers, Inbound};
use self::runner::Runner;
use self::timers::Timer;
use crate::config::Config;
use crate::error::{DropCause, EndReason, Misuse};
use crate::event::{self, Event, Warning};
use crate::flows::connect::{Connect, Frame};
use crate::flows::keepalive::Keepalive;
use crate::flows::login::Login;
use crate::flows::logout::LogoutFlow;
use crate::flows::pair::Pair;
use crate::flows::prekeys::Prekeys;
use crate::flows::session::{self, Session};
use crate::flows::sweep::Sweep;
use crate::store::LoadOutcome;

/// Whether the driver should go on reading from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Appetite {
    /// Feed on.
    Hungry,
    /// Stop reading the socket (never stop draining outputs) until outputs have been carried out.
    Full,
}

/// One account's protocol engine. See the crate documentation for the driver's loop.
#[derive(Clone, Hash)]
pub struct Engine {
    cx: Cx,
    connect: Connect,
    session: Session,
    login: Login,
    keepalive: Keepalive,
    prekeys: Prekeys,
    pair: Pair,
    logout: LogoutFlow,
    sweep: Sweep,
    inbound: Inbound,
    runner: Runner,
    /// The driver does not read from the socket.
    paused: bool,
    last_ticket: u64,
    shutdown: Option<TicketId>,
    finished: bool,
}

/// Keys and messages are inside: only what names the state is shown.
impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("wanted", &self.connect.is_wanted())
            .field("open", &self.cx.open)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine that does nothing yet. `seed` is its only randomness: 32 fresh bytes from the operating system, new for
    /// every engine. Two engines of one profile and one seed would repeat keys.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Self {
        Self {
            cx: Cx::new(config, seed, now),
            connect: Connect::new(),
            session: Session::default(),
            login: Login::default(),
            keepalive: Keepalive::default(),
            prekeys: Prekeys::default(),
            pair: Pair::default(),
            logout: LogoutFlow::default(),
            sweep: Sweep::default(),
            inbound: Inbound::default(),
            runner: Runner::default(),
            paused: false,
            last_ticket: 0,
            shutdown: None,
            finished: false,
        }
    }

    /// Takes one input; all work happens here.
    ///
    /// # Errors
    /// [`Misuse`] for what only a programmer's mistake can cause; then nothing has changed.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), Misuse> {
        self.check(&input)?;
        self.advance(now);
        match input {
            Input::Tick | Input::HttpDone { .. } => {}
            Input::Opened { conn } => self.connect.opened(&mut self.cx, conn),
            Input::OpenFailed { conn, error } => self.connect.open_failed(&mut self.cx, conn, error),
            Input::Received { conn, bytes } => {
                if self.cx.conn == Some(conn) {
                    self.keepalive.heard(&mut self.cx);
                }
                self.connect.received(&self.cx, conn, bytes);
                self.read();
            }
            Input::Closed { conn, code } => self.connect.closed(&mut self.cx, conn, code),
            Input::Loaded { id, result } => self.loaded(id, result),
            Input::Committed { upto } => self.cx.cache.committed(upto),
            Input::CommitFailed { seq, error } => {
                // Commits that were given up when storage failed before are answered late: once is enough.
                if seq > self.cx.cache.durable() {
                    // Everything before it is durable, and what waited for that is true.
                    self.cx.cache.committed(CommitSeq(seq.0 - 1));
                    self.close_transaction();
                    self.commit_failed(&error);
                }
            }
            Input::NetworkChanged => self.reconnect(),
            Input::Reading { paused } => self.paused = paused,
        }
        self.settle();
        Ok(())
    }

    /// The next thing to do. Only pops; the last one is always [`Output::Idle`].
    pub fn poll_output(&mut self) -> Output {
        self.cx.gate.pop().unwrap_or_else(|| {
            let next = self.cx.timers.next();
            Output::Idle {
                until: next.map(|(at, _)| at),
                reason: next.map_or("nothing to wait for", |(_, t)| t.name()),
            }
        })
    }

    /// Whether to feed more bytes.
    #[must_use]
    pub fn appetite(&self) -> Appetite {
        let limits = &self.cx.config.limits;
        let full = self.inbound.len() >= limits.inbound_queue
            || self.cx.gate.held_len() >= limits.gated_outputs
            || self.inbound.bytes() >= limits.inbound_bytes
            || self.cx.gate.unconfirmed() >= limits.unconfirmed;
        if full { Appetite::Full } else { Appetite::Hungry }
    }

    /// The engine was shut down and everything is answered: the driver may end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished && self.cx.gate.is_empty()
    }

    /// A fingerprint of the whole state, for exploration and replay. Equal states have equal digests.
    #[must_use]
    pub fn state_digest(&self) -> u128 {
        digest::of(self)
    }

    /// Bytes of records held in memory.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.cx.cache.used()
    }

    // ---- one input -----------------------------------------------------------------------------------------------

    fn check(&self, input: &Input) -> Result<(), Misuse> {
        let known = |conn: &ConnId| if self.connect.knows(*conn) { Ok(()) } else { Err(Misuse::UnknownConnection) };
        match input {
            Input::Opened { conn }
            | Input::OpenFailed { conn, .. }
            | Input::Received { conn, .. }
            | Input::Closed { conn, .. } => known(conn),
            Input::Loaded { id, result } => self.cx.cache.check_answer(*id, result.as_ref().ok()),
            Input::Committed { upto: seq } | Input::CommitFailed { seq, .. } => {
                if *seq > self.cx.cache.last_commit() {
                    Err(Misuse::UnknownCommit)
                } else {
                    Ok(())
                }
            }
            Input::HttpDone { .. } => Err(Misuse::UnknownHttp),
            Input::Tick | Input::NetworkChanged | Input::Reading { .. } => Ok(()),
        }
    }

    fn advance(&mut self, now: Now) {
        self.cx.now = Now { mono: now.mono.max(self.cx.now.mono), wall: now.wall };
    }

    /// Takes every whole frame. Each is dealt with, and its transaction closed, before the next is looked at: how the bytes
    /// were cut into inputs makes no difference to anything.
    fn read(&mut self) {
        while let Some(frame) = self.connect.next_frame(&mut self.cx) {
            if let Frame::Stanza(stanza) = frame {
                self.route(stanza);
            }
            self.work();
            self.close_transaction();
        }
    }

    fn loaded(&mut self, id: LoadId, result: Result<Loaded, StorageError>) {
        let answer = match result {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.cx.warn(Warning::StorageFailed { message: error.message.clone() });
                if !error.retryable {
                    self.cx.signal(Signal::End { reason: EndReason::Storage(error.message), wipe: false });
                }
                None
            }
        };
        match self.cx.cache.loaded(id, answer) {
            LoadOutcome::Records => {
                for namespace in self.cx.cache.take_corrupt() {
                    session::corrupt_record(&mut self.cx, namespace);
                }
                // The end of a session that cannot be read comes before anything built on it.
                self.signals();
                if self.connect.is_wanted() {
                    self.session.progress(&mut self.cx);
                }
                self.inbound.wake();
                self.prekeys.records_came(&mut self.cx);
                self.runner.records_came(&mut self.cx);
            }
            LoadOutcome::Range(id, rows) => {
                self.sweep.range(&mut self.cx, id, rows.as_deref());
                self.session.range(&mut self.cx, id, rows);
            }
        }
    }

    /// Does everything that the input made possible, then closes the transaction.
    fn settle(&mut self) {
        while let Some(timer) = self.cx.timers.expired(self.cx.now.mono) {
            self.fire(timer);
            self.signals();
        }
        self.work();
        self.close_transaction();
    }

    /// Everything that can be done without another input.
    fn work(&mut self) {
        loop {
            self.signals();
            let mut handlers = Handlers {
                prekeys: &mut self.prekeys,
                pair: &mut self.pair,
                runner: &mut self.runner,
                login: &mut self.login,
            };
            let inbound = self.inbound.run(&mut self.cx, &mut handlers);
            let outbound = self.runner.run(&mut self.cx);
            if !inbound && !outbound && self.cx.signals.is_empty() {
                break;
            }
        }
    }

    fn close_transaction(&mut self) {
        loop {
            if let Some((seq, batch)) = self.cx.cache.take_batch() {
                self.cx.gate.push_now(Output::Commit(seq, batch));
            }
            self.cx.gate.seal(self.cx.cache.last_commit());
            let Cx { gate, cache, secured, conn, .. } = &mut self.cx;
            let link = secured.as_mut().map(|secured| (secured.id, &mut secured.send));
            match gate.release(cache.durable(), link, *conn) {
                Ok(sent) => {
                    if sent {
                        self.keepalive.sent(&mut self.cx);
                    }
                    break;
                }
                Err(error) => {
                    self.cx.signal(Signal::Drop(DropCause::Protocol(error.to_compact_string())));
                    self.signals();
                }
            }
        }
        for (id, load) in self.cx.cache.take_loads() {
            self.cx.gate.push_now(Output::Load(id, load));
        }
        self.cx.cache.evict();
        let full = self.paused || self.appetite() == Appetite::Full;
        self.keepalive.rest(&mut self.cx, full);
        if self.shutdown.is_some() && self.cx.cache.durable() == self.cx.cache.last_commit() {
            self.shutdown = None;
            self.cx.timers = timers::Timers::default();
            self.finished = true;
        }
    }

    fn reconnect(&mut self) {
        self.connect.retry(&mut self.cx);
        if self.connect.needs_account() {
            self.session.begin(&mut self.cx);
        }
    }

    fn fire(&mut self, timer: Timer) {
        let cx = &mut self.cx;
        match timer {
            Timer::Reconnect => self.reconnect(),
            Timer::Establish => self.connect.timed_out(cx),
            Timer::Stable => self.connect.stable(),
            Timer::Ping => self.keepalive.ping(cx),
            Timer::DeadPeer => cx.signal(Signal::Drop(DropCause::Dead)),
            Timer::Qr => self.pair.next_qr(cx),
            Timer::PairCode => self.pair.code_expired(cx),
            Timer::PairRestart => self.pair.restart(cx),
            Timer::Activate => self.login.activate(cx),
            Timer::OfflineBatch => self.login.next_batch(cx),
            Timer::OfflineEnd => self.login.offline_timeout(cx),
            Timer::PrekeyUpload => self.prekeys.upload(cx),
            Timer::PrekeyRotation => self.prekeys.rotate(cx),
            Timer::Sweep => self.sweep.begin(cx),
            Timer::Logout => self.logout.timed_out(cx),
            Timer::Shutdown => self.force_shutdown(),
            Timer::Iq(number) => {
                if let Some(owner) = cx.iqs.expired(number) {
                    self.answer(owner, iq::IqAnswer::Timeout);
                }
            }
            Timer::Flow(flow) => self.runner.timed_out(cx, flow),
        }
    }

    // ---- what flows tell each other --------------------------------------------------------------------------------

    fn signals(&mut self) {
        while let Some(signal) = self.cx.signals.pop_front() {
            let cx = &mut self.cx;
            match signal {
                Signal::Loaded => {
                    let unsent = self.session.take_unsent();
                    self.runner.restore(cx, unsent);
                    self.prekeys.loaded(cx);
                    self.connect.loaded(cx);
                }
                Signal::Secured => self.keepalive.start(cx),
                Signal::LoggedIn => {
                    self.connect.greeted(cx);
                    self.connect.logged_in(cx);
                    self.login.begin(cx, &mut self.prekeys);
                }
                Signal::Opened => {
                    cx.open = true;
                    cx.event(Event::Connection(event::Connection::Open));
                    self.runner.opened(cx);
                }
                Signal::CaughtUp => {
                    self.prekeys.caught_up(cx);
                    self.sweep.begin(cx);
                }
                Signal::Drop(cause) => {
                    // What was said before the end may still leave.
                    self.close_transaction();
                    let cx = &mut self.cx;
                    let cause = self.pair.drop_cause(cause);
                    if self.connect.dropped(cx, cause) {
                        self.down();
                    }
                }
                Signal::End { reason, wipe } => {
                    let reason = self.logout.end_reason(reason);
                    self.end(&reason, wipe);
                }
                Signal::Greeted => self.connect.greeted(cx),
                Signal::StorageFailed(message) => self.read_failed(&message),
            }
        }
    }

    fn answer(&mut self, owner: crate::flows::IqOwner, answer: iq::IqAnswer<'_>) {
        use crate::flows::IqOwner;
        let cx = &mut self.cx;
        match owner {
            IqOwner::Login(step) => self.login.answered(cx, step, answer),
            IqOwner::Prekeys(ask) => self.prekeys.answered(cx, ask, answer),
            IqOwner::PairCode(ask) => self.pair.answered(cx, ask, answer),
            IqOwner::Ping => self.keepalive.answered(cx, answer),
            IqOwner::Facts(queries) => self.runner.answered(cx, queries, answer),
            IqOwner::Logout => self.logout.answered(cx, answer),
            IqOwner::Nobody => {}
        }
    }
}
