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
    /// Who was given whose sender key of which id, as far as the stanzas show.
    distributed: BTreeSet<(DeviceKey, DeviceKey, u32)>,
    /// Sender keys that somebody holds who is no member any more.
    burned: BTreeSet<(DeviceKey, u32)>,
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
            burned: BTreeSet::new(),
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
        let targets: Vec<AccountId> = list
            .all("participant")
            .iter()
            .filter_map(|participant| self.locate(&participant.jid("jid")?).map(|key| key.0))
            .collect();
        let Some(group) = self.groups.get(to.user.as_str()) else { return self.iq_error(conn, iq, 404, None) };
        if group.members.get(&key.0) != Some(&true) {
            return self.iq_error(conn, iq, 403, None);
        }
        let namespace = group.namespace();
        let answers = targets
            .iter()
            .filter_map(|id| self.accounts.get(id))
            .map(|account| Node::new("participant").attr("jid", account.jid(&namespace)))
            .collect::<Vec<_>>();
        self.iq_result(conn, iq, Some(Node::new(change).children(answers)));
        self.apply_members(key.0, &to.user, change == "add", &targets);
    }

    /// Somebody's phone adds members (`add`) to a group or removes them; everybody is told.
    pub fn change_group(&mut self, now: crate::SimTime, by: AccountId, group: &Jid, add: bool, members: &[AccountId]) {
        self.advance(now);
        self.apply_members(by, &group.user, add, members);
    }

    fn apply_members(&mut self, by: AccountId, id: &str, add: bool, targets: &[AccountId]) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let mut told: BTreeSet<AccountId> = group.members.keys().copied().collect();
        told.extend(targets);
        for target in targets {
            if add {
                group.members.insert(*target, false);
            } else {
                group.members.remove(target);
                let held = group.distributed.iter().filter(|(_, to, _)| to.0 == *target);
                group.burned.extend(held.map(|(from, _, key_id)| (*from, *key_id)));
            }
        }
        let namespace = group.namespace();
        let participants = targets
            .iter()
            .filter_map(|id| self.accounts.get(id))
            .map(|account| Node::new("participant").attr("jid", account.jid(&namespace)))
            .collect::<Vec<_>>();
        let child = Node::new(if add { "add" } else { "remove" }).children(participants);
        let author = self.accounts.get(&by).map(|account| account.jid(&namespace));
        let attrs: Vec<(&str, Jid)> = author.into_iter().map(|author| ("participant", author)).collect();
        let jid = Jid::group(id);
        for member in told {
            if let Some(account) = self.accounts.get_mut(&member).filter(|_| !add) {
                account.phone.endpoint.rotate_sender_key(&jid.to_string());
            }
            let devices = self.accounts.get(&member).map(super::Account::devices).unwrap_or_default();
            for device in devices.into_iter().filter(|device| *device != 0) {
                self.notify((member, device), "w:gp2", jid.clone(), &attrs, child.clone());
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
        if !node.has("phash") && !self.is_lenient(key) {
            details.push((Rule::Phash, "a group message has a phash".to_owned()));
        }
        if node.has("phash")
            && !self.has_group_news(key, to)
            && ![&hash, &self.told_hash(key, &group)].contains(&&node.text("phash"))
        {
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
                None if self.was_told(key, &jid) || self.has_group_news(key, to) => {}
                None => details.push((Rule::Addressing, format!("{jid} is no device of a member"))),
                Some(target) if target == key && self.is_lenient(key) => {}
                Some(target) if target == key => details.push((Rule::Addressing, "a copy for the sender".to_owned())),
                Some(target) => {
                    self.check_enc(conn, key, target, node, &enc);
                    distributions.insert(target, enc);
                }
            }
        }
        let pkmsg = distributions.values().any(|enc| enc.text("type") == "pkmsg");
        // Baileys may hold a pkmsg only in the copy for itself.
        if !self.is_lenient(key) || pkmsg {
            self.check_device_identity(conn, key, node, pkmsg);
        }
        let body = node.find("enc").filter(|enc| enc.text("type") == "skmsg").cloned();
        let Some(body) = body else {
            details.push((Rule::Grammar, "a group message has one skmsg".to_owned()));
            details.into_iter().for_each(|(rule, detail)| self.object(conn, Some(key), rule, Some(node), detail));
            return self.message_ack(conn, node, None, Some(479));
        };
        match inspect::group(body.data()) {
            Ok((position, fingerprint)) => {
                if let inspect::Position::Group { id, .. } = position {
                    details.extend(self.distribution_objections(key, &to.user, id, &members, &distributions));
                }
                self.note_position(conn, key, None, node, position, fingerprint);
            }
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
    }

    /// Whether a change of the group is still on its way to the client.
    fn has_group_news(&self, key: DeviceKey, group: &Jid) -> bool {
        self.companion(key).is_some_and(|companion| {
            let mut waiting = companion.outbox.entries.values().map(|entry| &entry.node);
            waiting.any(|node| node.text("type") == "w:gp2" && node.jid("from").as_ref() == Some(group))
        })
    }

    /// phash of the members' devices as far as the client was told of them.
    fn told_hash(&self, key: DeviceKey, group: &Group) -> String {
        let namespace = group.namespace();
        let mut jids = Vec::new();
        for account in group.members.keys().filter_map(|id| self.accounts.get(id)) {
            let told =
                self.companion(key).map(|companion| companion.told.keys().filter(|(user, _)| *user == account.lid));
            let mut devices: BTreeSet<u16> = told.into_iter().flatten().map(|(_, device)| *device).collect();
            devices.insert(0);
            jids.extend(devices.into_iter().map(|device| account.device_jid(&namespace, device)));
        }
        let own = self.accounts.get(&key.0).map(|account| account.device_jid(&namespace, key.1));
        jids.extend(own);
        phash(&jids)
    }

    /// Every member's device must hold the sender key in use, and nobody else (messages §7).
    fn distribution_objections(
        &mut self,
        key: DeviceKey,
        group: &str,
        id: u32,
        members: &[DeviceKey],
        distributions: &BTreeMap<DeviceKey, Node>,
    ) -> Vec<(Rule, String)> {
        let mut out = Vec::new();
        let news = self.has_group_news(key, &Jid::group(group));
        let jids = members
            .iter()
            .map(|target| (*target, self.accounts.get(&target.0).map(|a| a.device_jid(&Domain::Lid, target.1))));
        let unknown: BTreeSet<DeviceKey> = jids
            .filter(|(target, jid)| target.1 != 0 && !jid.as_ref().is_some_and(|jid| self.was_told(key, jid)))
            .map(|(target, _)| target)
            .collect();
        let Some(group) = self.groups.get_mut(group) else { return out };
        group.distributed.extend(distributions.keys().map(|target| (key, *target, id)));
        for target in members.iter().filter(|target| **target != key) {
            let excused = news || (key.1 != 0 && unknown.contains(target));
            if !excused && !group.distributed.contains(&(key, *target, id)) {
                out.push((Rule::Fanout, format!("{target:?} was never given sender key {id}")));
            }
        }
        if !news && group.burned.contains(&(key, id)) {
            out.push((Rule::Fanout, format!("sender key {id} is held by somebody who left")));
        }
        out
    }
}
