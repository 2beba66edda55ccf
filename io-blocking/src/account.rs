//! One account on a reactor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use amarula_core::engine::limits::OPEN_TIMEOUT;
use amarula_core::engine::{ConnId, Endpoint, HttpId, HttpRequest, Input, OpenError};
use amarula_io::pilot::{Act, Pilot};
use amarula_io::port::Post;
use amarula_io::setup::Network;
use amarula_io::telemetry;
use mio::{Registry, Token};

use crate::dial;
use crate::http::Http;
use crate::latch::Guard;
use crate::reactor::Address;
use crate::socket::{Lost, Socket};
use crate::workers::Workers;

/// Messages that one account may take before others have their turn.
const TURN: usize = 32;

/// What can happen to an account.
pub(crate) enum Wake {
    Post(Post),
    Opened(ConnId, Result<Box<Socket>, OpenError>),
}

enum Conn {
    /// Set to tell the worker that nobody waits any more.
    Opening(Arc<AtomicBool>),
    Open(Box<Socket>),
}

/// How a turn ended.
pub(crate) enum Turn {
    /// There is more to do: after the others' turns.
    More,
    /// Nothing to do until something happens or this moment.
    Sleep(Option<Instant>),
    /// Over.
    Finished,
}

pub(crate) struct Account {
    pilot: Pilot,
    network: Arc<Network>,
    address: Address,
    workers: Workers,
    /// One, or none, in all practice.
    conns: Vec<(ConnId, Conn)>,
    /// Connections saying goodbye.
    goodbyes: Vec<Socket>,
    http: Option<Http>,
    ending: bool,
    span: tracing::Span,
    alive: Guard,
}

impl Account {
    pub(crate) fn new(pilot: Pilot, network: Arc<Network>, address: Address, workers: Workers, alive: Guard) -> Self {
        let span = tracing::Span::current();
        Self {
            pilot,
            network,
            address,
            workers,
            conns: Vec::new(),
            goodbyes: Vec::new(),
            http: None,
            ending: false,
            span,
            alive,
        }
    }

    /// Something changed at one of its sockets.
    pub(crate) fn changed(&mut self) {
        for (_, conn) in &mut self.conns {
            if let Conn::Open(socket) = conn {
                socket.changed();
            }
        }
        self.goodbyes.iter_mut().for_each(Socket::changed);
    }

    /// Takes what happened. A turn must follow.
    pub(crate) fn take(&mut self, wake: Wake, registry: &Registry) {
        let _in = self.span.clone().entered();
        match wake {
            // Answers are dropped, which tells whoever waits.
            Wake::Post(_) if self.ending => {}
            Wake::Post(post) => {
                if self.pilot.post(post) {
                    tracing::debug!("the last handle is gone");
                    self.ending = true;
                }
            }
            Wake::Opened(conn, result) => self.opened(conn, result, registry),
        }
    }

    fn opened(&mut self, conn: ConnId, result: Result<Box<Socket>, OpenError>, registry: &Registry) {
        // One that was closed meanwhile is not there any more.
        let Some((_, slot)) = self.conns.iter_mut().find(|(id, _)| *id == conn) else { return };
        let registered = result.and_then(|mut socket| {
            let token = Token(self.address.account());
            socket
                .register(registry, token)
                .map(|()| socket)
                .map_err(|error| OpenError::Network(error.to_string().into()))
        });
        match registered {
            Ok(socket) => {
                *slot = Conn::Open(socket);
                telemetry::opened();
                self.pilot.input(Input::Opened { conn });
            }
            Err(error) => {
                telemetry::open_failed(&error);
                self.forget(conn);
                self.pilot.input(Input::OpenFailed { conn, error });
            }
        }
    }

    /// Does what there is to do.
    pub(crate) fn turn(&mut self, registry: &Registry) -> Turn {
        let _in = self.span.clone().entered();
        let mut until = None;
        let mut more = false;
        if !self.ending {
            more = true;
            for _ in 0..TURN {
                until = self.carry_out();
                self.ending = self.pilot.is_finished();
                if self.ending {
                    break;
                }
                if until.is_some_and(|until| until <= Instant::now()) {
                    self.pilot.input(Input::Tick);
                    continue;
                }
                if !self.exchange() {
                    more = false;
                    break;
                }
            }
        }
        if self.ending {
            more = false;
            until = None;
            for (_, conn) in std::mem::take(&mut self.conns) {
                self.close(conn);
            }
        }
        let goodbye = self.say_goodbyes(registry);
        if more {
            Turn::More
        } else if self.ending && goodbye.is_none() {
            Turn::Finished
        } else {
            Turn::Sleep(until.into_iter().chain(goodbye).min())
        }
    }

