//! What a client is built from. Both drivers' `ClientBuilder` is a shell around [`Setup`], with the methods of
//! [`builder_methods!`](crate::builder_methods).

use std::path::PathBuf;
use std::sync::Arc;

use amarula_core::Config;
use amarula_store::Profile;

use crate::error::{ConfigError, Error};
use crate::machine::MachineFactory;
use crate::proxy::Proxy;
use crate::recorder::Recording;
use crate::storage::Storage;
use crate::target::Target;
use crate::tls::TlsSettings;

/// Events that may wait for the consumer before the socket rests, unless the builder says otherwise.
pub const DEFAULT_EVENT_LIMIT: usize = 256;

/// Everything a builder collects.
#[allow(missing_docs, reason = "each field is the builder method of its name")]
pub struct Setup {
    pub profile: String,
    pub name: Option<String>,
    pub storage: Option<Storage>,
    pub config: Config,
    pub allow_plain_text: bool,
    pub proxy: Option<String>,
    pub tls: TlsSettings,
    pub event_limit: usize,
    pub record: Option<PathBuf>,
    pub machine: Option<Arc<MachineFactory>>,
}

/// A checked [`Setup`]: a client can be started from it.
pub struct Ready {
    /// Whose.
    pub profile: Profile,
    /// What others are told when they want the same profile.
    pub name: String,
    /// Where its records are.
    pub storage: Storage,
    /// For the engine.
    pub config: Config,
    /// For connections.
    pub network: Arc<Network>,
    /// Events that may wait before the socket rests.
    pub event_limit: usize,
    /// Where to record.
    pub record: Option<PathBuf>,
    /// Instead of the engine.
    pub machine: Option<Arc<MachineFactory>>,
}

/// How connections are made.
#[derive(Debug)]
pub struct Network {
    /// For `wss://` and `https://`.
    pub tls: Arc<rustls::ClientConfig>,
    /// Through which proxy.
    pub proxy: Option<Proxy>,
    /// Whether `ws://` and `http://` may leave this machine.
    pub allow_plain_text: bool,
}

impl Setup {
    /// Defaults for this profile.
    #[must_use]
    pub fn new(profile: &str) -> Self {
        Self {
            profile: profile.to_owned(),
            name: None,
            storage: None,
            config: Config::default(),
            allow_plain_text: false,
            proxy: None,
            tls: TlsSettings::default(),
            event_limit: DEFAULT_EVENT_LIMIT,
            record: None,
            machine: None,
        }
    }

    /// Checks everything that can be checked without the outside world.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn check(self) -> Result<Ready, ConfigError> {
        let profile = Profile::new(&self.profile)?;
        let storage = self.storage.ok_or(ConfigError::NoStore)?;
        let (_, uri) = Target::of_url(&self.config.url, self.allow_plain_text)?;
        if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
            return Err(ConfigError::Url(self.config.url.to_string()));
        }
        if self.event_limit == 0 {
            return Err(ConfigError::Range { name: "event_limit", must: "at least 1" });
        }
        let proxy = self.proxy.as_deref().map(str::parse).transpose()?;
        let network = Network { tls: self.tls.client_config()?, proxy, allow_plain_text: self.allow_plain_text };
        Ok(Ready {
            name: self.name.unwrap_or_else(|| format!("client of {profile}")),
            profile,
            storage,
            config: self.config,
            network: Arc::new(network),
            event_limit: self.event_limit,
            record: self.record,
            machine: self.machine,
        })
    }
}

