//! TLS settings for every connection a client makes.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::ConfigError;

/// How TLS is to be set up.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// Certificates trusted besides the built-in roots, DER.
    pub extra_roots: Vec<Vec<u8>>,
    /// The same, PEM; each may hold several.
    pub extra_pem: Vec<Vec<u8>>,
    /// Taken as it is, instead of what would be made here.
    pub config: Option<Arc<ClientConfig>>,
}

impl TlsSettings {
    /// The configuration to use: Mozilla's roots and the extra ones, TLS 1.2 and 1.3, aws-lc-rs.
    ///
    /// # Errors
    /// [`ConfigError::RootCertificate`], [`ConfigError::Tls`].
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        if let Some(config) = &self.config {
            return Ok(Arc::clone(config));
        }
        // Thousands of clients with the same settings share one configuration, and with it one cache of TLS sessions.
        static PLAIN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if self.extra_roots.is_empty() && self.extra_pem.is_empty() {
            if let Some(config) = PLAIN.get() {
                return Ok(Arc::clone(config));
            }
            let config = self.make()?;
            return Ok(Arc::clone(PLAIN.get_or_init(|| config)));
        }
        self.make()
    }

    fn make(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut index = 0;
        let mut add = |der: CertificateDer<'_>| {
            let added = roots.add(der.into_owned()).map_err(|error| bad_root(index, &error));
            index += 1;
            added
        };
        for der in &self.extra_roots {
            add(CertificateDer::from(der.as_slice()))?;
        }
        for (position, pem) in self.extra_pem.iter().enumerate() {
            let position = self.extra_roots.len() + position;
            let mut all = CertificateDer::pem_slice_iter(pem).peekable();
            if all.peek().is_none() {
                return Err(bad_root(position, &"no certificate in this PEM text"));
            }
            for der in all {
                add(der.map_err(|error| bad_root(position, &error))?)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn bad_root(index: usize, what: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::RootCertificate { index, what: what.to_string() }
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSettings")
            .field("extra_roots", &self.extra_roots.len())
            .field("extra_pem", &self.extra_pem.len())
            .field("config", &self.config.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        assert!(TlsSettings::default().client_config().is_ok());
        let bad = TlsSettings { extra_roots: vec![vec![1, 2, 3]], ..TlsSettings::default() };
        assert!(matches!(bad.client_config(), Err(ConfigError::RootCertificate { index: 0, .. })));
        let none = TlsSettings { extra_pem: vec![b"nothing".to_vec()], ..TlsSettings::default() };
        assert!(matches!(none.client_config(), Err(ConfigError::RootCertificate { index: 0, .. })));
    }
}
