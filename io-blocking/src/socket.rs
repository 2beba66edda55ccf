//! One WebSocket on a reactor. No call waits.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use amarula_io::telemetry;
use amarula_io::websocket::{CLOSE_TIMEOUT, UNSENT_LIMIT, would_block};
use bytes::Bytes;
use mio::{Interest, Registry, Token};
use tungstenite::{Error, Message, WebSocket};

use crate::stream::Stream;

pub(crate) struct Socket {
    inner: WebSocket<Stream>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// Something was written that may not have left.
    dirty: bool,
    /// Writing failed. The peer's last words may still be there to read, and they say why: see
    /// [`receive`](Self::receive).
    broken: Option<Lost>,
    /// The reactor tells of changes only: until a read says "later", there may be more.
    readable: bool,
    goodbye: Option<Goodbye>,
}

struct Goodbye {
    said: bool,
    until: Instant,
}

/// The connection is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    /// What the peer said.
    pub(crate) code: Option<u16>,
}

impl Socket {
    pub(crate) fn new(inner: WebSocket<Stream>) -> Self {
        Self {
            inner,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            dirty: false,
            broken: None,
            readable: true,
            goodbye: None,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self.inner.get_mut().source() {
            Some(source) => registry.register(source, token, Interest::READABLE | Interest::WRITABLE),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        if let Some(source) = self.inner.get_mut().source() {
            // It is dropped next, which does the same.
            let _ = registry.deregister(source);
        }
    }

    /// The reactor saw a change.
    pub(crate) fn changed(&mut self) {
        self.readable = true;
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

    /// Writes what is queued, as far as it goes. Returns whether all has left, or nothing more can.
    pub(crate) fn flush(&mut self) -> bool {
        if self.broken.is_none() {
            match self.write() {
                Ok(()) => {}
                Err(error) if would_block(&error) => return false,
                Err(error) => {
                    self.broken = Some(failed(&error));
                    // The reactor may not have told yet.
                    self.readable = true;
                    self.unsent.clear();
                }
            }
        }
        true
    }

    fn write(&mut self) -> Result<(), Error> {
        while self.dirty || !self.unsent.is_empty() {
            if self.dirty {
                self.inner.flush()?;
                self.dirty = false;
            }
            if let Some(frame) = self.unsent.pop_front() {
                self.unsent_bytes -= frame.len();
                self.dirty = true;
                match self.inner.write(Message::Binary(frame)) {
                    // It was taken, and leaves with the flush.
                    Err(error) if would_block(&error) => {}
                    result => result?,
                }
            }
        }
        Ok(())
    }

    /// Reads one binary message, if there is one. Pings are answered, texts ignored. A connection that can no longer be
    /// written to is lost when nothing more is there to read.
    pub(crate) fn receive(&mut self) -> Result<Option<Bytes>, Lost> {
        while self.readable {
            match self.inner.read() {
                Ok(Message::Binary(bytes)) => {
                    telemetry::received(bytes.len());
                    return Ok(Some(bytes));
                }
                Ok(Message::Ping(_)) => {
                    // The answer is queued inside.
                    self.dirty = true;
                    self.flush();
                }
                Ok(Message::Close(frame)) => {
                    let code = frame.map(|frame| frame.code.into());
                    return Err(lost(code, "closed by the peer"));
                }
                Ok(Message::Text(_)) => tracing::debug!("a text message was ignored"),
                Ok(Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) if would_block(&error) => self.readable = false,
                Err(error) => return Err(failed(&error)),
            }
        }
        match self.broken {
            Some(lost) => Err(lost),
            None => Ok(None),
        }
    }

    /// Sends what is queued and says goodbye, within [`CLOSE_TIMEOUT`]. Call it again when something changed; returns
    /// until when, or `None` when it is over.
    pub(crate) fn close(&mut self) -> Option<Instant> {
        let said = self.goodbye.as_ref().is_some_and(|goodbye| goodbye.said);
        let until = self.goodbye.as_ref().map_or_else(|| Instant::now() + CLOSE_TIMEOUT, |goodbye| goodbye.until);
        if Instant::now() >= until {
            return None;
        }
        let all_left = self.flush();
        if self.broken.is_some() {
            return None;
        }
        if all_left && !said {
            match self.inner.close(None) {
                Ok(()) => {}
                Err(error) if would_block(&error) => self.dirty = true,
                Err(_) => return None,
            }
        }
        self.goodbye = Some(Goodbye { said: said || all_left, until });
        // The peer's own goodbye; without it our last words may be lost to a TCP reset.
        while self.receive().ok()?.is_some() {}
        Some(until)
    }
}

fn failed(error: &Error) -> Lost {
    lost(None, &error.to_string())
}

fn lost(code: Option<u16>, why: &str) -> Lost {
    tracing::debug!(?code, why, "the WebSocket is over");
    Lost { code }
}
