//! Acks and receipts of clients (transport §14, messages §13).

use amarula_core::wire::{Jid, Node, Server as Domain};

use super::outbox::{Entry, Key};
use super::{ConnId, DeviceKey, Server};
use crate::codec::Read as _;
use crate::violation::Rule;

impl Server {
    pub(crate) fn ack_unpaired(&mut self, conn: ConnId, node: &Node) {
        let key: Key = (node.text("class"), node.text("id"), node.jid("to").unwrap_or_else(Jid::server), None);
        let kind = node.text("type");
        let Some(unpaired) = self.unpaired(conn) else { return };
        let entry = unpaired.outbox.find(&key).and_then(|seq| unpaired.outbox.finish(seq));
        match entry {
            None => self.object(Some(conn), None, Rule::Ack, Some(node), "acks nothing that was sent"),
            Some(entry) if entry.node.text("type") != kind => {
                self.object(Some(conn), None, Rule::Ack, Some(node), "type is not echoed");
            }
            Some(_) => {}
        }
        if node.has("from") {
            self.object(Some(conn), None, Rule::Ack, Some(node), "from on an unpaired connection");
        }
    }

    pub(crate) fn ack(&mut self, conn: ConnId, key: DeviceKey, node: &Node) {
        let to = node.jid("to").unwrap_or_else(Jid::server);
        let (class, id) = (node.text("class"), node.text("id"));
        let wanted: Key = (class.clone(), id.clone(), to.clone(), node.jid("participant"));
        let lenient = self.is_lenient(key);
        let own = self.accounts.get(&key.0).map(|account| account.device_jid(&Domain::Pn, key.1));
        let own_lid = self.accounts.get(&key.0).map(|account| account.device_jid(&Domain::Lid, key.1));
        let from = node.jid("from");
        if from.is_some() && from != own && !(lenient && from == own_lid) {
            self.object(Some(conn), None, Rule::Ack, Some(node), "from is not the own PN device JID");
        }
        let Some(companion) = self.companion_mut(key) else { return };
        let loose = companion.outbox.find_loosely(&class, &id, &to);
        let Some(seq) = companion.outbox.find(&wanted).or(loose) else {
            if companion.outbox.is_second_answer(&wanted) {
                return;
            }
            let again = companion.outbox.answered.contains(&wanted);
            // A stanza that a test let come twice is answered twice.
            let twice = again && companion.disturbed;
            let tolerated = (lenient && class == "message") || (again && to.is_status()) || twice;
            if !tolerated {
                let detail = if again { "acks a second time" } else { "acks nothing that was sent" };
                self.object(Some(conn), None, Rule::Ack, Some(node), detail);
            }
            return;
        };
        let Some(entry) = companion.outbox.finish(seq) else { return };
        if matches!(entry.node.text("type").as_str(), "devices" | "account_sync")
            && let Some((about, _)) = entry.node.jid("from").and_then(|from| self.locate(&from))
        {
            self.told_of(key, about);
        }
        for detail in ack_objections(&entry, node, lenient) {
            self.object(Some(conn), None, Rule::Ack, Some(node), detail);
        }
        if class == "message" && from.is_none() {
            self.object(Some(conn), None, Rule::Ack, Some(node), "a message ack has from = own PN device JID");
        }
        if class == "message" && !node.has("error") && !entry.retried && !entry.disturbed && !lenient {
            let plain = to.is_status()
                || to.server == Domain::Newsletter
                || entry.node.find("enc").is_none()
                || (self.is_own(key, &entry) && !entry.node.has("recipient"));
            if !plain {
                self.object(Some(conn), None, Rule::Ack, Some(node), "a message is answered by a receipt, not an ack");
            }
        }
    }

    /// Whether the queued message was sent by the receiver's own account.
    pub(crate) fn is_own(&self, key: DeviceKey, entry: &Entry) -> bool {
        let author = entry.node.jid("participant").or_else(|| entry.node.jid("from"));
        author.and_then(|jid| self.locate(&jid)).is_some_and(|(account, _)| account == key.0)
    }

