//! The pure, deterministic protocol engine of Amarula, a WhatsApp Web (multi-device companion) client.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "aws-lc"))]
extern crate std;

pub mod address;
pub mod adv;
pub mod config;
pub mod content;
pub mod crypto;
pub mod engine;
pub mod error;
pub mod event;
mod flows;
pub mod message;
pub mod proto;
pub mod query;
pub mod signal;
pub mod store;
pub mod sync;
pub mod wire;

pub use address::{Address, Kind};
pub use config::Config;
pub use engine::{Engine, Input, Output};
