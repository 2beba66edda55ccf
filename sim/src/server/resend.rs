//! Retry receipts and what answers them (messages §10.3, §11.5).

use amarula_core::wire::{Jid, Node};

use super::outbox::{Key, key_of};
use super::prekeys::{key_of as one_time_of, signed_of};
use super::{ConnId, DeviceKey, Server};
use crate::adv;
use crate::codec::Read as _;
use crate::signal::{EncType, inspect};
use crate::violation::Rule;

impl Server {
    /// `<receipt type="retry">` of a companion: checked, passed on to the device that sent the message.
    pub(crate) fn retry_receipt(&mut self, conn: ConnId, key: DeviceKey, node: &Node) {
        let (id, to) = (node.text("id"), node.jid("to").unwrap_or_else(Jid::server));
        let lenient = self.is_lenient(key);
        let Some(retry) = node.find("retry") else {
            return self.object(Some(conn), None, Rule::Retry, Some(node), "no <retry>");
        };
        let count = retry.number("count").unwrap_or_default();
        let registration = self.companion(key).map(|companion| companion.registration_id).unwrap_or_default();
        let mut details: Vec<&str> = Vec::new();
        let mut require = |ok: bool, detail| {
            if !ok {
                details.push(detail);
            }
        };
        require(retry.text("v") == "1", "v is not 1");
        require(retry.text("id") == id, "<retry id> is not the receipt's id");
        require(retry.number("t").is_some(), "<retry> without the stanza's t");
        require((1..=5).contains(&count), "count is not 1..=5");
        require(node.child_data("registration") == registration.to_be_bytes(), "another registration id");
        require(count < 2 || node.find("keys").is_some(), "no <keys> from count 2 on");
        require(retry.text("error") != "0" || lenient, "error=0 is left out");
        let wanted: Key = ("message".to_owned(), id.clone(), to.clone(), node.jid("participant"));
        let author = wanted.3.clone().unwrap_or_else(|| to.clone());
        // A lenient sender's store may have been damaged by a test.
        let sender_lenient = self.locate(&author).is_some_and(|sender| self.is_lenient(sender));
        let Some(companion) = self.companion_mut(key) else { return };
        let before = companion.retries.insert((id.clone(), author.clone()), count).unwrap_or_default();
        if count != before + 1 {
            details.push("count does not go up by one");
        }
        let undisturbed_ok = lenient || sender_lenient || companion.disturbed;
        let found = companion.outbox.find(&wanted);
        let entry = found.and_then(|seq| companion.outbox.entries.get_mut(&seq)).map(|entry| {
            entry.retried = true;
            entry.clone()
        });
        match &entry {
            None if companion.outbox.answered.contains(&wanted) => details.push("asks again for an answered message"),
            None => details.push("asks for a message that was not sent"),
            Some(entry) if entry.node.text("t") != retry.text("t") => details.push("<retry t> is not the stanza's"),
            Some(entry) if entry.node.text("category") == "peer" && node.text("category") != "peer" => {
                details.push("a retry of a peer message has category=peer");
            }
            Some(entry)
                if entry.node.text("category") != "peer" && node.jid("recipient") != entry.node.jid("recipient") =>
            {
                details.push("recipient is not echoed");
            }
            Some(entry) if !entry.disturbed && !undisturbed_ok => details.push("asks to resend what nobody disturbed"),
            Some(_) => {}
        }
        for detail in details {
            self.object(Some(conn), None, Rule::Retry, Some(node), detail);
        }
        if let Some(keys) = node.find("keys").cloned() {
            self.retry_keys(conn, key, node, &keys);
        }
        let Some(sender) = self.locate(&author) else { return };
        let Some(me) = self.accounts.get(&key.0).map(|account| account.device_jid(&author.server, key.1)) else {
            return;
        };
        let forwarded = Node::new("receipt")
            .attr("id", id.as_str())
            .attr("type", "retry")
            .attr("t", self.now.secs())
            .attr_opt("recipient", node.jid("recipient"));
        let forwarded = match node.jid("participant") {
            Some(_) => forwarded.attr("from", &to).attr("participant", &me),
            None => forwarded.attr("from", &me),
        };
        let forwarded = forwarded.children(node.nodes().iter().cloned());
        self.ask_resend(sender, &id, &me, count);
        self.give(sender, forwarded);
    }

