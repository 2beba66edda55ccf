//! Making connections, and telling their errors.

use std::time::Duration;

use amarula_core::engine::StorageError;
use postgres::config::{Host, TargetSessionAttrs};
use postgres::error::SqlState;
use postgres::{Client, Config, Error, NoTls};

use super::options::PostgresOptions;
use crate::sql::{refused, unique};

/// Where the database is, and what a connection is for.
#[derive(Clone)]
pub(super) struct Link {
    config: Config,
    pub(super) options: PostgresOptions,
    /// Tells this store's connections of one role from all others: an older one can be ended by it.
    name: String,
}

/// For every connection. A transaction that is left alone ends soon, so that its locks do not keep others waiting.
const SET_UP: &str = "
SET idle_in_transaction_session_timeout = '10s';
SET lock_timeout = '15s';
SET statement_timeout = '60s';
SET default_transaction_isolation = 'read committed';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

const END_OLDER: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND usename = current_user AND pid <> pg_backend_pid()";

impl Link {
    pub(super) fn new(mut config: Config, options: PostgresOptions) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        // A node that is cut off must notice: nothing else ends a wait for an answer that never comes.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(10));
        }
        config
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(4);
        // After a failover, the one that can be written.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Self { config, options, name: unique() }
    }

    pub(super) fn role(mut self, role: &str) -> Self {
        self.config.application_name(&self.role_name(role));
        self
    }

    /// What this store's connections of a role are called.
    pub(super) fn role_name(&self, role: &str) -> String {
        format!("amarula {role} {}", self.name)
    }

    pub(super) fn node(&self) -> &str {
        &self.options.node
    }

    /// For people; without the password.
    pub(super) fn address(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<_> = self.config.get_hosts().iter().map(host).collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }

    /// A connection that is ready. If one of this role is left from before, the server ends it.
    pub(super) fn connect(&self) -> Result<Client, StorageError> {
        let failed = |error: Error| self.failed("connect to", &error);
        let mut client = self.dial().map_err(failed)?;
        client.batch_execute(SET_UP).map_err(failed)?;
        client.query(END_OLDER, &[]).map_err(failed)?;
        Ok(client)
    }

    #[cfg(not(feature = "postgres-tls"))]
    fn dial(&self) -> Result<Client, Error> {
        self.config.connect(NoTls)
    }

    #[cfg(feature = "postgres-tls")]
    fn dial(&self) -> Result<Client, Error> {
        match &self.options.tls {
            Some(tls) => self.config.connect(tokio_postgres_rustls::MakeRustlsConnect::new((**tls).clone())),
            None => self.config.connect(NoTls),
        }
    }

    /// `doing` completes "cannot …".
    pub(super) fn failed(&self, doing: &str, error: &Error) -> StorageError {
        let (words, retryable) = words(error);
        StorageError { message: format!("cannot {doing} {}: {words}", self.address()).into(), retryable }
    }
}

/// What it says, and whether trying again can help. Never the details: they may quote a row.
fn words(error: &Error) -> (String, bool) {
    let Some(database) = error.as_db_error() else {
        if is_lost(error) {
            return (format!("no connection ({})", reason(error)), true);
        }
        return (reason(error), false);
    };
    let code = database.code();
    let retryable = *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::T_R_DEADLOCK_DETECTED
        || *code == SqlState::LOCK_NOT_AVAILABLE
        || *code == SqlState::QUERY_CANCELED
        // Out of disk, memory or connections; shutting down, starting up; a failing disk.
        || ["53", "57", "58", "08"].iter().any(|class| code.code().starts_with(class));
    let words = match *code {
        SqlState::DISK_FULL => "the database's disk is full".to_owned(),
        SqlState::READ_ONLY_SQL_TRANSACTION => "the database is read-only".to_owned(),
        SqlState::INSUFFICIENT_PRIVILEGE => format!("permission denied ({})", database.message()),
        _ => format!("{} ({})", database.message(), code.code()),
    };
    (words, retryable)
}

fn reason(error: &Error) -> String {
    use std::error::Error as _;
    // The outer one says only "error connecting to server".
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether the connection is gone, so that the same on another one may succeed.
pub(super) fn is_lost(error: &Error) -> bool {
    use std::error::Error as _;
    if let Some(database) = error.as_db_error() {
        let code = database.code();
        return *code == SqlState::ADMIN_SHUTDOWN
            || *code == SqlState::CRASH_SHUTDOWN
            || *code == SqlState::CANNOT_CONNECT_NOW
            || *code == SqlState::TOO_MANY_CONNECTIONS
            || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            || *code == SqlState::IDLE_SESSION_TIMEOUT
            || code.code().starts_with("08");
    }
    error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) || is_timeout(error)
}

fn is_timeout(error: &Error) -> bool {
    error.to_string().contains("timeout waiting for server")
}

/// Nobody can answer any more.
pub(super) fn gone() -> StorageError {
    refused("the thread of a database connection has ended: a bug")
}
