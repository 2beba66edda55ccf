//! The login sequence (`protocol/transport.md` §9): from `<success>` to the end of the backlog.
//!
//! Order: session id; prekeys (count, upload) begin and are not waited for; `<active/>`, whose answer opens the session;
//! the backlog in batches; then everything that can wait.

use alloc::vec::Vec;
use core::time::Duration;

use super::connect::update_link;
use super::ib;
use super::prekeys::Prekeys;
use super::presence;
use crate::crypto::PublicKey;
use crate::engine::command::Presence;
use crate::engine::cx::{Cx, Signal};
use crate::engine::iq::{Iq, IqAnswer};
use crate::engine::timers::Timer;
use crate::engine::{back_off, limits};
use crate::event::{self, Event, Warning};
use crate::flows::IqOwner;
use crate::store::records::{Identity, LidOfPn, Link, PnOfLid};
use crate::wire::{Jid, Node, NodeRef, Str};

/// Server properties that change what we do.
pub(crate) mod prop {
    /// 1:1 chats are addressed by LID.
    pub(crate) const LID_MIGRATED: u32 = 9435;
    /// Privacy tokens go with every 1:1 message.
    pub(crate) const TOKENS_ON_ALL: u32 = 10518;
    /// Privacy tokens are issued to LIDs.
    pub(crate) const TOKENS_TO_LID: u32 = 14303;
    /// Hosted companions are real.
    pub(crate) const HOSTED: u32 = 6939;
    /// Days until a key-index list is too old.
    pub(crate) const KEY_INDEX_DAYS: u32 = 730;
    /// Days before that when it is asked again.
    pub(crate) const KEY_INDEX_CHECK_DAYS: u32 = 731;
    /// The ones that are kept.
    pub(super) const KEPT: [u32; 6] =
        [LID_MIGRATED, TOKENS_ON_ALL, TOKENS_TO_LID, HOSTED, KEY_INDEX_DAYS, KEY_INDEX_CHECK_DAYS];
    /// Longest value kept.
    pub(super) const VALUE_BYTES: usize = 64;
}

/// A question of the login sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// `<active/>`.
    Active,
    /// Server properties.
    Props,
    /// Block list.
    Blocklist,
    /// Privacy settings.
    Privacy,
}

/// How far the login is.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Login {
    /// `<success>` came on this connection.
    begun: bool,
    /// Tries of `<active/>`.
    tries: u32,
    /// Stanzas of the backlog that the server announced.
    announced: u32,
    /// Stanzas of the backlog dealt with.
    taken: u32,
    /// A batch was asked for, and none of its stanzas was dealt with yet.
    batch_open: bool,
    caught_up: bool,
    /// Dirty bits to be cleaned when the backlog is through.
    dirty: Vec<(Str, Option<Str>)>,
    /// When this build stops working, as last told; unix seconds.
    pub(super) build_expires: Option<u64>,
}

impl Login {
    /// `<success>`.
    pub(crate) fn success(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        if self.begun {
            return;
        }
        if cx.me().is_none() {
            return cx.warn(Warning::BadStanza { what: Str::const_new("success without a linked account") });
        }
        self.begun = true;
        if let Some(t) = node.u64("t") {
            cx.learn_server_time(t);
        }
        learn_lid(cx, node.jid("lid"));
        if cx.me().is_some_and(|me| me.fresh) {
            cx.update_account(|account| {
                if let Some(me) = &mut account.me {
                    me.fresh = false;
                }
            });
        }
        cx.signal(Signal::LoggedIn);
    }

    /// Logged in: begin the sequence.
    pub(crate) fn begin(&mut self, cx: &mut Cx, prekeys: &mut Prekeys) {
        unified_session(cx);
        prekeys.logged_in(cx);
        self.activate(cx);
        cx.timer_in(Timer::OfflineEnd, limits::OFFLINE_TIMEOUT);
    }

    /// Asks to be made active: without it nothing is delivered.
    pub(crate) fn activate(&mut self, cx: &mut Cx) {
        cx.ask(Iq::set("passive", Node::new("active")), IqOwner::Login(Step::Active));
    }

