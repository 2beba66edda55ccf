//! What goes over the socket: frames, Noise, certificates, binary nodes, JIDs. Pure; knows nothing of the engine.

pub mod decode;
pub mod encode;
pub mod jid;
pub mod node;
pub mod node_ref;
mod reader;
pub mod token_table;
pub mod tokens;

pub use decode::{Document, NodeError, NodeLimit, NodeLimits};
pub use encode::{EncodeError, encode};
pub use jid::{Jid, JidError, Server};
pub use node::{Content, Node, Str, Value};
pub use node_ref::{NodeRef, ValueRef};
