//! Asking for a resend of what did not decrypt (`protocol/messages.md` §11.5), and counting such requests both ways.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::Source;
use crate::crypto::PublicKey;
use crate::engine::cx::Cx;
use crate::engine::limits;
use crate::signal::{PreKeyRecord, RetryReason};
use crate::store::records::{Account, PreKey, SignedPreKey};
use crate::wire::{Jid, Node, Str};

/// Names a message of a sender, or a message and who asked for it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Subject {
    chat: Jid,
    id: Str,
    device: Jid,
}

/// Counters. They may be lost: the other side counts too.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Retries {
    asked: BTreeMap<Subject, u32>,
    order: VecDeque<Subject>,
    /// Those of `asked` that came: once more (the server repeats the first copy, the sender answers two requests) they are
    /// no new message, although their ciphertext is.
    came: BTreeSet<Subject>,
    /// Base key of the session at the second request of a device for a message: if it is the same at the third, the
    /// session itself is at fault.
    base_keys: BTreeMap<Subject, PublicKey>,
    base_order: VecDeque<Subject>,
    /// How often a device was given a message again.
    given: BTreeMap<Subject, u32>,
    given_order: VecDeque<Subject>,
    /// One-time prekeys made for our own requests, oldest first.
    prekeys: VecDeque<(Subject, u32)>,
}

impl Retries {
    /// The number of the next request for this message; `known` is how many the sender has seen.
    fn next(&mut self, source: &Source, known: u32) -> u32 {
        let subject = Subject { chat: source.chat.clone(), id: source.id.clone(), device: source.sender.clone() };
        if !self.asked.contains_key(&subject) {
            if self.order.len() >= limits::RETRY_COUNTERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.asked.remove(&oldest);
                self.came.remove(&oldest);
            }
            self.order.push_back(subject.clone());
        }
        let count = self.asked.entry(subject).or_insert(0);
        *count = (*count).max(known.min(limits::RETRIES_ASKED)).saturating_add(1);
        *count
    }

    /// A message came. `false`: it came before, in another ciphertext.
    pub(crate) fn comes(&mut self, source: &Source) -> bool {
        let subject = Subject { chat: source.chat.clone(), id: source.id.clone(), device: source.sender.clone() };
        !self.asked.contains_key(&subject) || self.came.insert(subject)
    }

    /// Storage failed: what came since the last commit may not have come.
    pub(crate) fn storage_failed(&mut self) {
        self.came.clear();
    }

    /// Counts a resend to a device. `false`: it was given this message often enough.
    pub(crate) fn give(&mut self, chat: &Jid, id: &Str, device: &Jid) -> bool {
        let subject = Subject { chat: chat.clone(), id: id.clone(), device: device.clone() };
        if !self.given.contains_key(&subject) {
            if self.given_order.len() >= limits::RETRY_COUNTERS
                && let Some(oldest) = self.given_order.pop_front()
            {
                self.given.remove(&oldest);
            }
            self.given_order.push_back(subject.clone());
        }
        let count = self.given.entry(subject).or_insert(0);
        *count = count.saturating_add(1);
        *count <= limits::RETRIES_GIVEN
    }

    /// Whether the session of a device is at fault: it asks again and again, and the session has not changed.
    pub(crate) fn session_at_fault(
        &self,
        chat: &Jid,
        id: &Str,
        device: &Jid,
        count: u32,
        base: Option<PublicKey>,
    ) -> bool {
        let subject = Subject { chat: chat.clone(), id: id.clone(), device: device.clone() };
        count > 2 && base.is_some() && self.base_keys.get(&subject).copied() == base
    }

    /// Notes the session that a second request was answered with.
    pub(crate) fn note_base_key(&mut self, chat: &Jid, id: &Str, device: &Jid, base: PublicKey) {
        let subject = Subject { chat: chat.clone(), id: id.clone(), device: device.clone() };
        if self.base_keys.insert(subject.clone(), base).is_none() {
            if self.base_order.len() >= limits::RETRY_COUNTERS
                && let Some(oldest) = self.base_order.pop_front()
            {
                self.base_keys.remove(&oldest);
            }
            self.base_order.push_back(subject);
        }
    }
}

