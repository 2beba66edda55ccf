//! What a caller does with a session record: start, encrypt, decrypt (`protocol/signal.md` §4).

use alloc::vec::Vec;

use super::error::{PreKeyKind, SignalError};
use super::limits::Forward;
use super::message::{Ciphertext, CiphertextKind, PreKeyHeader, PreKeyMessage, SignalMessage};
use super::prekey::{LocalPreKeys, PreKeyBundle};
use super::record::SessionRecord;
use super::state::SessionState;
use super::x3dh;
use crate::crypto::{KeyPair, PublicKey, Rng};

/// Who we are.
#[derive(Debug, Clone, Copy)]
pub struct LocalIdentity<'a> {
    /// Our identity key.
    pub keys: &'a KeyPair,
    /// Our registration id.
    pub registration_id: u32,
}

/// Which session of the record a message was decrypted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionUsed {
    /// The current one.
    Current,
    /// An archived one, which is the current one now.
    Promoted,
    /// A new one, made from a prekey message; it is the current one now.
    New,
}

/// A decrypted message.
#[derive(Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// The plaintext, still with WhatsApp's own padding.
    pub plaintext: Vec<u8>,
    /// The sender's identity, authenticated by this message. For a [`SessionUsed::Promoted`] session it can be older
    /// than the one in the caller's store, which it must then not replace.
    pub identity: PublicKey,
    /// Which session it was.
    pub session: SessionUsed,
    /// The one-time prekey that a new session used up: delete it in the commit that stores the record, not before.
    pub used_prekey: Option<u32>,
}

impl core::fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decrypted")
            .field("plaintext", &format_args!("{} bytes", self.plaintext.len()))
            .field("identity", &self.identity)
            .field("session", &self.session)
            .field("used_prekey", &self.used_prekey)
            .finish()
    }
}

/// Which of our prekeys must be at hand to decrypt a prekey message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NeededPreKeys {
    /// Id of a signed prekey.
    pub signed: Option<u32>,
    /// Id of a one-time prekey.
    pub one_time: Option<u32>,
}

/// Starts a session with the owner of `bundle` and makes it current; the session that was current is archived.
///
/// Whether the bundle's identity is trusted is the caller's decision, made before. Takes four or five X25519 agreements
/// and one signature check.
///
/// # Errors
/// [`SignalError::BadSignature`] when the signed prekey is not signed by the bundle's identity;
/// [`SignalError::LowOrder`].
pub fn initiate(
    local: &LocalIdentity<'_>,
    bundle: &PreKeyBundle,
    record: &mut SessionRecord,
    rng: &mut Rng,
) -> Result<(), SignalError> {
    let (base, ratchet) = (KeyPair::generate(rng), KeyPair::generate(rng));
    initiate_with(local, bundle, record, &base, ratchet)
}

/// [`initiate`] with the two key pairs given.
pub(super) fn initiate_with(
    local: &LocalIdentity<'_>,
    bundle: &PreKeyBundle,
    record: &mut SessionRecord,
    base: &KeyPair,
    ratchet: KeyPair,
) -> Result<(), SignalError> {
    bundle.verify()?;
    record.replace_current(x3dh::initiator(local, bundle, base, ratchet)?);
    Ok(())
}

/// Encrypts the next message on the current session. The advanced record must be durable before the bytes leave.
///
/// `plaintext` is the WhatsApp-padded message. As long as nothing of the peer has been decrypted on the session, the
/// result is a prekey message.
///
/// # Errors
/// [`SignalError::NoSession`] without a current session, [`SignalError::CannotSend`] when it cannot send,
/// [`SignalError::CounterExhausted`] after 2^32−1 messages without reply.
pub fn encrypt(record: &mut SessionRecord, plaintext: &[u8]) -> Result<Ciphertext, SignalError> {
    let session = record.current.as_mut().ok_or(SignalError::NoSession)?;
    let message = session.seal(plaintext)?;
    Ok(match &session.pending {
        None => Ciphertext { kind: CiphertextKind::Message, bytes: message },
        Some(pending) => {
            let header = PreKeyHeader {
                registration_id: session.local_registration_id,
                pre_key_id: pending.pre_key_id,
                signed_pre_key_id: pending.signed_pre_key_id,
                base_key: &pending.base_key,
                identity_key: &session.local_identity,
            };
            Ciphertext { kind: CiphertextKind::PreKey, bytes: header.wrap(&message) }
        }
    })
}

/// The session that a prekey message belongs to, if it was seen before: a repeat, or another of the same flight.
enum Known {
    Current,
    Archived(usize),
}

fn known_session(record: &SessionRecord, base_key: &PublicKey) -> Option<Known> {
    if record.current.as_ref().is_some_and(|session| session.base_key == *base_key) {
        return Some(Known::Current);
    }
    record.archived.iter().position(|session| session.base_key().as_ref() == Some(base_key)).map(Known::Archived)
}

/// Which prekeys [`decrypt_prekey`] will look up for this message, given this record. None, if the message belongs to
/// a session that is there: its prekeys may be gone already, rightly.
#[must_use]
pub fn prekeys_needed(record: &SessionRecord, message: &PreKeyMessage<'_>) -> NeededPreKeys {
    match known_session(record, &message.base_key) {
        Some(_) => NeededPreKeys::default(),
        None => NeededPreKeys { signed: Some(message.signed_pre_key_id), one_time: message.pre_key_id },
    }
}

