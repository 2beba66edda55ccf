//! Prekeys: our records, and the bundle of another device (`protocol/signal.md` §2, §5, §8.1).

use alloc::vec::Vec;

use super::error::SignalError;
use super::proto::{BadProto, fields, put_bytes, put_fixed64, put_u32};
use super::session::LocalIdentity;
use super::state::key;
use crate::crypto::{KeyPair, PrivateKey, PublicKey, Rng, xeddsa};

/// One of our one-time prekeys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreKeyRecord {
    /// 1..=16 777 215.
    pub id: u32,
    /// The key.
    pub keys: KeyPair,
}

impl PreKeyRecord {
    /// A fresh key.
    pub fn generate(id: u32, rng: &mut Rng) -> Self {
        Self { id, keys: KeyPair::generate(rng) }
    }

    /// Reads a stored key (the official PreKeyRecordStructure).
    ///
    /// # Errors
    /// [`SignalError::InvalidRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let (id, keys, ..) = read(bytes).map_err(|_| SignalError::InvalidRecord("prekey"))?;
        Ok(Self { id, keys })
    }

    /// The storage form. Contains the private key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        put(&mut out, self.id, &self.keys);
        out
    }

    /// What others see of it.
    #[must_use]
    pub const fn public(&self) -> OneTimePreKey {
        OneTimePreKey { id: self.id, public: self.keys.public }
    }
}

/// One of our signed prekeys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignedPreKeyRecord {
    /// 1..=16 777 215.
    pub id: u32,
    /// The key.
    pub keys: KeyPair,
    /// Over `05 ‖ public`, by our identity key.
    pub signature: [u8; 64],
    /// When it was made: Unix time in milliseconds.
    pub created_ms: u64,
}

impl SignedPreKeyRecord {
    /// A fresh key, signed by `identity`. `created_ms` is Unix time in milliseconds.
    pub fn generate(id: u32, identity: &KeyPair, created_ms: u64, rng: &mut Rng) -> Self {
        Self::sign(id, KeyPair::generate(rng), identity, created_ms, rng)
    }

    /// Signs a given key with `identity`.
    pub fn sign(id: u32, keys: KeyPair, identity: &KeyPair, created_ms: u64, rng: &mut Rng) -> Self {
        let signature = xeddsa::sign(&identity.private, &[&keys.public.typed()], &rng.bytes());
        Self { id, keys, signature, created_ms }
    }

    /// Reads a stored key (the official SignedPreKeyRecordStructure).
    ///
    /// # Errors
    /// [`SignalError::InvalidRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let bad = SignalError::InvalidRecord("signed prekey");
        let (id, keys, signature, created_ms) = read(bytes).map_err(|_| bad)?;
        Ok(Self { id, keys, signature: signature.ok_or(bad)?, created_ms })
    }

    /// The storage form. Contains the private key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        put(&mut out, self.id, &self.keys);
        put_bytes(&mut out, 4, &self.signature);
        put_fixed64(&mut out, 5, self.created_ms);
        out
    }

    /// What others see of it.
    #[must_use]
    pub const fn public(&self) -> SignedPreKey {
        SignedPreKey { id: self.id, public: self.keys.public, signature: self.signature }
    }
}

fn put(out: &mut Vec<u8>, id: u32, keys: &KeyPair) {
    put_u32(out, 1, id);
    put_bytes(out, 2, &keys.public.typed());
    put_bytes(out, 3, keys.private.expose());
}

type Stored = (u32, KeyPair, Option<[u8; 64]>, u64);

fn read(bytes: &[u8]) -> Result<Stored, BadProto> {
    let (mut id, mut public, mut private, mut signature, mut time) = (0, None, None, None, 0);
    for field in fields(bytes) {
        match field? {
            (1, value) => id = value.u32()?,
            (2, value) => public = Some(key(value)?),
            (3, value) => private = Some(PrivateKey::from_slice(value.bytes()?).map_err(|_| BadProto)?),
            (4, value) => signature = Some(value.array()?),
            (5, value) => time = value.fixed64()?,
            _ => {}
        }
    }
    let keys = KeyPair { public: public.ok_or(BadProto)?, private: private.ok_or(BadProto)? };
    Ok((id, keys, signature, time))
}

/// A one-time prekey as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OneTimePreKey {
    /// Its id.
    pub id: u32,
    /// Its public key.
    pub public: PublicKey,
}

/// A signed prekey as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedPreKey {
    /// Its id.
    pub id: u32,
    /// Its public key.
    pub public: PublicKey,
    /// Over `05 ‖ public`, by the owner's identity key.
    pub signature: [u8; 64],
}

/// What the server gives out of another device, to start a session with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PreKeyBundle {
    /// The device's registration id.
    pub registration_id: u32,
    /// Its identity key.
    pub identity: PublicKey,
    /// Its signed prekey.
    pub signed: SignedPreKey,
    /// A one-time prekey; none when the device's pool on the server is empty.
    pub one_time: Option<OneTimePreKey>,
}

impl PreKeyBundle {
    /// Our own bundle, as others get it.
    #[must_use]
    pub fn of(local: &LocalIdentity<'_>, signed: &SignedPreKeyRecord, one_time: Option<&PreKeyRecord>) -> Self {
        Self {
            registration_id: local.registration_id,
            identity: local.keys.public,
            signed: signed.public(),
            one_time: one_time.map(PreKeyRecord::public),
        }
    }

    /// Checks the signature of the signed prekey. [`super::initiate`] does it too.
    ///
    /// # Errors
    /// [`SignalError::BadSignature`].
    pub fn verify(&self) -> Result<(), SignalError> {
        let good = xeddsa::verify(&self.identity, &[&self.signed.public.typed()], &self.signed.signature);
        if good { Ok(()) } else { Err(SignalError::BadSignature) }
    }
}

/// The prekeys at hand when a prekey message is decrypted: those that [`super::prekeys_needed`] names, or more.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalPreKeys<'a> {
    /// Signed prekeys.
    pub signed: &'a [SignedPreKeyRecord],
    /// One-time prekeys.
    pub one_time: &'a [PreKeyRecord],
}

impl LocalPreKeys<'_> {
    pub(super) fn find_signed(&self, id: u32) -> Option<&KeyPair> {
        self.signed.iter().find(|record| record.id == id).map(|record| &record.keys)
    }

    pub(super) fn find_one_time(&self, id: u32) -> Option<&KeyPair> {
        self.one_time.iter().find(|record| record.id == id).map(|record| &record.keys)
    }
}
