//! The transcripts of `protocol/transport.md` §17, byte for byte. Their server payload is no certificate chain, so these
//! tests sit here, where the verifier can be left out; everything else is in `tests/wire_noise.rs`.

use std::string::{String, ToString as _};
use std::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use super::schema::{HandshakeMessage, handshake_message};
use super::{ClientHandshake, Established, HandshakeError, Pattern, RecvCipher, SendCipher};
use crate::crypto::{KeyPair, PrivateKey, PublicKey};

const CLIENT_E: &str = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
const SERVER_E: &str = "7b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14";
const SERVER_S: &str = "ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b";

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn pair(byte: u8) -> KeyPair {
    KeyPair::from_private(PrivateKey::from_bytes([byte; 32]))
}

fn server_hello(sealed_static: Option<&str>, payload: &str) -> Vec<u8> {
    let hello = handshake_message::ServerHello {
        ephemeral: Some(unhex(SERVER_E).into()),
        r#static: sealed_static.map(|text| unhex(text).into()),
        payload: Some(unhex(payload).into()),
        ..Default::default()
    };
    HandshakeMessage { server_hello: Some(hello), ..Default::default() }.encode_to_vec()
}

fn ik() -> ClientHandshake {
    let server_static = PublicKey::from_raw(&unhex(SERVER_S)).unwrap();
    ClientHandshake::ik(pair(0x11), pair(0x22), server_static, &b"payload"[..])
}

/// Receives without a certificate check, but sees that the right things would have been checked.
fn receive(handshake: ClientHandshake, hello: &[u8]) -> Result<Established, HandshakeError> {
    handshake.receive_with(hello, |server_static, chain: Bytes| {
        assert_eq!(hex::encode(server_static.as_bytes()), SERVER_S);
        assert_eq!(&chain[..], b"cert");
        Ok(None)
    })
}

fn reply(established: &Established) -> (String, String) {
    let message = HandshakeMessage::decode(&established.reply.as_ref().unwrap()[..]).unwrap();
    let finish = message.client_finish.unwrap();
    (hex::encode(finish.r#static.unwrap()), hex::encode(finish.payload.unwrap()))
}

fn assert_keys(established: &Established, to_server: &str, to_client: &str) {
    assert_eq!(established.send, SendCipher::new(&unhex(to_server).try_into().unwrap()));
    assert_eq!(established.recv, RecvCipher::new(&unhex(to_client).try_into().unwrap()));
}

#[test]
fn xx() {
    let handshake = ClientHandshake::xx(pair(0x11), pair(0x22), &b"payload"[..]);
    assert_eq!(hex::encode(handshake.hello().unwrap()), "1222".to_string() + "0a20" + CLIENT_E);
    let hello = server_hello(
        Some("76c390387466635d58f0323bdcbe69099601a1a274074852c87a5a56adbc2200326ad89abf7d0428235760e33dfb7358"),
        "4198e7f434e3479b9ecb31c52288329abbfe7a08",
    );
    let established = receive(handshake, &hello).unwrap();
    assert_eq!(established.pattern, Pattern::Xx);
    let (sealed_static, payload) = reply(&established);
    assert_eq!(
        sealed_static,
        "b9cb19690dfcfb9a42e033388870388167c822982ffe1d4ef4c15a4d3e5d9d414a26a2963509b6a27122d42e77bcb230"
    );
    assert_eq!(payload, "30057c7a804bf70e5dcd47da528d95bc11f00b8b90248e");
    assert_keys(
        &established,
        "eb2fe0bed643c43335b1354ec654dc80e37916a5b95f315e54435ddd476ef060",
        "f6363bb26e6e9cb20ac77b14b6ec4ee9c92f3f1d9d1397468bb4ea23bed9d1d8",
    );
}

#[test]
fn xx_fallback() {
    let hello = server_hello(
        Some("2f361e8fe5de68ba4e4182e23912d12654352f4b4067731143a74fa919fded02781dd8e623354e4362bdbb4254c6f400"),
        "8dad99a09798d0421126164373e0b269cc413797",
    );
    let established = receive(ik(), &hello).unwrap();
    assert_eq!(established.pattern, Pattern::XxFallback);
    let (sealed_static, payload) = reply(&established);
    assert_eq!(
        sealed_static,
        "595de5c24b8df4b1c84086da28c454d2a7aa538b152f1126e4fa9ed2e274057905b6334d163a77db18610dcd97886040"
    );
    assert_eq!(payload, "beeb2f005eb78daca7b73a3109f97bbad65fd9c0733605");
    assert_keys(
        &established,
        "5c5562e36c4236a6f28a6a145763e97bb4fff55cbf9a29718cd3f6cbc17a0f43",
        "8a7a23d4cb5374e872eb0b4f4417b4abc0b143fd26a86fd1ac1840f01c88e83e",
    );
}

#[test]
fn ik_accepted() {
    let hello = HandshakeMessage::decode(&ik().hello().unwrap()[..]).unwrap().client_hello.unwrap();
    assert_eq!(hex::encode(hello.ephemeral.unwrap()), CLIENT_E);
    assert_eq!(
        hex::encode(hello.r#static.unwrap()),
        "f8fb23d0bdc4256cec5aa162b2c205a63d8860b4d8f0e944a0a74a62dbbbfff2e02726c3db18e0d3dc1fcb179e7684f9"
    );
    assert_eq!(hex::encode(hello.payload.unwrap()), "d350ec2e49d7c0300693c61a1fff97b719aa9ddf986d65");

    let established = receive(ik(), &server_hello(None, "d538729bc328ed5bab59c6c4eaa0ff8f711c9921")).unwrap();
    assert_eq!((established.pattern, established.reply.clone()), (Pattern::Ik, None));
    assert_keys(
        &established,
        "4505bca89840e8353c7a507f67df28b4c37d8f0aa0648691aebe1a1db0fe49ca",
        "517eeb56b31270157a3f12a996f575481ecf63d4f4a4176fe8293184b056145b",
    );
}

#[test]
fn nothing_secret_is_shown() {
    let shown = std::format!("{:?}", ik());
    assert_eq!(shown, "ClientHandshake { pattern: Ik, .. }");
    let established = receive(ik(), &server_hello(None, "d538729bc328ed5bab59c6c4eaa0ff8f711c9921")).unwrap();
    assert_eq!(std::format!("{established:?}"), "Established { pattern: Ik, reply: None, chain: None, .. }");
    assert_eq!(std::format!("{:?}", established.send), "SendCipher { counter: 0, .. }");
}
