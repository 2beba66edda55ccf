//! Facts that only the server has: devices of accounts, prekey bundles.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;
use crate::signal::PreKeyBundle;
use crate::wire::Jid;

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
    Bundle(alloc::boxed::Box<PreKeyBundle>),
    /// The server has no answer, or refused (its number).
    Refused(u32),
    /// No answer came in time.
    NoAnswer,
}

pub(crate) fn ask(_cx: &mut Cx, _wanted: BTreeSet<Query>) {}

pub(crate) fn answered(_cx: &mut Cx, _queries: Vec<Query>, _answer: IqAnswer<'_>) -> Vec<(Query, Finding)> {
    Vec::new()
}