    pub(crate) fn ask_resend(&mut self, sender: DeviceKey, id: &str, requester: &Jid, count: u64) {
        if let Some(companion) = self.companion_mut(sender) {
            companion.resend_asked.insert((id.to_owned(), requester.clone()), count);
        }
    }

    /// Whether somebody asked the device to send this message again.
    pub(crate) fn was_asked(&self, key: DeviceKey, id: &str) -> bool {
        self.companion(key).is_some_and(|companion| companion.resend_asked.keys().any(|(asked, _)| asked == id))
    }

    fn retry_keys(&mut self, conn: ConnId, key: DeviceKey, node: &Node, keys: &Node) {
        let account_key = self.accounts.get(&key.0).map(|account| account.phone.endpoint.identity().public);
        let (Some(companion), Some(account_key)) = (self.companion_mut(key), account_key) else { return };
        let mut details = Vec::new();
        if keys.child_data("type") != [5] || keys.child_data("identity") != companion.identity.as_bytes() {
            details.push("<keys> name another identity".to_owned());
        }
        match keys.find("skey").and_then(|skey| signed_of(skey, &companion.identity)) {
            Some(signed) if companion.all_signed.get(&signed.0) == Some(&signed.1) => {}
            Some(_) => details.push("<keys> hold a signed prekey the server does not know".to_owned()),
            None => details.push("the signed prekey in <keys> does not verify".to_owned()),
        }
        match keys.find("key").and_then(one_time_of) {
            None => details.push("<keys> without a one-time prekey".to_owned()),
            Some((id, public)) => match companion.all_one_time.insert(id, public) {
                Some(old) if companion.one_time.contains_key(&id) => {
                    details.push(format!("one-time prekey {id} is in the server's pool (same key: {})", old == public));
                }
                Some(old) if old != public => details.push(format!("one-time prekey {id} came again with another key")),
                // Handed out before, by bundle or by an earlier retry of the same message.
                Some(_) | None => {}
            },
        }
        if let Err(detail) = adv::check_identity(&account_key, &companion.identity, keys.child_data("device-identity"))
        {
            details.push(format!("device-identity in <keys>: {detail}"));
        }
        for detail in details {
            self.object(Some(conn), None, Rule::Retry, Some(node), detail);
        }
    }

    /// A message to one device: the answer to a retry receipt.
    pub(crate) fn resend(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node) {
        let to = node.jid("to").unwrap_or_else(Jid::server);
        let id = node.text("id");
        let requester = node.jid("participant").unwrap_or_else(|| to.clone());
        let encs = node.all("enc");
        let lenient = self.is_lenient(key);
        let mut details = Vec::new();
        if !to.is_group() && node.text("device_fanout") != "false" {
            details.push("a resend has device_fanout=false".to_owned());
        }
        if encs.len() != 1 || (node.find("participants").is_some() && !lenient) {
            details.push("a resend holds one <enc> and no participants".to_owned());
        }
        let asked = self
            .companion_mut(key)
            .and_then(|companion| companion.resend_asked.remove(&(id.clone(), requester.clone())));
        let target = self.locate(&requester).filter(|target| self.device_exists(*target));
        match (asked, encs.first()) {
            (None, _) if key.1 != 0 => details.push(format!("{requester} did not ask for {id}")),
            (Some(count), Some(enc)) if enc.number("count") != Some(count) => {
                details.push(format!("<enc count> is {count} here"));
            }
            _ => {}
        }
        for detail in details {
            self.object(conn, Some(key), Rule::Resend, Some(node), detail);
        }
        let own_copy = target.is_some_and(|target| target.0 == key.0);
        if own_copy && !to.is_group() && !node.has("recipient") {
            self.object(
                conn,
                Some(key),
                Rule::Resend,
                Some(node),
                "a resend to an own device names the chat in recipient",
            );
        }
        self.message_ack(conn, node, None, None);
        let (Some(target), Some(enc)) = (target, encs.first()) else { return };
        self.check_enc(conn, key, target, node, enc);
        let kind = enc.text("type");
        let identity = if kind == "pkmsg" { node.find("device-identity").cloned() } else { None };
        let chat = node.jid("recipient");
        let stanza = if to.is_group() {
            self.group_stanza(key, node, &to, &requester)
        } else {
            self.stanza_for(key, target, node, &to, chat.as_ref())
        };
        let stanza = stanza.child((*enc).clone()).child_opt(identity);
        self.give(target, stanza);
    }

