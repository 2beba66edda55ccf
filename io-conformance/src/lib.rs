//! One test suite for both drivers.
//!
//! The scenarios of [`account`](scenarios::account) run the real engine against the simulated WhatsApp. All others put a [`Script`](script::Script) in the engine's place, so that a driver can be made to do anything,
//! and a scripted [peer] at the other end of real sockets on loopback. Everything is bounded in time.
//!
//! A driver's tests implement [`DriverUnderTest`] and call [`conformance_tests!`].

pub mod peer;
pub mod scenarios;
pub mod script;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amarula_core::crypto::PublicKey;
use amarula_core::engine::Command;
use amarula_core::event::{Delivery, DeliveryId};
use amarula_io::machine::MachineFactory;
use amarula_io::{Error, Storage};
use amarula_store::MemoryStore;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a client is built with.
#[derive(Clone)]
#[allow(missing_docs, reason = "as the builder's methods")]
pub struct Options {
    pub profile: String,
    pub name: Option<String>,
    pub storage: Storage,
    pub url: String,
    pub root_key: Option<PublicKey>,
    pub proxy: Option<String>,
    pub tls_root: Option<Vec<u8>>,
    pub event_limit: usize,
    pub record: Option<PathBuf>,
    pub machine: Option<Arc<MachineFactory>>,
}

impl Options {
    /// A client for `url` with a memory store.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            profile: "conformance".into(),
            name: None,
            storage: MemoryStore::new().into(),
            url: url.into(),
            root_key: None,
            proxy: None,
            tls_root: None,
            event_limit: 256,
            record: None,
            machine: None,
        }
    }
}

/// A driver.
pub trait DriverUnderTest {
    /// Its client.
    type Client: ClientUnderTest;
    /// Builds one.
    ///
    /// # Errors
    /// The builder's.
    fn build(&self, options: Options) -> Result<Self::Client, Error>;
}

/// Its client; every call waits.
#[allow(missing_docs, reason = "as the clients' methods")]
#[allow(clippy::missing_errors_doc, reason = "as the clients' methods")]
pub trait ClientUnderTest: Clone + Send + 'static {
    type Events: EventsUnderTest;
    fn connect(&self) -> Result<Self::Events, Error>;
    fn call<C: Command + Send + 'static>(&self, command: C) -> Result<C::Reply, Error>
    where
        C::Reply: Send;
    fn confirm(&self, id: DeliveryId) -> Result<(), Error>;
    fn shutdown(&self) -> Result<(), Error>;
}

/// Its events.
pub trait EventsUnderTest: Send + 'static {
    /// The next, within a time.
    fn next(&mut self, most: Duration) -> Next;
}

/// What came of waiting for an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Event(Box<Delivery>),
    /// The end of all events.
    End,
    /// Nothing in time.
    TimedOut,
}

/// Makes a test of every scenario, for the driver that `$driver` makes.
#[macro_export]
macro_rules! conformance_tests {
    ($driver:expr) => {
        $crate::conformance_tests!(@ $driver;
            websocket: echoes_in_order, takes_huge_messages, boundaries_may_be_anywhere, answers_pings_ignores_texts,
                reports_the_close_code, reports_a_broken_connection, sends_everything_before_closing,
                opening_can_be_given_up, survives_a_peer_that_does_not_read,
                hears_the_last_words;
            network: reports_refusal, reports_the_http_status, refuses_plain_text_elsewhere, checks_certificates,
                goes_through_an_http_proxy, goes_through_a_socks_proxy, tells_bad_proxy_logins;
            flow: a_full_engine_is_not_fed, a_slow_consumer_stops_the_socket_only,
                a_slow_consumer_gets_its_answers, without_consumers_nothing_stops,
                wakes_up_exactly;
            storage: commits_and_loads_in_order, a_failed_commit_takes_the_later_ones_with_it;
            lifecycle: not_before_the_start, one_client_per_profile, shutdown_waits_for_the_store,
                dropping_closes_and_frees, rejections_and_failures_are_told, many_idle_accounts;
            http: performs_requests, reports_failures;
            account: pairs_by_qr_talks_and_comes_back, pairs_by_code, unconfirmed_messages_come_again, logs_out,
                recordings_replay;
        );
    };
    (@ $driver:expr; $($module:ident: $($scenario:ident),+;)+) => {
        $(mod $module {
            $(#[test]
            fn $scenario() {
                $crate::scenarios::$module::$scenario(&$driver);
            })+
        })+
    };
}