/// Asks the sender to send a message again. Returns whether it did: after a few times it is given up.
pub(crate) fn ask(cx: &mut Cx, source: &Source, known: u32, reason: RetryReason) -> bool {
    let count = cx.retries.next(source, known);
    if count > limits::RETRIES_ASKED {
        return false;
    }
    let Some(registration_id) = cx.account().map(|account| account.registration_id) else { return false };
    let in_group = source.chat.is_group() || source.participant.is_some();
    let retry = Node::new("retry")
        .attr("v", "1")
        .attr("id", &source.id)
        .attr("t", source.timestamp)
        .attr("count", count)
        .attr_opt("error", (reason != RetryReason::Unknown).then_some(reason.code()));
    // The first request is for a lost or damaged ciphertext; from the second on the session may be broken, and these keys
    // let the sender make a new one.
    let keys = if count > 1 || source.sender.is_hosted() { keys(cx, source) } else { None };
    let receipt = Node::new("receipt")
        .attr("to", if in_group { &source.from } else { &source.sender })
        .attr("type", "retry")
        .attr("id", &source.id)
        .attr_opt("participant", source.participant.as_ref().filter(|_| in_group))
        .attr_opt("recipient", source.recipient.as_ref().filter(|_| !source.peer))
        .attr_opt("category", source.peer.then_some("peer"))
        .child(retry)
        .child(Node::new("registration").bytes(registration_id.to_be_bytes().to_vec()))
        .child_opt(keys);
    cx.send(&receipt);
    true
}

/// Keys for a new session with us. The one-time key is written in this transaction, before the stanza can leave, and never
/// enters the server's pool.
fn keys(cx: &mut Cx, source: &Source) -> Option<Node> {
    let account = cx.account()?;
    let identity = account.identity.public;
    let signed = cx.cache.get::<SignedPreKey>(&account.signed_prekey)?.0.public();
    let adv = account.me.as_ref()?.adv.clone();
    let id = cx
        .cache
        .update::<Account, Option<u32>, core::convert::Infallible>(&(), |account| Ok(account.prekeys.take()))?
        .ok()??;
    let one_time = PreKeyRecord::generate(id, &mut cx.rng);
    let public = one_time.public();
    cx.cache.put(&id, PreKey(one_time));
    // A new one for every request, since the last may have been used; of one message, and in all, only the newest stay.
    let subject = Subject { chat: source.chat.clone(), id: source.id.clone(), device: source.sender.clone() };
    let mut old: alloc::vec::Vec<u32> = Default::default();
    cx.retries.prekeys.retain(|(other, id)| {
        let same = *other == subject;
        old.extend(same.then_some(*id));
        !same
    });
    cx.retries.prekeys.push_back((subject, id));
    while cx.retries.prekeys.len() > limits::RETRY_PREKEYS {
        old.extend(cx.retries.prekeys.pop_front().map(|(_, id)| id));
    }
    old.iter().for_each(|id| cx.cache.delete::<PreKey>(id));
    let id_bytes = |id: u32| id.to_be_bytes()[1..].to_vec();
    let key = Node::new("key")
        .child(Node::new("id").bytes(id_bytes(public.id)))
        .child(Node::new("value").bytes(public.public.as_bytes().to_vec()));
    let skey = Node::new("skey")
        .child(Node::new("id").bytes(id_bytes(signed.id)))
        .child(Node::new("value").bytes(signed.public.as_bytes().to_vec()))
        .child(Node::new("signature").bytes(signed.signature.to_vec()));
    Some(
        Node::new("keys")
            .child(Node::new("type").bytes([crate::crypto::curve::KEY_TYPE].to_vec()))
            .child(Node::new("identity").bytes(identity.as_bytes().to_vec()))
            .child(key)
            .child(skey)
            .child(Node::new("device-identity").bytes(adv)),
    )
}
