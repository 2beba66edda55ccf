//! Signal as WhatsApp speaks it (message version 3), both roles, written from signal.md alone and shared with nobody.
//!
//! Simulated phones use it, and it is as strict as a peer can be: everything a received message could get wrong is an
//! error of its own.

pub mod chain;
pub mod endpoint;
pub mod inspect;
pub mod sender_key;
pub mod session;

pub use endpoint::{Bundle, Endpoint, SignedPreKey};
pub use session::Session;

/// Whom a session is with: the user part of the LID, and the device. Phones know everybody's LID.
pub type Addr = (String, u16);

/// Kind of a pairwise ciphertext, as `<enc type>` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncType {
    /// `msg`: WhisperMessage.
    Msg,
    /// `pkmsg`: PreKeyWhisperMessage.
    PkMsg,
}

impl EncType {
    /// The attribute's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Msg => "msg",
            Self::PkMsg => "pkmsg",
        }
    }
}

/// A ciphertext (or bundle) was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no session with the sender.
    NoSession,
    /// The version byte is not `33`.
    Version(u8),
    /// A field is missing or has the wrong length.
    Malformed(&'static str),
    /// No such one-time prekey (any more).
    UnknownPreKey(u32),
    /// No such signed prekey.
    UnknownSignedPreKey(u32),
    /// The MAC does not verify in any session.
    BadMac,
    /// This counter was already used.
    Duplicate,
    /// The counter is more than 2000 ahead.
    TooFarAhead,
    /// A signature does not verify.
    BadSignature,
    /// No such sender key.
    NoSenderKey,
    /// A low-order point.
    LowOrder,
}

impl core::fmt::Display for SignalError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl SignalError {
    /// The reason code of a retry receipt (messages §11.5).
    #[must_use]
    pub const fn retry_code(self) -> u8 {
        match self {
            Self::NoSession | Self::NoSenderKey => 1,
            Self::UnknownPreKey(_) | Self::UnknownSignedPreKey(_) => 3,
            Self::BadSignature => 5,
            Self::TooFarAhead => 6,
            Self::BadMac => 7,
            _ => 4,
        }
    }
}

/// Adds WhatsApp's padding: `n` bytes of value `n` (messages §5).
#[must_use]
pub fn pad(message: &[u8], n: u8) -> Vec<u8> {
    let n = n.clamp(1, 16);
    let mut out = message.to_vec();
    out.extend(core::iter::repeat_n(n, usize::from(n)));
    out
}

/// Removes WhatsApp's padding, strictly: 1..=16 bytes, all of the same value.
///
/// # Errors
/// What is wrong with it.
pub fn unpad(padded: &[u8]) -> Result<&[u8], &'static str> {
    let n = *padded.last().ok_or("an empty plaintext has no padding")?;
    let len = padded.len().checked_sub(usize::from(n)).ok_or("padding is longer than the plaintext")?;
    if !(1..=16).contains(&n) {
        return Err("padding is not 1..=16 bytes");
    }
    if padded[len..].iter().any(|byte| *byte != n) {
        return Err("padding bytes differ");
    }
    Ok(&padded[..len])
}