    pub(crate) fn answered(&mut self, cx: &mut Cx, step: Step, answer: IqAnswer<'_>) {
        match (step, answer) {
            (_, IqAnswer::Disconnected) => {}
            (Step::Active, IqAnswer::Result(_)) => {
                cx.signal(Signal::Opened);
                if cx.config.mark_online && presence::own_name(cx).is_some() {
                    presence::set(cx, Presence::Available);
                }
            }
            (Step::Active, IqAnswer::Error(_) | IqAnswer::Timeout) => {
                let wait = back_off::fibonacci(self.tries, limits::RETRY_CAP);
                self.tries = self.tries.saturating_add(1);
                cx.timer_in(Timer::Activate, wait);
            }
            (Step::Props, IqAnswer::Result(iq)) => props(cx, iq),
            (Step::Privacy, IqAnswer::Result(iq)) => privacy(cx, iq),
            // Worth nothing to us yet, or refused: the session works without.
            (Step::Blocklist | Step::Props | Step::Privacy, _) => {}
        }
    }

    // ---- the backlog -------------------------------------------------------------------------------------------

    /// `<offline_preview>`: so many stanzas wait.
    pub(super) fn preview(&mut self, cx: &mut Cx, count: u32) {
        if self.caught_up || !self.begun {
            return;
        }
        self.announced = count;
        if count > 0 {
            cx.event(Event::Connection(event::Connection::OfflinePending { count }));
            self.ask_batch(cx);
        }
    }

    fn ask_batch(&mut self, cx: &mut Cx) {
        self.batch_open = true;
        let batch = Node::new("offline_batch").attr("count", limits::OFFLINE_BATCH);
        cx.send(&Node::new("ib").child(batch));
    }

    /// A stanza was dealt with.
    pub(crate) fn took(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        if !self.begun || self.caught_up || !node.has("offline") {
            return;
        }
        self.taken = self.taken.saturating_add(1);
        cx.timer_in(Timer::OfflineEnd, limits::OFFLINE_TIMEOUT);
        if core::mem::take(&mut self.batch_open) && self.taken < self.announced {
            cx.timer_in(Timer::OfflineBatch, limits::OFFLINE_BATCH_DELAY);
        }
    }

    /// [`Timer::OfflineBatch`].
    pub(crate) fn next_batch(&mut self, cx: &mut Cx) {
        if !self.caught_up && self.taken < self.announced {
            self.ask_batch(cx);
        }
    }

    /// [`Timer::OfflineEnd`]: nothing of the backlog came for too long.
    pub(crate) fn offline_timeout(&mut self, cx: &mut Cx) {
        self.backlog_ended(cx, self.taken);
    }

    /// `<offline>`: the backlog is through.
    pub(super) fn backlog_ended(&mut self, cx: &mut Cx, count: u32) {
        if self.caught_up || !self.begun {
            return;
        }
        self.caught_up = true;
        cx.timers.clear(Timer::OfflineBatch);
        cx.timers.clear(Timer::OfflineEnd);
        cx.event(Event::Connection(event::Connection::CaughtUp { count }));
        cx.signal(Signal::CaughtUp);
        for (kind, stamp) in core::mem::take(&mut self.dirty) {
            ib::clean(cx, kind, stamp);
        }
        let hash = cx.cache.get::<Link>(&()).and_then(|link| link.props_hash.clone());
        let ask = Node::new("props").attr("protocol", 1u8).attr_opt("hash", hash);
        cx.ask(Iq::get("abt", ask), IqOwner::Login(Step::Props));
        cx.ask(Iq::get("blocklist", None), IqOwner::Login(Step::Blocklist));
        cx.ask(Iq::get("privacy", Node::new("privacy")), IqOwner::Login(Step::Privacy));
    }

    /// Keeps a dirty bit until the backlog is through. `false`: it is through, or there are too many.
    pub(super) fn holds_back(&mut self, (kind, stamp): (&Str, Option<&Str>)) -> bool {
        let room = !self.caught_up && self.dirty.len() < limits::DIRTY_LATER;
        if room {
            self.dirty.push((kind.clone(), stamp.cloned()));
        }
        room
    }

