//! The account record: who this device is.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use crate::crypto::{KeyPair, PrivateKey, PublicKey};
use crate::signal::PreKeyIds;
use crate::store::{Namespace, record::Record};
use crate::wire::{Jid, Str};

/// Identity, keys and prekey counters of this device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// Noise static key.
    pub(crate) noise: KeyPair,
    /// Signal identity key.
    pub(crate) identity: KeyPair,
    /// 1..=16383.
    pub(crate) registration_id: u32,
    /// HMAC key of the pairing under way.
    pub(crate) adv_secret: AdvSecret,
    /// The signed prekey in use.
    pub(crate) signed_prekey: u32,
    /// When it was made, unix seconds.
    pub(crate) signed_prekey_at: u64,
    /// Which one-time prekeys were generated, uploaded, taken.
    pub(crate) prekeys: PreKeyIds,
    /// Whether the server ever took our prekeys.
    pub(crate) prekeys_on_server: bool,
    /// The account, once paired.
    pub(crate) me: Option<Me>,
}

/// The account this device is linked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Me {
    /// Own phone-number JID with device.
    pub(crate) pn: Jid,
    /// Own LID JID with device.
    pub(crate) lid: Option<Jid>,
    /// Whole `ADVSignedDeviceIdentity`, account signature key included: goes along with every `pkmsg`.
    pub(crate) adv: Bytes,
    /// Identity key of the account (device 0).
    pub(crate) account_key: PublicKey,
    /// Key index of this device in the account's list.
    pub(crate) key_index: u32,
    /// Platform of the phone.
    pub(crate) platform: Str,
    /// Business name.
    pub(crate) business_name: Option<Str>,
    /// Our own name.
    pub(crate) push_name: Option<Str>,
    /// Whether 1:1 chats of this account are addressed by LID on the wire.
    pub(crate) lid_migrated: bool,
    /// Not one login has succeeded yet.
    pub(crate) fresh: bool,
}

impl Me {
    /// Whether `jid` is this account (any device, either namespace).
    pub(crate) fn is_me(&self, jid: &Jid) -> bool {
        self.pn.same_account(jid) || self.lid.as_ref().is_some_and(|lid| lid.same_account(jid))
    }

    /// Whether `jid` is this very device.
    pub(crate) fn is_this_device(&self, jid: &Jid) -> bool {
        jid.device == self.pn.device && self.is_me(jid)
    }
}

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq, Hash, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub(crate) struct AdvSecret(pub(crate) [u8; 32]);

impl core::fmt::Debug for AdvSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AdvSecret(..)")
    }
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Row {
    #[prost(bytes = "vec", tag = "1")]
    noise: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    identity: Vec<u8>,
    #[prost(uint32, tag = "3")]
    registration_id: u32,
    #[prost(bytes = "vec", tag = "4")]
    adv_secret: Vec<u8>,
    #[prost(uint32, tag = "5")]
    signed_prekey: u32,
    #[prost(uint64, tag = "6")]
    signed_prekey_at: u64,
    #[prost(uint32, tag = "7")]
    next_prekey: u32,
    #[prost(uint32, tag = "8")]
    first_unuploaded: u32,
    #[prost(bool, tag = "9")]
    prekeys_on_server: bool,
    #[prost(message, optional, tag = "10")]
    me: Option<MeRow>,
    #[prost(uint32, repeated, tag = "11")]
    taken: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct MeRow {
    #[prost(string, tag = "1")]
    pn: alloc::string::String,
    #[prost(string, optional, tag = "2")]
    lid: Option<alloc::string::String>,
    #[prost(bytes = "bytes", tag = "3")]
    adv: Bytes,
    #[prost(bytes = "vec", tag = "4")]
    account_key: Vec<u8>,
    #[prost(uint32, tag = "5")]
    key_index: u32,
    #[prost(string, tag = "6")]
    platform: alloc::string::String,
    #[prost(string, optional, tag = "7")]
    business_name: Option<alloc::string::String>,
    #[prost(string, optional, tag = "8")]
    push_name: Option<alloc::string::String>,
    #[prost(bool, tag = "9")]
    lid_migrated: bool,
    #[prost(bool, tag = "10")]
    fresh: bool,
}

impl Record for Account {
    type Key = ();

    const NAMESPACE: Namespace = Namespace::Account;

    fn key_text((): &()) -> Str {
        Str::const_new("account")
    }

    fn parse_key(text: &str) -> Option<()> {
        (text == "account").then_some(())
    }

    fn encode(&self) -> Vec<u8> {
        Row {
            noise: self.noise.private.expose().to_vec(),
            identity: self.identity.private.expose().to_vec(),
            registration_id: self.registration_id,
            adv_secret: self.adv_secret.0.to_vec(),
            signed_prekey: self.signed_prekey,
            signed_prekey_at: self.signed_prekey_at,
            next_prekey: self.prekeys.next_id(),
            first_unuploaded: self.prekeys.first_unuploaded(),
            taken: self.prekeys.taken().to_vec(),
            prekeys_on_server: self.prekeys_on_server,
            me: self.me.as_ref().map(|me| MeRow {
                pn: super::jid_text(&me.pn).into(),
                lid: me.lid.as_ref().map(|lid| super::jid_text(lid).into()),
                adv: me.adv.clone(),
                account_key: me.account_key.as_bytes().to_vec(),
                key_index: me.key_index,
                platform: me.platform.clone().into(),
                business_name: me.business_name.clone().map(Into::into),
                push_name: me.push_name.clone().map(Into::into),
                lid_migrated: me.lid_migrated,
                fresh: me.fresh,
            }),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let row = Row::decode(bytes.clone()).ok()?;
        Some(Self {
            noise: KeyPair::from_private(PrivateKey::from_slice(&row.noise).ok()?),
            identity: KeyPair::from_private(PrivateKey::from_slice(&row.identity).ok()?),
            registration_id: row.registration_id,
            adv_secret: AdvSecret(row.adv_secret.as_slice().try_into().ok()?),
            signed_prekey: row.signed_prekey,
            signed_prekey_at: row.signed_prekey_at,
            prekeys: PreKeyIds::restore(row.next_prekey, row.first_unuploaded, &row.taken)?,
            prekeys_on_server: row.prekeys_on_server,
            me: match row.me {
                None => None,
                Some(me) => Some(Me {
                    pn: me.pn.parse().ok()?,
                    lid: me.lid.map(|lid| lid.parse()).transpose().ok()?,
                    adv: me.adv,
                    account_key: PublicKey::from_raw(&me.account_key).ok()?,
                    key_index: me.key_index,
                    platform: me.platform.into(),
                    business_name: me.business_name.map(Into::into),
                    push_name: me.push_name.map(Into::into),
                    lid_migrated: me.lid_migrated,
                    fresh: me.fresh,
                }),
            },
        })
    }
}
