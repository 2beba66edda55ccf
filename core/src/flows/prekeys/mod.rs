//! Prekey maintenance: upload, refill, digest, rotation (`protocol/messages.md` §1).
//!
//! One job at a time: an upload that was built before a rotation would put the old signed prekey back. Private halves are
//! written in the transaction whose frame carries the public ones, so the commit gate keeps the order.

mod digest;
mod stanza;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use self::digest::Digest;
use crate::engine::cx::{Cx, Signal};
use crate::engine::iq::{Iq, IqAnswer};
use crate::engine::timers::Timer;
use crate::engine::{back_off, limits};
use crate::event::Warning;
use crate::flows::IqOwner;
use crate::signal::limits::PREKEY_ID_MAX;
use crate::signal::{PreKeyRecord, SignedPreKeyRecord, UploadRange};
use crate::store::records::{PreKey, SignedPreKey};
use crate::store::{RecordKey, State, record_key};
use crate::wire::{Node, NodeRef, Str};

/// A question of prekey maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// How many are on the server.
    Count,
    /// Upload.
    Upload,
    /// Digest.
    Digest,
    /// Rotation to this signed prekey.
    Rotate(u32),
}

/// State of prekey maintenance on one connection.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Prekeys {
    /// Logged in.
    online: bool,
    caught_up: bool,
    job: Job,
    count_wanted: bool,
    upload_wanted: bool,
    rotation_wanted: bool,
    digest_wanted: bool,
    /// The server said that it is low, and the backlog is not through yet.
    low: bool,
    /// Uploads that failed in a row.
    failures: u32,
    /// "Low" notifications already heeded; they come again until acknowledged.
    notices: VecDeque<Str>,
}

/// What is being done.
#[derive(Clone, Debug, Default, Hash)]
enum Job {
    #[default]
    Nothing,
    /// The server was asked.
    Asking,
    /// Records are being read; they are pinned.
    Reading(Task, Vec<RecordKey>),
    /// The server has been sent these.
    Uploading(UploadRange),
    /// The server has been sent this one.
    Rotating(u32),
}

/// What is done when the records are there.
#[derive(Clone, Debug, Hash)]
enum Task {
    Upload(UploadRange),
    Rotate(u32),
    Compare(Digest),
}

impl Prekeys {
    /// The account is in memory. What is to be done is known after the login.
    pub(crate) fn loaded(&mut self, _cx: &mut Cx) {}

    /// `<success>`: called by the login sequence, which does not wait for what this starts.
    pub(crate) fn logged_in(&mut self, cx: &mut Cx) {
        self.online = true;
        let Some(account) = cx.account() else { return };
        // Where the server never took any, there is nothing to count.
        self.upload_wanted = !account.prekeys_on_server;
        self.count_wanted = account.prekeys_on_server;
        self.plan_rotation(cx);
        self.next(cx);
    }

    /// The backlog is through.
    pub(crate) fn caught_up(&mut self, cx: &mut Cx) {
        self.caught_up = true;
        self.digest_wanted = true;
        if core::mem::take(&mut self.low) {
            self.upload_wanted = true;
        }
        self.next(cx);
    }

    /// Upload now, unless one is under way.
    pub(crate) fn upload(&mut self, cx: &mut Cx) {
        if self.online && !self.is_uploading() {
            self.upload_wanted = true;
            cx.timers.clear(Timer::PrekeyUpload);
            self.next(cx);
        }
    }

    /// Rotate the signed prekey, if it is due.
    pub(crate) fn rotate(&mut self, cx: &mut Cx) {
        self.plan_rotation(cx);
        self.next(cx);
    }

