//! Messages from devices, and their fan-out (messages §6, §9, §10.2, §11).

use amarula_core::crypto::hash::sha256;
use amarula_core::wire::{Jid, Node, Server as Domain};

use super::faults::AckFault;
use super::usync::phash;
use super::{ConnId, DeviceKey, Server};
use crate::codec::{Read as _, write_node};
use crate::violation::Rule;

/// Children of a message that the server passes on as they are.
const PASSED_ON: [&str; 3] = ["meta", "biz", "bot"];

impl Server {
    /// A `<message>` of a companion (or of a phone, which has no connection).
    pub(crate) fn message(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node) {
        let (Some(to), id) = (node.jid("to"), node.text("id")) else { return };
        let fault = if key.1 == 0 { None } else { self.faults.next_message() };
        match fault {
            Some(AckFault::LoseMessage) => return,
            // A server that has taken a message does not refuse its repetition.
            Some(AckFault::Error(code)) if !self.companion(key).is_some_and(|c| c.sent.contains_key(&id)) => {
                return self.message_ack(conn, node, None, Some(code));
            }
            _ => {}
        }
        if Self::is_resend(node) {
            return self.resend(conn, key, node);
        }
        let fingerprint = sha256(&[&write_node(node, false).unwrap_or_default()]);
        if let Some(companion) = self.companion_mut(key) {
            match companion.sent.insert(id, fingerprint) {
                None => {}
                Some(old) if old == fingerprint => {
                    // The same frame again after a lost ack: taken once, acked again.
                    return self.message_ack(conn, node, None, None);
                }
                // Baileys answers a phone's retry by sending to everybody again.
                Some(_) if self.is_lenient(key) && self.was_asked(key, &node.text("id")) => {}
                Some(_) => {
                    self.object(
                        conn,
                        Some(key),
                        Rule::DuplicateId,
                        Some(node),
                        "a message id was used for another stanza",
                    );
                }
            }
        }
        for (rule, detail) in Self::type_objections(node) {
            self.object(conn, Some(key), rule, Some(node), detail);
        }
        if to.is_group() {
            return self.group_message(conn, key, node, &to, fault);
        }
        if !to.is_user() {
            // Status, broadcast and channels are taken and go nowhere.
            return self.message_ack(conn, node, None, None);
        }
        if node.text("category") == "peer" {
            return self.peer_message(conn, key, node, &to);
        }
        match self.addressing_refusal(conn, key, node, &to) {
            Some(code) => self.message_ack(conn, node, None, Some(code)),
            None => self.fan_out(conn, key, node, &to, fault),
        }
    }

