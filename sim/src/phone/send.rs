//! What a phone sends (messages §5, §6, §7, §13).

use amarula_core::wire::{Jid, Node, Server as Domain};
use prost::Message as _;

use super::Sent;
use crate::codec::{Read as _, leaf};
use crate::proto::{ChatDeviceSent, ChatMessage, ChatSenderKey, text_message};
use crate::server::{AccountId, DeviceKey, Server};
use crate::signal::{Addr, EncType, pad};
use crate::time::SimTime;

impl Server {
    /// The phone sends a text. See [`Self::phone_send`].
    pub fn phone_send_text(&mut self, now: SimTime, account: AccountId, to: &Jid, text: &str) -> String {
        self.phone_send(now, account, to, &text_message(text), "text")
    }

    /// The phone sends an encoded `Message` to a person or group; own companions get their copies. Gives the stanza id.
    pub fn phone_send(&mut self, now: SimTime, account: AccountId, to: &Jid, message: &[u8], kind: &str) -> String {
        self.advance(now);
        let id = self.phone_message_id();
        let sent = Sent {
            chat: to.bare(),
            message: message.to_vec(),
            kind: kind.to_owned(),
            resends: std::collections::BTreeMap::new(),
        };
        if let Some(account) = self.accounts.get_mut(&account) {
            account.phone.sent.insert(id.clone(), sent);
        }
        let stanza = Node::new("message").attr("to", to.bare()).attr("id", id.as_str()).attr("type", kind);
        if to.is_group() {
            self.phone_group(account, stanza, to, message);
        } else {
            self.phone_direct(account, stanza, to, message);
        }
        id
    }

    fn phone_message_id(&mut self) -> String {
        let random: [u8; 15] = self.rng.bytes();
        let hex: String = random.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("AC{hex}")
    }

    fn phone_direct(&mut self, account: AccountId, stanza: Node, to: &Jid, message: &[u8]) {
        let namespace = to.bare().server;
        let Some(recipient) = self.locate(to).map(|(id, _)| id) else { return };
        let mut targets: Vec<(DeviceKey, bool)> = Vec::new();
        for id in [recipient, account] {
            let devices = self.accounts.get(&id).map(crate::server::Account::devices).unwrap_or_default();
            targets.extend(devices.into_iter().map(|device| ((id, device), id == account)));
        }
        targets.sort_unstable();
        targets.dedup_by_key(|(key, _)| *key);
        let own_copy = wrap_own(&to.bare(), message);
        let mut participants = Node::new("participants");
        for (target, own) in targets.into_iter().filter(|(target, _)| *target != (account, 0)) {
            let plain = if own { &own_copy } else { message };
            let Some((kind, bytes)) = self.phone_encrypt(account, target, plain) else { continue };
            let Some(jid) = self.accounts.get(&target.0).map(|a| a.device_jid(&namespace, target.1)) else { continue };
            participants = participants.child(Node::new("to").attr("jid", jid).child(enc(kind.as_str(), &bytes)));
        }
        self.message(None, (account, 0), &stanza.child(participants));
    }

    fn phone_group(&mut self, account: AccountId, stanza: Node, to: &Jid, message: &[u8]) {
        let group_id = to.user.to_string();
        let Some(group) = self.groups.get(&group_id).cloned() else { return };
        let namespace = if group.lid_addressing { Domain::Lid } else { Domain::Pn };
        let mut rng = self.rng.clone();
        let padding = u8::try_from(1 + rng.below(16)).unwrap_or(1);
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        let (state, is_new) = owner.phone.endpoint.own_sender_key(&to.to_string(), &mut rng);
        let distribution = state.distribution();
        let body = state.encrypt(&pad(message, padding), &rng.bytes());
        if is_new {
            owner.phone.skdm_sent.retain(|(group, _, _)| *group != group_id);
        }
        self.rng = rng;
        let Ok(body) = body else { return };
        let skdm = ChatMessage {
            sender_key_distribution: Some(ChatSenderKey {
                group_id: Some(to.to_string()),
                axolotl: Some(distribution),
            }),
            ..ChatMessage::default()
        }
        .encode_to_vec();
        let mut participants = Node::new("participants");
        let mut all = Vec::new();
        for id in group.members.keys() {
            let Some((lid, devices)) = self.accounts.get(id).map(|a| (a.lid.clone(), a.devices())) else { continue };
            for device in devices {
                all.extend(self.accounts.get(id).map(|account| account.device_jid(&namespace, device)));
                let marked = (group_id.clone(), lid.clone(), device);
                let known = self.accounts.get(&account).is_some_and(|a| a.phone.skdm_sent.contains(&marked));
                if known || (*id, device) == (account, 0) {
                    continue;
                }
                let Some((kind, bytes)) = self.phone_encrypt(account, (*id, device), &skdm) else { continue };
                let Some(jid) = self.accounts.get(id).map(|a| a.device_jid(&namespace, device)) else { continue };
                participants = participants.child(Node::new("to").attr("jid", jid).child(enc(kind.as_str(), &bytes)));
                if let Some(owner) = self.accounts.get_mut(&account) {
                    owner.phone.skdm_sent.insert(marked);
                }
            }
        }
        let stanza = stanza
            .attr("addressing_mode", if group.lid_addressing { "lid" } else { "pn" })
            .attr("phash", crate::server::phash(&all));
        let stanza = if participants.nodes().is_empty() { stanza } else { stanza.child(participants) };
        self.message(None, (account, 0), &stanza.child(enc("skmsg", &body)));
    }

