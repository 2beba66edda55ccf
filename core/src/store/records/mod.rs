//! The records themselves, by subject. Each encodes as a protobuf message whose field numbers never change meaning.

mod account;
mod keys;
mod link;
mod messages;
mod people;

pub(crate) use account::{Account, AdvSecret, Me};
pub(crate) use keys::{Identity, PreKey, SenderKey, SenderKeyName, Session, SignedPreKey};
pub(crate) use link::{CachedChain, Link};
pub(crate) use messages::{InboxEntry, OutboxEntry, SentKey, SentMessage};
pub(crate) use people::{Device, DeviceList, LidOfPn, PnOfLid};

use crate::wire::{Jid, Str};

/// The text of a JID, as part of a record's name.
fn jid_text(jid: &Jid) -> Str {
    use compact_str::ToCompactString as _;
    jid.to_compact_string()
}
