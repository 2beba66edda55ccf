//! ADV, the signatures that tie companions to an account: pairing, other users' companions, key-index lists
//! (`protocol/pairing.md` §3, §10, §11).
//!
//! Pure functions over bytes. What is signed is always the bytes as they came, never a re-encoding of them.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use crate::crypto::mac::hmac_sha256;
use crate::crypto::{KeyPair, PublicKey, equal, xeddsa};
use crate::proto::wa::{
    AdvDeviceIdentity, AdvEncryptionType, AdvKeyIndexList, AdvSignedDeviceIdentity, AdvSignedDeviceIdentityHmac,
    AdvSignedKeyIndexList,
};

#[cfg(test)]
mod tests;

/// What goes before signed bytes, so that one kind of signature is never taken for another.
mod prefix {
    pub(super) const ACCOUNT: [u8; 2] = [6, 0];
    pub(super) const DEVICE: [u8; 2] = [6, 1];
    pub(super) const KEY_INDEX: [u8; 2] = [6, 2];
    pub(super) const HOSTED_ACCOUNT: [u8; 2] = [6, 5];
    pub(super) const HOSTED_DEVICE: [u8; 2] = [6, 6];
}

/// Indexes that one key-index list may name.
pub const KEY_INDEXES: usize = 4096;

/// Why an identity is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AdvError {
    /// It cannot be read, or something it must have is missing.
    #[error("not a signed device identity: {0}")]
    Malformed(&'static str),
    /// It is not authenticated by the secret of this pairing.
    #[error("HMAC mismatch")]
    HmacMismatch,
    /// The account's signature does not verify.
    #[error("the account's signature does not verify")]
    AccountSignature,
    /// The device's own signature does not verify.
    #[error("the device's signature does not verify")]
    DeviceSignature,
    /// It names another account key than the one known for this account: treat as a change of the account's identity.
    #[error("signed by another account key than the known one")]
    AccountKeyChanged,
}

/// What the phone signed for us, verified. Made by [`open`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkedIdentity {
    /// Signed by the account: an `ADVDeviceIdentity`.
    pub details: Bytes,
    /// The account's identity key, which is the Signal identity of its phone.
    pub account_key: PublicKey,
    /// Its signature.
    pub account_signature: [u8; 64],
    /// Place of this device in the account's key-index list.
    pub key_index: u32,
    /// Constant for one registration of the account.
    pub raw_id: u32,
    /// Unix seconds.
    pub timestamp: u64,
}

/// Opens the `<device-identity>` of a pair-success: checks 1 to 4 of `protocol/pairing.md` §3.3, in that order.
///
/// # Errors
/// What fails first.
pub fn open(container: &[u8], secret: &[u8; 32], identity: &PublicKey) -> Result<LinkedIdentity, AdvError> {
    let bad = AdvError::Malformed;
    let container = AdvSignedDeviceIdentityHmac::decode(container).map_err(|_| bad("container"))?;
    let (signed, hmac) = container.details.as_ref().zip(container.hmac.as_ref()).ok_or(bad("details or hmac"))?;
    // The HMAC follows the outer type, the signature the signed inner one; they may differ.
    let hosted = container.account_type == Some(AdvEncryptionType::Hosted as i32);
    let lead: &[u8] = if hosted { &prefix::HOSTED_ACCOUNT } else { &[] };
    if !equal(&hmac_sha256(secret, &[lead, signed]), hmac) {
        return Err(AdvError::HmacMismatch);
    }
    let signed = AdvSignedDeviceIdentity::decode(signed.clone()).map_err(|_| bad("signed identity"))?;
    let account_key = key(signed.account_signature_key.as_ref())?.ok_or(bad("account key"))?;
    let account_signature = signature(signed.account_signature.as_ref()).ok_or(bad("account signature"))?;
    let details = signed.details.ok_or(bad("details"))?;
    let device = AdvDeviceIdentity::decode(details.clone()).map_err(|_| bad("device identity"))?;
    let key_index = device.key_index.ok_or(bad("key index"))?;
    if !account_signed(&account_key, &device, &details, identity, &account_signature) {
        return Err(AdvError::AccountSignature);
    }
    let (raw_id, timestamp) = (device.raw_id(), device.timestamp());
    Ok(LinkedIdentity { details, account_key, account_signature, key_index, raw_id, timestamp })
}

