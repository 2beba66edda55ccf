//! Every limit of this module, in one place (`protocol/signal.md` §7).

/// Archived sessions kept in a record, besides the current one. The oldest is dropped beyond it.
pub const ARCHIVED_SESSIONS: usize = 40;
/// Receiver chains kept in a session. The oldest is dropped beyond it.
pub const RECEIVER_CHAINS: usize = 5;
/// Skipped message keys kept per receiver chain, and per sender-key state. The oldest is dropped beyond it.
pub const SKIPPED_KEYS: usize = 2000;
/// How many messages may be missing before one on the same chain, from a peer. (WhatsApp Web: `signalFutureMessagesMax`.)
pub const FORWARD_JUMP: u32 = 2000;
/// The same, from another device of our own account, which a long offline time can leave far behind.
pub const FORWARD_JUMP_OWN: u32 = 25_000;
/// The same, for sender keys.
pub const FORWARD_JUMP_SENDER_KEY: u32 = 2000;
/// Sender-key states kept per group and sender. The oldest is dropped beyond it.
pub const SENDER_KEY_STATES: usize = 5;
/// Bytes of a message's MAC.
pub const MAC_LEN: usize = 8;
/// Smallest prekey id. 0 is not usable: some clients leave the field out when it is 0.
pub const PREKEY_ID_MIN: u32 = 1;
/// Largest prekey id: 24 bits on the wire. The next id after it is [`PREKEY_ID_MIN`] again.
pub const PREKEY_ID_MAX: u32 = 0x00ff_ffff;
/// One-time prekeys that can be taken out of the upload order at a time ([`super::PreKeyIds::take`]).
pub const PREKEYS_OUT_OF_ORDER: usize = 1024;
/// Signed prekeys to keep: the current one and the two before it.
pub const SIGNED_PREKEYS_KEPT: usize = 3;
/// Age at which a signed prekey should be replaced, in days.
pub const SIGNED_PREKEY_ROTATION_DAYS: u32 = 27;

/// How far ahead of its chain a message may be, by whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// Another account: [`FORWARD_JUMP`].
    Peer,
    /// Another device of our own account: [`FORWARD_JUMP_OWN`].
    OwnDevice,
}

impl Forward {
    /// The largest accepted number of missing messages.
    #[must_use]
    pub const fn jump(self) -> u32 {
        match self {
            Self::Peer => FORWARD_JUMP,
            Self::OwnDevice => FORWARD_JUMP_OWN,
        }
    }
}
