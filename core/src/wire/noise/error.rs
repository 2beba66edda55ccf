//! Why a handshake failed.

use super::handshake::Pattern;
use crate::wire::cert::CertError;

/// A handshake that failed: which pattern had it got to, and why. Nothing secret was sent to a server that did not prove
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the {pattern} handshake failed: {failure}")]
pub struct HandshakeError {
    /// The pattern at work. [`Pattern::XxFallback`] once the server refused IK.
    pub pattern: Pattern,
    /// What was wrong.
    pub failure: HandshakeFailure,
}

/// What was wrong with a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The frame is no `HandshakeMessage`, or holds no serverHello.
    #[error("the server's answer is no serverHello")]
    Malformed,
    /// A field of the serverHello is missing or of an impossible length.
    #[error("the serverHello's {0} is missing or has a wrong length")]
    Field(&'static str),
    /// Something did not decrypt: an attack, or (IK) a server whose static key has changed.
    #[error("the serverHello does not decrypt")]
    BadTag,
    /// A public key that makes every shared secret zero.
    #[error("a public key is of low order")]
    LowOrder,
    /// The server did not prove its static key. Possibly an interception; see [`CertError::is_clock`].
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// Our own payload does not fit into a Noise message (65 535 bytes with keys and tags).
    #[error("the client payload is too long")]
    PayloadTooLong,
}

impl HandshakeError {
    /// Whether this counts against IK (`protocol/transport.md` §3.7): one failure is the limit, and the cached chain is
    /// to be deleted. Failures after the server asked for the fallback do not count, nor do they touch the cached chain.
    #[must_use]
    pub const fn counts_against_ik(&self) -> bool {
        matches!(self.pattern, Pattern::Ik) && !matches!(self.failure, HandshakeFailure::PayloadTooLong)
    }
}
