//! The engine's HTTP requests.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use amarula_core::engine::{HttpError, HttpRequest, HttpResponse, OpenError};
use amarula_io::http::{TIMEOUT, request, retry_after};
use amarula_io::setup::Network;
use amarula_io::target::Target;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Agent, Error};

use crate::dial::dial;
use crate::stream::Stream;

/// An HTTP client that connects as the WebSocket does. Cheap to clone; keeps connections for a while.
#[derive(Clone)]
pub(crate) struct Http {
    agent: Agent,
    allow_plain_text: bool,
}

impl Http {
    pub(crate) fn new(network: &Arc<Network>) -> Self {
        let config = Config::builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(AutoHeaderValue::None)
            .accept(AutoHeaderValue::None)
            .build();
        let agent = Agent::with_parts(config, Dialer(Arc::clone(network)), NoResolver);
        Self { agent, allow_plain_text: network.allow_plain_text }
    }

    /// Performs one request.
    pub(crate) fn perform(&self, asked: &HttpRequest) -> Result<HttpResponse, HttpError> {
        self.run(asked).map_err(|message| HttpError { message: message.into() })
    }

    fn run(&self, asked: &HttpRequest) -> Result<HttpResponse, String> {
        let (head, body) = request(asked, self.allow_plain_text)?.into_parts();
        let response = if body.is_empty() {
            self.agent.run(ureq::http::Request::from_parts(head, ()))
        } else {
            self.agent.run(ureq::http::Request::from_parts(head, &*body))
        };
        let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().take(asked.limit.into()).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(HttpResponse { status: head.status.as_u16(), body: bytes.into(), retry_after: retry_after(&head.headers) })
    }
}

/// Connects as the WebSocket does.
#[derive(Debug)]
struct Dialer(Arc<Network>);

impl Connector for Dialer {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        let failed = |error: OpenError| Error::Other(Box::new(error));
        let target = Target::of_uri(details.uri, self.0.allow_plain_text).map_err(|error| failed(error.into()))?;
        let stream = dial(&self.0, &target, deadline(details.timeout)).map_err(failed)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Wire { stream, buffers, tls: target.tls }))
    }
}

/// The dialer resolves, or the proxy does.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

struct Wire {
    stream: Stream,
    buffers: LazyBuffers,
    tls: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_deadline(deadline(timeout));
        let sent = self.stream.write_all(&self.buffers.output()[..amount]).and_then(|()| self.stream.flush());
        sent.map_err(|error| timed(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_deadline(deadline(timeout));
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| timed(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_quiet()
    }

    fn is_tls(&self) -> bool {
        self.tls
    }
}

fn deadline(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    let after = if timeout.after.is_not_happening() { TIMEOUT } else { (*timeout.after).min(TIMEOUT) };
    now + after
}

fn timed(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
