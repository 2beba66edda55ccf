//! Accounts: a phone, its companions, and what the server stores of each.

use std::collections::{BTreeMap, BTreeSet};

use amarula_core::crypto::PublicKey;
use amarula_core::wire::{Jid, Server as Domain};

use super::ConnId;
use super::config::ClientProfile;
use super::outbox::Outbox;
use crate::phone::Phone;
use crate::proto::AdvSignedIdentity;
use crate::time::SimTime;

/// Names an account of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// One device of one account; device 0 is the phone.
pub type DeviceKey = (AccountId, u16);

/// A person.
#[derive(Clone, Debug)]
pub struct Account {
    /// Phone number digits.
    pub pn: String,
    /// LID digits.
    pub lid: String,
    /// The phone.
    pub phone: Phone,
    /// Linked companions by device id.
    pub companions: BTreeMap<u16, Companion>,
    /// Whether 1:1 chats are addressed by LID (messages §4).
    pub lid_migrated: bool,
    /// Business name told at pairing.
    pub business_name: Option<String>,
    /// Blocked users.
    pub blocklist: Vec<Jid>,
    /// Privacy settings.
    pub privacy: BTreeMap<String, String>,
    /// Who may see this account's presence.
    pub(crate) subscribers: BTreeSet<DeviceKey>,
    /// When the key-index list last changed, unix seconds.
    pub(crate) list_changed: u64,
    pub(crate) tokens: BTreeMap<String, Vec<u8>>,
}

impl Account {
    /// The account's JID in a namespace.
    #[must_use]
    pub fn jid(&self, namespace: &Domain) -> Jid {
        match namespace {
            Domain::Lid | Domain::HostedLid => Jid::lid(self.lid.as_str()),
            _ => Jid::pn(self.pn.as_str()),
        }
    }

    /// A device's JID in a namespace.
    #[must_use]
    pub fn device_jid(&self, namespace: &Domain, device: u16) -> Jid {
        self.jid(namespace).with_device(device)
    }

    /// All device ids, the phone included.
    #[must_use]
    pub fn devices(&self) -> Vec<u16> {
        std::iter::once(0).chain(self.companions.keys().copied()).collect()
    }

    /// Whether the JID is this account, in either namespace.
    #[must_use]
    pub fn is(&self, jid: &Jid) -> bool {
        (jid.is_lid() && jid.user == self.lid) || (jid.is_pn() && jid.user == self.pn)
    }
}

/// A linked companion: what the server knows of it.
#[derive(Clone, Debug)]
pub struct Companion {
    /// Key index in the ADV list.
    pub key_index: u32,
    /// Noise static key.
    pub noise: PublicKey,
    /// Signal identity.
    pub identity: PublicKey,
    /// Registration id.
    pub registration_id: u32,
    /// The full ADV identity.
    pub adv: AdvSignedIdentity,
    /// Current signed prekey.
    pub signed: (u32, PublicKey, Vec<u8>),
    /// Unused one-time prekeys.
    pub one_time: BTreeMap<u32, PublicKey>,
    /// Device name shown on the phone (DeviceProps.os).
    pub name: String,
    /// Whether it ever logged in.
    pub logged_in: bool,
    /// Whether it said `<presence type=available>` on this connection.
    pub available: bool,
    /// Live connection.
    pub conn: Option<ConnId>,
    /// The last `lc` seen.
    pub login_counter: Option<i32>,
    /// Every signed prekey it ever published.
    pub(crate) all_signed: BTreeMap<u32, PublicKey>,
    /// Every one-time prekey it ever published, also in retry receipts.
    pub(crate) all_one_time: BTreeMap<u32, PublicKey>,
    pub(crate) outbox: Outbox,
    /// Message ids it used, with a fingerprint of the stanza.
    pub(crate) sent: BTreeMap<String, [u8; 32]>,
    /// Retry receipts delivered to it: (message id, requester) and the highest count.
    pub(crate) resend_asked: BTreeMap<(String, Jid), u64>,
    /// Retry receipts it sent: (message id, sender) and the highest count.
    pub(crate) retries: BTreeMap<(String, Jid), u64>,
    /// Devices it was told of by usync or notification, and when, by (LID user, device).
    pub(crate) told: BTreeMap<(String, u16), SimTime>,
    /// Whose habits are tolerated.
    pub(crate) profile: ClientProfile,
    /// Whether the low-prekey notification is out.
    pub(crate) asked_for_prekeys: bool,
    pub(crate) app_push_name: Option<String>,
    /// A delivery was damaged, lost or doubled: what follows from it is no fault of the client's.
    pub(crate) disturbed: bool,
}
