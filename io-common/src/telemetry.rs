//! Every metric's name, in one place. They go through the [`metrics`] facade: install a recorder of your choice, or
//! none, and they cost next to nothing. Log lines go through [`tracing`], inside a span `amarula` with the field
//! `profile`. Neither ever holds a message's text, a key or a QR code.

use std::time::Duration;

use amarula_core::engine::OpenError;

/// Counter: WebSockets opened.
pub const CONNECTIONS_OPENED: &str = "amarula_connections_opened_total";
/// Counter, label `kind` (`network`, `status`, `config`, `timeout`, `other`): WebSockets that could not be opened.
pub const CONNECTIONS_FAILED: &str = "amarula_connections_failed_total";
/// Counter: WebSockets that ended without our having closed them.
pub const CONNECTIONS_LOST: &str = "amarula_connections_lost_total";
/// Counter: payload bytes received.
pub const BYTES_RECEIVED: &str = "amarula_received_bytes_total";
/// Counter: payload bytes sent.
pub const BYTES_SENT: &str = "amarula_sent_bytes_total";
/// Counter: events given to consumers' queues.
pub const EVENTS: &str = "amarula_events_total";
/// Counter: events dropped because nobody listens.
pub const EVENTS_UNHEARD: &str = "amarula_events_unheard_total";
/// Counter: times that reading stopped because the consumer was behind.
pub const CONSUMER_BEHIND: &str = "amarula_consumer_behind_total";
/// Counter: commands given to engines.
pub const COMMANDS: &str = "amarula_commands_total";
/// Counter: commands that were rejected or failed.
pub const COMMANDS_FAILED: &str = "amarula_commands_failed_total";
/// Histogram, seconds: time of one write to the store.
pub const COMMIT_SECONDS: &str = "amarula_store_commit_seconds";
/// Histogram: engines' commits in one write to the store.
pub const COMMITS_PER_WRITE: &str = "amarula_store_commits_per_write";
/// Histogram, seconds: time of one read from the store.
pub const LOAD_SECONDS: &str = "amarula_store_load_seconds";
/// Counter: reads and writes that the store failed.
pub const STORE_FAILURES: &str = "amarula_store_failures_total";
/// Gauge: running clients.
pub const CLIENTS: &str = "amarula_clients";

/// A connection stands.
pub fn opened() {
    metrics::counter!(CONNECTIONS_OPENED).increment(1);
    tracing::debug!("connection open");
}

/// A connection could not be made.
pub fn open_failed(error: &OpenError) {
    let kind = match error {
        OpenError::Network(_) => "network",
        OpenError::Status(_) => "status",
        OpenError::Config(_) => "config",
        OpenError::Timeout => "timeout",
        _ => "other",
    };
    metrics::counter!(CONNECTIONS_FAILED, "kind" => kind).increment(1);
    tracing::warn!(%error, "cannot connect");
}

/// A connection ended. `why` is for people.
pub fn lost(code: Option<u16>, why: &str) {
    metrics::counter!(CONNECTIONS_LOST).increment(1);
    tracing::info!(?code, why, "connection lost");
}

/// Payload came.
pub fn received(bytes: usize) {
    metrics::counter!(BYTES_RECEIVED).increment(bytes as u64);
}

/// Payload left.
pub fn sent(bytes: usize) {
    metrics::counter!(BYTES_SENT).increment(bytes as u64);
}

/// An event for the consumer.
pub fn event() {
    metrics::counter!(EVENTS).increment(1);
}

/// An event that nobody wants.
pub fn event_unheard() {
    metrics::counter!(EVENTS_UNHEARD).increment(1);
}

/// The consumer is behind.
pub fn consumer_behind(waiting: usize) {
    metrics::counter!(CONSUMER_BEHIND).increment(1);
    tracing::warn!(waiting, "the consumer is behind; nothing is read from the socket until it has caught up");
}

/// The consumer is so far behind that commands suffer.
pub fn consumer_flooded(waiting: usize) {
    tracing::error!(waiting, "the consumer is far behind: commands may time out, as their answers are not read either");
}

/// A command was given.
pub fn command() {
    metrics::counter!(COMMANDS).increment(1);
}

/// A command did not succeed.
pub fn command_failed() {
    metrics::counter!(COMMANDS_FAILED).increment(1);
}

/// The store was written to.
pub fn committed(commits: usize, took: Duration) {
    metrics::histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
    metrics::histogram!(COMMITS_PER_WRITE).record(commits as f64);
}

/// The store was read.
pub fn loaded(took: Duration) {
    metrics::histogram!(LOAD_SECONDS).record(took.as_secs_f64());
}

/// The store failed.
pub fn store_failed(error: &dyn std::fmt::Display) {
    metrics::counter!(STORE_FAILURES).increment(1);
    tracing::error!(%error, "the store failed");
}

/// A client started.
pub fn client_started() {
    metrics::gauge!(CLIENTS).increment(1.0);
}

/// A client ended.
pub fn client_ended() {
    metrics::gauge!(CLIENTS).decrement(1.0);
}
