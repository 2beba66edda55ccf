//! Groups: metadata, and the fan-out of sender-key messages (messages §7).

use std::collections::{BTreeMap, BTreeSet};

use amarula_core::wire::{Jid, Node, Server as Domain};

use super::faults::AckFault;
use super::usync::phash;
use super::{AccountId, ConnId, DeviceKey, Server};
use crate::codec::Read as _;
use crate::signal::inspect;
use crate::violation::Rule;

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Subject.
    pub subject: String,
    /// Whether participants are addressed by LID.
    pub lid_addressing: bool,
    /// Who made it.
    pub creator: AccountId,
    /// When, unix seconds.
    pub created: u64,
    /// Members, and whether each is an admin.
    pub members: BTreeMap<AccountId, bool>,
    /// Who holds whose sender key, as far as the stanzas show.
    pub(crate) distributed: BTreeSet<(DeviceKey, DeviceKey)>,
}

impl Group {
    pub(crate) fn namespace(&self) -> Domain {
        if self.lid_addressing { Domain::Lid } else { Domain::Pn }
    }
}

impl Server {
    /// Adds a group; its JID is `<id>@g.us`. The first member is creator and admin.
    pub fn add_group(&mut self, id: &str, subject: &str, lid_addressing: bool, members: &[AccountId]) -> Jid {
        let group = Group {
            subject: subject.to_owned(),
            lid_addressing,
            creator: members.first().copied().unwrap_or(AccountId(0)),
            created: self.now.secs(),
            members: members.iter().enumerate().map(|(at, id)| (*id, at == 0)).collect(),
            distributed: BTreeSet::new(),
        };
        self.groups.insert(id.to_owned(), group);
        Jid::group(id)
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn group_request(&mut self, conn: ConnId, key: DeviceKey, iq: &Node) {
        let to = iq.jid("to").unwrap_or_else(Jid::server);
        if !to.is_group() && to.server != Domain::Group {
            self.object(Some(conn), Some(key), Rule::Iq, Some(iq), "w:g2 goes to a group or to @g.us");
        }
        if iq.find("participating").is_some() {
            let ids: Vec<String> =
                self.groups.iter().filter(|(_, g)| g.members.contains_key(&key.0)).map(|(id, _)| id.clone()).collect();
            let groups: Vec<Node> = ids.iter().filter_map(|id| self.group_node(id)).collect();
            return self.iq_result(conn, iq, Some(Node::new("groups").children(groups)));
        }
        if let Some(create) = iq.find("create").cloned() {
            return self.create_group(conn, key, iq, &create);
        }
        if iq.find("query").is_some() {
            return match self.group_node(&to.user) {
                Some(node) => self.iq_result(conn, iq, Some(node)),
                None => self.iq_error(conn, iq, 404, None),
            };
        }
        for change in ["add", "remove"] {
            if let Some(list) = iq.find(change).cloned() {
                return self.change_members(conn, key, iq, &to, change, &list);
            }
        }
        self.iq_error(conn, iq, 501, None);
    }

    fn create_group(&mut self, conn: ConnId, key: DeviceKey, iq: &Node, create: &Node) {
        let mut members = vec![key.0];
        members.extend(
            create.all("participant").iter().filter_map(|p| p.jid("jid")).filter_map(|j| self.locate(&j)).map(|k| k.0),
        );
        let id = format!("1203630{:011}", self.groups.len() + 1);
        self.add_group(&id, &create.text("subject"), true, &members);
        let node = self.group_node(&id);
        self.iq_result(conn, iq, node.clone());
        let created = Node::new("create").attr("type", "new").child_opt(node);
        for member in members {
            let devices = self.accounts.get(&member).map(super::Account::devices).unwrap_or_default();
            for device in devices.into_iter().filter(|device| *device != 0 && (member, *device) != key) {
                self.notify((member, device), "w:gp2", Jid::group(id.as_str()), &[], created.clone());
            }
        }
    }

    fn change_members(&mut self, conn: ConnId, key: DeviceKey, iq: &Node, to: &Jid, change: &str, list: &Node) {
        let targets: Vec<(AccountId, Jid)> = list
            .all("participant")
            .iter()
            .filter_map(|p| p.jid("jid"))
            .filter_map(|jid| Some((self.locate(&jid)?.0, jid)))
            .collect();
        let Some(group) = self.groups.get_mut(to.user.as_str()) else { return self.iq_error(conn, iq, 404, None) };
        if group.members.get(&key.0) != Some(&true) {
            return self.iq_error(conn, iq, 403, None);
        }
        let everybody: BTreeSet<AccountId> = group.members.keys().copied().collect();
        for (id, _) in &targets {
            if change == "add" {
                group.members.insert(*id, false);
            } else {
                group.members.remove(id);
                group.distributed.clear();
            }
        }
        let answers = targets.iter().map(|(_, jid)| Node::new("participant").attr("jid", jid));
        self.iq_result(conn, iq, Some(Node::new(change).children(answers.clone().collect::<Vec<_>>())));
        let child = Node::new(change).children(answers.collect::<Vec<_>>());
        for member in everybody.into_iter().chain(targets.iter().map(|(id, _)| *id)).collect::<BTreeSet<_>>() {
            let devices = self.accounts.get(&member).map(super::Account::devices).unwrap_or_default();
            for device in devices.into_iter().filter(|device| *device != 0) {
                let me = self.accounts.get(&key.0).map(|account| account.jid(&Domain::Lid));
                let attrs: Vec<(&str, Jid)> = me.into_iter().map(|me| ("participant", me)).collect();
                self.notify((member, device), "w:gp2", to.clone(), &attrs, child.clone());
            }
        }
    }

    fn group_node(&self, id: &str) -> Option<Node> {
        let group = self.groups.get(id)?;
        let creator = self.accounts.get(&group.creator)?;
        let members = group.members.iter().filter_map(|(member, admin)| {
            let account = self.accounts.get(member)?;
            let (jid, other) = if group.lid_addressing {
                (account.jid(&Domain::Lid), ("phone_number", account.jid(&Domain::Pn)))
            } else {
                (account.jid(&Domain::Pn), ("lid", account.jid(&Domain::Lid)))
            };
            let node = Node::new("participant").attr("jid", jid).attr(other.0, other.1);
            Some(if *admin { node.attr("type", "superadmin") } else { node })
        });
        Some(
            Node::new("group")
                .attr("id", id)
                .attr("subject", group.subject.as_str())
                .attr("creation", group.created)
                .attr("s_t", group.created)
                .attr("s_o", creator.jid(&group.namespace()))
                .attr("creator", creator.jid(&group.namespace()))
                .attr("addressing_mode", if group.lid_addressing { "lid" } else { "pn" })
                .attr("size", group.members.len())
                .children(members.collect::<Vec<_>>()),
        )
    }

    /// A group message as a member sees it, without ciphertext.
    pub(crate) fn group_stanza(&self, from: DeviceKey, sent: &Node, group: &Jid, _requester: &Jid) -> Node {
        let namespace = self.groups.get(group.user.as_str()).map_or(Domain::Lid, Group::namespace);
        let Some(sender) = self.accounts.get(&from.0) else { return Node::new("message") };
        let name = match self.companion(from) {
            Some(companion) => companion.app_push_name.clone(),
            None => Some(sender.phone.name().to_owned()),
        };
        let lid = namespace == Domain::Lid;
        let alternate = if lid { ("participant_pn", Domain::Pn) } else { ("participant_lid", Domain::Lid) };
        Node::new("message")
            .attr("from", group)
            .attr("id", sent.text("id"))
            .attr("t", self.now.secs())
            .attr("type", sent.text("type"))
            .attr("participant", sender.device_jid(&namespace, from.1))
            .attr(alternate.0, sender.jid(&alternate.1))
            .attr("addressing_mode", if lid { "lid" } else { "pn" })
            .attr_opt("notify", name.filter(|name| !name.is_empty()))
            .attr_opt("edit", Some(sent.text("edit")).filter(|edit| !edit.is_empty()))
            .children(sent.nodes().iter().filter(|child| child.tag == "meta").cloned())
    }

    pub(crate) fn group_message(
        &mut self,
        conn: Option<ConnId>,
        key: DeviceKey,
        node: &Node,
        to: &Jid,
        fault: Option<AckFault>,
    ) {
        let Some(group) = self.groups.get(to.user.as_str()).cloned() else {
            return self.message_ack(conn, node, None, Some(404));
        };
        if !group.members.contains_key(&key.0) {
            return self.message_ack(conn, node, None, Some(403));
        }
        let namespace = group.namespace();
        let members: Vec<DeviceKey> = group
            .members
            .keys()
            .filter_map(|id| Some((*id, self.accounts.get(id)?)))
            .flat_map(|(id, account)| account.devices().into_iter().map(move |device| (id, device)))
            .collect();
        let jids: Vec<Jid> =
            members.iter().filter_map(|k| Some(self.accounts.get(&k.0)?.device_jid(&namespace, k.1))).collect();
        let hash = phash(&jids);
        let mode = if group.lid_addressing { "lid" } else { "pn" };
        let mut details: Vec<(Rule, String)> = Vec::new();
        if !node.has("phash") && !self.is_lenient() {
            details.push((Rule::Phash, "a group message has a phash".to_owned()));
        }
        if node.has("phash") && node.text("phash") != hash {
            details.push((Rule::Phash, format!("phash {} is not {hash}", node.text("phash"))));
        }
        if node.has("addressing_mode") && node.text("addressing_mode") != mode {
            self.object(conn, Some(key), Rule::Addressing, Some(node), "stale addressing mode");
            return self.message_ack(conn, node, Some(hash), Some(421));
        }
        if !node.has("addressing_mode") {
            details.push((Rule::Addressing, "a group message has an addressing_mode".to_owned()));
        }
        let copies: Vec<(Jid, Node)> = node
            .find("participants")
            .map(|participants| participants.all("to"))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|copy| Some((copy.jid("jid")?, copy.find("enc")?.clone())))
            .collect();
        let mut distributions: BTreeMap<DeviceKey, Node> = BTreeMap::new();
        for (jid, enc) in copies {
            if jid.server != namespace {
                details.push((Rule::Addressing, format!("{jid} is not in the group's namespace")));
            }
            match self.locate(&jid).filter(|target| members.contains(target)) {
                None => details.push((Rule::Addressing, format!("{jid} is no device of a member"))),
                Some(target) if target == key && self.is_lenient() => {}
                Some(target) if target == key => details.push((Rule::Addressing, "a copy for the sender".to_owned())),
                Some(target) => {
                    self.check_enc(conn, key, target, node, &enc);
                    distributions.insert(target, enc);
                }
            }
        }
        let pkmsg = distributions.values().any(|enc| enc.text("type") == "pkmsg");
        // Baileys may hold a pkmsg only in the copy for itself.
        if !self.is_lenient() || pkmsg {
            self.check_device_identity(conn, key, node, pkmsg);
        }
        let body = node.find("enc").filter(|enc| enc.text("type") == "skmsg").cloned();
        let Some(body) = body else {
            details.push((Rule::Grammar, "a group message has one skmsg".to_owned()));
            details.into_iter().for_each(|(rule, detail)| self.object(conn, Some(key), rule, Some(node), detail));
            return self.message_ack(conn, node, None, Some(479));
        };
        match inspect::group(body.data()) {
            Ok((position, fingerprint)) => self.note_position(conn, key, None, node, position, fingerprint),
            Err(error) => details.push((Rule::Signal, format!("skmsg: {error}"))),
        }
        for (rule, detail) in details {
            self.object(conn, Some(key), rule, Some(node), detail);
        }
        if fault != Some(AckFault::Drop) {
            let hash = if fault == Some(AckFault::WrongPhash) { "2:AAAAAAAA".to_owned() } else { hash };
            self.message_ack(conn, node, Some(hash), None);
        }
        let identity = node.find("device-identity").cloned();
        for target in members.into_iter().filter(|target| *target != key) {
            let enc = distributions.get(&target).cloned();
            let identity = identity.clone().filter(|_| enc.as_ref().is_some_and(|enc| enc.text("type") == "pkmsg"));
            let stanza = self.group_stanza(key, node, to, to).child_opt(enc).child(body.clone()).child_opt(identity);
            self.give(target, stanza);
        }
        if let Some(group) = self.groups.get_mut(to.user.as_str()) {
            group.distributed.extend(distributions.into_keys().map(|target| (key, target)));
        }
    }
}
