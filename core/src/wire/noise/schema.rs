//! The handshake's protobuf messages. Nothing of the newer, post-quantum fields is ever set (`protocol/transport.md`
//! §3.3).

pub use crate::proto::wa::{CertChain, HandshakeMessage, cert_chain, handshake_message};
