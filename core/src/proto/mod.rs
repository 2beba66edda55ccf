//! WhatsApp's protobuf messages. The schema is ours (`schema/*.proto`, one subject per file); the Rust is generated
//! from it and committed (see `docs/src/updating-to-a-new-whatsapp-web.md`).
//!
//! Every field is optional and remembers whether it was there. `bytes` fields are [`bytes::Bytes`], so that decoding
//! from `Bytes` copies no payload. Enumerations are kept as numbers, with an accessor of the field's name that falls
//! back to the first value; where that would mislead use `TryFrom<i32>`. Fields that the schema does not know are
//! dropped. In messages that could hold very many others (`Message`, `ContextInfo`, `SyncActionValue`, …) the others
//! are boxed.

#[allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all, clippy::pedantic)]
pub mod wa {
    include!("generated/whatsapp.rs");
}

pub use prost::{DecodeError, Message};
