//! Everything that a recording holds, as protobuf. Field numbers never change meaning. Every `match` over a type of the
//! engine is without a wildcard, and every structure is taken apart field by field: what is added must be recorded too.

mod config;
mod input;
mod output;
mod request;

pub(super) use config::ConfigRow;
pub(super) use input::InputRow;
pub use output::OutputRecord;
pub(super) use request::{RequestRow, request_name};

use alloc::string::{String, ToString as _};
use core::time::Duration;

use super::Malformed;
use crate::address::Address;
use crate::engine::Now;
use crate::store::{Namespace, RecordKey};
use crate::wire::{Jid, Server, Str};

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct NowRow {
    #[prost(uint64, tag = "1")]
    mono: u64,
    #[prost(uint64, tag = "2")]
    wall: u64,
}

impl From<Now> for NowRow {
    fn from(Now { mono, wall }: Now) -> Self {
        Self { mono: mono.0, wall: wall.0 }
    }
}

impl From<NowRow> for Now {
    fn from(row: NowRow) -> Self {
        Self::new(row.mono, row.wall)
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct DurationRow {
    #[prost(uint64, tag = "1")]
    secs: u64,
    #[prost(uint32, tag = "2")]
    nanos: u32,
}

impl From<Duration> for DurationRow {
    fn from(duration: Duration) -> Self {
        Self { secs: duration.as_secs(), nanos: duration.subsec_nanos() }
    }
}

impl DurationRow {
    fn into_duration(self) -> Result<Duration, Malformed> {
        if self.nanos < 1_000_000_000 {
            Ok(Duration::new(self.secs, self.nanos))
        } else {
            Err(Malformed("a duration with a second of nanoseconds"))
        }
    }
}

/// An address by its parts: not every address can be read back from its text.
#[derive(Clone, PartialEq, prost::Message)]
struct AddressRow {
    #[prost(string, tag = "1")]
    user: String,
    /// A server that has a variant, by its name.
    #[prost(string, optional, tag = "2")]
    server: Option<String>,
    #[prost(uint32, tag = "3")]
    device: u32,
    #[prost(uint32, tag = "4")]
    integrator: u32,
    /// [`Server::Other`].
    #[prost(string, optional, tag = "5")]
    other_server: Option<String>,
}

impl AddressRow {
    fn of(address: &Address) -> Self {
        let Jid { user, server, device, integrator } = address.jid();
        let (server, other_server) = match server {
            Server::Other(name) => (None, Some(name.to_string())),
            known => (Some(known.as_str().into()), None),
        };
        Self {
            user: user.to_string(),
            server,
            device: (*device).into(),
            integrator: (*integrator).into(),
            other_server,
        }
    }

    fn into_address(self) -> Result<Address, Malformed> {
        let server = match (self.server, self.other_server) {
            (Some(name), None) => match Server::from_name(&name) {
                Server::Other(_) => return Err(Malformed("a server of an unknown name")),
                known => known,
            },
            (None, Some(name)) => Server::Other(name.into()),
            _ => return Err(Malformed("an address has one server")),
        };
        Ok(Jid { user: self.user.into(), server, device: u16_of(self.device)?, integrator: u16_of(self.integrator)? }
            .into())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyRow {
    #[prost(uint32, tag = "1")]
    namespace: u32,
    #[prost(string, tag = "2")]
    key: String,
}

impl KeyRow {
    fn of(RecordKey { namespace, key }: &RecordKey) -> Self {
        Self { namespace: namespace.number().into(), key: key.to_string() }
    }

    fn into_key(self) -> Result<RecordKey, Malformed> {
        Ok(RecordKey { namespace: namespace(self.namespace)?, key: self.key.into() })
    }
}

fn namespace(number: u32) -> Result<Namespace, Malformed> {
    let known = u8::try_from(number).ok().and_then(Namespace::from_number);
    known.ok_or(Malformed("a namespace of an unknown number"))
}

fn u16_of(number: u32) -> Result<u16, Malformed> {
    number.try_into().map_err(|_| Malformed("a number above 65535"))
}

fn text(text: &Option<Str>) -> Option<String> {
    text.as_ref().map(|text| text.to_string())
}

fn present<T>(row: Option<T>) -> Result<T, Malformed> {
    row.ok_or(Malformed("a part is missing"))
}
