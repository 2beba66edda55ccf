//! The beginning of a session: reading what storage knows, making an account record where there is none.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::crypto::KeyPair;
use crate::engine::cx::{Cx, Signal};
use crate::engine::gate::Held;
use crate::engine::{LoadId, limits};
use crate::error::EndReason;
use crate::event::{Delivery, DeliveryId, Event};
use crate::flows::deliver;
use crate::signal::{PreKeyIds, SignedPreKeyRecord};
use crate::store::records::{Account, AdvSecret, InboxEntry, Link, OutboxEntry, SignedPreKey};
use crate::store::{Namespace, RecordKey, State, record::Record, record_key};
use crate::wire::Str;

/// How far the reading is.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Session {
    /// Records wanted at once.
    reading: bool,
    /// The page of the inbox being read.
    inbox: Option<LoadId>,
    /// The page of the outbox being read.
    outbox: Option<LoadId>,
    /// Unfinished durable sends found so far.
    unsent: Vec<(Str, OutboxEntry)>,
    /// Records that stay in memory while the session lasts.
    pinned: Vec<RecordKey>,
    /// Everything is read.
    open: bool,
}

impl Session {
    /// Starts reading. Does nothing if the session is open or being read.
    pub(crate) fn begin(&mut self, cx: &mut Cx) {
        if self.open {
            return cx.signal(Signal::Loaded);
        }
        if self.reading {
            return;
        }
        self.reading = true;
        self.pin(cx, record_key::<Account>(&()));
        self.pin(cx, record_key::<Link>(&()));
        self.inbox = Some(cx.cache.range(Namespace::Inbox, None, limits::INBOX_PAGE));
        self.outbox = Some(cx.cache.range(Namespace::Outbox, None, limits::INBOX_PAGE));
    }

    /// Reads a record that stays in memory while the session lasts.
    fn pin(&mut self, cx: &mut Cx, key: RecordKey) {
        cx.cache.want([key.clone()]);
        cx.cache.pin(&key);
        self.pinned.push(key);
    }

    /// Whether everything is read.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Storage failed, or the session is over: what was read counts no more.
    pub(crate) fn close(&mut self, cx: &mut Cx) {
        self.pinned.iter().for_each(|key| cx.cache.unpin(key));
        *self = Self::default();
    }

    /// A page of the inbox or outbox came.
    pub(crate) fn range(&mut self, cx: &mut Cx, id: LoadId, rows: Option<Vec<(RecordKey, Bytes)>>) {
        let (inbox, outbox) = (self.inbox == Some(id), self.outbox == Some(id));
        if !inbox && !outbox {
            return; // of a session that is over
        }
        let Some(rows) = rows else {
            return cx.signal(Signal::StorageFailed(Str::const_new("the inbox could not be read")));
        };
        let full = rows.len() >= limits::INBOX_PAGE as usize;
        let last = rows.last().map(|(key, _)| key.key.clone());
        let next = |cx: &mut Cx, namespace| full.then(|| cx.cache.range(namespace, last.clone(), limits::INBOX_PAGE));
        if inbox {
            rows.into_iter().for_each(|(key, value)| redeliver(cx, &key, &value));
            self.inbox = next(cx, Namespace::Inbox);
        } else {
            for (key, value) in rows {
                match (OutboxEntry::parse_key(&key.key), <OutboxEntry as Record>::decode(&value)) {
                    (Some(reference), Some(entry)) => self.unsent.push((reference, entry)),
                    _ => corrupt(cx, Namespace::Outbox),
                }
            }
            self.outbox = next(cx, Namespace::Outbox);
        }
        self.progress(cx);
    }

