//! What Amarula's two drivers share: everything around the engine that needs neither an executor nor a socket.
//!
//! Not for users of a client: `amarula-tokio` and `amarula-blocking` re-export what they need. For authors of another
//! driver, this is most of it:
//!
//! | module | what |
//! |---|---|
//! | [`pilot`] | the driver's loop without sockets: engine, commands, storage, events |
//! | [`storage`] | the worker of a store |
//! | [`events`] | the queue to the consumer, and back-pressure |
//! | [`setup`] | what a builder collects, checked |
//! | [`target`], [`proxy`], [`tls`], [`websocket`], [`http`](mod@http) | where connections go and how |
//! | [`port`], [`hub`] | the way into a running driver |
//! | [`recorder`] | recording a session |
//! | [`telemetry`] | every metric's name |
#![forbid(unsafe_code)]

pub mod clock;
pub mod error;
pub mod events;
pub mod http;
pub mod hub;
pub mod machine;
pub mod options;
pub mod pilot;
pub mod port;
pub mod proxy;
pub mod recorder;
pub mod setup;
pub mod storage;
pub mod sync;
pub mod target;
pub mod telemetry;
pub mod tls;
pub mod websocket;

pub use error::{ConfigError, Error};
pub use options::SendOptions;
pub use storage::Storage;
