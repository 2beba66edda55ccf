//! Notifications: devices, identity changes, privacy tokens, prekeys (messages §2.1, §6.2, §14; pairing §11).

use amarula_core::wire::{Jid, Node, Server as Domain};

use super::usync::phash;
use super::{AccountId, ConnId, DeviceKey, Server};
use crate::codec::{Read as _, leaf};
use crate::time::SimTime;
use crate::violation::Rule;

impl Server {
    /// Queues a notification for a companion.
    pub(crate) fn notify(&mut self, target: DeviceKey, kind: &str, from: Jid, attrs: &[(&str, Jid)], child: Node) {
        let node = Node::new("notification")
            .attr("from", from)
            .attr("type", kind)
            .attr("id", self.stanza_id())
            .attr("t", self.now.secs())
            .child(child);
        let node = attrs.iter().fold(node, |node, (key, jid)| node.attr(*key, jid));
        self.give(target, node);
    }

    /// Any notification, for a test. It must be acked like every other.
    pub fn send_notification(&mut self, now: SimTime, target: DeviceKey, kind: &str, from: Jid, child: Node) {
        self.advance(now);
        self.notify(target, kind, from, &[], child);
    }

    /// An `<ib>` with this child, to every live connection of a device (transport §10).
    pub fn send_info(&mut self, now: SimTime, target: DeviceKey, child: Node) {
        self.advance(now);
        if let Some(conn) = self.conn_of(target) {
            self.send(conn, &Node::new("ib").attr("from", Jid::server()).child(child));
        }
    }

    /// `<ib><dirty type timestamp/>`.
    pub fn mark_dirty(&mut self, now: SimTime, target: DeviceKey, kind: &str) {
        let child = Node::new("dirty").attr("type", kind).attr("timestamp", now.secs());
        self.send_info(now, target, child);
    }

    /// Companions of everybody who was told of the account's devices, and the account's own.
    fn audience(&self, id: AccountId) -> Vec<DeviceKey> {
        let Some(lid) = self.accounts.get(&id).map(|account| account.lid.clone()) else { return Vec::new() };
        let mut out = Vec::new();
        for (other, account) in &self.accounts {
            for (device, companion) in &account.companions {
                if companion.logged_in && (*other == id || companion.told.keys().any(|(user, _)| *user == lid)) {
                    out.push((*other, *device));
                }
            }
        }
        out
    }

    pub(crate) fn announce_add(&mut self, key: DeviceKey) {
        let list = self.key_index_list(key.0);
        let Some(account) = self.accounts.get(&key.0) else { return };
        let key_index = account.companions.get(&key.1).map(|companion| companion.key_index);
        let device = Node::new("device")
            .attr("jid", account.device_jid(&Domain::Pn, key.1))
            .attr("lid", account.device_jid(&Domain::Lid, key.1))
            .attr_opt("key-index", key_index);
        self.announce(key, Node::new("add").child(device).child_opt(list));
    }

    pub(crate) fn announce_remove(&mut self, key: DeviceKey) {
        let Some(account) = self.accounts.get(&key.0) else { return };
        let device = Node::new("device")
            .attr("jid", account.device_jid(&Domain::Pn, key.1))
            .attr("lid", account.device_jid(&Domain::Lid, key.1));
        let list = Node::new("key-index-list").attr("ts", account.list_changed);
        self.announce(key, Node::new("remove").child(device).child(list));
    }

    fn announce(&mut self, key: DeviceKey, operation: Node) {
        let Some(account) = self.accounts.get(&key.0) else { return };
        let (pn, lid) = (account.jid(&Domain::Pn), account.jid(&Domain::Lid));
        let hash_of = |domain: &Domain| {
            phash(&account.devices().into_iter().map(|d| account.device_jid(domain, d)).collect::<Vec<_>>())
        };
        let operation =
            operation.attr("device_hash", hash_of(&Domain::Pn)).attr("device_lid_hash", hash_of(&Domain::Lid));
        for target in self.audience(key.0) {
            if target == key {
                continue;
            }
            if target.0 == key.0 {
                self.announce_own(target);
            } else {
                self.notify(target, "devices", pn.clone(), &[("lid", lid.clone())], operation.clone());
            }
        }
    }

