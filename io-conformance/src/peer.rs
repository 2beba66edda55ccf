//! The other end of the sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use amarula_io::websocket;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::{Message, WebSocket, accept_with_config};

use crate::PATIENCE;

/// A server on loopback that deals with every connection in a thread of its own. The threads end with the test.
pub struct Peer {
    address: SocketAddr,
}

impl Peer {
    /// A server that passes each connection to `deal`.
    ///
    /// # Panics
    /// Without a loopback network.
    pub fn start(deal: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback network");
        let address = listener.local_addr().expect("bound");
        let deal = Arc::new(deal);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let deal = Arc::clone(&deal);
                let _ = tcp.set_read_timeout(Some(PATIENCE));
                let _ = tcp.set_write_timeout(Some(PATIENCE));
                std::thread::spawn(move || deal(tcp));
            }
        });
        Self { address }
    }

    /// A server that accepts each connection as a WebSocket.
    pub fn websocket(deal: impl Fn(WebSocket<TcpStream>) + Send + Sync + 'static) -> Self {
        Self::start(move |tcp| {
            if let Ok(socket) = accept_with_config(tcp, Some(websocket::config())) {
                deal(socket);
            }
        })
    }

    /// A WebSocket server that sends back what it gets.
    #[must_use]
    pub fn echo() -> Self {
        Self::websocket(echo)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its WebSocket address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }
}

/// Sends back what it gets, until the end.
pub fn echo<S: Read + Write>(mut socket: WebSocket<S>) {
    while let Ok(message) = socket.read() {
        let failed = match message {
            binary @ Message::Binary(_) => socket.send(binary).is_err(),
            _ => socket.flush().is_err(),
        };
        if failed {
            break;
        }
    }
    // The goodbye is answered by the read that takes it.
    let _ = socket.flush();
}

/// An address of this machine where nobody listens.
///
/// # Panics
/// Without a loopback network.
#[must_use]
pub fn nobody() -> SocketAddr {
    // Freed at once; nobody else gets it so soon.
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a loopback network")
}

/// A WebSocket echo over TLS, and the certificate to trust (DER). Its address is `wss://localhost:port/`.
///
/// # Panics
/// If no certificate can be made.
#[must_use]
pub fn tls_echo() -> (Peer, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .expect("a matching key");
    let config = Arc::new(config);
    let peer = Peer::start(move |tcp| {
        let Ok(tls) = ServerConnection::new(Arc::clone(&config)) else { return };
        if let Ok(socket) = tungstenite::accept(StreamOwned::new(tls, tcp)) {
            echo(socket);
        }
    });
    (peer, der.to_vec())
}

/// Reads an HTTP head, up to and with the empty line.
pub fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && tcp.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Carries bytes both ways until both are done.
pub fn splice(mut one: TcpStream, mut other: TcpStream) {
    let (Ok(mut one_read), Ok(mut other_write)) = (one.try_clone(), other.try_clone()) else { return };
    let there = std::thread::spawn(move || {
        let _ = std::io::copy(&mut one_read, &mut other_write);
        let _ = other_write.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut other, &mut one);
    let _ = one.shutdown(std::net::Shutdown::Write);
    let _ = there.join();
}
