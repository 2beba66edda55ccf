//! Prekey maintenance and bundles (messages §1, §3).

use amarula_core::crypto::hash::sha1;
use amarula_core::crypto::{PublicKey, xeddsa};
use amarula_core::wire::{Jid, Node};
use prost::Message as _;

use super::{ConnId, DeviceKey, Server};
use crate::codec::{Read as _, leaf};
use crate::signal::Bundle;
use crate::violation::Rule;

/// A 3-byte id.
pub(crate) fn id3(bytes: &[u8]) -> Option<u32> {
    let [a, b, c] = bytes else { return None };
    Some(u32::from_be_bytes([0, *a, *b, *c]))
}

/// `<key><id/><value/></key>`.
pub(crate) fn key_of(node: &Node) -> Option<(u32, PublicKey)> {
    Some((id3(node.child_data("id"))?, PublicKey::from_raw(node.child_data("value")).ok()?))
}

/// `<skey><id/><value/><signature/></skey>`, whose signature is by `identity`.
pub(crate) fn signed_of(node: &Node, identity: &PublicKey) -> Option<(u32, PublicKey, Vec<u8>)> {
    let (id, key) = key_of(node)?;
    let signature = node.child_data("signature");
    xeddsa::verify(identity, &[&key.typed()], signature).then(|| (id, key, signature.to_vec()))
}

fn key_node(tag: &str, id: u32, key: &PublicKey, signature: Option<&[u8]>) -> Node {
    Node::new(tag)
        .child(leaf("id", &id.to_be_bytes()[1..]))
        .child(leaf("value", key.as_bytes()))
        .child_opt(signature.map(|signature| leaf("signature", signature)))
}

/// A bundle as a `<user>`'s children.
pub(crate) fn bundle_nodes(bundle: &Bundle) -> Vec<Node> {
    let mut out = vec![
        leaf("registration", bundle.registration_id.to_be_bytes()),
        leaf("type", [5]),
        leaf("identity", bundle.identity.as_bytes()),
        key_node("skey", bundle.signed.0, &bundle.signed.1, Some(&bundle.signed.2)),
    ];
    out.extend(bundle.one_time.as_ref().map(|(id, key)| key_node("key", *id, key, None)));
    out.extend(bundle.device_identity.as_ref().map(|identity| leaf("device-identity", identity)));
    out
}

impl Server {
    pub(crate) fn encrypt_request(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let set = iq.text("type") == "set";
        if !set && iq.find("count").is_some() {
            let count = self.companion(key).map_or(0, |companion| companion.one_time.len());
            return self.iq_result(conn, iq, Some(Node::new("count").attr("value", count)));
        }
        if !set && iq.find("digest").is_some() {
            return self.digest(conn, key, iq);
        }
        if let Some(request) = iq.find("key").filter(|_| !set) {
            return self.bundles(conn, key, iq, request);
        }
        if let Some(rotate) = iq.find("rotate").filter(|_| set) {
            let skey = rotate.find("skey").cloned().unwrap_or_else(|| Node::new("skey"));
            return match self.take_signed(conn, key, iq, &skey) {
                true => self.iq_result(conn, iq, None),
                false => self.iq_error(conn, iq, 406, None),
            };
        }
        if set && iq.find("list").is_some() {
            return self.upload(conn, key, iq);
        }
        self.object(Some(conn), None, Rule::Iq, Some(iq), "unknown encrypt request");
        self.iq_error(conn, iq, 400, None);
    }

    /// Takes in a signed prekey, if it is good.
    fn take_signed(&mut self, conn: ConnId, key: DeviceKey, iq: &Node, skey: &Node) -> bool {
        let Some(companion) = self.companion_mut(key) else { return false };
        let Some(signed) = signed_of(skey, &companion.identity) else {
            self.object(Some(conn), None, Rule::PreKeys, Some(iq), "the signed prekey does not verify");
            return false;
        };
        let known = companion.all_signed.insert(signed.0, signed.1);
        let newest = companion.all_signed.last_key_value().map_or(0, |(id, _)| *id);
        let went_back = companion.signed.0 != signed.0 && signed.0 < newest;
        companion.signed = signed.clone();
        if known.is_some_and(|known| known != signed.1) {
            self.object(Some(conn), None, Rule::PreKeys, Some(iq), "a signed prekey id came again with another key");
        }
        if went_back {
            self.object(Some(conn), None, Rule::PreKeys, Some(iq), "an older signed prekey replaced a newer one");
        }
        true
    }