    /// Whether a `<message>` is of the resend form.
    pub(crate) fn is_resend(node: &Node) -> bool {
        node.text("category") != "peer"
            && node.find("enc").is_some()
            && (node.text("device_fanout") == "false"
                || node.has("participant")
                || node.jid("to").is_some_and(|to| to.is_user() && to.device != 0)
                || node.all("enc").iter().any(|enc| enc.has("count")))
    }

    /// Notes a pairwise ciphertext's position; two ciphertexts at one position are a forked ratchet.
    pub(crate) fn note_position(
        &mut self,
        conn: Option<ConnId>,
        from: DeviceKey,
        to: Option<DeviceKey>,
        node: &Node,
        position: inspect::Position,
        fingerprint: [u8; 32],
    ) {
        let detail = format!("{position:?} carried two ciphertexts");
        let old = self.chains.insert((from, to, position), fingerprint);
        if old.is_some_and(|old| old != fingerprint) {
            self.object(conn, Some(from), Rule::ForkedRatchet, Some(node), detail);
        }
    }

    /// Checks one pairwise `<enc>` from device `from` to device `to`.
    pub(crate) fn check_enc(&mut self, conn: Option<ConnId>, from: DeviceKey, to: DeviceKey, node: &Node, enc: &Node) {
        let kind = match enc.text("type").as_str() {
            "msg" => EncType::Msg,
            "pkmsg" => EncType::PkMsg,
            other => {
                let detail = format!("pairwise enc type {other:?}");
                return self.object(conn, Some(from), Rule::Grammar, Some(node), detail);
            }
        };
        if enc.text("v") != "2" {
            self.object(conn, Some(from), Rule::Grammar, Some(node), "enc v is not 2");
        }
        if enc.has("decrypt-fail") && enc.text("decrypt-fail") != "hide" {
            self.object(conn, Some(from), Rule::Grammar, Some(node), "decrypt-fail is only ever hide");
        }
        match inspect::pairwise(kind, enc.data()) {
            Err(crate::signal::SignalError::Malformed("previous counter -1")) if self.is_lenient(from) => {}
            Err(error) => self.object(conn, Some(from), Rule::Signal, Some(node), format!("to {to:?}: {error}")),
            Ok((position, fingerprint, outer)) => {
                self.note_position(conn, from, Some(to), node, position, fingerprint);
                if let Some(outer) = outer {
                    for detail in self.outer_objections(from, to, &outer) {
                        self.object(conn, Some(from), Rule::Signal, Some(node), format!("pkmsg to {to:?}: {detail}"));
                    }
                }
            }
        }
    }

    fn outer_objections(
        &self,
        from: DeviceKey,
        to: DeviceKey,
        outer: &crate::signal::session::PreKey,
    ) -> Vec<&'static str> {
        let mut out = Vec::new();
        let sender = match self.companion(from) {
            Some(companion) => Some((companion.identity, companion.registration_id)),
            None => self
                .accounts
                .get(&from.0)
                .map(|account| (account.phone.endpoint.identity().public, account.phone.endpoint.registration_id())),
        };
        if sender.is_some_and(|(identity, _)| identity != outer.identity) {
            out.push("another identity than the sender's");
        }
        if sender.is_some_and(|(_, id)| id != outer.registration_id) {
            out.push("another registration id than the sender's");
        }
        if let Some(target) = self.companion(to) {
            if !target.all_signed.contains_key(&outer.signed) {
                out.push("a signed prekey the receiver never published");
            }
            match outer.one_time {
                Some(id) if target.one_time.contains_key(&id) => out.push("a one-time prekey that was not handed out"),
                Some(id) if !target.all_one_time.contains_key(&id) => out.push("a one-time prekey never published"),
                _ => {}
            }
        }
        out
    }

    /// For tests: whether a stanza with this key still waits for its answer.
    #[must_use]
    pub fn owes_answer(&self, key: DeviceKey, class: &str, id: &str) -> bool {
        self.companion(key).is_some_and(|companion| {
            companion.outbox.entries.values().map(|entry| key_of(&entry.node)).any(|k| k.0 == class && k.1 == id)
        })
    }
}