    /// Encrypts for one device, starting a session if there is none.
    pub(crate) fn phone_encrypt(
        &mut self,
        account: AccountId,
        target: DeviceKey,
        message: &[u8],
    ) -> Option<(EncType, Vec<u8>)> {
        let addr: Addr = (self.accounts.get(&target.0)?.lid.clone(), target.1);
        if !self.accounts.get(&account)?.phone.endpoint.has_session(&addr) {
            let bundle = self.take_bundle(target)?;
            let mut rng = self.rng.clone();
            let result = self.accounts.get_mut(&account)?.phone.endpoint.process_bundle(&addr, &bundle, &mut rng);
            self.rng = rng;
            if let Err(error) = result {
                let detail = format!("the bundle of {target:?} is refused: {error}");
                self.object(None, Some(target), crate::Rule::PreKeys, None, detail);
                return None;
            }
        }
        let padding = u8::try_from(1 + self.rng.below(16)).unwrap_or(1);
        self.accounts.get_mut(&account)?.phone.endpoint.encrypt(&addr, &pad(message, padding)).ok()
    }

    /// The phone sends a peer message (`category="peer"`) to one of its companions: key shares, history, answers.
    pub fn phone_send_peer(&mut self, now: SimTime, account: AccountId, device: u16, message: &[u8]) -> Option<String> {
        self.advance(now);
        let id = self.phone_message_id();
        let (kind, bytes) = self.phone_encrypt(account, (account, device), message)?;
        let owner = self.accounts.get_mut(&account)?;
        let me = owner.jid(&Domain::Pn);
        owner.phone.sent.insert(
            id.clone(),
            Sent {
                chat: me.clone(),
                message: message.to_vec(),
                kind: "peer".to_owned(),
                resends: std::collections::BTreeMap::new(),
            },
        );
        let stanza = Node::new("message")
            .attr("from", me)
            .attr("id", id.as_str())
            .attr("t", self.now.secs())
            .attr("type", "text")
            .attr("category", "peer")
            .attr("push_priority", "high")
            .child(Node::new("meta").attr("appdata", "default"))
            .child(enc(kind.as_str(), &bytes));
        self.give((account, device), stanza);
        Some(id)
    }

    /// The phone's user reads messages of a chat.
    pub fn phone_read(
        &mut self,
        now: SimTime,
        account: AccountId,
        chat: &Jid,
        participant: Option<&Jid>,
        ids: &[&str],
    ) {
        self.advance(now);
        let Some((first, rest)) = ids.split_first() else { return };
        let author = participant.unwrap_or(chat);
        let Some((sender, _)) = self.locate(author) else { return };
        let Some(me) = self.accounts.get(&account).map(|a| a.jid(&author.bare().server)) else { return };
        let mut receipt = Node::new("receipt").attr("id", *first).attr("type", "read").attr("t", self.now.secs());
        if !rest.is_empty() {
            receipt =
                receipt.child(Node::new("list").children(rest.iter().map(|id| Node::new("item").attr("id", *id))));
        }
        let receipt = match participant {
            Some(_) => receipt.attr("from", chat).attr("participant", &me),
            None => receipt.attr("from", &me),
        };
        let devices = self.accounts.get(&sender).map(crate::server::Account::devices).unwrap_or_default();
        for device in devices {
            self.give((sender, device), receipt.clone());
        }
    }

