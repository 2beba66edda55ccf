//! usync: device lists, LIDs, contacts (messages §2, pairing §11).

use amarula_core::crypto::hash::sha256;
use amarula_core::wire::{Jid, Node, Server as Domain};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{AccountId, ConnId, DeviceKey, Server};
use crate::adv;
use crate::codec::{Read as _, leaf};
use crate::proto::{AdvKeyIndexList, AdvType};
use crate::violation::Rule;

/// phash v2 of a device set (messages §6.1).
#[must_use]
pub(crate) fn phash(devices: &[Jid]) -> String {
    let mut texts: Vec<String> =
        devices.iter().map(|jid| format!("{}.0:{}@{}", jid.user, jid.device, jid.server.as_str())).collect();
    texts.sort_unstable();
    texts.dedup();
    let hash = sha256(&[texts.concat().as_bytes()]);
    format!("2:{}", STANDARD.encode(&hash[..6]))
}

impl Server {
    pub(crate) fn usync(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let Some(usync) = iq.find("usync") else {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "no <usync>");
            return self.iq_error(conn, iq, 400, None);
        };
        for (name, allowed) in [
            ("sid", &[][..]),
            ("mode", &["query", "full", "delta"][..]),
            ("last", &["true", "false"][..]),
            ("index", &[][..]),
            ("context", &["message", "background", "interactive", "add", "notification", "voip"][..]),
        ] {
            let value = usync.text(name);
            if value.is_empty() || !(allowed.is_empty() || allowed.contains(&value.as_str())) {
                self.object(Some(conn), None, Rule::Iq, Some(iq), format!("usync {name}={value:?}"));
            }
        }
        let protocols: Vec<String> = usync
            .find("query")
            .map(|q| q.nodes().iter().map(|node| node.tag.to_string()).collect())
            .unwrap_or_default();
        if usync.find("query").and_then(|q| q.find("devices")).is_some_and(|devices| devices.text("version") != "2") {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "usync devices version is not 2");
        }
        let users: Vec<Node> =
            usync.find("list").map(|list| list.all("user").into_iter().cloned().collect()).unwrap_or_default();
        if protocols.is_empty() || users.is_empty() {
            self.object(Some(conn), None, Rule::Iq, Some(iq), "usync asks nothing, or about nobody");
        }
        let answers =
            users.iter().filter_map(|user| self.usync_user(conn, key, iq, user, &protocols)).collect::<Vec<_>>();
        let result = Node::new("result").children(protocols.iter().map(|name| Node::new(name.as_str())));
        let answer = Node::new("usync")
            .attr("sid", usync.text("sid"))
            .attr("index", usync.text("index"))
            .attr("last", usync.text("last"))
            .attr("mode", usync.text("mode"))
            .attr("context", usync.text("context"))
            .child(result)
            .child(Node::new("list").children(answers));
        self.iq_result(conn, iq, Some(answer));
    }

    fn usync_user(
        &mut self,
        conn: ConnId,
        key: DeviceKey,
        iq: &Node,
        user: &Node,
        protocols: &[String],
    ) -> Option<Node> {
        let by_phone = user.find("contact").map(|contact| String::from_utf8_lossy(contact.data()).into_owned());
        let phone_digits = by_phone.as_ref().map(|text| text.trim_start_matches('+').to_owned());
        let asked = user.jid("jid").or_else(|| phone_digits.clone().map(Jid::pn));
        let Some(asked) = asked else {
            self.object(Some(conn), Some(key), Rule::Iq, Some(iq), "usync <user> without jid or contact");
            return None;
        };
        if asked.device != 0 || (!asked.is_user() && asked.server != Domain::Bot) {
            self.object(
                Some(conn),
                Some(key),
                Rule::Iq,
                Some(iq),
                format!("usync about {asked}, which is no bare user"),
            );
        }
        let found = self.locate(&asked.bare());
        let Some((id, _)) = found else {
            let contact = Node::new("contact").attr("type", "out");
            let contact = if let Some(text) = by_phone { contact.bytes(text.into_bytes()) } else { contact };
            let devices = Node::new("devices").child(Node::new("error").attr("code", 404));
            return Some(
                Node::new("user")
                    .attr("jid", &asked)
                    .child_opt(protocols.iter().any(|name| name == "contact").then_some(contact))
                    .child_opt(protocols.iter().any(|name| name == "devices").then_some(devices)),
            );
        };
        let mut answer = Node::new("user").attr("jid", &asked);
        for name in protocols {
            let child = match name.as_str() {
                "devices" => {
                    let hint = user.find("devices").map(|devices| devices.text("device_hash")).unwrap_or_default();
                    let (node, hash) = self.device_list(id, &asked.bare().server);
                    if !hint.is_empty() && hint == hash && protocols.len() == 1 {
                        return None;
                    }
                    self.told_of(key, id);
                    Some(node)
                }
                // Only for phone numbers: for a LID query Baileys warns about the mapping.
                "lid" if asked.is_pn() => {
                    let lid = self.accounts.get(&id).map(|account| account.jid(&Domain::Lid));
                    Some(Node::new("lid").attr_opt("val", lid))
                }
                "contact" => {
                    let node = Node::new("contact").attr("type", "in");
                    Some(if let Some(text) = &by_phone { node.bytes(text.clone().into_bytes()) } else { node })
                }
                "status" => Some(Node::new("status").attr("code", 401)),
                "disappearing_mode" => Some(Node::new("disappearing_mode").attr("duration", 0).attr("t", 0)),
                _ => None,
            };
            answer = answer.child_opt(child);
        }
        Some(answer)
    }

    /// `<devices>` of a usync answer, and its hash.
    pub(crate) fn device_list(&mut self, id: AccountId, namespace: &Domain) -> (Node, String) {
        let list = self.key_index_list(id);
        let Some(account) = self.accounts.get(&id) else { return (Node::new("devices"), String::new()) };
        let jids: Vec<Jid> = account.devices().into_iter().map(|d| account.device_jid(namespace, d)).collect();
        let hash = phash(&jids);
        let devices = account.devices().into_iter().map(|device| {
            let key_index = account.companions.get(&device).map(|companion| companion.key_index);
            Node::new("device").attr("id", device).attr_opt("key-index", key_index)
        });
        let node = Node::new("devices")
            .child(Node::new("device-list").attr("hash", hash.as_str()).children(devices.collect::<Vec<_>>()))
            .child_opt(list);
        (node, hash)
    }

    /// `<key-index-list ts>` with the signed list; none for an account that never had a companion.
    pub(crate) fn key_index_list(&mut self, id: AccountId) -> Option<Node> {
        let random = self.rng.bytes();
        let account = self.accounts.get(&id).filter(|account| account.list_changed > 0)?;
        let list = AdvKeyIndexList {
            raw_id: Some(account.phone.raw_id()),
            timestamp: Some(account.list_changed),
            current_index: Some(account.phone.current_key_index()),
            valid_indexes: account.companions.values().map(|companion| companion.key_index).collect(),
            account_type: Some(AdvType::E2ee as i32),
        };
        let bytes = adv::sign_key_index(&account.phone.endpoint.identity().private, &list, &random);
        Some(leaf("key-index-list", bytes).attr("ts", account.list_changed))
    }

    /// The client `key` now knows the devices of account `id`.
    pub(crate) fn told_of(&mut self, key: DeviceKey, id: AccountId) {
        let now = self.now;
        let Some((lid, devices)) = self.accounts.get(&id).map(|account| (account.lid.clone(), account.devices()))
        else {
            return;
        };
        if let Some(companion) = self.companion_mut(key) {
            companion.told.retain(|(user, _), _| *user != lid);
            companion.told.extend(devices.into_iter().map(|device| ((lid.clone(), device), now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use amarula_core::wire::Jid;

    use super::phash;

    /// messages §6.1, §17.
    #[test]
    fn phash_vectors() {
        let pn = [Jid::pn("15550000001"), Jid::pn("15550000001").with_device(1), Jid::pn("15550000002")];
        assert_eq!(phash(&pn), "2:eE6IOoiO");
        let sorted = [Jid::lid("200000000001").with_device(2), Jid::lid("200000000001").with_device(10)];
        assert_eq!(phash(&sorted), "2:K5Ncql5X");
        let group = [
            Jid::lid("200000000001"),
            Jid::lid("200000000001").with_device(3),
            Jid::lid("200000000002"),
            Jid::lid("200000000010").with_device(12),
        ];
        assert_eq!(phash(&group), "2:fdFwdWrg");
    }
}
