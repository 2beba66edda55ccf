//! Building a client.

use amarula_core::Config;
use amarula_core::config::Browser;
use amarula_core::crypto::PublicKey;
use amarula_core::engine::Limits;
use amarula_io::setup::Setup;
use amarula_io::{Error, Storage};

use crate::Client;

/// Settings of a [`Client`]. Only a [store](Self::store) is required.
#[derive(Debug)]
#[must_use = "call build()"]
pub struct ClientBuilder {
    setup: Setup,
}

impl ClientBuilder {
    pub(crate) fn new(profile: &str) -> Self {
        Self { setup: Setup::new(profile) }
    }

    amarula_io::builder_methods!();

    /// Checks the settings. Nothing is opened yet; see [`Client::connect`].
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn build(self) -> Result<Client, Error> {
        Ok(Client::new(self.setup.check()?))
    }
}
