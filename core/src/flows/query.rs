//! Facts that only the server has: devices of accounts, prekey bundles. Asked for many flows at once.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{IqOwner, people};
use crate::adv::KeyIndexList;
use crate::engine::cx::Cx;
use crate::engine::iq::{Iq, IqAnswer};
use crate::engine::limits;
use crate::error::Failure;
use crate::event::{Event, Warning};
use crate::query::bundle::{self, DeviceBundle};
use crate::query::usync::{self, UserDevices};
use crate::store::records::{Device, DeviceList, Identity, LidOfPn, Session};
use crate::wire::{Jid, Str};

/// A question to the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Query {
    /// Devices and LID of an account (bare JID). The answer is in the records.
    Devices(Jid),
    /// A prekey bundle of a device.
    Bundle(Jid),
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finding {
    /// It is in the records.
    Recorded,
    /// A bundle.
    Bundle(alloc::boxed::Box<DeviceBundle>),
    /// The server has nothing of this account or device (its number).
    Refused(u32),
    /// The server refused the whole question, for now.
    Busy {
        /// Its number.
        code: u32,
        /// Its words.
        text: Str,
        /// Seconds to wait.
        backoff: Option<u32>,
    },
    /// No answer came in time.
    NoAnswer,
}

impl Finding {
    /// What a send that needs this fact must answer, if the fact is not that there is nothing.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Recorded | Self::Bundle(_) | Self::Refused(_) => None,
            Self::Busy { code, text, backoff } => {
                Some(Failure::Refused { code: *code, text: text.clone(), backoff: *backoff })
            }
            Self::NoAnswer => Some(Failure::Timeout),
        }
    }
}

/// Sends the questions, in as few stanzas as the batch limit allows.
pub(crate) fn ask(cx: &mut Cx, wanted: BTreeSet<Query>) {
    let (devices, bundles): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|query| matches!(query, Query::Devices(_)));
    for batch in devices.chunks(limits::QUERY_BATCH) {
        let users: Vec<_> = batch.iter().map(jid).collect();
        let sid = cx.iqs.next_id();
        let iq = Iq::get("usync", usync::request(sid, "message", &users));
        cx.ask(iq, IqOwner::Facts(batch.to_vec()));
    }
    for batch in bundles.chunks(limits::QUERY_BATCH) {
        let users: Vec<_> = batch.iter().map(jid).collect();
        cx.ask(Iq::get("encrypt", bundle::request(&users)), IqOwner::Facts(batch.to_vec()));
    }
}

fn jid(query: &Query) -> Jid {
    match query {
        Query::Devices(jid) | Query::Bundle(jid) => jid.clone(),
    }
}

/// Takes the answer to a batch of questions of one kind: every question gets a finding.
pub(crate) fn answered(cx: &mut Cx, queries: Vec<Query>, answer: IqAnswer<'_>) -> Vec<(Query, Finding)> {
    let iq = match answer {
        IqAnswer::Result(iq) => iq,
        IqAnswer::Error(error) => {
            let finding = match error.code {
                404 | 406 => Finding::Refused(error.code),
                code => Finding::Busy { code, text: error.text.clone(), backoff: error.backoff },
            };
            return queries.into_iter().map(|query| (query, finding.clone())).collect();
        }
        IqAnswer::Timeout | IqAnswer::Disconnected => {
            return queries.into_iter().map(|query| (query, Finding::NoAnswer)).collect();
        }
    };
    if matches!(queries.first(), Some(Query::Devices(_))) {
        let users = match usync::response(iq) {
            Ok(users) => users,
            Err(code) => return queries.into_iter().map(|query| (query, Finding::Refused(code))).collect(),
        };
        let results: Vec<_> = users.iter().map(|user| record(cx, user)).collect();
        return queries
            .into_iter()
            .map(|query| {
                let place = users.iter().position(|user| names(user, &jid(&query)));
                let finding = match place.and_then(|place| results.get(place)) {
                    Some(Ok(())) => Finding::Recorded,
                    Some(Err(code)) => Finding::Refused(*code),
                    // Not in the answer: the account does not exist.
                    None => Finding::Refused(404),
                };
                (query, finding)
            })
            .collect();
    }
    let mut bundles = bundle::response(iq);
    queries
        .into_iter()
        .map(|query| {
            let wanted = jid(&query);
            let finding = match bundles.iter().position(|(jid, _)| *jid == wanted) {
                Some(place) => match bundles.swap_remove(place).1 {
                    Ok(bundle) => Finding::Bundle(bundle.into()),
                    Err(code) => Finding::Refused(code),
                },
                None => Finding::Refused(404),
            };
            (query, finding)
        })
        .collect()
}

fn names(user: &UserDevices, jid: &Jid) -> bool {
    user.jid == *jid || user.lid.as_ref() == Some(jid)
}

/// Records what the server says of one account.
fn record(cx: &mut Cx, user: &UserDevices) -> Result<(), u32> {
    if let Some(lid) = &user.lid {
        people::learn(cx, lid, &user.jid);
    }
    let set = user.devices.as_ref().map_err(|code| *code)?;
    // The answer to a PN question concerns the account's canonical name; the mapping was learned just now or before.
    let canonical = match (&user.lid, cx.cache.get::<LidOfPn>(&user.jid.user)) {
        (Some(lid), _) => lid.clone(),
        (None, Some(LidOfPn(lid))) if user.jid.is_pn() => Jid::lid(lid.clone()),
        _ => user.jid.clone(),
    };
    let old = cx.cache.get::<DeviceList>(&canonical);
    let account_key = cx.cache.get::<Identity>(&canonical).map(|identity| identity.0);
    let list = match set.key_index_list.as_ref().map(|bytes| KeyIndexList::open(bytes, account_key.as_ref())) {
        Some(Ok(list)) => Some(list),
        None => None,
        // Somebody else signed it: what was known before still holds.
        Some(Err(error)) => {
            let known = old.is_some();
            cx.warn(Warning::BadStanza {
                what: compact_str::format_compact!("key-index list of {canonical}: {error}"),
            });
            if known {
                return Ok(());
            }
            None
        }
    };
    let devices = set.usable(list.as_ref());
    let raw_id = list.as_ref().map(|list| list.raw_id);
    if let Some(old) = cx.cache.get::<DeviceList>(&canonical).cloned() {
        if old.stamp > set.stamp && set.stamp != 0 {
            cx.warn(Warning::BadStanza { what: Str::const_new("an older device list than the known one") });
            return Ok(());
        }
        let same = old.devices.len() == devices.len()
            && old.devices.iter().zip(&devices).all(|(old, new)| old.id == new.id && old.hosted == new.hosted);
        if !same {
            cx.event(Event::DevicesChanged { address: canonical.clone().into() });
        }
        // Registered anew: its companions are others now, whatever their numbers.
        if old.raw_id.is_some() && raw_id.is_some() && old.raw_id != raw_id {
            for device in old.devices.iter().filter(|device| device.id != 0) {
                cx.cache.delete::<Session>(&usync::device_jid(&canonical, device.id, device.hosted));
            }
        }
    }
    let list = DeviceList {
        devices: devices
            .iter()
            .map(|device| Device { id: device.id, key_index: device.key_index, hosted: device.hosted })
            .collect(),
        // The hash is of the whole list; a shortened one must not claim it.
        hash: set.hash.clone().filter(|_| devices.len() == set.devices.len()),
        raw_id,
        stamp: set.stamp,
        fetched_at: cx.now.wall.secs().max(1),
    };
    cx.cache.put(&canonical, list);
    Ok(())
}
