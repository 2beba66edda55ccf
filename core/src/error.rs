//! How things end badly: commands, connections, sessions. Each error says what to do about it.

use core::time::Duration;

use crate::wire::Str;

/// The caller of [`Engine::handle`](crate::engine::Engine::handle) did what no outside event can excuse. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// An answer to a read that was never asked, or was answered before.
    #[error("no such read is open")]
    UnknownLoad,
    /// An acknowledgement of a commit that was never asked.
    #[error("no such commit was made")]
    UnknownCommit,
    /// A read was answered in the shape of another kind of read, or with another number of values.
    #[error("the answer does not fit the read")]
    WrongShape,
    /// A connection that was never asked for.
    #[error("no such connection was asked for")]
    UnknownConnection,
    /// An answer to an HTTP request that was never asked, or was answered before.
    #[error("no such HTTP request is open")]
    UnknownHttp,
}

/// A command that was not taken. Nothing happened, and the command came back with this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// Too many commands are open; wait for some to finish.
    #[error("too many commands are open ({limit}); wait for some to be answered")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The engine was shut down.
    #[error("the engine was shut down")]
    ShutDown,
    /// No account is linked to this profile: pair first.
    #[error("no account is linked to this profile; pair it first")]
    NotPaired,
    /// An account is linked already: log out first.
    #[error("an account is linked to this profile already; log out first")]
    AlreadyPaired,
    /// The command needs a connection.
    #[error("not connected")]
    NotConnected,
    /// Messages can't be sent to this kind of address.
    #[error("cannot send to {0}: not a chat")]
    BadAddress(Str),
    /// The content is empty or too large.
    #[error("the content cannot be sent: {0}")]
    BadContent(&'static str),
    /// The phone number isn't one.
    #[error("not an international phone number: digits only, no leading 0")]
    BadPhoneNumber,
    /// The custom pairing code isn't one.
    #[error("a pairing code has eight characters of 123456789ABCDEFGHJKLMNPQRSTVWXYZ")]
    BadCode,
    /// Another pairing code is live; it must end first.
    #[error("another pairing code is live; wait until it ends")]
    PairingInProgress,
    /// The account's own name is not known yet, and presence needs one: set one in the configuration.
    #[error("presence needs a push name; set one in the configuration or wait for the phone to send it")]
    NoPushName,
    /// A send with this client reference is open already.
    #[error("a send with this reference is open already")]
    DuplicateReference,
}

/// A command that was taken and did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server refused it. `code` as in `protocol/messages.md` §10.2 and `protocol/transport.md` §8.
    #[error("refused by the server: {code} {text}")]
    Refused {
        /// The server's number.
        code: u32,
        /// The server's words, or ours about what this number means.
        text: Str,
        /// Seconds to wait before another try, if the server said so.
        backoff: Option<u32>,
    },
    /// It left, and no answer came: it may or may not have been carried out. For a message: sending it again under the
    /// same id does no harm.
    #[error("sent, but no answer came; it may or may not have been taken (id {id})")]
    Unknown {
        /// The stanza id it went under.
        id: Str,
    },
    /// The recipient has no WhatsApp account, or no device of theirs can be reached.
    #[error("the recipient is not on WhatsApp, or none of their devices can be encrypted for")]
    NoRecipient,
    /// It could not be finished within its time; nothing was sent.
    #[error("not finished in time; nothing was sent")]
    Timeout,
    /// The connection ended before anything was sent.
    #[error("the connection ended before anything was sent")]
    NotSent,
    /// The store failed; nothing was sent.
    #[error("the store failed; nothing was sent")]
    Storage,
    /// The server's answer made no sense.
    #[error("the server's answer could not be understood: {0}")]
    BadAnswer(&'static str),
    /// The pairing attempt ended.
    #[error("pairing failed: {0}")]
    Pairing(PairingError),
    /// Cancelled by the caller: what was under way goes on unseen.
    #[error("cancelled")]
    Cancelled,
    /// The session ended for good (logged out, replaced, shut down).
    #[error("the session ended: {0}")]
    SessionEnded(EndReason),
    /// A bug of ours, kept from spreading. Please report it.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// Why a link attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// The phone's answer isn't authenticated by the secret in the QR code or pairing code.
    #[error("the phone's answer is not authenticated by our secret")]
    HmacMismatch,
    /// The account's signature over this device doesn't verify.
    #[error("the account's signature does not verify")]
    SignatureMismatch,
    /// The phone's answer can't be read.
    #[error("the phone's answer cannot be read")]
    Malformed,
    /// The server refused the pairing code request: 400 (bad number, or too many requests), 403, 429, 452 (use QR).
    #[error("the server refused: {code} {text}")]
    Refused {
        /// The server's number.
        code: u32,
        /// Its words.
        text: Str,
    },
    /// The code or QR was not used in time.
    #[error("not used in time")]
    Expired,
    /// The phone asked for a new code.
    #[error("the phone asks for a new code")]
    NewCodeWanted,
    /// The account must be linked with a passkey.
    #[error("this account must be linked with a passkey")]
    PasskeyRequired,
    /// The account refused or removed the device at its first login.
    #[error("the phone removed the device before its first login")]
    RemovedAtLogin,
    /// Keys and identity could not be stored.
    #[error("the store failed")]
    Storage,
    /// The device was linked in another way meanwhile.
    #[error("linked in another way meanwhile")]
    Superseded,
    /// The connection ended while a pairing code was live. Ask for a new code.
    #[error("the connection ended; ask for a new code")]
    Disconnected,
}

