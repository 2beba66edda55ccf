//! What anybody can see in a ciphertext without keys: enough to notice a forked ratchet.

use amarula_core::crypto::hash::sha256;

use super::sender_key::GroupCipher;
use super::session::{PreKey, Whisper};
use super::{EncType, SignalError};

/// Position of a message in its chain. The same position must never carry two ciphertexts: keys and IV follow from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// A pairwise message.
    Pairwise {
        /// The sender's ratchet key.
        ratchet_key: [u8; 32],
        /// Its counter.
        counter: u32,
    },
    /// A group message.
    Group {
        /// Key id.
        id: u32,
        /// Iteration.
        iteration: u32,
    },
}

/// Position and fingerprint of a pairwise ciphertext, and the outer part of a `pkmsg`.
///
/// # Errors
/// It does not parse.
pub fn pairwise(kind: EncType, bytes: &[u8]) -> Result<(Position, [u8; 32], Option<PreKey>), SignalError> {
    let (message, outer) = match kind {
        EncType::Msg => (bytes.to_vec(), None),
        EncType::PkMsg => {
            let outer = PreKey::parse(bytes)?;
            (outer.message.clone(), Some(outer))
        }
    };
    let whisper = Whisper::parse(&message)?;
    if whisper.previous == u32::MAX {
        // libsignal-node makes it, and other libsignal-node receivers choke on it (signal §3).
        return Err(SignalError::Malformed("previous counter -1"));
    }
    let position = Position::Pairwise { ratchet_key: whisper.ratchet_key.0, counter: whisper.counter };
    Ok((position, sha256(&[&message]), outer))
}

/// Position and fingerprint of a group ciphertext.
///
/// # Errors
/// It does not parse.
pub fn group(bytes: &[u8]) -> Result<(Position, [u8; 32]), SignalError> {
    let parsed = GroupCipher::parse(bytes)?;
    Ok((Position::Group { id: parsed.id, iteration: parsed.iteration }, sha256(&[parsed.signed])))
}