/// Decrypts a prekey message (`pkmsg`), making the session if it is not there.
///
/// The caller decides what a new identity means, after this: only then is it authenticated. Needs the keys that
/// [`prekeys_needed`] names. `rng` is used only on success.
///
/// # Errors
/// [`SignalError::InvalidKeyId`] when a needed prekey is missing; [`SignalError::InvalidBaseKey`]; else as [`decrypt`], on the one session that the
/// message belongs to. Other sessions are not tried. The record is unchanged.
pub fn decrypt_prekey(
    record: &mut SessionRecord,
    local: &LocalIdentity<'_>,
    message: &PreKeyMessage<'_>,
    prekeys: &LocalPreKeys<'_>,
    rng: &mut Rng,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    decrypt_prekey_with(record, local, message, prekeys, &mut || KeyPair::generate(rng), forward)
}

/// [`decrypt_prekey`] with the source of new ratchet keys given.
pub(super) fn decrypt_prekey_with(
    record: &mut SessionRecord,
    local: &LocalIdentity<'_>,
    message: &PreKeyMessage<'_>,
    prekeys: &LocalPreKeys<'_>,
    fresh: &mut dyn FnMut() -> KeyPair,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    match known_session(record, &message.base_key) {
        Some(Known::Current) => {
            let session = record.current.as_mut().ok_or(SignalError::NoSession)?;
            on_current(session, &message.message, fresh, forward)
        }
        Some(Known::Archived(position)) => {
            let session = record.archived.get(position).and_then(super::record::Archived::decode);
            let session = session.ok_or(SignalError::InvalidRecord("archived session"))?;
            on_archived(record, position, session, &message.message, fresh, forward)
        }
        None => {
            let signed_id = message.signed_pre_key_id;
            let signed = prekeys
                .find_signed(signed_id)
                .ok_or(SignalError::InvalidKeyId { kind: PreKeyKind::Signed, id: signed_id })?;
            let one_time = message
                .pre_key_id
                .map(|id| prekeys.find_one_time(id).ok_or(SignalError::InvalidKeyId { kind: PreKeyKind::OneTime, id }))
                .transpose()?;
            let mut session = x3dh::responder(local, message, signed, one_time)?;
            let opened = session.open(&message.message, forward.jump())?;
            let plaintext = session.accept(opened, fresh)?;
            let identity = session.remote_identity;
            record.replace_current(session);
            Ok(Decrypted { plaintext, identity, session: SessionUsed::New, used_prekey: message.pre_key_id })
        }
    }
}

/// Decrypts a message (`msg`): on the current session, else on the archived ones from the newest on. An archived one
/// that can do it becomes current, so that two sides that started at the same time settle on one.
///
/// `rng` is used only on success, for a new ratchet key.
///
/// # Errors
/// [`SignalError::NoSession`] when there is none at all. [`SignalError::Duplicate`] if any session has used this
/// message's key. Else the error of the session that got furthest: [`SignalError::InvalidMessage`],
/// [`SignalError::BadMac`], [`SignalError::FutureMessage`], … The record is unchanged.
pub fn decrypt(
    record: &mut SessionRecord,
    message: &SignalMessage<'_>,
    rng: &mut Rng,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    decrypt_with(record, message, &mut || KeyPair::generate(rng), forward)
}

/// [`decrypt`] with the source of new ratchet keys given.
pub(super) fn decrypt_with(
    record: &mut SessionRecord,
    message: &SignalMessage<'_>,
    fresh: &mut dyn FnMut() -> KeyPair,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    let mut worst: Option<SignalError> = None;
    let mut note = |error: SignalError| {
        if worst.is_none_or(|worst| error.rank() > worst.rank()) {
            worst = Some(error);
        }
    };
    if let Some(session) = record.current.as_mut() {
        match on_current(session, message, fresh, forward) {
            Ok(decrypted) => return Ok(decrypted),
            Err(error) => note(error),
        }
    }
    for position in 0..record.archived.len() {
        let Some(session) = record.archived[position].decode() else { continue };
        match on_archived(record, position, session, message, fresh, forward) {
            Ok(decrypted) => return Ok(decrypted),
            Err(error) => note(error),
        }
    }
    Err(worst.unwrap_or(SignalError::NoSession))
}

fn on_current(
    session: &mut SessionState,
    message: &SignalMessage<'_>,
    fresh: &mut dyn FnMut() -> KeyPair,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    let opened = session.open(message, forward.jump())?;
    let plaintext = session.accept(opened, fresh)?;
    let identity = session.remote_identity;
    Ok(Decrypted { plaintext, identity, session: SessionUsed::Current, used_prekey: None })
}

fn on_archived(
    record: &mut SessionRecord,
    position: usize,
    mut session: SessionState,
    message: &SignalMessage<'_>,
    fresh: &mut dyn FnMut() -> KeyPair,
    forward: Forward,
) -> Result<Decrypted, SignalError> {
    let decrypted = on_current(&mut session, message, fresh, forward)?;
    record.promote(position, session);
    Ok(Decrypted { session: SessionUsed::Promoted, ..decrypted })
}