    /// `<notification type="encrypt">` from the server: `<count/>` or `<digest/>`.
    pub(crate) fn notified(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        if !node.jid("from").is_some_and(|from| from.is_server()) || node.text("type").as_deref() != Some("encrypt") {
            return;
        }
        if node.child("digest").is_some() {
            self.digest_wanted = true;
            self.next(cx);
        }
        if node.child("count").is_none() {
            return;
        }
        let id = node.text("id").unwrap_or_default();
        if self.notices.contains(&id) {
            return;
        }
        if self.notices.len() == limits::LOW_PREKEY_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(id);
        // Durable before the notification is acknowledged: a crash must not forget it.
        if cx.account().is_some_and(|account| account.prekeys_on_server) {
            cx.update_account(|account| account.prekeys_on_server = false);
        }
        if !self.caught_up {
            self.low = true;
        } else {
            self.upload(cx);
        }
    }

    /// Records came that a job may wait for.
    pub(crate) fn records_came(&mut self, cx: &mut Cx) {
        if matches!(self.job, Job::Reading(..)) {
            self.resume(cx);
        }
    }

    pub(crate) fn answered(&mut self, cx: &mut Cx, ask: Ask, answer: IqAnswer<'_>) {
        if matches!(answer, IqAnswer::Disconnected) {
            return;
        }
        match (ask, core::mem::take(&mut self.job)) {
            (Ask::Count, Job::Asking) => {
                if let IqAnswer::Result(iq) = answer {
                    let count = iq.child("count").and_then(|count| count.u32("value"));
                    self.upload_wanted |= count.is_some_and(|count| count < limits::PREKEY_LOW);
                }
            }
            (Ask::Digest, Job::Asking) => self.digested(cx, answer),
            (Ask::Upload, Job::Uploading(range)) => self.uploaded(cx, &range, answer),
            (Ask::Rotate(id), Job::Rotating(current)) if id == current => self.rotated(cx, id, answer),
            // Of a job that is over.
            (_, job) => {
                self.job = job;
                return;
            }
        }
        self.next(cx);
    }

    pub(crate) fn down(&mut self, cx: &mut Cx) {
        if let Job::Reading(_, keys) = core::mem::take(&mut self.job) {
            keys.iter().for_each(|key| cx.cache.unpin(key));
        }
        *self = Self { notices: core::mem::take(&mut self.notices), ..Self::default() };
        cx.timers.clear(Timer::PrekeyUpload);
        cx.timers.clear(Timer::PrekeyRotation);
    }

    // ---- one job after the other -------------------------------------------------------------------------------

    fn is_uploading(&self) -> bool {
        matches!(self.job, Job::Uploading(_) | Job::Reading(Task::Upload(_), _))
    }

    fn next(&mut self, cx: &mut Cx) {
        if !self.online || !matches!(self.job, Job::Nothing) || cx.account().is_none() {
            return;
        }
        if core::mem::take(&mut self.count_wanted) {
            self.job = Job::Asking;
            cx.ask(Iq::get("encrypt", Node::new("count")), IqOwner::Prekeys(Ask::Count));
        } else if self.upload_wanted {
            // A failed one waits for its timer, and everything else waits behind it.
            if !cx.timers.is_set(Timer::PrekeyUpload) {
                self.begin_upload(cx);
            }
        } else if core::mem::take(&mut self.rotation_wanted) {
            self.begin_rotation(cx);
        } else if core::mem::take(&mut self.digest_wanted) {
            self.job = Job::Asking;
            cx.ask(Iq::get("encrypt", Node::new("digest")), IqOwner::Prekeys(Ask::Digest));
        }
    }

    /// Reads what a task needs, and goes on when it is there.
    fn read(&mut self, cx: &mut Cx, task: Task, keys: Vec<RecordKey>) {
        cx.cache.want(keys.iter().cloned());
        keys.iter().for_each(|key| cx.cache.pin(key));
        self.job = Job::Reading(task, keys);
        self.resume(cx);
    }

