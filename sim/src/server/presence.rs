//! Presence and chat states (transport §9 row 12).

use amarula_core::wire::{Node, Server as Domain};

use super::{AccountId, ConnId, DeviceKey, Server};
use crate::codec::Read as _;
use crate::violation::Rule;

impl Server {
    pub(crate) fn presence(&mut self, conn: ConnId, key: DeviceKey, node: &Node) {
        match node.text("type").as_str() {
            "available" | "unavailable" => {
                let available = node.text("type") == "available";
                if available && node.text("name").is_empty() {
                    self.object(Some(conn), Some(key), Rule::Grammar, Some(node), "available without a name");
                }
                if node.text("name").contains('@') {
                    self.object(Some(conn), Some(key), Rule::Grammar, Some(node), "a push name has no @");
                }
                if let Some(companion) = self.companion_mut(key) {
                    companion.available = available;
                    companion.app_push_name = Some(node.text("name")).filter(|name| !name.is_empty());
                }
                self.presence_changed(key.0);
            }
            "subscribe" => {
                let target = node.jid("to").and_then(|jid| self.locate(&jid));
                let Some((target, 0)) = target else {
                    return self.object(Some(conn), Some(key), Rule::Grammar, Some(node), "subscribes to nobody");
                };
                if let Some(account) = self.accounts.get_mut(&target) {
                    account.subscribers.insert(key);
                }
                self.presence_changed(target);
            }
            "" if self.is_lenient_on(conn) => {}
            other => {
                let detail = format!("presence type {other:?}");
                self.object(Some(conn), Some(key), Rule::Grammar, Some(node), detail);
            }
        }
    }

    /// Tells the subscribers.
    pub(crate) fn presence_changed(&mut self, id: AccountId) {
        let Some(account) = self.accounts.get(&id) else { return };
        let available =
            account.companions.values().any(|companion| companion.available) || account.phone.is_available();
        let node = Node::new("presence").attr("from", account.jid(&Domain::Pn));
        let node = if available { node } else { node.attr("type", "unavailable").attr("last", self.now.secs()) };
        for key in account.subscribers.clone() {
            if let Some(conn) = self.conn_of(key) {
                self.send(conn, &node);
            }
        }
    }

    pub(crate) fn chatstate(&mut self, conn: ConnId, key: DeviceKey, node: &Node) {
        let Some(to) = node.jid("to") else { return };
        if node.nodes().len() != 1 {
            self.object(Some(conn), Some(key), Rule::Grammar, Some(node), "a chatstate has one child");
        }
        let Some(me) = self.accounts.get(&key.0).map(|account| account.device_jid(&to.server, key.1)) else { return };
        let copy = Node::new("chatstate").attr("from", me).children(node.nodes().iter().cloned());
        let Some((target, _)) = self.locate(&to) else { return };
        let devices = self.accounts.get(&target).map(super::Account::devices).unwrap_or_default();
        for device in devices {
            match self.conn_of((target, device)) {
                Some(peer) => self.send(peer, &copy),
                None if device == 0 => self.phone_receive(target, copy.clone()),
                None => {}
            }
        }
    }
}
