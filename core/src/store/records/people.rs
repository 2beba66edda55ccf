//! What is known about accounts: LID and phone number, devices.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;

use super::jid_text;
use crate::store::{Namespace, record::Record};
use crate::wire::{Jid, Str};

macro_rules! mapping {
    ($(#[$doc:meta])* $name:ident, $namespace:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(crate) struct $name(pub(crate) Str);

        impl Record for $name {
            type Key = Str;

            const NAMESPACE: Namespace = Namespace::$namespace;

            fn key_text(key: &Str) -> Str {
                key.clone()
            }

            fn parse_key(text: &str) -> Option<Str> {
                Some(text.into())
            }

            fn encode(&self) -> Vec<u8> {
                MappingRow { user: self.0.clone().into() }.encode_to_vec()
            }

            fn decode(bytes: &Bytes) -> Option<Self> {
                let row = MappingRow::decode(bytes.clone()).ok()?;
                (!row.user.is_empty()).then(|| Self(row.user.into()))
            }
        }
    };
}

#[derive(Clone, PartialEq, prost::Message)]
struct MappingRow {
    #[prost(string, tag = "1")]
    user: alloc::string::String,
}

mapping!(
    /// The LID user of a phone-number user.
    LidOfPn,
    LidOfPn
);
mapping!(
    /// The phone-number user of a LID user.
    PnOfLid,
    PnOfLid
);

/// The devices of an account, by its canonical bare JID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct DeviceList {
    /// Device 0 included.
    pub(crate) devices: Vec<Device>,
    /// The server's hash of the list, if it gave one.
    pub(crate) hash: Option<Str>,
    /// Constant for one registration of the account.
    pub(crate) raw_id: Option<u32>,
    /// Stamp of the key-index list, unix seconds.
    pub(crate) stamp: u64,
    /// When this was learned, unix seconds; 0 when it should be asked again.
    pub(crate) fetched_at: u64,
}

/// One device of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    /// 0 is the phone.
    pub(crate) id: u16,
    /// Companions have one.
    pub(crate) key_index: Option<u32>,
    /// Cloud-hosted: its JID is on the hosted server.
    pub(crate) hosted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeviceListRow {
    #[prost(message, repeated, tag = "1")]
    devices: Vec<DeviceRow>,
    #[prost(string, optional, tag = "2")]
    hash: Option<alloc::string::String>,
    #[prost(uint32, optional, tag = "3")]
    raw_id: Option<u32>,
    #[prost(uint64, tag = "4")]
    stamp: u64,
    #[prost(uint64, tag = "5")]
    fetched_at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeviceRow {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint32, optional, tag = "2")]
    key_index: Option<u32>,
    #[prost(bool, tag = "3")]
    hosted: bool,
}

impl Record for DeviceList {
    type Key = Jid;

    const NAMESPACE: Namespace = Namespace::DeviceList;

    fn key_text(key: &Jid) -> Str {
        jid_text(key)
    }

    fn parse_key(text: &str) -> Option<Jid> {
        text.parse().ok()
    }

    fn encode(&self) -> Vec<u8> {
        DeviceListRow {
            devices: self
                .devices
                .iter()
                .map(|device| DeviceRow { id: device.id.into(), key_index: device.key_index, hosted: device.hosted })
                .collect(),
            hash: self.hash.clone().map(Into::into),
            raw_id: self.raw_id,
            stamp: self.stamp,
            fetched_at: self.fetched_at,
        }
        .encode_to_vec()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let row = DeviceListRow::decode(bytes.clone()).ok()?;
        let devices = row
            .devices
            .iter()
            .map(|device| {
                Some(Device { id: device.id.try_into().ok()?, key_index: device.key_index, hosted: device.hosted })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            devices,
            hash: row.hash.map(Into::into),
            raw_id: row.raw_id,
            stamp: row.stamp,
            fetched_at: row.fetched_at,
        })
    }
}