    /// `account_sync` with the own list.
    fn announce_own(&mut self, target: DeviceKey) {
        let list = self.key_index_list(target.0);
        let Some(account) = self.accounts.get(&target.0) else { return };
        let devices = account.devices().into_iter().map(|device| {
            let key_index = account.companions.get(&device).map(|companion| companion.key_index);
            Node::new("device").attr("jid", account.device_jid(&Domain::Pn, device)).attr_opt("key-index", key_index)
        });
        let jids: Vec<Jid> = account.devices().into_iter().map(|d| account.device_jid(&Domain::Pn, d)).collect();
        let node =
            Node::new("devices").attr("dhash", phash(&jids)).children(devices.collect::<Vec<_>>()).child_opt(list);
        let pn = account.jid(&Domain::Pn);
        self.notify(target, "account_sync", pn, &[], node);
    }

    /// The account's owner installs WhatsApp anew: a new identity, no companions, and everybody is told
    /// (messages §14, pairing §11 `rawId`).
    pub fn reregister(&mut self, now: SimTime, id: AccountId) {
        self.advance(now);
        let devices = self.accounts.get(&id).map(super::Account::devices).unwrap_or_default();
        for device in devices.into_iter().filter(|device| *device != 0) {
            self.remove_companion((id, device));
        }
        let endpoint = crate::signal::Endpoint::generate(&mut self.rng);
        let raw_id = u32::from_be_bytes(self.rng.bytes());
        let Some(account) = self.accounts.get_mut(&id) else { return };
        account.phone.reregister(endpoint, raw_id);
        account.list_changed = 0;
        let (pn, lid) = (account.jid(&Domain::Pn), account.jid(&Domain::Lid));
        for target in self.audience(id) {
            self.notify(target, "encrypt", pn.clone(), &[("lid", lid.clone())], Node::new("identity"));
        }
    }

    /// `<iq xmlns="privacy"><tokens>`: the peer gets a token of ours (messages §6.2).
    pub(crate) fn privacy_tokens(&mut self, conn: ConnId, key: DeviceKey, iq: &Node, tokens: &[Node]) {
        for token in tokens {
            let target = token.jid("jid").and_then(|jid| self.locate(&jid));
            if token.text("type") != "trusted_contact" || token.number("t").is_none() || target.is_none_or(|t| t.1 != 0)
            {
                self.object(
                    Some(conn),
                    Some(key),
                    Rule::Iq,
                    Some(iq),
                    "a token has jid (a user), t, type=trusted_contact",
                );
                continue;
            }
            let Some((target, _)) = target else { continue };
            let bytes = self.rng.bytes::<16>().to_vec();
            let Some(owner) = self.accounts.get(&key.0) else { continue };
            let (pn, lid) = (owner.jid(&Domain::Pn), owner.jid(&Domain::Lid));
            let Some(account) = self.accounts.get_mut(&target) else { continue };
            account.tokens.insert(lid.user.to_string(), bytes.clone());
            let devices = account.devices();
            let them = account.jid(&Domain::Lid);
            let node = Node::new("tokens").child(
                leaf("token", bytes)
                    .attr("type", "trusted_contact")
                    .attr("t", token.number("t").unwrap_or_default())
                    .attr("jid", them),
            );
            for device in devices.into_iter().filter(|device| *device != 0) {
                self.notify(
                    (target, device),
                    "privacy_token",
                    pn.clone(),
                    &[("sender_lid", lid.clone())],
                    node.clone(),
                );
            }
        }
        self.iq_result(conn, iq, None);
    }
}
