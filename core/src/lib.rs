//! The pure, deterministic protocol engine of Amarula, a WhatsApp Web (multi-device companion) client.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "aws-lc"))]
extern crate std;

pub mod crypto;
pub mod signal;
pub mod wire;