    /// The connection is gone: the next one begins anew.
    pub(crate) fn down(&mut self, cx: &mut Cx) {
        *self = Self { build_expires: self.build_expires, ..Self::default() };
        for timer in [Timer::Activate, Timer::OfflineBatch, Timer::OfflineEnd] {
            cx.timers.clear(timer);
        }
    }
}

/// Telemetry of the real client: an id that counts the week's milliseconds. Sent after login and when becoming available.
pub(crate) fn unified_session(cx: &mut Cx) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let millis = |days: u64| days * 1000 * DAY.as_secs();
    let id = cx.server_time().0.saturating_add(millis(3)) % millis(7);
    if cx.unified_session != id {
        cx.unified_session = id;
        cx.send(&Node::new("ib").child(Node::new("unified_session").attr("id", id)));
    }
}

/// Our own LID, as the server sees it: it wins over the stored one.
fn learn_lid(cx: &mut Cx, lid: Option<Jid>) {
    let Some(lid) = lid.filter(|lid| lid.is_lid() && !lid.user.is_empty()) else { return };
    let Some(me) = cx.me() else { return };
    let lid = lid.with_device(me.pn.device);
    if me.lid.as_ref() == Some(&lid) {
        return;
    }
    let (pn, old, key) = (me.pn.clone(), me.lid.clone(), me.account_key);
    if let Some(old) = old.filter(|old| old.user != lid.user) {
        cx.cache.delete::<PnOfLid>(&old.user);
    }
    own_mapping(cx, &pn, &lid, key);
    cx.event(Event::LidMapping { lid: lid.bare().into(), pn: pn.bare().into() });
    cx.update_account(|account| {
        if let Some(me) = &mut account.me {
            me.lid = Some(lid);
        }
    });
}

/// Records who we are in both namespaces, and the identity of our phone under both.
pub(super) fn own_mapping(cx: &mut Cx, pn: &Jid, lid: &Jid, account_key: PublicKey) {
    cx.cache.put(&pn.user, LidOfPn(lid.user.clone()));
    cx.cache.put(&lid.user, PnOfLid(pn.user.clone()));
    cx.cache.put(&lid.bare(), Identity(account_key));
}

fn props(cx: &mut Cx, iq: NodeRef<'_>) {
    let Some(props) = iq.child("props") else { return };
    let link = cx.cache.get::<Link>(&()).cloned().unwrap_or_default();
    let mut new = link.clone();
    if props.text("delta_update").as_deref() != Some("true") && props.has_children() {
        new.props.clear();
    }
    for node in props.children_named("prop") {
        let (Some(code), Some(value)) = (node.u32("config_code"), node.text("config_value")) else { continue };
        if prop::KEPT.contains(&code) && value.len() <= prop::VALUE_BYTES {
            new.props.insert(code, value);
        }
    }
    new.props_hash = props.text("hash").map(|hash| hash.chars().take(256).collect()).or(new.props_hash);
    let migrated = new.is_on(prop::LID_MIGRATED);
    if new != link {
        update_link(cx, |link| *link = new);
    }
    // Raised here, never lowered.
    if migrated && cx.me().is_some_and(|me| !me.lid_migrated) {
        cx.update_account(|account| {
            if let Some(me) = &mut account.me {
                me.lid_migrated = true;
            }
        });
    }
}

fn privacy(cx: &mut Cx, iq: NodeRef<'_>) {
    let Some(privacy) = iq.child("privacy") else { return };
    let of = |name: &str| privacy.children_named("category").find(|c| c.text("name").as_deref() == Some(name));
    let hides = of("readreceipts").and_then(|c| c.text("value")).is_some_and(|value| value == "none");
    if cx.cache.get::<Link>(&()).is_some_and(|link| link.hides_reading) != hides {
        update_link(cx, |link| link.hides_reading = hides);
    }
}