impl LinkedIdentity {
    /// Our own signature (`protocol/pairing.md` §3.4), with 64 random bytes. The prefix is the plain one for hosted
    /// accounts too.
    #[must_use]
    pub fn sign(&self, identity: &KeyPair, random: &[u8; 64]) -> [u8; 64] {
        let message: [&[u8]; 4] =
            [&prefix::DEVICE, &self.details, identity.public.as_bytes(), self.account_key.as_bytes()];
        xeddsa::sign(&identity.private, &message, random)
    }

    /// The `ADVSignedDeviceIdentity` for the answer: without the account's key.
    #[must_use]
    pub fn answer(&self, device_signature: &[u8; 64]) -> Vec<u8> {
        self.signed(None, device_signature)
    }

    /// The `ADVSignedDeviceIdentity` to keep, and to send along with every `pkmsg`: with the account's key.
    #[must_use]
    pub fn full(&self, device_signature: &[u8; 64]) -> Vec<u8> {
        self.signed(Some(&self.account_key), device_signature)
    }

    fn signed(&self, account_key: Option<&PublicKey>, device_signature: &[u8; 64]) -> Vec<u8> {
        AdvSignedDeviceIdentity {
            details: Some(self.details.clone()),
            account_signature_key: account_key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            account_signature: Some(Bytes::copy_from_slice(&self.account_signature)),
            device_signature: Some(Bytes::copy_from_slice(device_signature)),
        }
        .encode_to_vec()
    }
}

/// What the identity of somebody's companion says, from [`verify_companion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompanionIdentity {
    /// The account's key that it was verified with. `None`: none is known, so nothing was verified, and it must not be
    /// trusted until one is.
    pub verified_by: Option<PublicKey>,
    /// Place of the device in the account's key-index list, to be checked with [`KeyIndexList::accepts`].
    pub key_index: Option<u32>,
    /// Constant for one registration of the account.
    pub raw_id: u32,
}

/// Verifies the `<device-identity>` of another user's companion (`protocol/pairing.md` §10). `identity` is the Signal
/// identity key in the bundle or `pkmsg`, `account_key` that of the user's device 0 if it is known, `hosted` whether the
/// companion's JID is on a hosted server. Device 0 has no such blob.
///
/// # Errors
/// The bundle or message must be rejected; never fall back to trust.
pub fn verify_companion(
    blob: &[u8],
    identity: &PublicKey,
    account_key: Option<&PublicKey>,
    hosted: bool,
) -> Result<CompanionIdentity, AdvError> {
    let bad = AdvError::Malformed;
    let signed = AdvSignedDeviceIdentity::decode(blob).map_err(|_| bad("signed identity"))?;
    let details = signed.details.as_ref().ok_or(bad("details"))?;
    let device = AdvDeviceIdentity::decode(details.clone()).map_err(|_| bad("device identity"))?;
    let found = CompanionIdentity { verified_by: None, key_index: device.key_index, raw_id: device.raw_id() };
    let embedded = key(signed.account_signature_key.as_ref())?;
    let account_key = match (embedded, account_key) {
        (Some(embedded), Some(known)) if embedded != *known => return Err(AdvError::AccountKeyChanged),
        (_, Some(known)) => *known,
        (Some(embedded), None) => embedded,
        (None, None) => return Ok(found),
    };
    let account_signature = signature(signed.account_signature.as_ref()).ok_or(AdvError::AccountSignature)?;
    if !account_signed(&account_key, &device, details, identity, &account_signature) {
        return Err(AdvError::AccountSignature);
    }
    let device_signature = signature(signed.device_signature.as_ref()).ok_or(AdvError::DeviceSignature)?;
    let lead = if hosted { prefix::HOSTED_DEVICE } else { prefix::DEVICE };
    let message: [&[u8]; 4] = [&lead, details, identity.as_bytes(), account_key.as_bytes()];
    if !xeddsa::verify(identity, &message, &device_signature) {
        return Err(AdvError::DeviceSignature);
    }
    Ok(CompanionIdentity { verified_by: Some(account_key), ..found })
}

