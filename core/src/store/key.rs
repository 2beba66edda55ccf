//! Where records live: namespaces, keys, and the batches that change them.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::wire::Str;

macro_rules! namespaces {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// A kind of record. Numbers and names are stored: they never change meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Namespace {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Namespace {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name, fit for a folder or a column: lowercase ASCII and `_`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The stable number.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }
        }
    };
}

namespaces! {
    /// The account's identity and keys: one record. Whoever has it is this device.
    Account = 1 "account",
    /// Signal sessions, by device.
    Session = 2 "session",
    /// Signal identity keys of others, by device.
    Identity = 3 "identity",
    /// Private one-time prekeys, by id.
    PreKey = 4 "prekey",
    /// Private signed prekeys, by id.
    SignedPreKey = 5 "signed_prekey",
    /// Sender keys, by group and device.
    SenderKey = 6 "sender_key",
    /// LID of a phone number.
    LidOfPn = 7 "lid_of_pn",
    /// Phone number of a LID.
    PnOfLid = 8 "pn_of_lid",
    /// Devices of an account.
    DeviceList = 9 "device_list",
    /// What we sent, for devices that could not decrypt it.
    SentMessage = 10 "sent_message",
    /// Received and not yet confirmed by the consumer, in order.
    Inbox = 11 "inbox",
    /// Durable sends without an answer.
    Outbox = 12 "outbox",
    /// Small state of a connection that is worth keeping: routing, certificates, counters.
    Link = 13 "link",
    /// Which devices have our sender key of a group.
    SenderKeyHolders = 14 "sender_key_holders",
    /// Group metadata.
    Group = 15 "group",
    /// Privacy tokens of others.
    Token = 16 "token",
    /// Message secrets.
    MessageSecret = 17 "message_secret",
    /// App-state keys.
    AppStateKey = 18 "app_state_key",
    /// App-state collections.
    AppStateVersion = 19 "app_state_version",
    /// App-state values by index MAC.
    AppStateMac = 20 "app_state_mac",
}

impl Namespace {
    /// The namespace of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|namespace| namespace.name() == name)
    }

    /// The namespace of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|namespace| namespace.number() == number)
    }
}

/// The name of one record within a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The kind.
    pub namespace: Namespace,
    /// The name among its kind: at most 255 bytes of text (JIDs, numbers, message ids); may hold any character.
    pub key: Str,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Write this value.
    Put(Bytes),
    /// Remove the record, if it is there.
    Delete,
}

/// Values hold keys and messages: only their size is shown.
impl core::fmt::Debug for Op {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Put(value) => write!(f, "Put([{} bytes])", value.len()),
            Self::Delete => f.write_str("Delete"),
        }
    }
}

/// Changes that are applied all or not at all. No key occurs twice; keys ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Before anything else, remove every record of the profile (the account was unlinked).
    pub clear: bool,
    /// The changes.
    pub ops: Vec<(RecordKey, Op)>,
}

impl Batch {
    /// Bytes of all values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ops
            .iter()
            .map(|(key, op)| {
                key.key.len()
                    + match op {
                        Op::Put(value) => value.len(),
                        Op::Delete => 0,
                    }
            })
            .sum()
    }
}
