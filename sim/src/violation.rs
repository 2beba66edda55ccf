//! What a strict server or a strict peer objects to.

use core::fmt;

use amarula_core::wire::Jid;

use crate::server::ConnId;
use crate::time::SimTime;

/// Which rule was broken. The text of the [`Violation`] says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Bytes that are no intro, frame or Noise message (transport §2, §3).
    Framing,
    /// The handshake failed at the client's end: bad tags, wrong keys (transport §3).
    Handshake,
    /// A ClientPayload field is wrong (transport §5).
    Payload,
    /// A frame does not decrypt or is no node (transport §6).
    Node,
    /// An unknown top-level tag, attribute or child, a missing or malformed one (transport §6, §14; messages §6 to §13).
    Grammar,
    /// An id used twice on a connection, or a message id used for something else (transport §8).
    DuplicateId,
    /// A request in this namespace is unknown or malformed.
    Iq,
    /// A stanza that must not be sent on an unpaired connection (pairing §1).
    Unpaired,
    /// The answer to pair-success, or the phone-code exchange, is wrong (pairing §3.4, §5).
    Pairing,
    /// A prekey upload breaks a rule (messages §1).
    PreKeys,
    /// A message stanza's addressing: namespaces mixed, devices twice or unknown, LID from an unmigrated account (messages §4, §6).
    Addressing,
    /// A device the client was told about got no copy (messages §6).
    Fanout,
    /// The participant hash is wrong (messages §6.1, §7).
    Phash,
    /// `<device-identity>` missing, superfluous or wrong (messages §6, pairing §10).
    DeviceIdentity,
    /// A ciphertext that does not parse, is not padded as it should be, or does not decrypt at an undisturbed peer.
    Signal,
    /// One position of one chain carried two different ciphertexts.
    ForkedRatchet,
    /// A DSM wrapper is missing, superfluous or names the wrong chat (messages §5).
    DeviceSent,
    /// An ack or receipt that answers nothing, answers twice or differs from what is owed (transport §14, messages §13).
    Ack,
    /// A stanza that owes an answer got none in time (transport §14).
    Unanswered,
    /// A retry receipt breaks a rule (messages §11.5).
    Retry,
    /// A retry was answered wrongly or unasked (messages §10.3).
    Resend,
    /// The server's ping was not answered (transport §11).
    Ping,
}

/// One objection.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: SimTime,
    /// On which connection.
    pub conn: Option<ConnId>,
    /// By which device.
    pub device: Option<Jid>,
    /// Against which rule.
    pub rule: Rule,
    /// How.
    pub detail: String,
    /// The offending stanza, as text without contents.
    pub stanza: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} ms] {:?}: {}", self.at.0, self.rule, self.detail)?;
        if let Some(device) = &self.device {
            write!(f, " (by {device})")?;
        }
        if let Some(stanza) = &self.stanza {
            write!(f, "\n    {stanza}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
