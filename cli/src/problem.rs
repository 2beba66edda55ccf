//! Why something did not work, for people, scripts and programs: a kind, an exit code, a message, a hint.

use amarula_core::engine::StorageError;
use amarula_core::error::{EndReason, Failure, PairingError, RejectReason};
use amarula_io::Error;
use amarula_store::AcquireError;
use serde_json::{Value, json};

use crate::exit::Exit;

/// What `Err` holds everywhere in this program.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    /// Stable name in lowerCamelCase.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
    /// The server's number, if it gave one.
    pub(crate) code: Option<u32>,
    /// The message it is about, if its id is known.
    pub(crate) id: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub(crate) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self { exit, kind, message: message.into(), hint: None, code: None, id: None }
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    fn code(mut self, code: u32) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted", "interrupted")
    }

    pub(crate) fn not_paired(profile: &str) -> Self {
        Self::new(Exit::NotPaired, "notPaired", format!("no account is linked to the profile {profile:?}"))
            .hint(HINT_PAIR)
    }

    pub(crate) fn stdout(error: &std::io::Error) -> Self {
        Self::new(Exit::Other, "stdout", format!("cannot write to stdout: {error}"))
    }

    /// The last line of `--json`.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = self.data();
        object["event"] = json!("error");
        object["exit"] = json!(self.exit as u8);
        object["message"] = json!(self.message);
        object
    }

    /// The `data` of a JSON-RPC error.
    pub(crate) fn data(&self) -> Value {
        json!({"kind": self.kind, "hint": self.hint, "code": self.code, "id": self.id})
    }
}

const HINT_PAIR: &str = "link it with `amarula pair`";
const HINT_PAIR_AGAIN: &str = "link it again with `amarula pair`";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Config(_) => Self::new(Exit::Usage, "config", message),
            Error::ProfileInUse { .. } | Error::ProfileLocked { .. } => Self::in_use(message),
            Error::Storage(error) => error.into(),
            Error::Recording { .. } => Self::new(Exit::Usage, "recording", message),
            Error::NotStarted => Self::new(Exit::Network, "notStarted", "the client is not started")
                .hint("call the method `connect` first"),
            Error::Stopped => Self::new(Exit::SessionEnded, "stopped", message),
            Error::Rejected(reason) => reason.into(),
            Error::Failed(failure) => failure.into(),
            _ => Self::new(Exit::Other, "system", message),
        }
    }
}

impl Problem {
    fn in_use(message: String) -> Self {
        Self::new(Exit::InUse, "profileInUse", message)
            .hint("stop the other process, or use another --profile: two connections on one profile corrupt it")
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::new(Exit::Storage, "storage", error.to_string()).hint("see --data-dir")
    }
}

impl From<AcquireError> for Problem {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Storage(error) => error.into(),
            in_use => Self::in_use(in_use.to_string()),
        }
    }
}

impl From<RejectReason> for Problem {
    fn from(reason: RejectReason) -> Self {
        let message = reason.to_string();
        match reason {
            RejectReason::Busy { .. } => Self::new(Exit::Refused, "busy", message),
            RejectReason::ShutDown => Self::new(Exit::SessionEnded, "stopped", message),
            RejectReason::NotPaired => Self::new(Exit::NotPaired, "notPaired", message).hint(HINT_PAIR),
            RejectReason::AlreadyPaired => {
                Self::new(Exit::Refused, "alreadyPaired", message).hint("unlink it with `amarula logout` first")
            }
            RejectReason::NotConnected => Self::new(Exit::Network, "notConnected", message),
            RejectReason::BadAddress(_) => Self::new(Exit::Usage, "badAddress", message),
            RejectReason::BadContent(_) => Self::new(Exit::Usage, "badContent", message),
            RejectReason::BadPhoneNumber => Self::new(Exit::Usage, "badPhoneNumber", message),
            RejectReason::BadCode => Self::new(Exit::Usage, "badCode", message),
            RejectReason::PairingInProgress => Self::new(Exit::Refused, "pairingInProgress", message),
            RejectReason::NoPushName => {
                Self::new(Exit::Refused, "noPushName", message).hint("give one with --push-name")
            }
            RejectReason::DuplicateReference => Self::new(Exit::Refused, "duplicateReference", message),
            _ => Self::new(Exit::Refused, "rejected", message),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Refused { code, .. } => Self::new(Exit::Refused, "refused", message).code(code),
            Failure::Unknown { id } => {
                let mut problem = Self::new(Exit::Unknown, "unknown", message)
                    .hint("sending it again under the same id does no harm: receivers show it once");
                problem.id = Some(id.to_string());
                problem
            }
            Failure::NoRecipient => Self::new(Exit::Refused, "noRecipient", message),
            Failure::Timeout => Self::new(Exit::Network, "timeout", message),
            Failure::NotSent => Self::new(Exit::Network, "notSent", message),
            Failure::Storage => Self::new(Exit::Storage, "storage", message),
            Failure::Pairing(error) => error.into(),
            Failure::SessionEnded(reason) => reason.into(),
            Failure::Cancelled => Self::new(Exit::Other, "cancelled", message),
            Failure::BadAnswer(_) => Self::new(Exit::Other, "badAnswer", message),
            _ => Self::new(Exit::Other, "internal", message),
        }
    }
}

impl From<PairingError> for Problem {
    fn from(error: PairingError) -> Self {
        let message = format!("pairing failed: {error}");
        match error {
            PairingError::Refused { code, .. } => Self::new(Exit::Refused, "pairingRefused", message).code(code),
            PairingError::Expired => Self::new(Exit::Network, "pairingExpired", message).hint("try again"),
            PairingError::Disconnected => Self::new(Exit::Network, "pairingDisconnected", message).hint("try again"),
            PairingError::Storage => Self::new(Exit::Storage, "storage", message),
            _ => Self::new(Exit::Refused, "pairingFailed", message).hint("try again"),
        }
    }
}

impl From<EndReason> for Problem {
    fn from(reason: EndReason) -> Self {
        let message = format!("the session ended: {reason}");
        let ended = |kind| Self::new(Exit::SessionEnded, kind, message.clone());
        match reason {
            EndReason::LoggedOut => ended("loggedOut").hint(HINT_PAIR_AGAIN),
            EndReason::DeviceRemoved => ended("deviceRemoved").hint(HINT_PAIR_AGAIN),
            EndReason::Replaced => ended("replaced").hint("find out who else uses these credentials"),
            EndReason::TemporaryBan { code, .. } => ended("temporaryBan").code(code),
            EndReason::AccountLocked { reason, .. } => ended("accountLocked").code(reason),
            EndReason::ClientOutdated => ended("clientOutdated").hint("give a newer version with --version-wa"),
            EndReason::Refused { reason } => ended("sessionRefused").code(reason),
            EndReason::QrExhausted => Self::new(Exit::Network, "qrExhausted", message).hint("try again"),
            EndReason::CorruptAccount => Self::new(Exit::Storage, "corruptAccount", message),
            EndReason::Config(_) => Self::new(Exit::Usage, "config", message),
            _ => ended("sessionEnded"),
        }
    }
}
