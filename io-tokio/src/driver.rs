//! The task of one account.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use amarula_core::engine::{ConnId, Endpoint, HttpId, HttpRequest, Input, OpenError};
use amarula_io::pilot::{Act, Pilot};
use amarula_io::port::{Port, Post};
use amarula_io::setup::Network;
use amarula_io::telemetry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::dial;
use crate::http::Http;
use crate::socket::{Lost, Socket};

/// What can wake the task.
pub(crate) enum Wake {
    Post(Post),
    Opened(ConnId, Result<Box<Socket>, OpenError>),
    Received(ConnId, Result<bytes::Bytes, Lost>),
    Timer,
}

/// The way into the task.
pub(crate) struct Mailbox(pub(crate) UnboundedSender<Wake>);

impl Port for Mailbox {
    fn post(&self, post: Post) {
        // After the end nobody reads; see `Port`.
        let _ = self.0.send(Wake::Post(post));
    }
}

enum Conn {
    Opening(tokio::task::AbortHandle),
    Open(Box<Socket>),
}

pub(crate) struct Driver {
    pilot: Pilot,
    network: Arc<Network>,
    sender: UnboundedSender<Wake>,
    mailbox: UnboundedReceiver<Wake>,
    /// One, or none, in all practice.
    conns: Vec<(ConnId, Conn)>,
    http: Option<Http>,
    /// Connections being made and HTTP requests; ended with the driver.
    tasks: JoinSet<()>,
    /// Connections saying goodbye; waited for at the end.
    goodbyes: JoinSet<()>,
    timer: Pin<Box<Sleep>>,
    /// The socket's turn to be looked at first, or the mailbox's: neither starves the other.
    socket_first: bool,
}

impl Driver {
    pub(crate) fn new(
        pilot: Pilot,
        network: Arc<Network>,
        sender: UnboundedSender<Wake>,
        mailbox: UnboundedReceiver<Wake>,
    ) -> Self {
        Self {
            pilot,
            network,
            sender,
            mailbox,
            conns: Vec::new(),
            http: None,
            tasks: JoinSet::new(),
            goodbyes: JoinSet::new(),
            timer: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())),
            socket_first: false,
        }
    }

    /// Drives until the engine has finished or nobody holds the client any more. The profile is free when this ends.
    pub(crate) async fn run(mut self) {
        loop {
            let until = poll_fn(|cx| Poll::Ready(self.carry_out(cx))).await;
            if self.pilot.is_finished() {
                break;
            }
            let wake = self.wait(until).await;
            if self.take(wake) {
                tracing::debug!("the last handle is gone");
                break;
            }
        }
        for (_, conn) in std::mem::take(&mut self.conns) {
            self.close(conn);
        }
        self.tasks.abort_all();
        // Each has its own limit.
        while self.goodbyes.join_next().await.is_some() {}
        let (done, ended) = oneshot::channel();
        self.pilot.end(move || _ = done.send(()));
        let _ = ended.await;
    }

    /// Drains the engine. Returns when to wake up.
    fn carry_out(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
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
                Act::Flush => self.poll_send(cx),
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

    fn open(&mut self, conn: ConnId, endpoint: Endpoint) {
        let (network, sender) = (Arc::clone(&self.network), self.sender.clone());
        let task = self.tasks.spawn(async move {
            let result = dial::open(&network, &endpoint).await;
            let _ = sender.send(Wake::Opened(conn, result.map(|inner| Box::new(Socket::new(inner)))));
        });
        self.conns.push((conn, Conn::Opening(task)));
    }

    fn http(&mut self, id: HttpId, request: HttpRequest) {
        let http = self.http.get_or_insert_with(|| Http::new(Arc::clone(&self.network))).clone();
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let result = http.perform(request).await;
            let _ = sender.send(Wake::Post(Post::Input(Input::HttpDone { id, result })));
        });
    }

    fn close(&mut self, conn: Conn) {
        match conn {
            Conn::Opening(task) => task.abort(),
            Conn::Open(socket) => {
                self.goodbyes.spawn(socket.close());
            }
        }
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

    /// Takes what woke the task. Returns whether to abort.
    fn take(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Post(post) => return self.pilot.post(post),
            Wake::Timer => self.pilot.input(Input::Tick),
            Wake::Received(conn, Ok(bytes)) => self.pilot.input(Input::Received { conn, bytes }),
            Wake::Received(conn, Err(lost)) => self.lost(conn, &lost),
            Wake::Opened(conn, result) => {
                // One that was closed meanwhile is not there any more.
                let Some((_, slot)) = self.conns.iter_mut().find(|(id, _)| *id == conn) else { return false };
                match result {
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
        }
        false
    }

    /// Waits for the next thing to happen, writing to the sockets meanwhile.
    async fn wait(&mut self, until: Option<Instant>) -> Wake {
        if let Some(until) = until {
            self.timer.as_mut().reset(until.into());
        }
        let hungry = self.pilot.wants_bytes();
        while self.tasks.try_join_next().is_some() {}
        while self.goodbyes.try_join_next().is_some() {}
        self.socket_first = !self.socket_first;
        poll_fn(|cx| {
            self.poll_send(cx);
            if hungry
                && self.socket_first
                && let Poll::Ready(wake) = self.poll_receive(cx)
            {
                return Poll::Ready(wake);
            }
            // Never closed: we hold a sender ourselves.
            if let Poll::Ready(Some(wake)) = self.mailbox.poll_recv(cx) {
                return Poll::Ready(wake);
            }
            if hungry
                && !self.socket_first
                && let Poll::Ready(wake) = self.poll_receive(cx)
            {
                return Poll::Ready(wake);
            }
            if until.is_some() && self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Timer);
            }
            Poll::Pending
        })
        .await
    }

    /// Writes as far as it goes, and wakes the task when it goes on.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        for (_, conn) in &mut self.conns {
            if let Conn::Open(socket) = conn {
                let _ = socket.poll_send(cx);
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        for (id, conn) in &mut self.conns {
            if let Conn::Open(socket) = conn
                && let Poll::Ready(result) = socket.poll_receive(cx)
            {
                return Poll::Ready(Wake::Received(*id, result));
            }
        }
        Poll::Pending
    }
}