    fn resume(&mut self, cx: &mut Cx) {
        let Job::Reading(_, keys) = &self.job else { return };
        let mut failed = Vec::new();
        for key in keys {
            match known(cx, key) {
                Known::Yes => {}
                Known::Failed => failed.push(key.clone()),
                Known::NotYet => return,
            }
        }
        let Job::Reading(task, keys) = core::mem::take(&mut self.job) else { return };
        keys.iter().for_each(|key| cx.cache.unpin(key));
        if !failed.is_empty() {
            failed.iter().for_each(|key| cx.cache.forget_record(key));
            return cx.signal(Signal::StorageFailed(Str::const_new("a prekey could not be read")));
        }
        match task {
            Task::Upload(range) => self.send_upload(cx, range),
            Task::Rotate(id) => self.send_rotation(cx, id),
            Task::Compare(digest) => {
                if let Err(what) = digest.compare(cx) {
                    cx.warn(Warning::PrekeysDiffer { what });
                }
                self.next(cx);
            }
        }
    }

    // ---- upload ------------------------------------------------------------------------------------------------

    fn begin_upload(&mut self, cx: &mut Cx) {
        let Some(account) = cx.account() else { return };
        let signed = account.signed_prekey;
        let range = account.prekeys.plan_upload(limits::PREKEY_UPLOAD);
        for id in range.missing() {
            let key = PreKeyRecord::generate(*id, &mut cx.rng);
            cx.cache.put(id, PreKey(key));
        }
        if !range.missing().is_empty() {
            cx.update_account(|account| account.prekeys.generated(&range));
        }
        let mut keys: Vec<_> = range.ids.iter().map(record_key::<PreKey>).collect();
        keys.push(record_key::<SignedPreKey>(&signed));
        self.read(cx, Task::Upload(range), keys);
    }

    fn send_upload(&mut self, cx: &mut Cx, range: UploadRange) {
        let Some(account) = cx.account() else { return };
        let Some(signed) = cx.cache.get::<SignedPreKey>(&account.signed_prekey) else {
            // The session starts over and replaces it.
            return cx.signal(Signal::StorageFailed(Str::const_new("the signed prekey is gone")));
        };
        // A key may be gone already: an upload whose answer was lost was an upload all the same, and somebody used it.
        let keys = range.ids.iter().filter_map(|id| cx.cache.get::<PreKey>(id)).map(|key| key.0.public());
        let children = stanza::upload(account, &signed.0, keys);
        self.job = Job::Uploading(range);
        cx.ask_children(Iq::set("encrypt", None), children, IqOwner::Prekeys(Ask::Upload));
    }

