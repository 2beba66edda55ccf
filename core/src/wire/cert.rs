//! The server's certificate chain (`protocol/transport.md` §4): a root we pin signs an intermediate, which signs a leaf
//! whose key is the server's Noise static key.

use core::fmt;

use bytes::Bytes;
use prost::Message as _;

use super::noise::schema;
use super::noise::schema::cert_chain::{NoiseCertificate, noise_certificate};
use crate::crypto::{PublicKey, equal, xeddsa};

/// WhatsApp's root key, "WhatsAppLongTerm1", serial 0.
pub const ROOT_KEY: PublicKey = PublicKey([
    0x14, 0x23, 0x75, 0x57, 0x4d, 0x0a, 0x58, 0x71, 0x66, 0xaa, 0xe7, 0x1e, 0xbe, 0x51, 0x64, 0x37, 0xc4, 0xa2, 0x8b,
    0x73, 0xe3, 0x69, 0x5c, 0x6c, 0xe1, 0xf7, 0xf9, 0x54, 0x5d, 0xa8, 0xee, 0x6b,
]);

/// Serial of the root, which an intermediate names as its issuer.
const ROOT_SERIAL: u32 = 0;

/// Whom to believe, and how well the host's clock is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The key that signs intermediates. Another than [`ROOT_KEY`] only against a simulated server.
    pub root: PublicKey,
    /// Seconds by which the host's clock may be off, either way. 0 is strict.
    pub clock_tolerance: u64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { root: ROOT_KEY, clock_tolerance: 0 }
    }
}

/// A certificate that was verified. This much of it is worth keeping for a resumption (§3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The certified key.
    pub key: PublicKey,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// First second after it, Unix time.
    pub not_after: u64,
}

/// A chain that was verified, by [`verify`] or before it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertChain {
    /// Certifies the server's Noise static key.
    pub leaf: Certificate,
    /// Certifies the leaf's issuer.
    pub intermediate: Certificate,
}

/// Which certificate of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertRole {
    /// The server's own.
    Leaf,
    /// Its issuer's.
    Intermediate,
}

/// The chain does not prove that the static key is the server's: possibly an interception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The chain or the details of a certificate do not decode.
    #[error("malformed certificate chain")]
    Malformed,
    /// A certificate, or a field of it, is missing.
    #[error("the {0} certificate has no {1}")]
    Missing(CertRole, &'static str),
    /// The signature is not 64 bytes, or not its issuer's.
    #[error("the {0} certificate is not signed by its issuer")]
    BadSignature(CertRole),
    /// It names an issuer other than the one that signed.
    #[error("the {0} certificate names another issuer")]
    WrongIssuer(CertRole),
    /// The key is not 32 bytes.
    #[error("the {0} certificate's key is malformed")]
    BadKey(CertRole),
    /// The leaf certifies another key than the one the server used.
    #[error("the server's key is not the certified one")]
    KeyMismatch,
    /// All else holds, but by the host's clock it is too early. Perhaps that clock is wrong.
    #[error("the {role} certificate is valid from {bound}, and the clock here says {now}: is it right?")]
    NotYetValid {
        /// Which certificate.
        role: CertRole,
        /// Its first valid second, Unix time.
        bound: u64,
        /// The host's clock, Unix time in seconds.
        now: u64,
    },
    /// All else holds, but by the host's clock it is too late. Perhaps that clock is wrong.
    #[error("the {role} certificate was valid until {bound}, and the clock here says {now}: is it right?")]
    Expired {
        /// Which certificate.
        role: CertRole,
        /// The first second after its validity, Unix time.
        bound: u64,
        /// The host's clock, Unix time in seconds.
        now: u64,
    },
}

impl CertError {
    /// Whether the only complaint is about time, so that the host's clock may be the culprit.
    #[must_use]
    pub const fn is_clock(&self) -> bool {
        matches!(self, Self::NotYetValid { .. } | Self::Expired { .. })
    }
}

impl fmt::Display for CertRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
        })
    }
}

