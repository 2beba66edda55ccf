//! The WebSocket server: a client over a real socket, and a clean stop.
#![cfg(feature = "ws")]

use std::net::TcpStream;
use std::time::Duration;

use amarula_sim::ServerConfig;
use amarula_sim::codec::frame;
use amarula_sim::noise::PROLOGUE;
use amarula_sim::proto::{ClientHello, HandshakeMessage};
use amarula_sim::ws::LoopbackServer;
use prost::Message as _;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, client};

fn open(server: &LoopbackServer, path: &str) -> Result<tungstenite::WebSocket<TcpStream>, String> {
    let mut request = format!("ws://{}{path}", server.address()).into_client_request().unwrap();
    request.headers_mut().insert("Origin", "https://web.whatsapp.com".parse().unwrap());
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client(request, stream).map(|(socket, _)| socket).map_err(|error| error.to_string())
}

#[test]
fn hello_over_a_socket_and_stop() {
    let server = LoopbackServer::start(ServerConfig::default()).unwrap();
    assert!(open(&server, "/elsewhere").is_err());
    let mut socket = open(&server, "/ws/chat").unwrap();
    let hello = HandshakeMessage {
        client_hello: Some(ClientHello { ephemeral: Some(vec![9; 32]), ..ClientHello::default() }),
        ..HandshakeMessage::default()
    };
    let bytes = [&PROLOGUE[..], &frame(&hello.encode_to_vec())].concat();
    // In two WebSocket messages: boundaries mean nothing.
    socket.send(Message::binary(bytes[..9].to_vec())).unwrap();
    socket.send(Message::binary(bytes[9..].to_vec())).unwrap();
    let answer = socket.read().unwrap().into_data();
    assert!(HandshakeMessage::decode(&answer[3..]).unwrap().server_hello.is_some());
    assert_eq!(server.violations(), []);
    socket.send(Message::text("no")).unwrap();
    let violation = server.wait_for(Duration::from_secs(5), |server| server.violations().first().cloned());
    assert!(violation.unwrap().detail.contains("binary"));
    drop(server);
    assert!(socket.read().map_or(true, |message| message.is_close()));
}
