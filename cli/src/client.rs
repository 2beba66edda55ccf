//! One face for both drivers: everything else in this program is written once, with calls that wait.
//!
//! The Tokio client runs on a runtime of its own with one worker thread; the calls block on it.

use std::sync::OnceLock;

use amarula_core::address::Address;
use amarula_core::content::Outgoing;
use amarula_core::engine::command::{ChatState, LoggedOut, PairingCode, Presence, Sent};
use amarula_core::event::{Delivery, DeliveryId};
use amarula_core::store::OwnAccount;
use amarula_io::{Error, SendOptions, Storage};
use amarula_store::{FileStore, Profile};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Exit;
use crate::options::{Common, Driver};
use crate::problem::{Problem, Result};

/// What a client answers.
pub(crate) type Answer<T> = std::result::Result<T, Error>;

/// A client of either driver. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Client {
    Tokio(&'static Runtime, amarula_tokio::Client),
    Blocking(amarula_blocking::Client),
}

/// Its stream of events.
pub(crate) enum Events {
    Tokio(&'static Runtime, amarula_tokio::Events),
    Blocking(amarula_blocking::Events),
}

/// Calls the same method of both, and waits for it.
macro_rules! both {
    ($self:ident, $client:ident => $call:expr) => {
        match $self {
            Client::Tokio(runtime, $client) => runtime.block_on($call),
            Client::Blocking($client) => $call,
        }
    };
}

fn runtime() -> Answer<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(1).thread_name("amarula-tokio").enable_all().build();
    let made = made.map_err(|error| Error::system("a Tokio runtime", error))?;
    Ok(RUNTIME.get_or_init(|| made))
}

impl Client {
    /// A client as the options say, on the store of the options.
    pub(crate) fn new(common: &Common) -> Result<Self> {
        Self::on(common, FileStore::open(&common.data_dir)?)
    }

    /// A client as the options say, on this store.
    pub(crate) fn on(common: &Common, store: FileStore) -> Result<Self> {
        let storage = Storage::new(store);
        macro_rules! build {
            ($builder:expr) => {{
                let mut builder = $builder.store(storage).name(format!("amarula, process {}", std::process::id()));
                if let Some(name) = &common.name {
                    builder = builder.device_name(name);
                }
                if let Some(name) = &common.push_name {
                    builder = builder.push_name(name);
                }
                if let Some(url) = &common.server {
                    builder = builder.url(url);
                }
                if let Some(key) = common.root_key {
                    builder = builder.root_key(key);
                }
                if common.allow_plain_text {
                    builder = builder.allow_plain_text();
                }
                if let Some(proxy) = &common.proxy {
                    builder = builder.proxy(proxy);
                }
                if let Some((primary, secondary, revision)) = common.version_wa {
                    builder = builder.version(primary, secondary, revision);
                }
                if let Some(path) = &common.record {
                    builder = builder.record(path);
                }
                builder.build()?
            }};
        }
        Ok(match common.driver {
            Driver::Tokio => Self::Tokio(runtime()?, build!(amarula_tokio::Client::builder(&common.profile))),
            Driver::Blocking => Self::Blocking(build!(amarula_blocking::Client::builder(&common.profile))),
        })
    }

    pub(crate) fn connect(&self) -> Answer<Events> {
        Ok(match self {
            Self::Tokio(runtime, client) => Events::Tokio(runtime, runtime.block_on(client.connect())?),
            Self::Blocking(client) => Events::Blocking(client.connect()?),
        })
    }

    pub(crate) fn disconnect(&self) -> Answer<()> {
        both!(self, client => client.disconnect())
    }

    pub(crate) fn reconnect(&self) -> Answer<()> {
        both!(self, client => client.reconnect())
    }

    pub(crate) fn network_changed(&self) -> Answer<()> {
        match self {
            Self::Tokio(_, client) => client.network_changed(),
            Self::Blocking(client) => client.network_changed(),
        }
    }

    pub(crate) fn shutdown(&self) -> Answer<()> {
        both!(self, client => client.shutdown())
    }

    pub(crate) fn logout(&self) -> Answer<LoggedOut> {
        both!(self, client => client.logout())
    }

    pub(crate) fn request_pairing_code(&self, phone: &str, code: Option<&str>) -> Answer<PairingCode> {
        both!(self, client => client.request_pairing_code(phone, code))
    }

    pub(crate) fn send(&self, to: &Address, content: Outgoing, options: SendOptions) -> Answer<Sent> {
        both!(self, client => client.send_with(to, content, options))
    }

    pub(crate) fn mark_read(&self, chat: &Address, sender: Option<&Address>, ids: &[String]) -> Answer<()> {
        both!(self, client => client.mark_read(chat, sender, ids))
    }

    pub(crate) fn set_presence(&self, presence: Presence) -> Answer<()> {
        both!(self, client => client.set_presence(presence))
    }

    pub(crate) fn send_chat_state(&self, to: &Address, state: ChatState) -> Answer<()> {
        both!(self, client => client.send_chat_state(to, state))
    }

    pub(crate) fn subscribe_presence(&self, to: &Address) -> Answer<()> {
        both!(self, client => client.subscribe_presence(to))
    }

    pub(crate) fn confirm(&self, delivery: DeliveryId) -> Answer<()> {
        both!(self, client => client.confirm(delivery))
    }

    pub(crate) fn profile(&self) -> &str {
        match self {
            Self::Tokio(_, client) => client.profile(),
            Self::Blocking(client) => client.profile(),
        }
    }

    fn storage(&self) -> &Storage {
        match self {
            Self::Tokio(_, client) => client.storage(),
            Self::Blocking(client) => client.storage(),
        }
    }

    /// The account this profile is linked to, as stored. `None`: to none.
    pub(crate) fn own_account(&self) -> Result<Option<OwnAccount>> {
        let profile = Profile::new(self.profile()).map_err(|error| Problem::usage(error.to_string()))?;
        own_account(&**self.storage().store(), &profile)
    }

    /// As [`own_account`](Self::own_account) for a client that was not started: says who else has the profile.
    pub(crate) fn own_account_at_rest(&self) -> Result<Option<OwnAccount>> {
        let profile = Profile::new(self.profile()).map_err(|error| Problem::usage(error.to_string()))?;
        let _lease = self.storage().store().acquire(&profile)?;
        self.own_account()
    }
}

/// The account that a profile is linked to, as stored.
pub(crate) fn own_account(store: &dyn amarula_store::Store, profile: &Profile) -> Result<Option<OwnAccount>> {
    let record = store.get(profile, &[OwnAccount::key()])?.pop().flatten();
    match record.map(|record| OwnAccount::read(&record)).transpose() {
        Ok(own) => Ok(own.flatten()),
        Err(error) => Err(Problem::new(Exit::Storage, "corruptAccount", error.to_string())),
    }
}

impl Events {
    /// The next one; `None` after the end.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        match self {
            Self::Tokio(runtime, events) => runtime.block_on(events.next()).map(amarula_tokio::Delivery::into_inner),
            Self::Blocking(events) => events.next().map(amarula_blocking::Delivery::into_inner),
        }
    }
}
