//! Sent messages are kept for resends, but not for ever: from time to time the old ones are looked for and removed.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::engine::cx::Cx;
use crate::engine::timers::Timer;
use crate::engine::{LoadId, limits};
use crate::store::record::Record;
use crate::store::records::SentMessage;
use crate::store::{Namespace, RecordKey};

/// A sweep, a page at a time.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Sweep {
    page: Option<LoadId>,
}

impl Sweep {
    /// Starts, unless one is under way.
    pub(crate) fn begin(&mut self, cx: &mut Cx) {
        if self.page.is_none() {
            self.page = Some(cx.cache.range(Namespace::SentMessage, None, limits::SWEEP_PAGE));
        }
    }

    /// A page came, or could not be read: then the next sweep will find what this one leaves.
    pub(crate) fn range(&mut self, cx: &mut Cx, id: LoadId, rows: Option<&[(RecordKey, Bytes)]>) {
        if self.page != Some(id) {
            return;
        }
        self.page = None;
        let rows = rows.unwrap_or_default();
        let oldest = cx.now.wall.secs().saturating_sub(limits::SENT_MESSAGE_LIFE.as_secs());
        let old: Vec<_> = rows
            .iter()
            .filter(|(_, value)| <SentMessage as Record>::decode(value).is_none_or(|sent| sent.sent_at < oldest))
            .filter_map(|(key, _)| SentMessage::parse_key(&key.key))
            .collect();
        old.iter().for_each(|key| cx.cache.delete::<SentMessage>(key));
        if rows.len() < limits::SWEEP_PAGE as usize {
            cx.timer_in(Timer::Sweep, limits::SENT_MESSAGE_SWEEP);
        } else {
            let last = rows.last().map(|(key, _)| key.key.clone());
            self.page = Some(cx.cache.range(Namespace::SentMessage, last, limits::SWEEP_PAGE));
        }
    }

    /// The session is over.
    pub(crate) fn end(&mut self, cx: &mut Cx) {
        self.page = None;
        cx.timers.clear(Timer::Sweep);
    }
}
