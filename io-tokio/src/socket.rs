//! One WebSocket, read and written by its driver's task.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use amarula_io::telemetry;
use amarula_io::websocket::{CLOSE_TIMEOUT, UNSENT_LIMIT};
use bytes::Bytes;
use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::stream::Stream;

pub(crate) struct Socket {
    inner: WebSocketStream<Stream>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// Something was written that may not have left.
    dirty: bool,
    /// Writing failed. The peer's last words may still be there to read, and they say why: see
    /// [`poll_receive`](Self::poll_receive).
    broken: Option<Broken>,
}

struct Broken {
    lost: Lost,
    /// The runtime may not have noticed yet that there is something to read; by then it has.
    grace: Pin<Box<Sleep>>,
}

/// How long the end of a connection that cannot be written to is waited for.
const GRACE: Duration = Duration::from_millis(250);

/// The connection is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    /// What the peer said.
    pub(crate) code: Option<u16>,
}

impl Socket {
    pub(crate) fn new(inner: WebSocketStream<Stream>) -> Self {
        Self { inner, unsent: VecDeque::new(), unsent_bytes: 0, dirty: false, broken: None }
    }

    /// Queues one message.
    pub(crate) fn send(&mut self, frame: Bytes) -> Result<(), Lost> {
        if self.broken.is_some() {
            return Ok(());
        }
        telemetry::sent(frame.len());
        self.unsent_bytes += frame.len();
        self.unsent.push_back(frame);
        if self.unsent_bytes > UNSENT_LIMIT { Err(lost(None, "the peer does not read")) } else { Ok(()) }
    }

    /// Writes what is queued. Ready when all has left, or nothing more can.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken.is_none()
            && let Err(error) = ready!(self.poll_write(cx))
        {
            self.broken = Some(Broken { lost: failed(&error), grace: Box::pin(tokio::time::sleep(GRACE)) });
            self.unsent.clear();
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = Pin::new(&mut self.inner);
        while !self.unsent.is_empty() {
            ready!(inner.as_mut().poll_ready(cx))?;
            if let Some(frame) = self.unsent.pop_front() {
                self.unsent_bytes -= frame.len();
                self.dirty = true;
                inner.as_mut().start_send(Message::Binary(frame))?;
            }
        }
        if self.dirty {
            ready!(inner.poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one binary message. Pings are answered, texts ignored. A connection that can no longer be written to is
    /// lost when nothing more comes.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Lost>> {
        loop {
            let next = match (Pin::new(&mut self.inner).poll_next(cx), &mut self.broken) {
                (Poll::Ready(next), _) => next,
                (Poll::Pending, Some(broken)) => return broken.grace.as_mut().poll(cx).map(|()| Err(broken.lost)),
                (Poll::Pending, None) => return Poll::Pending,
            };
            match next {
                Some(Ok(Message::Binary(bytes))) => {
                    telemetry::received(bytes.len());
                    return Poll::Ready(Ok(bytes));
                }
                Some(Ok(Message::Ping(_))) => {
                    // The answer is queued inside; this sends it, now or when `poll_send` is called.
                    self.dirty = true;
                    let _ = self.poll_send(cx);
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map(|frame| frame.code.into());
                    return Poll::Ready(Err(lost(code, "closed by the peer")));
                }
                Some(Ok(Message::Text(_))) => tracing::debug!("a text message was ignored"),
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(failed(&error))),
                None => return Poll::Ready(Err(lost(None, "ended by the peer"))),
            }
        }
    }

    /// Sends what is queued and says goodbye, within [`CLOSE_TIMEOUT`].
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            std::future::poll_fn(|cx| self.poll_send(cx)).await;
            if let Some(broken) = &self.broken {
                return Err(broken.lost);
            }
            let closed = self.inner.close(None).await;
            closed.map_err(|error| failed(&error))?;
            // The peer's own goodbye; without it our last words may be lost to a TCP reset.
            loop {
                std::future::poll_fn(|cx| self.poll_receive(cx)).await?;
            }
        };
        let _: Result<Result<std::convert::Infallible, Lost>, _> = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

fn failed(error: &Error) -> Lost {
    lost(None, &error.to_string())
}

fn lost(code: Option<u16>, why: &str) -> Lost {
    tracing::debug!(?code, why, "the WebSocket is over");
    Lost { code }
}