impl CertChain {
    /// The server's static key.
    #[must_use]
    pub const fn server_static(&self) -> PublicKey {
        self.leaf.key
    }

    /// Whether both certificates are valid now (Unix time in seconds).
    ///
    /// # Errors
    /// [`CertError::NotYetValid`] or [`CertError::Expired`].
    pub fn check_time(&self, trust: &Trust, now: u64) -> Result<(), CertError> {
        [(CertRole::Leaf, &self.leaf), (CertRole::Intermediate, &self.intermediate)].into_iter().try_for_each(
            |(role, certificate)| {
                if now.saturating_add(trust.clock_tolerance) < certificate.not_before {
                    return Err(CertError::NotYetValid { role, bound: certificate.not_before, now });
                }
                if now.saturating_sub(trust.clock_tolerance) >= certificate.not_after {
                    return Err(CertError::Expired { role, bound: certificate.not_after, now });
                }
                Ok(())
            },
        )
    }
}

/// Checks that `chain` (the decrypted payload of a serverHello) certifies `server_static` at `now` (Unix time in
/// seconds): all seven rules of `protocol/transport.md` §4. Time is looked at last, so that a complaint about the clock
/// means that everything else is in order.
///
/// # Errors
/// [`CertError`].
pub fn verify(chain: Bytes, server_static: &PublicKey, trust: &Trust, now: u64) -> Result<CertChain, CertError> {
    let chain = schema::CertChain::decode(chain).map_err(|_| CertError::Malformed)?;
    let intermediate = Signed::read(chain.intermediate, CertRole::Intermediate)?;
    intermediate.issued_by(&trust.root, ROOT_SERIAL)?;
    let intermediate_key = intermediate.key()?;
    let leaf = Signed::read(chain.leaf, CertRole::Leaf)?;
    leaf.issued_by(&intermediate_key, intermediate.details.serial.unwrap_or_default())?;
    let leaf_key = leaf.key()?;
    if !equal(leaf_key.as_bytes(), server_static.as_bytes()) {
        return Err(CertError::KeyMismatch);
    }
    let chain =
        CertChain { leaf: leaf.certificate(leaf_key)?, intermediate: intermediate.certificate(intermediate_key)? };
    chain.check_time(trust, now)?;
    Ok(chain)
}

struct Signed {
    role: CertRole,
    raw: Bytes,
    signature: Bytes,
    details: noise_certificate::Details,
}

impl Signed {
    fn read(certificate: Option<NoiseCertificate>, role: CertRole) -> Result<Self, CertError> {
        let certificate = certificate.ok_or(CertError::Missing(role, "body"))?;
        let raw = certificate.details.ok_or(CertError::Missing(role, "details"))?;
        let signature = certificate.signature.ok_or(CertError::Missing(role, "signature"))?;
        let details = noise_certificate::Details::decode(raw.clone()).map_err(|_| CertError::Malformed)?;
        Ok(Self { role, raw, signature, details })
    }

    /// The signature first: what an unsigned certificate says is not worth an error of its own.
    fn issued_by(&self, issuer: &PublicKey, serial: u32) -> Result<(), CertError> {
        if !xeddsa::verify(issuer, &[&self.raw], &self.signature) {
            return Err(CertError::BadSignature(self.role));
        }
        if self.details.issuer_serial.unwrap_or_default() != serial {
            return Err(CertError::WrongIssuer(self.role));
        }
        Ok(())
    }

    fn key(&self) -> Result<PublicKey, CertError> {
        let key = self.details.key.as_deref().ok_or(CertError::Missing(self.role, "key"))?;
        PublicKey::from_raw(key).map_err(|_| CertError::BadKey(self.role))
    }

    fn certificate(&self, key: PublicKey) -> Result<Certificate, CertError> {
        Ok(Certificate {
            key,
            not_before: self.details.not_before.ok_or(CertError::Missing(self.role, "notBefore"))?,
            not_after: self.details.not_after.ok_or(CertError::Missing(self.role, "notAfter"))?,
        })
    }
}