    /// Ends for good: the profile is free, and whoever waits for the end is told, when the store is done.
    pub(crate) fn end(self) {
        let alive = self.alive;
        self.pilot.end(move || drop(alive));
    }

    /// Drains the engine. Returns when to wake up.
    fn carry_out(&mut self) -> Option<Instant> {
        loop {
            match self.pilot.next_act() {
                Act::Open(conn, endpoint) => self.open(conn, endpoint),
                Act::Send(conn, frame) => {
                    if let Some((_, Conn::Open(socket))) = self.conns.iter_mut().find(|(id, _)| *id == conn)
                        && let Err(lost) = socket.send(frame)
                    {
                        self.lost(conn, &lost);
                    }
                }
                Act::Flush => self.flush(),
                Act::Close(conn) => {
                    if let Some(conn) = self.forget(conn) {
                        self.close(conn);
                    }
                }
                Act::Http(id, request) => self.http(id, request),
                Act::Sleep(until) => return until,
            }
        }
    }

    /// Writes as far as it goes.
    fn flush(&mut self) {
        for (_, conn) in &mut self.conns {
            if let Conn::Open(socket) = conn {
                socket.flush();
            }
        }
    }

    fn open(&mut self, conn: ConnId, endpoint: Endpoint) {
        let given_up = Arc::new(AtomicBool::new(false));
        self.conns.push((conn, Conn::Opening(Arc::clone(&given_up))));
        let network = Arc::clone(&self.network);
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let mut answer = OpenAnswer { address: self.address.clone(), conn, result: None };
        self.workers.run(move || {
            if !given_up.load(Ordering::Acquire) {
                answer.set(dial::open(&network, &endpoint, deadline));
            }
        });
    }

    fn http(&mut self, id: HttpId, request: HttpRequest) {
        let http = self.http.get_or_insert_with(|| Http::new(&self.network)).clone();
        let address = self.address.clone();
        self.workers.run(move || {
            let result = http.perform(&request);
            address.send(Wake::Post(Post::Input(Input::HttpDone { id, result })));
        });
    }

    /// Writes, and reads one message. Returns whether the engine has to be looked at again.
    fn exchange(&mut self) -> bool {
        let hungry = self.pilot.wants_bytes();
        let mut happened = None;
        for (id, conn) in &mut self.conns {
            let Conn::Open(socket) = conn else { continue };
            socket.flush();
            if !hungry {
                continue;
            }
            match socket.receive() {
                Ok(None) => {}
                Ok(Some(bytes)) => happened = Some((*id, Ok(bytes))),
                Err(lost) => happened = Some((*id, Err(lost))),
            }
            if happened.is_some() {
                break;
            }
        }
        match happened {
            None => false,
            Some((conn, Ok(bytes))) => {
                self.pilot.input(Input::Received { conn, bytes });
                true
            }
            Some((conn, Err(lost))) => {
                self.lost(conn, &lost);
                true
            }
        }
    }

    fn close(&mut self, conn: Conn) {
        match conn {
            Conn::Opening(given_up) => given_up.store(true, Ordering::Release),
            Conn::Open(socket) => self.goodbyes.push(*socket),
        }
    }

    /// Returns until when to wait for the rest.
    fn say_goodbyes(&mut self, registry: &Registry) -> Option<Instant> {
        let mut latest = None;
        self.goodbyes.retain_mut(|socket| match socket.close() {
            Some(until) => {
                latest = latest.max(Some(until));
                true
            }
            None => {
                socket.deregister(registry);
                false
            }
        });
        latest
    }

    fn forget(&mut self, conn: ConnId) -> Option<Conn> {
        let at = self.conns.iter().position(|(id, _)| *id == conn)?;
        Some(self.conns.swap_remove(at).1)
    }

    fn lost(&mut self, conn: ConnId, lost: &Lost) {
        if let Some(gone) = self.forget(conn) {
            telemetry::lost(lost.code, "see the debug log");
            self.close(gone);
            self.pilot.input(Input::Closed { conn, code: lost.code });
        }
    }
}

/// Tells how opening went, also if the worker found no thread, was given up, or panicked.
struct OpenAnswer {
    address: Address,
    conn: ConnId,
    result: Option<Result<Box<Socket>, OpenError>>,
}

impl OpenAnswer {
    fn set(&mut self, result: Result<Socket, OpenError>) {
        self.result = Some(result.map(Box::new));
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err(OpenError::Network("no thread to connect in".into())));
        self.address.send(Wake::Opened(self.conn, result));
    }
}