impl Ready {
    /// Opens the recording, if one is wanted.
    ///
    /// # Errors
    /// [`Error::Recording`].
    pub fn recording(&self) -> Result<Option<Recording>, Error> {
        let Some(path) = &self.record else { return Ok(None) };
        Recording::create(path)
            .map(Some)
            .map_err(|error| Error::Recording { path: path.display().to_string(), source: Arc::new(error) })
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("profile", &self.profile).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The methods of a client builder, for a type with a field `setup: Setup`.
#[doc(hidden)]
#[macro_export]
macro_rules! builder_methods {
    () => {
        /// Where the account's records are kept: a store, or a [`Storage`] that many clients share. Required.
        #[must_use]
        pub fn store(mut self, store: impl Into<Storage>) -> Self {
            self.setup.storage = Some(store.into());
            self
        }

        /// A name for this client, told to whoever else wants its profile. Default: `client of <profile>`.
        #[must_use]
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.setup.name = Some(name.into());
            self
        }

        /// The engine's whole configuration, instead of single parts of it. Replaces what was set before.
        #[must_use]
        pub fn config(mut self, config: Config) -> Self {
            self.setup.config = config;
            self
        }

        /// Address of the chat server. Default: WhatsApp's. Only for a simulated one.
        #[must_use]
        pub fn url(mut self, url: impl AsRef<str>) -> Self {
            self.setup.config.url = url.as_ref().into();
            self
        }

        /// Root key of the server's certificates. Default: WhatsApp's. Only for a simulated server.
        #[must_use]
        pub fn root_key(mut self, key: PublicKey) -> Self {
            self.setup.config.root_key = key;
            self
        }

        /// Version of WhatsApp Web to be (primary, secondary, revision). Set a newer one when the server says
        /// `ClientOutdated`.
        #[must_use]
        pub fn version(mut self, primary: u32, secondary: u32, revision: u32) -> Self {
            self.setup.config.version = (primary, secondary, revision);
            self
        }

        /// What this device is called in the phone's list of linked devices. Takes effect when pairing.
        #[must_use]
        pub fn device_name(mut self, name: impl AsRef<str>) -> Self {
            self.setup.config.device_name = name.as_ref().into();
            self
        }

        /// Which browser this device poses as. Takes effect when pairing.
        #[must_use]
        pub fn browser(mut self, browser: Browser) -> Self {
            self.setup.config.browser = browser;
            self
        }

        /// Our own name as others see it, until the phone sends one. Presence needs a name.
        #[must_use]
        pub fn push_name(mut self, name: impl AsRef<str>) -> Self {
            self.setup.config.push_name = Some(name.as_ref().into());
            self
        }

        /// Whether to become available after login. Default: yes.
        #[must_use]
        pub fn mark_online(mut self, yes: bool) -> Self {
            self.setup.config.mark_online = yes;
            self
        }

        /// Whether messages wait in the inbox until they are confirmed, over restarts. Default: yes. Off: events come
        /// at most once, and need no `confirm`. Turn it off if you never read events, or the inbox only grows.
        #[must_use]
        pub fn inbox(mut self, yes: bool) -> Self {
            self.setup.config.inbox = yes;
            self
        }

        /// Whether to ask the phone for its full history when pairing. Default: no.
        #[must_use]
        pub fn full_history(mut self, yes: bool) -> Self {
            self.setup.config.full_history = yes;
            self
        }

        /// The engine's sizes and counts.
        #[must_use]
        pub fn limits(mut self, limits: Limits) -> Self {
            self.setup.config.limits = limits;
            self
        }

        /// How many events may wait for the consumer before nothing more is read from the socket. At least 1,
        /// default 256. What a single read causes may exceed it.
        #[must_use]
        pub fn event_limit(mut self, events: usize) -> Self {
            self.setup.event_limit = events;
            self
        }

        /// Connect through this proxy: `http://[user:password@]host:port` or `socks5://[user:password@]host:port`.
        /// For the WebSocket and for media alike. Names are resolved by the proxy.
        #[must_use]
        pub fn proxy(mut self, url: impl Into<String>) -> Self {
            self.setup.proxy = Some(url.into());
            self
        }

        /// Trust this root certificate (DER) besides the built-in ones.
        #[must_use]
        pub fn tls_root(mut self, der: impl Into<Vec<u8>>) -> Self {
            self.setup.tls.extra_roots.push(der.into());
            self
        }

        /// Trust these root certificates (PEM, one or more) besides the built-in ones.
        #[must_use]
        pub fn tls_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
            self.setup.tls.extra_pem.push(pem.into());
            self
        }

        /// Use this TLS configuration as it is. Roots given otherwise are ignored then.
        #[must_use]
        pub fn tls_config(mut self, config: ::std::sync::Arc<rustls::ClientConfig>) -> Self {
            self.setup.tls.config = Some(config);
            self
        }

        /// Allow `ws://` and `http://` to other machines. To this machine they are always allowed.
        #[must_use]
        pub fn allow_plain_text(mut self) -> Self {
            self.setup.allow_plain_text = true;
            self
        }

        /// Record the session to a new file, for replay and bug reports. **It holds the account's keys** and every
        /// message; the file is made readable for its owner only, and an existing one is never overwritten.
        #[must_use]
        pub fn record(mut self, path: impl Into<::std::path::PathBuf>) -> Self {
            self.setup.record = Some(path.into());
            self
        }

        /// Drive something else than the engine. For the drivers' own tests.
        #[doc(hidden)]
        #[must_use]
        pub fn machine(mut self, factory: ::std::sync::Arc<$crate::machine::MachineFactory>) -> Self {
            self.setup.machine = Some(factory);
            self
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { storage: Some(amarula_store::MemoryStore::new().into()), ..Setup::new("shop") }
    }

    #[test]
    fn the_defaults_work() {
        let ready = setup().check().expect("fine");
        assert_eq!(ready.name, "client of shop");
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(Setup::new("shop").check().err(), Some(ConfigError::NoStore));
        let with = |change: fn(&mut Setup)| {
            let mut setup = setup();
            change(&mut setup);
            setup.check().expect_err("must be refused")
        };
        assert!(matches!(with(|setup| setup.profile = "../x".into()), ConfigError::Profile(_)));
        assert!(matches!(with(|setup| setup.config.url = "https://x/".into()), ConfigError::Url(_)));
        assert!(matches!(with(|setup| setup.config.url = "ws://x/".into()), ConfigError::PlainText(_)));
        assert!(matches!(with(|setup| setup.proxy = Some("x".into())), ConfigError::Proxy(_)));
        assert!(matches!(with(|setup| setup.event_limit = 0), ConfigError::Range { .. }));
    }
}