/// Why a session is over and won't be tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The engine was shut down.
    #[error("shut down")]
    ShutDown,
    /// The host asked to disconnect.
    #[error("disconnected by the host")]
    Disconnected,
    /// We unlinked ourselves.
    #[error("logged out")]
    LoggedOut,
    /// The phone or the server unlinked this device: pair again.
    #[error("unlinked by the phone or the server; pair again")]
    DeviceRemoved,
    /// Another connection logged in with the same credentials. Never fought: find out who, then connect again.
    #[error("replaced by another connection with the same credentials")]
    Replaced,
    /// Temporary ban.
    #[error("temporarily banned (code {code})")]
    TemporaryBan {
        /// 101 too many strangers, 102 blocked by many, 103 groups with strangers, 104 same message to many, 106 lists.
        code: u32,
        /// How long, if known.
        expires_in: Option<Duration>,
    },
    /// The account is locked or banned.
    #[error("the account is locked or banned ({reason})")]
    AccountLocked {
        /// The server's number.
        reason: u32,
        /// What the server wants the user to read.
        text: Str,
    },
    /// This version of WhatsApp Web is too old: set a newer one.
    #[error("the WhatsApp Web version is too old; configure a newer one")]
    ClientOutdated,
    /// The server refuses this client for another reason.
    #[error("refused by the server: {reason}")]
    Refused {
        /// The server's number, 0 if it gave none.
        reason: u32,
    },
    /// The QR codes ran out without a scan. Connect again for new ones.
    #[error("no QR code was scanned in time")]
    QrExhausted,
    /// The phone has no multi-device support.
    #[error("the phone does not support linked devices")]
    NoMultiDevice,
    /// The store refuses for good: the lease of this profile was lost, for example. Find out why, then connect again.
    #[error("the store refuses: {0}")]
    Storage(Str),
    /// The stored account can't be read. Restore a backup, or clear the profile and pair again.
    #[error("the stored account cannot be read; restore a backup, or clear the profile and pair again")]
    CorruptAccount,
    /// The address or configuration can't work.
    #[error("the configuration cannot work: {0}")]
    Config(Str),
}

/// Why a connection ended, when another try follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DropCause {
    /// Could not be opened.
    #[error("could not connect: {0}")]
    Open(crate::engine::OpenError),
    /// The peer closed the socket.
    #[error("closed by the peer (code {code:?})")]
    Closed {
        /// WebSocket close code.
        code: Option<u16>,
    },
    /// The server said that it ends the stream.
    #[error("the server ended the stream")]
    StreamEnd,
    /// The server asked for a new connection (515).
    #[error("the server asked for a restart")]
    RestartRequired,
    /// A link attempt failed and its connection is of no more use; the next one brings new QR codes.
    #[error("the link attempt failed")]
    PairingFailed,
    /// A stream error with this code (0: none).
    #[error("stream error {code}")]
    StreamError {
        /// The code.
        code: u32,
    },
    /// Login failed with a passing cause (500, 503).
    #[error("login failed for now ({reason})")]
    LoginFailed {
        /// The number.
        reason: u32,
    },
    /// Nothing was heard for too long.
    #[error("the connection is dead: nothing heard")]
    Dead,
    /// The handshake took too long.
    #[error("the handshake was not finished in time")]
    HandshakeTimeout,
    /// The handshake failed.
    #[error("handshake failed: {0}")]
    Handshake(Str),
    /// The server's certificate doesn't verify: possibly somebody is in between.
    #[error("the server's certificate does not verify: {0}")]
    Certificate(Str),
    /// What the peer sent is no frame or doesn't decrypt.
    #[error("protocol violation by the peer: {0}")]
    Protocol(Str),
    /// The store failed: everything not yet durable is dropped and read again.
    #[error("the store failed: {0}")]
    Storage(Str),
}
