//! QR codes: which ref is shown, and for how long (`protocol/pairing.md` §2).

use alloc::collections::VecDeque;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compact_str::format_compact;

use crate::engine::cx::Cx;
use crate::engine::timers::Timer;
use crate::engine::{Mono, limits};
use crate::event::{Event, Pairing, Secret};
use crate::flows::client_payload;
use crate::wire::{NodeRef, Str};

/// For native cameras; the app ignores it.
const PREFIX: &str = "https://wa.me/settings/linked_devices#";

/// The refs of the last pair-device.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Qr {
    /// The first is on show.
    refs: VecDeque<Str>,
    until: Mono,
}

impl Qr {
    /// A pair-device came.
    pub(super) fn begin(&mut self, cx: &mut Cx, device: NodeRef<'_>) {
        let refs = device.children_named("ref").filter_map(|node| node.content_text());
        self.refs = refs.filter(|text| text.len() <= limits::PAIR_REF_BYTES).take(limits::QR_REFS).collect();
        self.show(cx, limits::QR_FIRST);
    }

    /// [`Timer::Qr`]: the next ref, if there is one.
    pub(super) fn next(&mut self, cx: &mut Cx) {
        self.refs.pop_front();
        self.show(cx, limits::QR_NEXT);
    }

    /// No ref is on show.
    pub(super) fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The ADV secret changed: the same ref again, no longer than before.
    pub(super) fn redraw(&self, cx: &mut Cx) {
        if cx.mono() < self.until {
            self.draw(cx, self.until - cx.mono());
        }
    }

    /// Nothing more is shown.
    pub(super) fn end(&mut self, cx: &mut Cx) {
        self.refs.clear();
        cx.timers.clear(Timer::Qr);
    }

    fn show(&mut self, cx: &mut Cx, time: Duration) {
        self.until = cx.mono() + time;
        // Set without a ref as well: an empty pair-device is as good as one whose refs ran out.
        if !self.refs.is_empty() || time == limits::QR_FIRST {
            cx.timer_in(Timer::Qr, time);
        }
        self.draw(cx, time);
    }

    fn draw(&self, cx: &mut Cx, valid_for: Duration) {
        let (Some(reference), Some(account)) = (self.refs.front(), cx.account()) else { return };
        let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
        let text = format_compact!(
            "{PREFIX}{reference},{},{},{},{}",
            base64(account.noise.public.as_bytes()),
            base64(account.identity.public.as_bytes()),
            base64(&account.adv_secret.0),
            client_payload::client_type(cx.config.browser),
        );
        cx.event(Event::Pairing(Pairing::Qr { text: Secret(text), valid_for }));
    }
}
