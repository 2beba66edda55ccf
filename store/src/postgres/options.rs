//! How a store works.

use std::fmt;
use std::time::Duration;

use crate::sql::{LEASE, MIN_LEASE};

/// How a [`PostgresStore`](super::PostgresStore) works.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// How long a lease outlasts a node that died or was cut off; 30 s.
    pub lease: Duration,
    /// How long reads and commits go on trying when the connection is lost; 10 s. Their caller waits meanwhile.
    pub patience: Duration,
    /// What this node is called, for the others to see who has a profile; host name and process id.
    pub node: String,
    /// For connections that the URL wants encrypted (`sslmode`).
    #[cfg(feature = "postgres-tls")]
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
        let host = if host.trim().is_empty() { "node" } else { host.trim() };
        Self {
            lease: LEASE,
            patience: Duration::from_secs(10),
            node: format!("{host}:{}", std::process::id()),
            #[cfg(feature = "postgres-tls")]
            tls: None,
        }
    }
}

impl PostgresOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`lease`](Self::lease); at least 0.2 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(MIN_LEASE);
        self
    }

    /// Sets [`patience`](Self::patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets [`node`](Self::node).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Sets [`tls`](Self::tls).
    #[cfg(feature = "postgres-tls")]
    #[must_use]
    pub fn tls(mut self, config: impl Into<std::sync::Arc<rustls::ClientConfig>>) -> Self {
        self.tls = Some(config.into());
        self
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("lease", &self.lease)
            .field("patience", &self.patience)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