    pub(crate) fn receipt(&mut self, conn: ConnId, key: DeviceKey, node: &Node) {
        let kind = node.text("type");
        let mut ids = vec![node.text("id")];
        if let Some(list) = node.find("list") {
            ids.extend(list.all("item").into_iter().map(|item| item.text("id")));
            if !node.has("t") {
                self.object(Some(conn), None, Rule::Ack, Some(node), "a receipt with a list has t");
            }
        }
        if ids.len() > 256 {
            self.object(Some(conn), None, Rule::Ack, Some(node), "more than 256 ids in one receipt");
        }
        match kind.as_str() {
            "" | "inactive" | "sender" | "peer_msg" => {
                for id in &ids {
                    self.delivery_receipt(conn, key, node, id);
                }
            }
            "retry" => self.retry_receipt(conn, key, node),
            "read" | "played" | "read-self" | "played-self" => self.read_receipt(conn, key, node, &ids),
            "hist_sync" => self.route_to_own(key, node, &ids),
            "server-error" | "view" | "enc_rekey_retry" => {}
            _ => self.object(Some(conn), None, Rule::Ack, Some(node), "unknown receipt type"),
        }
    }

    fn delivery_receipt(&mut self, conn: ConnId, key: DeviceKey, node: &Node, id: &str) {
        let to = node.jid("to").unwrap_or_else(Jid::server);
        let wanted: Key = ("message".to_owned(), id.to_owned(), to, node.jid("participant"));
        let Some(companion) = self.companion_mut(key) else { return };
        let available = companion.available;
        let Some(seq) = companion.outbox.find(&wanted) else {
            if companion.outbox.is_second_answer(&wanted) {
                return;
            }
            let again = companion.outbox.answered.contains(&wanted);
            if again && companion.disturbed {
                return;
            }
            let detail = if again { "answers a message a second time" } else { "answers no message that was sent" };
            return self.object(Some(conn), None, Rule::Ack, Some(node), format!("{detail}: {id}"));
        };
        let Some(entry) = companion.outbox.finish(seq) else { return };
        let expected = self.expected_receipt(key, &entry, available);
        let lenient = self.is_lenient(key);
        if !entry.disturbed && !expected.kinds.contains(&node.text("type").as_str()) {
            let detail = format!("type is one of {:?} here (available: {available})", expected.kinds);
            self.object(Some(conn), None, Rule::Ack, Some(node), detail);
        }
        if node.jid("recipient") != expected.recipient && !entry.disturbed {
            let detail = format!("recipient should be {:?}", expected.recipient);
            self.object(Some(conn), None, Rule::Ack, Some(node), detail);
        }
        if expected.status != (node.text("context") == "status") && !lenient {
            self.object(
                Some(conn),
                None,
                Rule::Ack,
                Some(node),
                "context=status stands on status receipts, and only there",
            );
        }
        self.route_delivery(key, &entry, &node.text("type"), id);
    }

    fn expected_receipt(&self, key: DeviceKey, entry: &Entry, available: bool) -> Expected {
        let stanza = &entry.node;
        let recipient = stanza.jid("recipient");
        let status = stanza.jid("from").is_some_and(|from| from.is_status());
        let live: &[&str] = if available { &[""] } else { &["inactive"] };
        let kinds: &[&str] = if stanza.text("category") == "peer" {
            &["peer_msg"]
        } else if self.is_own(key, entry) {
            &["sender"]
        } else if status {
            &[""]
        } else {
            live
        };
        // A companion may have changed its presence while the message was on its way.
        let kinds = if self.is_lenient(key) && kinds == live { &["", "inactive"][..] } else { kinds };
        Expected { kinds: kinds.to_vec(), recipient, status }
    }

    /// Tells the sender's devices.
    fn route_delivery(&mut self, key: DeviceKey, entry: &Entry, kind: &str, id: &str) {
        let Some(from) = entry.node.jid("from") else { return };
        let participant = entry.node.jid("participant");
        let author = participant.clone().unwrap_or_else(|| from.clone());
        let Some(sender) = self.locate(&author) else { return };
        let Some(me) = self.accounts.get(&key.0).map(|account| account.device_jid(&author.server, key.1)) else {
            return;
        };
        let receipt = Node::new("receipt").attr("id", id).attr("t", self.now.secs());
        let receipt = if kind.is_empty() { receipt } else { receipt.attr("type", kind) };
        let receipt = match participant {
            Some(_) => receipt.attr("from", from).attr("participant", me),
            None => receipt.attr("from", me),
        };
        if sender.0 == key.0 {
            let receipt = receipt.attr_opt("recipient", entry.node.jid("recipient"));
            return self.give(sender, receipt);
        }
        let devices = self.accounts.get(&sender.0).map(super::Account::devices).unwrap_or_default();
        for device in devices {
            self.give((sender.0, device), receipt.clone());
        }
    }

