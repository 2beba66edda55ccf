//! WhatsApp Web (multi-device) for Tokio.
//!
//! ```no_run
//! use amarula_tokio::store::FileStore;
//! use amarula_tokio::{Client, Content, Event};
//!
//! # async fn bot() -> Result<(), amarula_tokio::Error> {
//! let client = Client::builder("shop").store(FileStore::open_default()?).build()?;
//! let mut events = client.connect().await?;
//! while let Some(delivery) = events.next().await {
//!     if let Event::Message(message) = delivery.event() {
//!         if let Content::Text(text) = &message.content {
//!             client.send_text(&message.chat, &text.body).await?;
//!         }
//!     }
//!     delivery.confirm().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A driver has no protocol knowledge: it owns the sockets, the clock and the storage worker, and feeds an
//! [`Engine`](amarula_core::Engine). One account is one task. `amarula-blocking` is the same for threads.
//!
//! Keep reading [`Events`], or drop them: while a consumer is behind, nothing is read from the server. Metrics' names
//! are in [`telemetry`]; log lines are in a span `amarula` with the field `profile`.
#![forbid(unsafe_code)]

mod builder;
mod client;
mod dial;
mod driver;
mod events;
mod http;
mod socket;
mod stream;

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
pub use events::{Delivery, Events};
