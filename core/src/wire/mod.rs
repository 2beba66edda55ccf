//! What goes over the socket: frames, Noise, certificates, binary nodes, JIDs. Pure; knows nothing of the engine.

pub mod cert;
pub mod decode;
pub mod encode;
pub mod frame;
pub mod jid;
pub mod node;
pub mod node_ref;
pub mod noise;
pub mod payload;
mod reader;
pub mod tags;
mod token_hash;
mod token_table;
mod tokens;

pub use cert::{CertChain, CertError, Trust};
pub use decode::{Document, NodeError, NodeLimit, NodeLimits};
pub use encode::{EncodeError, encode};
pub use frame::{FrameDecoder, FrameError, write_frame, write_intro};
pub use jid::{Jid, JidError, Server};
pub use node::{Content, Node, Str, Value};
pub use node_ref::{NodeRef, ValueRef};
pub use noise::{ClientHandshake, Established, HandshakeError, Pattern, RecvCipher, SendCipher};
