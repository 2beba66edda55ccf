//! What must be durable before what (design §4), checked from outside: commits are seen as they are asked, frames as the
//! server reads them, each with the newest commit that the engine knew to be durable when the frame left.

use std::collections::{BTreeMap, BTreeSet};

use amarula_core::engine::CommitSeq;
use amarula_core::event::{Delivery, DeliveryId, Event};
use amarula_core::signal::{CiphertextKind, SessionRecord, encrypt};
use amarula_core::store::{Batch, Namespace, Op};
use amarula_core::wire::Node;

use crate::codec::Read as _;
use crate::signal::EncType;
use crate::signal::inspect::{self, Position};

/// What one client has written, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Sending chains, by ratchet key: from which commit on which counter is the next.
    chains: BTreeMap<[u8; 32], Vec<(CommitSeq, u32)>>,
    /// Sent-message records.
    sent: BTreeMap<String, CommitSeq>,
    /// Inbox records.
    inbox: BTreeMap<String, CommitSeq>,
    /// Stanza ids of messages that were ever in the inbox.
    taken: BTreeMap<String, CommitSeq>,
    /// Private prekeys.
    prekeys: BTreeMap<String, CommitSeq>,
    /// An account record with an account in it.
    paired: Option<CommitSeq>,
    /// Stanza ids of deliveries.
    deliveries: BTreeMap<DeliveryId, String>,
    /// Confirmed for good.
    confirmed: BTreeSet<String>,
    /// Stanza ids of messages that were told to be unreadable.
    reported: BTreeSet<String>,
    last: CommitSeq,
}

