//! Making connections: TCP, proxy, TLS, WebSocket upgrade. Deadlines are the engine's: it closes what takes too long.

use std::io;
use std::sync::Arc;

use amarula_core::engine::{Endpoint, OpenError};
use amarula_io::proxy::Step;
use amarula_io::setup::Network;
use amarula_io::target::Target;
use amarula_io::websocket;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::stream::Stream;

/// A byte stream to `target`, through the proxy if there is one.
pub(crate) async fn dial(network: &Network, target: &Target) -> Result<Stream, OpenError> {
    let io = |error: io::Error| websocket::io_error(&error);
    let tcp = match &network.proxy {
        None => connect(&target.host, target.port).await.map_err(io)?,
        Some(proxy) => {
            let mut tcp = connect(proxy.host(), proxy.port()).await.map_err(io)?;
            let mut conversation = proxy.conversation(target);
            loop {
                match conversation.next_step() {
                    Step::Write(bytes) => tcp.write_all(&bytes).await.map_err(io)?,
                    Step::Read(count) => {
                        let mut bytes = vec![0; count];
                        tcp.read_exact(&mut bytes).await.map_err(io)?;
                        conversation.read(&bytes)?;
                    }
                    Step::Done => break tcp,
                }
            }
        }
    };
    if !target.tls {
        return Ok(Stream::Plain(tcp));
    }
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| OpenError::Config(format!("{:?} is no host name", target.host).into()))?;
    let tls = TlsConnector::from(Arc::clone(&network.tls)).connect(name, tcp).await.map_err(io)?;
    Ok(Stream::Tls(Box::new(tls)))
}

/// A WebSocket.
pub(crate) async fn open(network: &Network, endpoint: &Endpoint) -> Result<WebSocketStream<Stream>, OpenError> {
    let (target, uri) = Target::of_endpoint(endpoint, network.allow_plain_text)?;
    let request = websocket::upgrade(uri, endpoint)?;
    let stream = dial(network, &target).await?;
    let (socket, _response) =
        client_async_with_config(request, stream, Some(websocket::config())).await.map_err(websocket::open_error)?;
    Ok(socket)
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
