//! WhatsApp Web (multi-device) for programs with threads. No async runtime.
//!
//! ```no_run
//! use amarula_blocking::store::FileStore;
//! use amarula_blocking::{Client, Content, Event};
//!
//! # fn bot() -> Result<(), amarula_blocking::Error> {
//! let client = Client::builder("shop").store(FileStore::open_default()?).build()?;
//! for delivery in client.connect()? {
//!     if let Event::Message(message) = delivery.event() {
//!         if let Content::Text(text) = &message.content {
//!             client.send_text(&message.chat, &text.body)?;
//!         }
//!     }
//!     delivery.confirm()?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A driver has no protocol knowledge: it owns the sockets, the clock and the storage worker, and feeds an
//! [`Engine`](amarula_core::Engine). A few threads serve all accounts of the process; threads that wait for a name server,
//! a handshake or an HTTP answer come and go. `amarula-tokio` is the same for async programs.
//!
//! Keep reading [`Events`], or drop them: while a consumer is behind, nothing is read from the server. Metrics' names
//! are in [`telemetry`]; log lines are in a span `amarula` with the field `profile`.
#![forbid(unsafe_code)]

mod account;
mod builder;
mod client;
mod dial;
mod events;
mod http;
mod latch;
mod reactor;
mod socket;
mod stream;
mod workers;

pub use amarula_core as core;
pub use amarula_core::address::{Address, Kind};
pub use amarula_core::config::{Browser, Config};
pub use amarula_core::content::{Content, Outgoing, Text};
pub use amarula_core::engine::Limits;
pub use amarula_core::engine::command::{ChatState, LoggedOut, PairingCode, Presence, Sent};
pub use amarula_core::error::{EndReason, Failure, RejectReason};
pub use amarula_core::event::{Connection, DeliveryId, Event, Pairing};
pub use amarula_core::message::Message;
pub use amarula_io::{ConfigError, Error, SendOptions, Storage, telemetry};
pub use amarula_store as store;
pub use builder::ClientBuilder;
pub use client::Client;
pub use events::{Delivery, Events, TimedOut};
