//! X3DH, both roles, and the first state of a session (`protocol/signal.md` §2).

use curve25519_dalek::montgomery::MontgomeryPoint;
use zeroize::Zeroizing;

use super::chain::{Chain, Secret, Skipped};
use super::error::SignalError;
use super::message::PreKeyMessage;
use super::prekey::PreKeyBundle;
use super::ratchet::root_step;
use super::session::LocalIdentity;
use super::state::{PendingPreKey, ReceiverChain, SenderChain, SessionState};
use crate::crypto::{KeyPair, PublicKey, SharedSecret, kdf};

/// Root key and first chain key from the agreed secrets, in slot order.
fn derive(secrets: &[SharedSecret]) -> (Secret, Secret) {
    // FF×32, then up to four secrets.
    let mut ikm = Zeroizing::new([0xff; 32 * 5]);
    let mut len = 32;
    for (slot, secret) in ikm[32..].chunks_exact_mut(32).zip(secrets) {
        slot.copy_from_slice(secret.expose());
        len += 32;
    }
    split(&Zeroizing::new(kdf::hkdf_sha256::<64>(None, &ikm[..len], b"WhisperText")))
}

/// The two halves of a key derivation.
pub(super) fn split(okm: &[u8; 64]) -> (Secret, Secret) {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    first.copy_from_slice(&okm[..32]);
    second.copy_from_slice(&okm[32..]);
    (Secret(first), Secret(second))
}

/// Starts a session as the one who sends first. The bundle's signature has been verified.
pub(super) fn initiator(
    local: &LocalIdentity<'_>,
    bundle: &PreKeyBundle,
    base: &KeyPair,
    ratchet: KeyPair,
) -> Result<SessionState, SignalError> {
    let signed = &bundle.signed.public;
    let mut secrets = alloc::vec![local.keys.agree(signed)?, base.agree(&bundle.identity)?, base.agree(signed)?];
    if let Some(one_time) = &bundle.one_time {
        secrets.push(base.agree(&one_time.public)?);
    }
    let (root, chain) = derive(&secrets);
    let (root, sending) = root_step(&root, &ratchet.agree(signed)?);
    Ok(SessionState {
        local_identity: local.keys.public,
        remote_identity: bundle.identity,
        root,
        previous_counter: 0,
        sender: Some(SenderChain { pair: ratchet, chain: Some(Chain::start(sending)) }),
        // Carries no traffic between WhatsApp clients; the official library has it in its records.
        receivers: alloc::vec![ReceiverChain {
            ratchet_key: *signed,
            chain: Some(Chain::start(chain)),
            skipped: Skipped::default(),
        }],
        pending: Some(PendingPreKey {
            pre_key_id: bundle.one_time.as_ref().map(|key| key.id),
            signed_pre_key_id: bundle.signed.id,
            base_key: base.public,
            timestamp: 0,
        }),
        remote_registration_id: bundle.registration_id,
        local_registration_id: local.registration_id,
        base_key: base.public,
    })
}

/// Whether this is the one encoding of a point of prime order.
///
/// X25519 ignores the top bit of a key, reduces it, and is blind to small-order components, so all variants of a base
/// key agree on the same secrets. But the base key is what a session is known by: a variant would pass for a new
/// session, and a message already decrypted would come out once more. (The identity and ratchet keys are under the MAC.)
fn is_canonical(key: &PublicKey) -> bool {
    let Some(point) = MontgomeryPoint(*key.as_bytes()).to_edwards(0) else { return false };
    point.to_montgomery().as_bytes() == key.as_bytes() && point.is_torsion_free()
}

/// Starts a session as the one who receives first.
pub(super) fn responder(
    local: &LocalIdentity<'_>,
    message: &PreKeyMessage<'_>,
    signed: &KeyPair,
    one_time: Option<&KeyPair>,
) -> Result<SessionState, SignalError> {
    let (identity, base) = (&message.identity_key, &message.base_key);
    if !is_canonical(base) {
        return Err(SignalError::InvalidBaseKey);
    }
    let mut secrets = alloc::vec![signed.agree(identity)?, local.keys.agree(base)?, signed.agree(base)?];
    if let Some(one_time) = one_time {
        secrets.push(one_time.agree(base)?);
    }
    let (root, chain) = derive(&secrets);
    Ok(SessionState {
        local_identity: local.keys.public,
        remote_identity: *identity,
        root,
        previous_counter: 0,
        sender: Some(SenderChain { pair: signed.clone(), chain: Some(Chain::start(chain)) }),
        receivers: alloc::vec::Vec::new(),
        pending: None,
        remote_registration_id: message.registration_id,
        local_registration_id: local.registration_id,
        base_key: *base,
    })
}
