//! What goes over the socket: frames, Noise, certificates, binary nodes, JIDs. Pure; knows nothing of the engine.

pub mod jid;
pub mod node;

pub use jid::{Jid, JidError, Server};
pub use node::{Content, Node, Str, Value};