    /// Records came: see whether everything is there.
    pub(crate) fn progress(&mut self, cx: &mut Cx) {
        if !self.reading || self.open {
            return;
        }
        let exists = match cx.cache.state::<Account>(&()) {
            Some(State::Present(_)) => true,
            Some(State::Absent) => false,
            Some(State::Failed) => {
                return cx.signal(Signal::StorageFailed(Str::const_new("the account could not be read")));
            }
            Some(State::Loading) | None => return,
        };
        if matches!(cx.cache.state::<Link>(&()), Some(State::Failed)) {
            return cx.signal(Signal::StorageFailed(Str::const_new("the link record could not be read")));
        }
        if matches!(cx.cache.state::<Link>(&()), Some(State::Loading)) || self.inbox.is_some() || self.outbox.is_some()
        {
            return;
        }
        if !exists {
            create_account(cx);
        }
        let Some(signed_prekey) = cx.account().map(|account| account.signed_prekey) else { return };
        match cx.cache.state::<SignedPreKey>(&signed_prekey) {
            Some(State::Present(_)) => {}
            Some(State::Failed) => {
                return cx.signal(Signal::StorageFailed(Str::const_new("the signed prekey could not be read")));
            }
            // Without it no new session can reach us; a fresh one takes its place at once.
            Some(State::Absent) => replace_signed_prekey(cx),
            Some(State::Loading) => return,
            None => return self.pin(cx, record_key::<SignedPreKey>(&signed_prekey)),
        }
        cx.confirmed.clear();
        self.open = true;
        cx.signal(Signal::Loaded);
    }

    /// Durable sends of an earlier run that have no answer yet.
    pub(crate) fn take_unsent(&mut self) -> Vec<(Str, OutboxEntry)> {
        core::mem::take(&mut self.unsent)
    }
}

/// The account record was there but could not be decoded: never replace it by a fresh one.
pub(crate) fn corrupt_record(cx: &mut Cx, namespace: Namespace) {
    corrupt(cx, namespace);
    if namespace == Namespace::Account {
        // Whoever connects again must find it corrupt again, not absent.
        cx.cache.forget_record(&record_key::<Account>(&()));
        cx.signal(Signal::End { reason: EndReason::CorruptAccount, wipe: false });
    }
}

fn corrupt(cx: &mut Cx, namespace: Namespace) {
    cx.warn(crate::event::Warning::CorruptRecord { namespace: namespace.name() });
}

fn redeliver(cx: &mut Cx, key: &RecordKey, value: &Bytes) {
    let decoded = InboxEntry::parse_key(&key.key).zip(<InboxEntry as Record>::decode(value));
    match decoded.and_then(|(id, entry)| Some((id, deliver::message_of(&entry)?))) {
        Some((id, message)) => {
            cx.last_delivery = DeliveryId(cx.last_delivery.0.max(id.0));
            if cx.confirmed.contains(&id) {
                return; // while it was being read
            }
            cx.gate.push(Held::Event(Delivery { id: Some(id), event: Event::Message(message.into()) }));
        }
        None => corrupt(cx, Namespace::Inbox),
    }
}

/// Keys for a device that is not linked yet (`protocol/pairing.md` §1).
fn create_account(cx: &mut Cx) {
    let identity = KeyPair::generate(&mut cx.rng);
    let signed = SignedPreKeyRecord::generate(1, &identity, cx.now.wall.0, &mut cx.rng);
    let account = Account {
        noise: KeyPair::generate(&mut cx.rng),
        identity,
        registration_id: 1 + cx.rng.below(16_383),
        adv_secret: AdvSecret(cx.rng.bytes()),
        signed_prekey: 1,
        signed_prekey_at: cx.now.wall.secs(),
        prekeys: PreKeyIds::new(),
        prekeys_on_server: false,
        me: None,
    };
    cx.cache.put(&1, SignedPreKey(signed));
    cx.cache.put(&(), account);
}

fn replace_signed_prekey(cx: &mut Cx) {
    let Some(account) = cx.account() else { return };
    let (id, identity) = (account.signed_prekey % 0x00ff_ffff + 1, account.identity.clone());
    let signed = SignedPreKeyRecord::generate(id, &identity, cx.now.wall.0, &mut cx.rng);
    cx.cache.put(&id, SignedPreKey(signed));
    // Due at once: the server still has the public half of the lost one.
    cx.update_account(|account| {
        account.signed_prekey = id;
        account.signed_prekey_at = 0;
    });
}