    fn read_receipt(&mut self, conn: ConnId, key: DeviceKey, node: &Node, ids: &[String]) {
        let (Some(to), participant) = (node.jid("to"), node.jid("participant")) else { return };
        if !node.has("t") {
            self.object(Some(conn), None, Rule::Ack, Some(node), "a read receipt has t");
        }
        if to.device != 0 || participant.as_ref().is_some_and(|jid| jid.device != 0) {
            self.object(Some(conn), None, Rule::Ack, Some(node), "a read receipt names chats and people, not devices");
        }
        let kind = node.text("type");
        let Some((own_devices, me)) = self
            .accounts
            .get(&key.0)
            .map(|account| (account.devices(), account.device_jid(&participant.as_ref().unwrap_or(&to).server, key.1)))
        else {
            return;
        };
        let base =
            |id: &str| Node::new("receipt").attr("id", id).attr("type", kind.as_str()).attr("t", self.now.secs());
        let mut receipt = base(ids.first().map(String::as_str).unwrap_or_default());
        if ids.len() > 1 {
            let items = ids[1..].iter().map(|id| Node::new("item").attr("id", id.as_str()));
            receipt = receipt.child(Node::new("list").children(items));
        }
        // Our other devices learn that it was read.
        for device in own_devices.into_iter().filter(|device| *device != key.1) {
            let copy = match &participant {
                Some(participant) => receipt.clone().attr("from", &to).attr("participant", participant),
                None => receipt.clone().attr("from", &me).attr("recipient", &to),
            };
            self.give((key.0, device), copy);
        }
        if kind.ends_with("-self") {
            return;
        }
        let author = participant.clone().unwrap_or_else(|| to.clone());
        let Some((sender, _)) = self.locate(&author) else { return };
        if sender == key.0 {
            return;
        }
        let devices = self.accounts.get(&sender).map(super::Account::devices).unwrap_or_default();
        let receipt = match participant {
            Some(_) => receipt.attr("from", &to).attr("participant", me.bare()),
            None => receipt.attr("from", me.bare()),
        };
        for device in devices {
            self.give((sender, device), receipt.clone());
        }
    }

    fn route_to_own(&mut self, key: DeviceKey, node: &Node, ids: &[String]) {
        let Some(me) = self.accounts.get(&key.0).map(|account| account.device_jid(&Domain::Pn, key.1)) else { return };
        for id in ids {
            let receipt = Node::new("receipt")
                .attr("from", &me)
                .attr("id", id.as_str())
                .attr("type", node.text("type"))
                .attr("t", self.now.secs());
            self.give((key.0, 0), receipt);
        }
    }
}

struct Expected {
    kinds: Vec<&'static str>,
    recipient: Option<Jid>,
    status: bool,
}

fn ack_objections(entry: &Entry, ack: &Node, lenient: bool) -> Vec<String> {
    let mut out = Vec::new();
    let stanza = &entry.node;
    let class = ack.text("class");
    let expected = stanza
        .jid("participant")
        .filter(|participant| class != "receipt" || Some(participant) != stanza.jid("from").as_ref());
    if ack.jid("participant") != expected && !(lenient && ack.jid("participant") == stanza.jid("participant")) {
        out.push("participant is not echoed".to_owned());
    }
    if ack.jid("recipient") != stanza.jid("recipient") && !(lenient && class == "message") {
        out.push("recipient is not echoed".to_owned());
    }
    if class == "message" {
        if ack.has("type") && !ack.has("error") && !lenient {
            out.push("a message ack has no type".to_owned());
        }
        if ack.has("error") && !entry.disturbed && !(lenient && entry.retried) {
            out.push(format!("nack {} of a message nobody disturbed", ack.text("error")));
        }
        return out;
    }
    let identity = class == "notification" && stanza.text("type") == "encrypt" && stanza.find("identity").is_some();
    let type_ok = ack.text("type") == stanza.text("type") || (identity && !ack.has("type"));
    if !type_ok {
        out.push("type is not echoed".to_owned());
    }
    if ack.has("error") && !entry.disturbed {
        out.push(format!("nack {} of a {class} nobody disturbed", ack.text("error")));
    }
    out
}
