//! Making connections: name, TCP, proxy, TLS, WebSocket upgrade. Every step waits, so this runs in a
//! [worker](crate::workers).

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amarula_core::engine::{Endpoint, OpenError};
use amarula_io::proxy::Step;
use amarula_io::setup::Network;
use amarula_io::target::Target;
use amarula_io::websocket;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tungstenite::HandshakeError;

use crate::socket::Socket;
use crate::stream::Stream;

/// A byte stream to `target`, through the proxy if there is one. Its calls wait until `deadline`.
pub(crate) fn dial(network: &Network, target: &Target, deadline: Instant) -> Result<Stream, OpenError> {
    let io = |error: io::Error| websocket::io_error(&error);
    let mut stream = match &network.proxy {
        None => connect(&target.host, target.port, deadline).map_err(io)?,
        Some(proxy) => {
            let mut stream = connect(proxy.host(), proxy.port(), deadline).map_err(io)?;
            let mut conversation = proxy.conversation(target);
            loop {
                match conversation.next_step() {
                    Step::Write(bytes) => stream.write_all(&bytes).map_err(io)?,
                    Step::Read(count) => {
                        let mut bytes = vec![0; count];
                        stream.read_exact(&mut bytes).map_err(io)?;
                        conversation.read(&bytes)?;
                    }
                    Step::Done => break stream,
                }
            }
        }
    };
    if target.tls {
        let config = |what: String| OpenError::Config(what.into());
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| config(format!("{:?} is no host name", target.host)))?;
        let tls = ClientConnection::new(Arc::clone(&network.tls), name).map_err(|error| config(error.to_string()))?;
        stream.start_tls(tls).map_err(io)?;
    }
    Ok(stream)
}

/// A WebSocket, ready for a reactor.
pub(crate) fn open(network: &Network, endpoint: &Endpoint, deadline: Instant) -> Result<Socket, OpenError> {
    let (target, uri) = Target::of_endpoint(endpoint, network.allow_plain_text)?;
    let request = websocket::upgrade(uri, endpoint)?;
    let stream = dial(network, &target, deadline)?;
    match tungstenite::client::client_with_config(request, stream, Some(websocket::config())) {
        Ok((mut socket, _response)) => {
            socket.get_mut().stop_waiting().map_err(|error| websocket::io_error(&error))?;
            Ok(Socket::new(socket))
        }
        Err(HandshakeError::Failure(error)) => Err(websocket::open_error(error)),
        // A read or write ran into its timeout.
        Err(HandshakeError::Interrupted(_)) => Err(OpenError::Timeout),
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    for (at, address) in addresses.iter().enumerate() {
        // An address that does not answer leaves the others their share of the time.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(Stream::waiting(tcp, deadline));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
