//! What can go wrong, and what to answer.

use crate::crypto::{CryptoError, PublicKey};

/// Which kind of prekey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PreKeyKind {
    /// Used by one session, then deleted.
    OneTime,
    /// Published until rotated.
    Signed,
}

/// A chain of message keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainId {
    /// A pairwise chain, by the peer's ratchet key.
    Ratchet(PublicKey),
    /// A sender key, by its key id.
    SenderKey(u32),
}

/// Why a Signal operation did not happen. The record is as it was before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no session with this device.
    #[error("no session with this device")]
    NoSession,
    /// There is no sender key of this id.
    #[error("no sender key {0}")]
    NoSenderKey(u32),
    /// The record can receive but not send: an imported session without sending chain, or somebody else's sender key.
    #[error("nothing to send with in this record")]
    CannotSend,
    /// The key of this message was used already: the message was decrypted before. Never ask for a retry.
    #[error("message {counter} of its chain was already decrypted")]
    Duplicate {
        /// The chain.
        chain: ChainId,
        /// The message's number on it.
        counter: u32,
    },
    /// The MAC of a pairwise message matches no session.
    #[error("MAC does not match")]
    BadMac,
    /// The signature of a sender-key message or of a bundle's signed prekey does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// Authentic, but its ciphertext is not AES-CBC, or its chain is closed.
    #[error("message cannot be decrypted")]
    InvalidMessage,
    /// More messages are missing before this one than the limit allows.
    #[error("message is {ahead} ahead of its chain, more than allowed")]
    FutureMessage {
        /// How many messages are missing before it.
        ahead: u32,
    },
    /// A prekey message names a prekey that is not there (any more).
    #[error("unknown {kind:?} prekey {id}")]
    InvalidKeyId {
        /// Which kind.
        kind: PreKeyKind,
        /// Its id.
        id: u32,
    },
    /// Message version below 3.
    #[error("legacy message version {0}")]
    LegacyVersion(u8),
    /// Message version above 3.
    #[error("unknown message version {0}")]
    UnknownVersion(u8),
    /// The bytes are not a message of this kind: too short, not protobuf, a required field missing, a malformed key.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// A Diffie-Hellman with the peer's key gave zero: the key is of low order.
    #[error("low-order public key")]
    LowOrder,
    /// The base key of a prekey message is not the one encoding of a point of prime order. No client makes such a key;
    /// accepting them would let a relay give one message eight or more names, and replay it under each.
    #[error("base key is not canonical")]
    InvalidBaseKey,
    /// A counter is at its end (2^32−1) and must not wrap. Start a new session or rotate the sender key.
    #[error("counter exhausted")]
    CounterExhausted,
    /// A stored record does not decode, or is of another session version.
    #[error("stored record: {0}")]
    InvalidRecord(&'static str),
}

impl From<CryptoError> for SignalError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::LowOrder => Self::LowOrder,
            CryptoError::BadTag => Self::BadMac,
            CryptoError::MalformedKey => Self::Malformed("key"),
            CryptoError::Malformed => Self::InvalidMessage,
        }
    }
}

/// The reason code of a retry receipt (`protocol/messages.md` §11.5). The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are all there is to say")]
pub enum RetryReason {
    Unknown = 0,
    NoSession = 1,
    InvalidKey = 2,
    InvalidKeyId = 3,
    InvalidMessage = 4,
    InvalidSignature = 5,
    FutureMessage = 6,
    BadMac = 7,
    InvalidSession = 8,
    InvalidMessageKey = 9,
    BadBroadcastEphemeralSetting = 10,
    UnknownCompanionNoPreKey = 11,
    AdvFailure = 12,
    StatusRevokeDelay = 13,
}

impl RetryReason {
    /// The number in the `error` attribute.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// The two classes of ciphertext, which differ in what is answered to an unknown version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageClass {
    /// `msg` and `pkmsg`.
    Pairwise,
    /// `skmsg`.
    SenderKey,
}

/// What to answer to a message that did not decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureResponse {
    /// A delivery receipt, as if it had been processed: it was, earlier.
    Delivered,
    /// A retry receipt with this reason, then a plain ack.
    Retry(RetryReason),
    /// Nack 487: the bytes cannot be parsed.
    Unparsable,
}

impl SignalError {
    /// What `protocol/messages.md` §11.5 answers to this failure of an inbound message.
    #[must_use]
    pub const fn response(&self, class: MessageClass) -> FailureResponse {
        use FailureResponse::{Delivered, Retry, Unparsable};
        match (self, class) {
            (Self::Duplicate { .. }, _) => Delivered,
            (Self::LegacyVersion(_) | Self::UnknownVersion(_), MessageClass::SenderKey) => {
                Retry(RetryReason::InvalidMessage)
            }
            (Self::Malformed(_) | Self::LegacyVersion(_) | Self::UnknownVersion(_), _) => Unparsable,
            (Self::NoSession | Self::NoSenderKey(_), _) => Retry(RetryReason::NoSession),
            (Self::BadMac, _) => Retry(RetryReason::BadMac),
            (Self::BadSignature, _) => Retry(RetryReason::InvalidSignature),
            (Self::InvalidMessage, _) => Retry(RetryReason::InvalidMessage),
            (Self::FutureMessage { .. }, _) => Retry(RetryReason::FutureMessage),
            (Self::InvalidKeyId { .. }, _) => Retry(RetryReason::InvalidKeyId),
            (Self::LowOrder | Self::InvalidBaseKey, _) => Retry(RetryReason::InvalidKey),
            (Self::CannotSend | Self::CounterExhausted | Self::InvalidRecord(_), _) => {
                Retry(RetryReason::InvalidSession)
            }
        }
    }

    /// How much an attempt on one of several sessions says about the message: the error of the attempt that got
    /// furthest is reported. A duplicate wins over everything.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Duplicate { .. } => 5,
            Self::InvalidMessage => 4,
            Self::BadMac => 3,
            Self::FutureMessage { .. } => 2,
            _ => 1,
        }
    }
}