impl Watch {
    /// A commit was asked.
    pub(super) fn commit(&mut self, seq: CommitSeq, batch: &Batch) -> Result<(), String> {
        if seq.0 <= self.last.0 {
            return Err(format!("commit {seq:?} comes after {:?}", self.last));
        }
        self.last = seq;
        if !batch.ops.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(format!("commit {seq:?} has keys twice or out of order"));
        }
        for (key, op) in &batch.ops {
            let Op::Put(value) = op else { continue };
            let name = key.key.to_string();
            match key.namespace {
                Namespace::Session => self.session(seq, value),
                Namespace::SentMessage => {
                    self.sent.entry(name).or_insert(seq);
                }
                Namespace::Inbox => {
                    self.inbox.insert(name, seq);
                    self.taken.entry(first_text(value)).or_insert(seq);
                }
                Namespace::PreKey => {
                    self.prekeys.entry(name).or_insert(seq);
                }
                Namespace::Account if holds(value, b"@s.whatsapp.net") => {
                    self.paired.get_or_insert(seq);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn session(&mut self, seq: CommitSeq, value: &[u8]) {
        let Ok(mut record) = SessionRecord::decode(value) else { return };
        // What this record would send next.
        let Ok(next) = encrypt(&mut record, b"probe") else { return };
        if let Some((key, counter)) = position(next.kind == CiphertextKind::PreKey, &next.bytes) {
            self.chains.entry(key).or_default().push((seq, counter));
        }
    }

    /// An event was told.
    pub(super) fn event(&mut self, delivery: &Delivery, told: CommitSeq) -> Result<(), String> {
        if let Event::Undecryptable(report) = &delivery.event {
            self.reported.insert(report.id.to_string());
        }
        let (Some(id), Event::Message(message)) = (delivery.id, &delivery.event) else { return Ok(()) };
        if self.inbox.get(&format!("{:016x}", id.0)).is_none_or(|seq| *seq > told) {
            return Err(format!("message {} was told before it was durable", message.id));
        }
        if self.confirmed.contains(message.id.as_str()) {
            return Err(format!("message {} was told after it was confirmed", message.id));
        }
        self.deliveries.insert(id, message.id.to_string());
        Ok(())
    }

    /// A confirmation was answered.
    pub(super) fn confirmed(&mut self, id: DeliveryId) {
        self.confirmed.extend(self.deliveries.get(&id).cloned());
    }

    /// The server reads a stanza that left when `told` was durable.
    pub(super) fn stanza(&self, node: &Node, told: CommitSeq) -> Result<(), String> {
        let id = node.text("id");
        match node.tag.as_str() {
            "message" => self.message(node, &id, told),
            "receipt" if matches!(node.text("type").as_str(), "" | "inactive" | "sender") => {
                match self.taken.get(&id) {
                    Some(seq) if *seq <= told => Ok(()),
                    // A copy of what our own phone sent is not asked for again (`protocol/messages.md` §11.5).
                    _ if node.text("type") == "sender" && self.reported.contains(&id) => Ok(()),
                    _ => Err(format!("receipt for {id} before the message was durable")),
                }
            }
            "iq" if node.find("pair-device-sign").is_some() => match self.paired {
                Some(seq) if seq <= told => Ok(()),
                _ => Err("pair-success answered before the account was durable".to_owned()),
            },
            "iq" | "receipt" => self.keys(node, told),
            _ => Ok(()),
        }
    }

    fn message(&self, node: &Node, id: &str, told: CommitSeq) -> Result<(), String> {
        let nested = node.find("participants").map(|all| all.all("to")).unwrap_or_default();
        let encs = node.all("enc").into_iter().chain(nested.into_iter().flat_map(|to| to.all("enc")));
        for enc in encs {
            let Some((key, counter)) = position(enc.text("type") == "pkmsg", enc.data()) else { continue };
            let moved_on = |(seq, next): &(CommitSeq, u32)| *seq <= told && *next > counter;
            let durable = self.chains.get(&key).is_some_and(|chain| chain.iter().any(moved_on));
            // A chain that the same commit has left behind is written nowhere: its message record tells of the commit.
            let recorded = self.sent.iter().any(|(name, seq)| *seq <= told && name.contains(id));
            let unseen = !self.chains.contains_key(&key);
            if !(durable || unseen && recorded) {
                return Err(format!("message {id}: counter {counter} left before its ratchet was durable"));
            }
        }
        let resend = node.has("device_fanout");
        if !resend && !self.sent.iter().any(|(name, seq)| *seq <= told && name.contains(id)) {
            return Err(format!("message {id} left before its record for resends was durable"));
        }
        Ok(())
    }

    fn keys(&self, node: &Node, told: CommitSeq) -> Result<(), String> {
        let lists = [node.find("list"), node.find("keys")];
        for key in lists.into_iter().flatten().flat_map(|list| list.all("key")) {
            let id = key.find("id").map(|id| id.data().iter().fold(0u32, |id, byte| id << 8 | u32::from(*byte)));
            let id = id.unwrap_or_default().to_string();
            if self.prekeys.get(&id).is_none_or(|seq| *seq > told) {
                return Err(format!("prekey {id} was shown before its private half was durable"));
            }
        }
        Ok(())
    }

    /// The process died with everything up to `durable` on disk; numbers start again.
    pub(super) fn crash(&mut self, durable: CommitSeq) {
        let survived = |seq: &mut CommitSeq| {
            let survived = *seq <= durable;
            *seq = CommitSeq(0);
            survived
        };
        for chain in self.chains.values_mut() {
            chain.retain_mut(|(seq, _)| survived(seq));
        }
        self.chains.retain(|_, chain| !chain.is_empty());
        for map in [&mut self.sent, &mut self.inbox, &mut self.taken, &mut self.prekeys] {
            map.retain(|_, seq| survived(seq));
        }
        self.paired = self.paired.and_then(|mut seq| survived(&mut seq).then_some(seq));
        self.last = CommitSeq(0);
        self.forget_reported();
    }

    /// A commit and all behind it were given up: what they wrote was never there.
    pub(super) fn failed(&mut self, first: CommitSeq) {
        for chain in self.chains.values_mut() {
            chain.retain(|(seq, _)| *seq < first);
        }
        self.chains.retain(|_, chain| !chain.is_empty());
        for map in [&mut self.sent, &mut self.inbox, &mut self.taken, &mut self.prekeys] {
            map.retain(|_, seq| *seq < first);
        }
        self.paired = self.paired.filter(|seq| *seq < first);
        self.forget_reported();
    }

    /// A message that was asked for again may come twice, as two ciphertexts. That it came is remembered in memory only:
    /// whoever loses that may tell it twice.
    fn forget_reported(&mut self) {
        self.confirmed.retain(|id| !self.reported.contains(id));
    }
}

fn position(prekey: bool, bytes: &[u8]) -> Option<([u8; 32], u32)> {
    let kind = if prekey { EncType::PkMsg } else { EncType::Msg };
    match inspect::pairwise(kind, bytes) {
        Ok((Position::Pairwise { ratchet_key, counter }, ..)) => Some((ratchet_key, counter)),
        _ => None,
    }
}

fn holds(value: &[u8], text: &[u8]) -> bool {
    value.windows(text.len()).any(|window| window == text)
}

/// The first field of a record, if it is a short text.
fn first_text(value: &[u8]) -> String {
    match value {
        [0x0a, len, rest @ ..] if rest.len() >= usize::from(*len) => {
            String::from_utf8_lossy(&rest[..usize::from(*len)]).into_owned()
        }
        _ => String::new(),
    }
}