    fn fan_out(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node, to: &Jid, fault: Option<AckFault>) {
        self.check_direct(conn, key, node, to);
        let hash = self.direct_phash(key, to);
        let hash = if fault == Some(AckFault::WrongPhash) { "2:AAAAAAAA".to_owned() } else { hash };
        if fault == Some(AckFault::RefreshLid) {
            let ack = ack_of(node, self.now.secs()).attr("refresh_lid", "true").attr("phash", hash);
            conn.into_iter().for_each(|conn| self.send(conn, &ack));
        } else if fault != Some(AckFault::Drop) {
            self.message_ack(conn, node, Some(hash), None);
        }
        let identity = node.find("device-identity").cloned();
        let copies: Vec<(Jid, Node)> = node
            .find("participants")
            .map(|participants| participants.all("to"))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|copy| Some((copy.jid("jid")?, copy.find("enc")?.clone())))
            .collect();
        for (jid, enc) in copies {
            let Some(target) = self.locate(&jid).filter(|target| self.device_exists(*target) && *target != key) else {
                continue;
            };
            self.check_enc(conn, key, target, node, &enc);
            let chat = (target.0 == key.0).then(|| to.clone());
            let identity = identity.clone().filter(|_| enc.text("type") == "pkmsg");
            let stanza = self.stanza_for(key, target, node, to, chat.as_ref()).child(enc).child_opt(identity);
            self.give(target, stanza);
        }
    }

    /// A `<message>` as the receiver sees it, without its ciphertext (messages §11.1, §11.2).
    pub(crate) fn stanza_for(
        &self,
        from: DeviceKey,
        to: DeviceKey,
        sent: &Node,
        chat_namespace: &Jid,
        chat: Option<&Jid>,
    ) -> Node {
        let Some(sender) = self.accounts.get(&from.0) else { return Node::new("message") };
        let namespace = &chat_namespace.server;
        let name = match self.companion(from) {
            Some(companion) => companion.app_push_name.clone(),
            None => Some(sender.phone.name().to_owned()),
        };
        let alternate = if chat_namespace.is_lid() { ("sender_pn", Domain::Pn) } else { ("sender_lid", Domain::Lid) };
        let mut out = Node::new("message")
            .attr("from", sender.device_jid(namespace, from.1))
            .attr("id", sent.text("id"))
            .attr("t", self.now.secs())
            .attr("type", sent.text("type"))
            .attr_opt("notify", name.filter(|name| !name.is_empty()))
            .attr_opt("edit", Some(sent.text("edit")).filter(|edit| !edit.is_empty()));
        match chat {
            None => out = out.attr(alternate.0, sender.jid(&alternate.1)),
            Some(chat) => {
                out = out.attr("recipient", chat.bare());
                if let Some((other, _)) = self.locate(chat) {
                    let key = if chat.is_lid() { "peer_recipient_pn" } else { "peer_recipient_lid" };
                    out = out.attr_opt(key, self.accounts.get(&other).map(|account| account.jid(&alternate.1)));
                }
            }
        }
        let _ = to;
        out.children(sent.nodes().iter().filter(|child| PASSED_ON.contains(&child.tag.as_str())).cloned())
    }

    /// To device 0 of the own account (messages §9).
    fn peer_message(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node, to: &Jid) {
        let target = self.locate(to);
        let encs = node.all("enc");
        let checks = [
            (target == Some((key.0, 0)), "a peer message goes to the own account, bare"),
            (encs.len() == 1, "a peer message has one <enc>"),
            (node.find("participants").is_none(), "a peer message has no <participants>"),
            (node.find("tctoken").is_none() && node.find("cstoken").is_none(), "a token on a peer message"),
            (
                node.find("meta").is_some_and(|meta| meta.text("appdata") == "default"),
                "<meta appdata=default> is missing",
            ),
            (matches!(node.text("push_priority").as_str(), "high" | "high_force"), "push_priority is missing"),
        ];
        for (ok, detail) in checks {
            if !ok {
                self.object(conn, Some(key), Rule::Addressing, Some(node), detail);
            }
        }
        let (Some(target), Some(enc)) = (target, encs.first()) else {
            return self.message_ack(conn, node, None, Some(479));
        };
        self.message_ack(conn, node, None, None);
        self.check_enc(conn, key, target, node, enc);
        let identity = node.find("device-identity").cloned();
        self.check_device_identity(conn, key, node, enc.text("type") == "pkmsg");
        let stanza = self
            .stanza_for(key, target, node, to, None)
            .attr("category", "peer")
            .child((*enc).clone())
            .child_opt(identity);
        self.give(target, stanza);
    }

    /// `<ack class="message">` (messages §10.2).
    pub(crate) fn message_ack(&mut self, conn: Option<ConnId>, node: &Node, phash: Option<String>, error: Option<u16>) {
        let ack = ack_of(node, self.now.secs()).attr_opt("phash", phash).attr_opt("error", error);
        if let Some(conn) = conn {
            self.send(conn, &ack);
        }
    }

    /// phash of both accounts' devices, the sending one included, in the chat's namespace.
    pub(crate) fn direct_phash(&self, key: DeviceKey, to: &Jid) -> String {
        let mut ids = vec![key.0];
        ids.extend(self.locate(to).map(|(id, _)| id));
        let jids: Vec<Jid> = ids
            .into_iter()
            .filter_map(|id| self.accounts.get(&id))
            .flat_map(|account| account.devices().into_iter().map(|device| account.device_jid(&to.server, device)))
            .collect();
        phash(&jids)
    }
}

fn ack_of(node: &Node, now: u64) -> Node {
    Node::new("ack")
        .attr("class", "message")
        .attr("id", node.text("id"))
        .attr("from", node.jid("to").unwrap_or_else(Jid::server))
        .attr("t", now)
}
