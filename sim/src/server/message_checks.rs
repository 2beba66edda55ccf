//! What a message stanza must look like (messages §4 to §6).

use std::collections::BTreeSet;

use amarula_core::wire::{Jid, Node};

use super::{ConnId, DeviceKey, Server};
use crate::adv;
use crate::codec::Read as _;
use crate::violation::Rule;

const MEDIA_TYPES: [&str; 21] = [
    "image",
    "video",
    "gif",
    "ptv",
    "audio",
    "ptt",
    "document",
    "sticker",
    "sticker_pack",
    "location",
    "livelocation",
    "vcard",
    "contact_array",
    "url",
    "list",
    "list_response",
    "buttons_response",
    "order",
    "product",
    "native_flow_response",
    "group_history",
];

fn encs_of(node: &Node) -> Vec<&Node> {
    let nested = node.find("participants").map(|participants| participants.all("to")).unwrap_or_default();
    node.all("enc").into_iter().chain(nested.into_iter().flat_map(|to| to.all("enc"))).collect()
}

impl Server {
    /// `type`, `mediatype`, `edit` (messages §5).
    pub(crate) fn type_objections(node: &Node) -> Vec<(Rule, String)> {
        let mut out = Vec::new();
        let kind = node.text("type");
        if !matches!(kind.as_str(), "text" | "media" | "reaction" | "poll" | "event") {
            out.push((Rule::Grammar, format!("message type {kind:?}")));
        }
        if node.has("edit") && !matches!(node.text("edit").as_str(), "1" | "2" | "3" | "7" | "8") {
            out.push((Rule::Grammar, format!("edit {:?}", node.text("edit"))));
        }
        let encs = encs_of(node);
        for enc in &encs {
            let media = enc.text("mediatype");
            if !media.is_empty() && !MEDIA_TYPES.contains(&media.as_str()) {
                out.push((Rule::Grammar, format!("mediatype {media:?}")));
            }
            if enc.has("count") {
                out.push((Rule::Grammar, "count on a first send".to_owned()));
            }
        }
        let has_media = encs.iter().any(|enc| enc.has("mediatype"));
        if kind == "media" && !has_media {
            out.push((Rule::Grammar, "type=media without a mediatype".to_owned()));
        }
        if kind == "text" && has_media {
            out.push((Rule::Grammar, "a mediatype on type=text".to_owned()));
        }
        let edit = node.text("edit");
        let hides = encs.iter().any(|enc| enc.has("decrypt-fail"));
        if edit == "8" && hides {
            out.push((Rule::Grammar, "decrypt-fail on a revoke: the server drops it".to_owned()));
        }
        if edit == "1" && encs.iter().any(|enc| !enc.has("decrypt-fail")) {
            out.push((Rule::Grammar, "an edit without decrypt-fail=hide".to_owned()));
        }
        if let Some(token) = node.find("reporting").and_then(|reporting| reporting.find("reporting_token"))
            && (token.text("v") != "2" || token.data().len() != 16)
        {
            out.push((Rule::Grammar, "reporting_token is not v=2, 16 bytes".to_owned()));
        }
        out
    }

    /// Mixed namespaces and LID from an unmigrated account: refused with 400 (messages §4).
    pub(crate) fn addressing_refusal(
        &mut self,
        conn: Option<ConnId>,
        key: DeviceKey,
        node: &Node,
        to: &Jid,
    ) -> Option<u16> {
        let mut refusal = None;
        if to.device != 0 {
            self.object(conn, Some(key), Rule::Addressing, Some(node), "to is not a bare JID");
        }
        let copies = node.find("participants").map(|participants| participants.all("to")).unwrap_or_default();
        if copies.iter().filter_map(|copy| copy.jid("jid")).any(|jid| jid.is_lid() != to.is_lid()) {
            self.object(conn, Some(key), Rule::Addressing, Some(node), "PN and LID mixed in one stanza");
            refusal = Some(400);
        }
        let migrated = self.accounts.get(&key.0).is_some_and(|account| account.lid_migrated);
        if key.1 != 0 && to.is_lid() && !migrated {
            self.object(
                conn,
                Some(key),
                Rule::Addressing,
                Some(node),
                "a LID chat from an account that is not migrated",
            );
            refusal = Some(400);
        }
        if key.1 != 0 && to.is_pn() && migrated && !self.is_lenient(key) {
            self.object(conn, Some(key), Rule::Addressing, Some(node), "a PN chat from a migrated account");
        }
        if self.locate(to).is_none() {
            return Some(404);
        }
        refusal
    }

