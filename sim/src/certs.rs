//! Server certificate chains, good ones and each kind of bad one (transport §4).

use amarula_core::crypto::{KeyPair, PrivateKey, Rng, xeddsa};
use prost::Message as _;

use crate::proto::{CertChain, CertDetails, NoiseCertificate};
use crate::time::SimTime;

/// What is wrong with the chain the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CertFault {
    /// There is no leaf certificate.
    NoLeaf,
    /// There is no intermediate certificate.
    NoIntermediate,
    /// The leaf has no details.
    NoLeafDetails,
    /// The leaf's signature has 63 bytes.
    ShortSignature,
    /// The intermediate is signed by somebody who is not the root.
    WrongRoot,
    /// The leaf is signed by somebody who is not the intermediate.
    WrongIntermediate,
    /// The intermediate names another issuer than serial 0.
    IntermediateIssuer,
    /// The leaf names another issuer than the intermediate.
    LeafIssuer,
    /// The leaf certifies another key than the server's static key.
    LeafKey,
    /// The intermediate's key has 31 bytes.
    ShortKey,
    /// The leaf is no longer valid.
    LeafExpired,
    /// The leaf is not yet valid.
    LeafNotYetValid,
    /// The intermediate is no longer valid.
    IntermediateExpired,
    /// The payload is no protobuf.
    Garbage,
}

impl CertFault {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::NoLeaf,
        Self::NoIntermediate,
        Self::NoLeafDetails,
        Self::ShortSignature,
        Self::WrongRoot,
        Self::WrongIntermediate,
        Self::IntermediateIssuer,
        Self::LeafIssuer,
        Self::LeafKey,
        Self::ShortKey,
        Self::LeafExpired,
        Self::LeafNotYetValid,
        Self::IntermediateExpired,
        Self::Garbage,
    ];
}

/// Makes chains.
#[derive(Clone, Debug)]
pub struct Authority {
    root: KeyPair,
    intermediate: KeyPair,
}

const INTERMEDIATE_SERIAL: u32 = 7;
const LEAF_SERIAL: u32 = 1234;
const DAY: u64 = 86_400;

impl Authority {
    /// An authority with fresh keys.
    pub fn generate(rng: &mut Rng) -> Self {
        Self { root: KeyPair::generate(rng), intermediate: KeyPair::generate(rng) }
    }

    /// The key that a client must pin.
    #[must_use]
    pub fn root(&self) -> &KeyPair {
        &self.root
    }

    /// The serialized chain for `server`, valid around `now`, with one thing wrong if asked for.
    pub fn chain(&self, server: &KeyPair, now: SimTime, fault: Option<CertFault>, rng: &mut Rng) -> Vec<u8> {
        let is = |kind| fault == Some(kind);
        if is(CertFault::Garbage) {
            return vec![0xff; 40];
        }
        let now = now.secs();
        let stranger = PrivateKey::generate(rng);
        let mut intermediate = details(
            INTERMEDIATE_SERIAL,
            if is(CertFault::IntermediateIssuer) { 9 } else { 0 },
            self.intermediate.public.as_bytes(),
            now.saturating_sub(365 * DAY),
            if is(CertFault::IntermediateExpired) { now.saturating_sub(DAY) } else { now + 3650 * DAY },
        );
        if is(CertFault::ShortKey) {
            intermediate.key = Some(vec![9; 31]);
        }
        let leaf_key = if is(CertFault::LeafKey) { stranger.public() } else { server.public };
        let leaf = details(
            LEAF_SERIAL,
            if is(CertFault::LeafIssuer) { INTERMEDIATE_SERIAL + 1 } else { INTERMEDIATE_SERIAL },
            leaf_key.as_bytes(),
            if is(CertFault::LeafNotYetValid) { now + DAY } else { now.saturating_sub(30 * DAY) },
            if is(CertFault::LeafExpired) { now.saturating_sub(DAY) } else { now + 60 * DAY },
        );
        let root = if is(CertFault::WrongRoot) { &stranger } else { &self.root.private };
        let issuer = if is(CertFault::WrongIntermediate) { &stranger } else { &self.intermediate.private };
        let intermediate = signed(&intermediate, root, rng);
        let mut leaf = signed(&leaf, issuer, rng);
        if is(CertFault::NoLeafDetails) {
            leaf.details = None;
        }
        if is(CertFault::ShortSignature) {
            leaf.signature = Some(vec![1; 63]);
        }
        CertChain {
            leaf: (!is(CertFault::NoLeaf)).then_some(leaf),
            intermediate: (!is(CertFault::NoIntermediate)).then_some(intermediate),
        }
        .encode_to_vec()
    }
}

fn details(serial: u32, issuer: u32, key: &[u8], not_before: u64, not_after: u64) -> CertDetails {
    CertDetails {
        serial: Some(serial),
        issuer_serial: Some(issuer),
        key: Some(key.to_vec()),
        not_before: Some(not_before),
        not_after: Some(not_after),
    }
}

fn signed(details: &CertDetails, by: &PrivateKey, rng: &mut Rng) -> NoiseCertificate {
    let details = details.encode_to_vec();
    let signature = xeddsa::sign(by, &[&details], &rng.bytes()).to_vec();
    NoiseCertificate { details: Some(details), signature: Some(signature) }
}
