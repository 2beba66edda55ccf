//! One WebSocket, read and written by its driver's task.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use amarula_io::telemetry;
use amarula_io::websocket::{CLOSE_TIMEOUT, UNSENT_LIMIT};
use bytes::Bytes;
use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::stream::Stream;

pub(crate) struct Socket {
    inner: WebSocketStream<Stream>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// Something was written that may not have left.
    dirty: bool,
}

/// The connection is over.
#[derive(Debug)]
pub(crate) struct Lost {
    /// What the peer said.
    pub(crate) code: Option<u16>,
}

impl Socket {
    pub(crate) fn new(inner: WebSocketStream<Stream>) -> Self {
        Self { inner, unsent: VecDeque::new(), unsent_bytes: 0, dirty: false }
    }

    /// Queues one message.
    pub(crate) fn send(&mut self, frame: Bytes) -> Result<(), Lost> {
        telemetry::sent(frame.len());
        self.unsent_bytes += frame.len();
        self.unsent.push_back(frame);
        if self.unsent_bytes > UNSENT_LIMIT { Err(lost(None, "the peer does not read")) } else { Ok(()) }
    }

    /// Writes what is queued. Ready when all has left.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut inner = Pin::new(&mut self.inner);
        while !self.unsent.is_empty() {
            ready!(inner.as_mut().poll_ready(cx)).map_err(|error| failed(&error))?;
            if let Some(frame) = self.unsent.pop_front() {
                self.unsent_bytes -= frame.len();
                self.dirty = true;
                inner.as_mut().start_send(Message::Binary(frame)).map_err(|error| failed(&error))?;
            }
        }
        if self.dirty {
            ready!(inner.poll_flush(cx)).map_err(|error| failed(&error))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one binary message. Pings are answered, texts ignored.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Lost>> {
        loop {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => {
                    telemetry::received(bytes.len());
                    return Poll::Ready(Ok(bytes));
                }
                Some(Ok(Message::Ping(_))) => {
                    // The answer is queued inside; this sends it, now or when `poll_send` is called.
                    self.dirty = true;
                    if let Poll::Ready(Err(lost)) = self.poll_send(cx) {
                        return Poll::Ready(Err(lost));
                    }
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
            std::future::poll_fn(|cx| self.poll_send(cx)).await?;
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