    fn upload(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let Some(companion) = self.companion(key) else { return };
        let checks = [
            (iq.child_data("registration") == companion.registration_id.to_be_bytes(), "another registration id"),
            (iq.child_data("type") == [5], "type is not 05"),
            (iq.child_data("identity") == companion.identity.as_bytes(), "another identity"),
        ];
        for (ok, detail) in checks {
            if !ok {
                self.object(Some(conn), None, Rule::PreKeys, Some(iq), format!("upload: {detail}"));
            }
        }
        let skey = iq.find("skey").cloned().unwrap_or_else(|| Node::new("skey"));
        if !self.take_signed(conn, key, iq, &skey) {
            return self.iq_error(conn, iq, 406, None);
        }
        let list = iq.find("list").map(|list| list.all("key")).unwrap_or_default();
        let keys: Vec<_> = list.iter().map(|node| key_of(node)).collect();
        if keys.is_empty() || keys.iter().any(Option::is_none) {
            self.object(Some(conn), None, Rule::PreKeys, Some(iq), "the list is empty or holds a malformed key");
            return self.iq_error(conn, iq, 406, None);
        }
        let mut details = Vec::new();
        let Some(companion) = self.companion_mut(key) else { return };
        for (id, public) in keys.into_iter().flatten() {
            if !(1..=0x00ff_ffff).contains(&id) {
                details.push(format!("one-time prekey id {id}"));
            }
            match companion.all_one_time.insert(id, public) {
                None => {}
                // A lost result may be repeated with the same keys; a key that was handed out must not come back.
                Some(old) if old == public && companion.one_time.contains_key(&id) => {}
                Some(old) if old == public => {
                    details.push(format!("one-time prekey {id} was already handed out"));
                    continue;
                }
                Some(_) => details.push(format!("one-time prekey {id} came again with another key")),
            }
            companion.one_time.insert(id, public);
        }
        companion.asked_for_prekeys = false;
        for detail in details {
            self.object(Some(conn), None, Rule::PreKeys, Some(iq), detail);
        }
        self.iq_result(conn, iq, None);
    }

    fn digest(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let Some(companion) = self.companion(key) else { return };
        if companion.one_time.is_empty() && companion.all_one_time.is_empty() {
            return self.iq_error(conn, iq, 404, None);
        }
        let (id, signed, signature) = &companion.signed;
        let mut parts: Vec<&[u8]> = vec![companion.identity.as_bytes(), signed.as_bytes(), signature];
        parts.extend(companion.one_time.values().map(|key| &key.as_bytes()[..]));
        let hash = sha1(&parts);
        let ids = companion.one_time.keys().map(|id| leaf("id", &id.to_be_bytes()[1..]));
        let digest = Node::new("digest")
            .child(leaf("registration", companion.registration_id.to_be_bytes()))
            .child(leaf("type", [5]))
            .child(leaf("identity", companion.identity.as_bytes()))
            .child(key_node("skey", *id, signed, Some(signature)))
            .child(Node::new("list").children(ids))
            .child(leaf("hash", hash));
        self.iq_result(conn, iq, Some(digest));
    }

    fn bundles(&mut self, conn: ConnId, key: DeviceKey, iq: &Node, request: &Node) {
        let users: Vec<Node> = request.all("user").into_iter().cloned().collect();
        if users.is_empty() {
            self.object(Some(conn), Some(key), Rule::Iq, Some(iq), "a bundle request without users");
        }
        let answers = users.iter().map(|user| {
            let Some(jid) = user.jid("jid") else {
                self.object(Some(conn), Some(key), Rule::Iq, Some(iq), "<user> without jid");
                return Node::new("user").child(Node::new("error").attr("code", 400).attr("text", "bad-request"));
            };
            let answer = Node::new("user").attr("jid", &jid);
            match self.locate(&jid).and_then(|target| self.take_bundle(target)) {
                Some(bundle) => answer.children(bundle_nodes(&bundle)),
                None => answer.child(Node::new("error").attr("code", 406).attr("text", "not-acceptable")),
            }
        });
        let list = Node::new("list").children(answers.collect::<Vec<_>>());
        self.iq_result(conn, iq, Some(list));
    }

    /// Hands out a bundle; a one-time prekey is used up. `None` if there is no such device.
    pub(crate) fn take_bundle(&mut self, target: DeviceKey) -> Option<Bundle> {
        let account = self.accounts.get_mut(&target.0)?;
        if target.1 == 0 {
            return Some(account.phone.endpoint.bundle(&mut self.rng));
        }
        let low = self.config.low_prekeys;
        let companion = account.companions.get_mut(&target.1)?;
        let one_time = companion.one_time.pop_first();
        // The account key is left out: contacts have it as device 0's identity (pairing §10).
        let adv = crate::proto::AdvSignedIdentity { account_signature_key: None, ..companion.adv.clone() };
        let bundle = Bundle {
            registration_id: companion.registration_id,
            identity: companion.identity,
            signed: companion.signed.clone(),
            one_time,
            device_identity: Some(adv.encode_to_vec()),
        };
        let count = companion.one_time.len();
        if count < low && !companion.asked_for_prekeys && companion.logged_in {
            companion.asked_for_prekeys = true;
            self.ask_for_prekeys(target, count);
        }
        Some(bundle)
    }

    /// `<notification type="encrypt"><count/>` (messages §1).
    pub(crate) fn ask_for_prekeys(&mut self, target: DeviceKey, count: usize) {
        let child = Node::new("count").attr("value", count);
        self.notify(target, "encrypt", Jid::server(), &[], child);
    }
}