    /// The phone answers a retry receipt (messages §10.3).
    pub(crate) fn phone_resend(&mut self, account: AccountId, receipt: &Node) {
        let id = receipt.text("id");
        let from = receipt.jid("from").unwrap_or_else(Jid::server);
        let requester = receipt.jid("participant").unwrap_or_else(|| from.clone());
        let count = receipt.find("retry").and_then(|retry| retry.number("count")).unwrap_or_default();
        let Some(target) = self.locate(&requester).filter(|target| self.device_exists(*target)) else { return };
        let Some(addr) = self.accounts.get(&target.0).map(|a| (a.lid.clone(), target.1)) else { return };
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        let Some(sent) = owner.phone.sent.get_mut(&id) else { return };
        sent.resends.insert(requester.clone(), count);
        let (chat, message, kind) = (sent.chat.clone(), sent.message.clone(), sent.kind.clone());
        if count >= 5 {
            return;
        }
        // A session that does not work for the peer is not worth sending on; <keys> give a new one. Messages of the peer may
        // be under way on it.
        owner.phone.endpoint.retire(&addr);
        if let Some(bundle) = receipt.find("keys").and_then(|keys| bundle_of(receipt, keys)) {
            let mut rng = self.rng.clone();
            let _ = owner.phone.endpoint.process_bundle(&addr, &bundle, &mut rng);
            self.rng = rng;
        }
        let own = target.0 == account;
        let mut plain = message.clone();
        if own && kind != "peer" {
            plain = wrap_own(&chat, &message);
        }
        if chat.is_group() {
            plain = self.with_sender_key(account, &chat, &message);
        }
        let Some((enc_type, bytes)) = self.phone_encrypt(account, target, &plain) else { return };
        let body = enc(enc_type.as_str(), &bytes).attr("count", count);
        let stanza_type = if kind == "peer" { "text" } else { kind.as_str() };
        if kind == "peer" {
            let stanza = Node::new("message")
                .attr("from", &chat)
                .attr("id", id)
                .attr("t", self.now.secs())
                .attr("type", stanza_type)
                .attr("category", "peer")
                .child(body);
            return self.give(target, stanza);
        }
        let stanza = Node::new("message").attr("id", id).attr("type", stanza_type);
        let stanza = if chat.is_group() {
            stanza.attr("to", chat).attr("participant", requester)
        } else {
            let stanza = stanza.attr("to", requester).attr("device_fanout", "false");
            if own { stanza.attr("recipient", chat) } else { stanza }
        };
        self.message(None, (account, 0), &stanza.child(body));
    }

    fn with_sender_key(&mut self, account: AccountId, chat: &Jid, message: &[u8]) -> Vec<u8> {
        let mut rng = self.rng.clone();
        let Some(owner) = self.accounts.get_mut(&account) else { return message.to_vec() };
        let distribution = owner.phone.endpoint.own_sender_key(&chat.to_string(), &mut rng).0.distribution();
        self.rng = rng;
        let skdm = ChatMessage {
            sender_key_distribution: Some(ChatSenderKey {
                group_id: Some(chat.to_string()),
                axolotl: Some(distribution),
            }),
            ..ChatMessage::default()
        };
        // Two encoded messages one after the other are one message with the fields of both.
        [message, &skdm.encode_to_vec()].concat()
    }
}

/// `Message{deviceSentMessage{destinationJid, message}, messageContextInfo = the inner one's}` (messages §5).
fn wrap_own(chat: &Jid, message: &[u8]) -> Vec<u8> {
    let context_info = ChatMessage::decode(message).ok().and_then(|message| message.context_info);
    ChatMessage {
        device_sent: Some(ChatDeviceSent {
            destination_jid: Some(chat.to_string()),
            message: Some(message.to_vec()),
            phash: None,
        }),
        context_info,
        ..ChatMessage::default()
    }
    .encode_to_vec()
}

fn enc(kind: &str, bytes: &[u8]) -> Node {
    leaf("enc", bytes).attr("v", "2").attr("type", kind)
}

fn bundle_of(receipt: &Node, keys: &Node) -> Option<crate::signal::Bundle> {
    let identity = amarula_core::crypto::PublicKey::from_raw(keys.child_data("identity")).ok()?;
    let registration: [u8; 4] = receipt.child_data("registration").try_into().ok()?;
    Some(crate::signal::Bundle {
        registration_id: u32::from_be_bytes(registration),
        identity,
        signed: crate::server::signed_of(keys.find("skey")?, &identity)?,
        one_time: keys.find("key").and_then(crate::server::one_time_of),
        device_identity: Some(keys.child_data("device-identity").to_vec()),
    })
}
