//! All sessions with one device, and their storage form: the official RecordStructure (`protocol/signal.md` §8.1).

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::SignalError;
use super::limits::ARCHIVED_SESSIONS;
use super::proto::{fields, put_bytes, put_message};
use super::state::{SessionState, stored_base_key};
use crate::crypto::PublicKey;

/// The sessions with one remote device: one current, and up to [`ARCHIVED_SESSIONS`] archived ones, newest first.
///
/// Archived sessions stay in their storage form until one is needed, so decoding, cloning and encoding a record costs
/// little more than its current session. Equality and hash are of the contents. Secrets are wiped when dropped and
/// never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SessionRecord {
    pub(super) current: Option<SessionState>,
    pub(super) archived: Vec<Archived>,
}

/// An encoded session.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub(super) struct Archived(Vec<u8>);

impl Archived {
    /// The session, or `None` if the bytes are not one of version 3: then it is as good as gone.
    pub(super) fn decode(&self) -> Option<SessionState> {
        SessionState::decode(&self.0).ok()
    }

    pub(super) fn base_key(&self) -> Option<PublicKey> {
        stored_base_key(&self.0)
    }
}

impl SessionRecord {
    /// A record without sessions.
    #[must_use]
    pub const fn new() -> Self {
        Self { current: None, archived: Vec::new() }
    }

    /// Reads a stored record: RecordStructure, as this library and the official one write it.
    ///
    /// Unknown fields are dropped; so are archived sessions beyond [`ARCHIVED_SESSIONS`]. An archived session that
    /// does not decode is kept as it is and never matches.
    ///
    /// # Errors
    /// [`SignalError::InvalidRecord`] for what is not protobuf, and for a current session that is incomplete or not
    /// of version 3.
    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let bad = SignalError::InvalidRecord("record");
        let mut record = Self::new();
        for field in fields(bytes) {
            match field.map_err(|_| bad)? {
                (1, value) => record.current = Some(SessionState::decode(value.bytes().map_err(|_| bad)?)?),
                (2, value) => {
                    let session = value.bytes().map_err(|_| bad)?;
                    if record.archived.len() < ARCHIVED_SESSIONS {
                        record.archived.push(Archived(session.to_vec()));
                    }
                }
                _ => {}
            }
        }
        Ok(record)
    }

    /// The storage form. Contains private keys.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let archived: usize = self.archived.iter().map(|session| session.0.len() + 8).sum();
        let current = self.current.as_ref().map_or(0, |session| session.encoded_bound() + 8);
        let mut out = Vec::with_capacity(archived + current);
        if let Some(session) = &self.current {
            put_message(&mut out, 1, |out| session.encode_into(out));
        }
        for session in &self.archived {
            put_bytes(&mut out, 2, &session.0);
        }
        out
    }

    /// Whether there is a session to send with.
    #[must_use]
    pub fn has_current(&self) -> bool {
        self.current.as_ref().is_some_and(SessionState::can_send)
    }

    /// Whether there is no session at all, archived ones included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.archived.is_empty()
    }

    /// How many sessions are archived.
    #[must_use]
    pub fn archived_len(&self) -> usize {
        self.archived.len()
    }

    /// The peer's identity in the current session.
    #[must_use]
    pub fn remote_identity(&self) -> Option<PublicKey> {
        self.current.as_ref().map(|session| session.remote_identity)
    }

    /// The peer's registration id in the current session. 0 means unknown, though a peer can own it.
    #[must_use]
    pub fn remote_registration_id(&self) -> Option<u32> {
        self.current.as_ref().map(|session| session.remote_registration_id)
    }

    /// The base key of the current session: equal base keys mean the same session. What a retry receipt's handling
    /// compares to see whether the peer has started anew.
    #[must_use]
    pub fn base_key(&self) -> Option<PublicKey> {
        self.current.as_ref().map(|session| session.base_key)
    }

    /// Whether we still send prekey messages: nothing from the peer has been decrypted on the current session.
    #[must_use]
    pub fn is_unacknowledged(&self) -> bool {
        self.current.as_ref().is_some_and(|session| session.pending.is_some())
    }

    /// The number of the next message on the current sending chain.
    #[must_use]
    pub fn next_counter(&self) -> Option<u32> {
        self.current.as_ref()?.sender.as_ref()?.chain.as_ref().map(|chain| chain.index)
    }

    /// Archives the current session, if any: what is still under way on it can be decrypted, and the next message
    /// needs a new session.
    pub fn archive_current(&mut self) {
        let Some(mut session) = self.current.take() else { return };
        session.pending = None;
        self.archived.truncate(ARCHIVED_SESSIONS - 1);
        self.archived.insert(0, Archived(session.encode()));
    }

    /// Makes `session` the current one and archives the one that was.
    pub(super) fn replace_current(&mut self, session: SessionState) {
        self.archive_current();
        self.current = Some(session);
    }

    /// Makes `session`, which is the archived one at `position`, the current one.
    pub(super) fn promote(&mut self, position: usize, session: SessionState) {
        if position < self.archived.len() {
            self.archived.remove(position);
        }
        self.replace_current(session);
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("remote_identity", &self.remote_identity())
            .field("base_key", &self.base_key())
            .field("next_counter", &self.next_counter())
            .field("unacknowledged", &self.is_unacknowledged())
            .field("archived", &self.archived.len())
            .finish_non_exhaustive()
    }
}