    fn uploaded(&mut self, cx: &mut Cx, range: &UploadRange, answer: IqAnswer<'_>) {
        let code = match answer {
            IqAnswer::Result(_) => {
                (self.upload_wanted, self.low, self.failures) = (false, false, 0);
                cx.update_account(|account| {
                    account.prekeys.uploaded(range);
                    account.prekeys_on_server = true;
                });
                return;
            }
            IqAnswer::Error(error) => error.code,
            _ => 0,
        };
        // The range stays as it is: the same ids go again.
        self.upload_wanted = true;
        cx.warn(Warning::PrekeyUploadFailed { code });
        let asked = match answer {
            IqAnswer::Error(error) => error.backoff.map(|secs| Duration::from_secs(secs.into())),
            _ => None,
        };
        let wait = back_off::fibonacci(self.failures, limits::RETRY_CAP).max(asked.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        cx.timer_in(Timer::PrekeyUpload, wait.min(limits::ROTATION_RETRY));
    }

    // ---- rotation ----------------------------------------------------------------------------------------------

    fn plan_rotation(&mut self, cx: &mut Cx) {
        let Some(account) = cx.account() else { return };
        let age = Duration::from_secs(cx.now.wall.secs().saturating_sub(account.signed_prekey_at));
        match limits::SIGNED_PREKEY_AGE.checked_sub(age) {
            Some(left) if !left.is_zero() => cx.timer_in(Timer::PrekeyRotation, left),
            _ => self.rotation_wanted = self.online,
        }
    }

    fn begin_rotation(&mut self, cx: &mut Cx) {
        let Some(account) = cx.account() else { return };
        let id = after(account.signed_prekey, 1);
        // It may exist: made for a rotation whose answer was lost. The server may have it, so it must not be made anew.
        self.read(cx, Task::Rotate(id), Vec::from([record_key::<SignedPreKey>(&id)]));
    }

    fn send_rotation(&mut self, cx: &mut Cx, id: u32) {
        let Some(identity) = cx.account().map(|account| account.identity.clone()) else { return };
        if cx.cache.get::<SignedPreKey>(&id).is_none() {
            let key = SignedPreKeyRecord::generate(id, &identity, cx.now.wall.0, &mut cx.rng);
            cx.cache.put(&id, SignedPreKey(key));
        }
        let Some(key) = cx.cache.get::<SignedPreKey>(&id) else { return };
        let content = Node::new("rotate").child(stanza::signed(&key.0));
        self.job = Job::Rotating(id);
        cx.ask(Iq::set("encrypt", content), IqOwner::Prekeys(Ask::Rotate(id)));
    }

    fn rotated(&mut self, cx: &mut Cx, id: u32, answer: IqAnswer<'_>) {
        let now = cx.now.wall.secs();
        match answer {
            IqAnswer::Result(_) => {
                cx.update_account(|account| {
                    account.signed_prekey = id;
                    account.signed_prekey_at = now;
                });
                cx.cache.delete::<SignedPreKey>(&after(id, PREKEY_ID_MAX - limits::SIGNED_PREKEYS_KEPT));
            }
            // Refused for a reason that will not go away: enough for this period.
            IqAnswer::Error(error) if error.code < 500 => cx.update_account(|account| account.signed_prekey_at = now),
            _ => return cx.timer_in(Timer::PrekeyRotation, limits::ROTATION_RETRY),
        }
        self.plan_rotation(cx);
    }

    // ---- digest ------------------------------------------------------------------------------------------------

    fn digested(&mut self, cx: &mut Cx, answer: IqAnswer<'_>) {
        let iq = match answer {
            IqAnswer::Result(iq) => iq,
            // The server has nothing of ours at all.
            IqAnswer::Error(error) if error.code == 404 => {
                self.upload_wanted = true;
                return;
            }
            _ => return,
        };
        match Digest::parse(iq) {
            Ok(digest) => {
                let keys = digest.records();
                self.read(cx, Task::Compare(digest), keys);
            }
            Err(what) => cx.warn(Warning::PrekeysDiffer { what }),
        }
    }
}

enum Known {
    Yes,
    NotYet,
    Failed,
}

fn known(cx: &Cx, key: &RecordKey) -> Known {
    use crate::store::{Namespace, record::Record as _};
    fn of<R>(state: Option<&State<R>>) -> Known {
        match state {
            Some(State::Present(_) | State::Absent) => Known::Yes,
            Some(State::Failed) => Known::Failed,
            Some(State::Loading) | None => Known::NotYet,
        }
    }
    match key.namespace {
        Namespace::PreKey => PreKey::parse_key(&key.key).map_or(Known::Yes, |id| of(cx.cache.state::<PreKey>(&id))),
        _ => SignedPreKey::parse_key(&key.key).map_or(Known::Yes, |id| of(cx.cache.state::<SignedPreKey>(&id))),
    }
}

/// The id `steps` after `id`, around the ring.
fn after(id: u32, steps: u32) -> u32 {
    let place = u64::from(id.saturating_sub(1)) + u64::from(steps);
    u32::try_from(place % u64::from(PREKEY_ID_MAX)).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_round() {
        assert_eq!((after(1, 1), after(PREKEY_ID_MAX, 1)), (2, 1));
        assert_eq!((after(5, PREKEY_ID_MAX - 3), after(2, PREKEY_ID_MAX - 3)), (2, PREKEY_ID_MAX - 1));
    }
}