    /// Devices, device identity, forbidden attributes of a 1:1 stanza (messages §6).
    pub(crate) fn check_direct(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node, to: &Jid) {
        let mut details: Vec<(Rule, String)> = Vec::new();
        let recipient = self.locate(to).map(|(id, _)| id);
        let copies = node.find("participants").map(|participants| participants.all("to")).unwrap_or_default();
        let mut seen: BTreeSet<DeviceKey> = BTreeSet::new();
        let mut pkmsg = false;
        for copy in &copies {
            let Some(jid) = copy.jid("jid") else { continue };
            let encs = copy.all("enc");
            if encs.len() != 1 {
                details.push((Rule::Grammar, format!("{jid} gets {} encs", encs.len())));
            }
            pkmsg |= encs.iter().any(|enc| enc.text("type") == "pkmsg");
            match self.locate(&jid).filter(|target| self.device_exists(*target)) {
                // Gone, and the client has not acked the news yet.
                None if self.was_told(key, &jid) => {}
                None => details.push((Rule::Addressing, format!("{jid} does not exist"))),
                Some(target) if target == key => details.push((Rule::Addressing, "a copy for the sender".to_owned())),
                Some(target) if target.0 != key.0 && Some(target.0) != recipient => {
                    details.push((Rule::Addressing, format!("{jid} is neither the recipient's nor an own device")));
                }
                Some(target) if !seen.insert(target) => details.push((Rule::Addressing, format!("{jid} twice"))),
                Some(_) => {}
            }
        }
        let self_chat = recipient == Some(key.0);
        if !self_chat && !seen.iter().any(|target| Some(target.0) == recipient) {
            details.push((Rule::Fanout, "no device of the recipient".to_owned()));
        }
        if node.find("enc").is_some() {
            details.push((Rule::Grammar, "a 1:1 stanza has its encs in <participants>".to_owned()));
        }
        if node.has("phash") || node.has("addressing_mode") {
            details.push((Rule::Grammar, "phash and addressing_mode are for groups".to_owned()));
        }
        if let Some(token) = node.find("tctoken") {
            let peer = recipient.and_then(|id| self.accounts.get(&id)).map(|account| account.lid.clone());
            let given = self.accounts.get(&key.0).and_then(|account| account.tokens.get(&peer?));
            if given.is_none_or(|given| given != token.data()) {
                details.push((Rule::Grammar, "tctoken is not the one the recipient gave".to_owned()));
            }
        }
        for (target, name) in self.known_devices(key, recipient) {
            if target != key && self.device_exists(target) && !seen.contains(&target) {
                details.push((Rule::Fanout, format!("{name} was told of and gets no copy")));
            }
        }
        for (rule, detail) in details {
            self.object(conn, Some(key), rule, Some(node), detail);
        }
        self.check_device_identity(conn, key, node, pkmsg);
    }

    /// Whether the client was told of this device, and not yet that it is gone.
    pub(crate) fn was_told(&self, key: DeviceKey, jid: &Jid) -> bool {
        let user =
            self.locate(&jid.bare()).and_then(|(id, _)| self.accounts.get(&id)).map(|account| account.lid.clone());
        let told = user.zip(self.companion(key));
        told.is_some_and(|(user, companion)| companion.told.contains_key(&(user, jid.device)))
    }

    fn known_devices(&self, key: DeviceKey, recipient: Option<super::AccountId>) -> Vec<(DeviceKey, String)> {
        let Some(companion) = self.companion(key) else { return Vec::new() };
        let grace = self.config.fanout_grace;
        companion
            .told
            .iter()
            .filter(|(_, at)| self.now.since(**at) >= grace)
            .filter_map(|((user, device), _)| {
                let id = self.accounts.iter().find(|(_, account)| account.lid == *user).map(|(id, _)| *id)?;
                (id == key.0 || Some(id) == recipient).then(|| ((id, *device), format!("{user}:{device}@lid")))
            })
            .collect()
    }

    /// `<device-identity>` stands beside a `pkmsg`, and nowhere else, and is the sender's own.
    pub(crate) fn check_device_identity(&mut self, conn: Option<ConnId>, key: DeviceKey, node: &Node, pkmsg: bool) {
        let identity = node.find("device-identity").map(|identity| identity.data().to_vec());
        let sender = self.companion(key).map(|companion| (companion.identity, companion.adv.details.clone()));
        let account = self.accounts.get(&key.0).map(|account| account.phone.endpoint.identity().public);
        let detail = match (identity, sender, account) {
            (None, Some(_), _) if pkmsg => "a pkmsg of a companion without device-identity".to_owned(),
            (Some(_), _, _) if !pkmsg => "device-identity without a pkmsg".to_owned(),
            (Some(blob), Some((identity, details)), Some(account)) => {
                match adv::check_identity(&account, &identity, &blob) {
                    Err(detail) => detail.to_owned(),
                    Ok(_) => {
                        use prost::Message as _;
                        let sent = crate::proto::AdvSignedIdentity::decode(&blob[..]).ok().and_then(|adv| adv.details);
                        if sent == details {
                            return;
                        }
                        "device-identity has other details than the account signed".to_owned()
                    }
                }
            }
            _ => return,
        };
        self.object(conn, Some(key), Rule::DeviceIdentity, Some(node), detail);
    }
}
