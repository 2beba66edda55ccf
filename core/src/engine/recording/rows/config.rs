//! [`Config`]. Every field is optional: what a recording of an older version does not have is the default, so that it
//! can still be replayed.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use super::super::Malformed;
use super::{DurationRow, text};
use crate::config::{Browser, Config};
use crate::crypto::PublicKey;
use crate::engine::Limits;
use crate::wire::Str;

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ConfigRow {
    #[prost(string, optional, tag = "1")]
    url: Option<String>,
    #[prost(string, optional, tag = "2")]
    origin: Option<String>,
    #[prost(message, optional, tag = "3")]
    version: Option<VersionRow>,
    #[prost(string, optional, tag = "4")]
    device_name: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    browser: Option<u32>,
    #[prost(string, optional, tag = "6")]
    os: Option<String>,
    #[prost(string, optional, tag = "7")]
    language: Option<String>,
    #[prost(string, optional, tag = "8")]
    country: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    root_key: Option<Vec<u8>>,
    #[prost(message, optional, tag = "10")]
    clock_tolerance: Option<DurationRow>,
    #[prost(bool, optional, tag = "11")]
    noise_ik: Option<bool>,
    #[prost(string, optional, tag = "12")]
    push_name: Option<String>,
    #[prost(bool, optional, tag = "13")]
    mark_online: Option<bool>,
    #[prost(bool, optional, tag = "14")]
    inbox: Option<bool>,
    #[prost(bool, optional, tag = "15")]
    full_history: Option<bool>,
    #[prost(message, optional, tag = "16")]
    limits: Option<LimitsRow>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct VersionRow {
    #[prost(uint32, tag = "1")]
    primary: u32,
    #[prost(uint32, tag = "2")]
    secondary: u32,
    #[prost(uint32, tag = "3")]
    revision: u32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct LimitsRow {
    #[prost(uint64, optional, tag = "1")]
    cache_bytes: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    open_commands: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    inbound_queue: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    gated_outputs: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    inbound_bytes: Option<u64>,
    #[prost(message, optional, tag = "6")]
    command_timeout: Option<DurationRow>,
    #[prost(message, optional, tag = "7")]
    ack_timeout: Option<DurationRow>,
    #[prost(uint64, optional, tag = "8")]
    unconfirmed: Option<u64>,
}

impl ConfigRow {
    pub(in super::super) fn of(config: &Config) -> Self {
        let Config {
            url,
            origin,
            version: (primary, secondary, revision),
            device_name,
            browser,
            os,
            locale: (language, country),
            root_key,
            clock_tolerance,
            noise_ik,
            push_name,
            mark_online,
            inbox,
            full_history,
            limits,
        } = config;
        Self {
            url: Some(url.to_string()),
            origin: Some(origin.to_string()),
            version: Some(VersionRow { primary: *primary, secondary: *secondary, revision: *revision }),
            device_name: Some(device_name.to_string()),
            browser: Some(browser_number(*browser)),
            os: Some(os.to_string()),
            language: Some(language.to_string()),
            country: Some(country.to_string()),
            root_key: Some(root_key.as_bytes().to_vec()),
            clock_tolerance: Some((*clock_tolerance).into()),
            noise_ik: Some(*noise_ik),
            push_name: text(push_name),
            mark_online: Some(*mark_online),
            inbox: Some(*inbox),
            full_history: Some(*full_history),
            limits: Some(LimitsRow::of(limits)),
        }
    }

    pub(in super::super) fn into_config(self) -> Result<Config, Malformed> {
        let default = Config::default();
        let str_or = |text: Option<String>, or: Str| text.map_or(or, Into::into);
        Ok(Config {
            url: str_or(self.url, default.url),
            origin: str_or(self.origin, default.origin),
            version: self.version.map_or(default.version, |row| (row.primary, row.secondary, row.revision)),
            device_name: str_or(self.device_name, default.device_name),
            browser: self.browser.map_or(Ok(default.browser), browser)?,
            os: str_or(self.os, default.os),
            locale: (str_or(self.language, default.locale.0), str_or(self.country, default.locale.1)),
            root_key: match self.root_key {
                Some(key) => PublicKey::from_raw(&key).map_err(|_| Malformed("a key has 32 bytes"))?,
                None => default.root_key,
            },
            clock_tolerance: duration_or(self.clock_tolerance, default.clock_tolerance)?,
            noise_ik: self.noise_ik.unwrap_or(default.noise_ik),
            push_name: self.push_name.map(Into::into),
            mark_online: self.mark_online.unwrap_or(default.mark_online),
            inbox: self.inbox.unwrap_or(default.inbox),
            full_history: self.full_history.unwrap_or(default.full_history),
            limits: self.limits.map_or(Ok(default.limits), LimitsRow::into_limits)?,
        })
    }
}

impl LimitsRow {
    fn of(limits: &Limits) -> Self {
        let Limits {
            cache_bytes,
            open_commands,
            inbound_queue,
            gated_outputs,
            inbound_bytes,
            unconfirmed,
            command_timeout,
            ack_timeout,
        } = *limits;
        Self {
            cache_bytes: Some(cache_bytes as u64),
            open_commands: Some(open_commands as u64),
            inbound_queue: Some(inbound_queue as u64),
            gated_outputs: Some(gated_outputs as u64),
            inbound_bytes: Some(inbound_bytes as u64),
            unconfirmed: Some(unconfirmed as u64),
            command_timeout: Some(command_timeout.into()),
            ack_timeout: Some(ack_timeout.into()),
        }
    }

    fn into_limits(self) -> Result<Limits, Malformed> {
        let default = Limits::default();
        // Beyond what this machine can count there is no limit.
        let count_or = |count: Option<u64>, or: usize| count.map_or(or, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Limits {
            cache_bytes: count_or(self.cache_bytes, default.cache_bytes),
            open_commands: count_or(self.open_commands, default.open_commands),
            inbound_queue: count_or(self.inbound_queue, default.inbound_queue),
            gated_outputs: count_or(self.gated_outputs, default.gated_outputs),
            inbound_bytes: count_or(self.inbound_bytes, default.inbound_bytes),
            unconfirmed: count_or(self.unconfirmed, default.unconfirmed),
            command_timeout: duration_or(self.command_timeout, default.command_timeout)?,
            ack_timeout: duration_or(self.ack_timeout, default.ack_timeout)?,
        })
    }
}

fn duration_or(row: Option<DurationRow>, or: Duration) -> Result<Duration, Malformed> {
    row.map_or(Ok(or), DurationRow::into_duration)
}

fn browser_number(browser: Browser) -> u32 {
    match browser {
        Browser::Chrome => 1,
        Browser::Firefox => 2,
        Browser::Edge => 3,
        Browser::Opera => 4,
        Browser::Safari => 5,
    }
}

fn browser(number: u32) -> Result<Browser, Malformed> {
    Ok(match number {
        1 => Browser::Chrome,
        2 => Browser::Firefox,
        3 => Browser::Edge,
        4 => Browser::Opera,
        5 => Browser::Safari,
        _ => return Err(Malformed("a browser of an unknown number")),
    })
}
