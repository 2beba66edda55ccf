//! The Noise handshake, client side, and the transport ciphers it ends in (`protocol/transport.md` §3).
//!
//! The state machine is `snow`'s; the primitives are [`crate::crypto`]'s, through `resolver`. WhatsApp departs from
//! textbook Noise in one place, which `resolver` explains.

mod error;
mod handshake;
mod resolver;
pub mod schema;
#[cfg(test)]
mod tests;
mod transport;

pub use error::{HandshakeError, HandshakeFailure};
pub use handshake::{ClientHandshake, Established, Pattern};
pub use transport::{RecvCipher, SendCipher, TransportError};
