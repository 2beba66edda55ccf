//! A simulated WhatsApp: a chat server with phones behind it, for tests, fuzzing, benches and bots without a network.
//!
//! Everything here is written from the protocol documents as a strict stranger would write it. It shares with the
//! client only the node codec, the JID type and the crypto primitives; Noise, certificates, ADV, X3DH, ratchets and
//! stanzas are its own, so that a mistake on one side cannot be hidden by the same mistake on the other.

pub mod adv;
pub mod certs;
pub mod codec;
pub mod explorer;
pub mod noise;
pub mod phone;
#[allow(missing_docs, reason = "fields are named as in the schema")]
pub mod proto;
pub mod server;
pub mod signal;
pub mod time;
pub mod violation;
pub mod world;
#[cfg(feature = "ws")]
pub mod ws;

pub use phone::Phone;
pub use server::{AccountId, ConnId, DeviceKey, Server, ServerConfig, ServerOutput};
pub use time::SimTime;
pub use violation::{Rule, Violation};