/// A key-index list: which companions of an account are real (`protocol/pairing.md` §11).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyIndexList {
    /// Constant for one registration of the account. Another one than before: all its companions are new.
    pub raw_id: u32,
    /// Unix seconds. An older list than the one kept is ignored.
    pub timestamp: u64,
    /// Indexes above this one are too new for this list to know.
    pub current_index: u32,
    /// Indexes of the companions that exist, ascending.
    pub valid_indexes: Vec<u32>,
    /// A hosted account.
    pub hosted: bool,
    /// Whether the signature was verified. `false`: no key was known to verify it with.
    pub verified: bool,
}

impl KeyIndexList {
    /// Opens the content of a `<key-index-list>`. `account_key` is the Signal identity of the account's device 0, if known.
    ///
    /// # Errors
    /// The list must be ignored, and the one before kept.
    pub fn open(bytes: &[u8], account_key: Option<&PublicKey>) -> Result<Self, AdvError> {
        let bad = AdvError::Malformed;
        let signed = AdvSignedKeyIndexList::decode(bytes).map_err(|_| bad("signed key-index list"))?;
        let details = signed.details.as_ref().ok_or(bad("details"))?;
        let list = AdvKeyIndexList::decode(details.clone()).map_err(|_| bad("key-index list"))?;
        if list.valid_indexes.len() > KEY_INDEXES {
            return Err(bad("too many indexes"));
        }
        let hosted = list.account_type == Some(AdvEncryptionType::Hosted as i32);
        // For hosted accounts the signer is named in the list; otherwise a key in it counts for nothing.
        let embedded = if hosted { key(signed.account_signature_key.as_ref())? } else { None };
        let signer = embedded.as_ref().or(account_key);
        let verified = match (signer, signature(signed.account_signature.as_ref())) {
            (Some(signer), Some(signature)) if xeddsa::verify(signer, &[&prefix::KEY_INDEX, details], &signature) => {
                true
            }
            (Some(_), _) => return Err(AdvError::AccountSignature),
            (None, _) => false,
        };
        let (raw_id, timestamp, current_index) = (list.raw_id(), list.timestamp(), list.current_index());
        let mut valid_indexes = list.valid_indexes;
        valid_indexes.sort_unstable();
        valid_indexes.dedup();
        Ok(Self { raw_id, timestamp, current_index, valid_indexes, hosted, verified })
    }

    /// Whether a companion with this index exists, as far as this list knows. One without an index does not.
    #[must_use]
    pub fn accepts(&self, key_index: Option<u32>) -> bool {
        key_index.is_some_and(|index| index > self.current_index || self.valid_indexes.binary_search(&index).is_ok())
    }
}

fn account_signed(
    account_key: &PublicKey,
    device: &AdvDeviceIdentity,
    details: &[u8],
    identity: &PublicKey,
    signature: &[u8; 64],
) -> bool {
    let hosted = device.device_type == Some(AdvEncryptionType::Hosted as i32);
    let lead = if hosted { prefix::HOSTED_ACCOUNT } else { prefix::ACCOUNT };
    xeddsa::verify(account_key, &[&lead, details, identity.as_bytes()], signature)
}

/// An embedded account key: absent and empty are the same.
fn key(bytes: Option<&Bytes>) -> Result<Option<PublicKey>, AdvError> {
    match bytes {
        Some(bytes) if !bytes.is_empty() => {
            PublicKey::from_raw(bytes).map(Some).map_err(|_| AdvError::Malformed("account key"))
        }
        _ => Ok(None),
    }
}

fn signature(bytes: Option<&Bytes>) -> Option<[u8; 64]> {
    bytes.and_then(|bytes| bytes[..].try_into().ok())
}
