//! What a phone does with what it gets, as strictly as a peer can (messages §11, §13).

use amarula_core::crypto::PublicKey;
use amarula_core::wire::{Jid, Node};
use prost::Message as _;

use super::{ReceiptSeen, Received};
use crate::codec::{Read as _, leaf};
use crate::proto::ChatMessage;
use crate::server::{AccountId, DeviceKey, Server};
use crate::signal::{Addr, EncType, SignalError, inspect, unpad};
use crate::time::SimTime;
use crate::violation::Rule;

impl Server {
    /// Switches a phone off or on. What comes meanwhile waits.
    pub fn phone_set_online(&mut self, now: SimTime, account: AccountId, online: bool) {
        self.advance(now);
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        owner.phone.online = online;
        if online {
            for node in std::mem::take(&mut owner.phone.pending) {
                self.phone_receive(account, node);
            }
        }
        self.presence_changed(account);
    }

    pub(crate) fn phone_receive(&mut self, account: AccountId, node: Node) {
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        if !owner.phone.online {
            return owner.phone.pending.push_back(node);
        }
        let at = self.now;
        match node.tag.as_str() {
            "message" => self.phone_message(account, &node),
            "receipt" if node.text("type") == "retry" => self.phone_resend(account, &node),
            "receipt" => {
                let mut ids = vec![node.text("id")];
                ids.extend(
                    node.find("list").map(|list| list.all("item")).unwrap_or_default().iter().map(|i| i.text("id")),
                );
                owner.phone.receipts.push(ReceiptSeen {
                    at,
                    from: node.jid("from").unwrap_or_else(Jid::server),
                    ids,
                    kind: node.text("type"),
                    participant: node.jid("participant"),
                });
            }
            "chatstate" => owner.phone.chatstates.push(node),
            _ => {}
        }
    }

    fn phone_message(&mut self, account: AccountId, node: &Node) {
        let from = node.jid("from").unwrap_or_else(Jid::server);
        let author = node.jid("participant").unwrap_or_else(|| from.clone());
        let Some(sender) = self.locate(&author) else { return };
        let Some(addr) = self.accounts.get(&sender.0).map(|a| (a.lid.clone(), sender.1)) else { return };
        let refuse = self.accounts.get_mut(&account).is_some_and(|owner| {
            let refuse = owner.phone.refuse_next > 0;
            owner.phone.refuse_next = owner.phone.refuse_next.saturating_sub(1);
            refuse
        });
        if refuse {
            return self.phone_retry(account, sender, node, SignalError::BadMac);
        }
        let mut plains: Vec<Vec<u8>> = Vec::new();
        for enc in node.all("enc") {
            match self.phone_decrypt(account, sender, &addr, node, enc, &from) {
                Ok(Some(plain)) => plains.push(plain),
                Ok(None) => {}
                Err(error) => {
                    let detail = format!("the phone cannot decrypt {}: {error}", enc.text("type"));
                    self.object(None, Some(sender), Rule::Signal, Some(node), detail);
                    return self.phone_retry(account, sender, node, error);
                }
            }
        }
        for plain in plains {
            self.phone_content(account, sender, &addr, node, &from, &plain);
        }
        self.phone_receipt(account, sender, node);
    }

    fn phone_decrypt(
        &mut self,
        account: AccountId,
        sender: DeviceKey,
        addr: &Addr,
        node: &Node,
        enc: &Node,
        from: &Jid,
    ) -> Result<Option<Vec<u8>>, SignalError> {
        let kind = match enc.text("type").as_str() {
            "msg" => Some(EncType::Msg),
            "pkmsg" => Some(EncType::PkMsg),
            _ => None,
        };
        if kind == Some(EncType::PkMsg) {
            self.phone_check_identity(account, sender, node, enc);
        }
        let mut rng = self.rng.clone();
        let Some(owner) = self.accounts.get_mut(&account) else { return Ok(None) };
        let result = match kind {
            Some(kind) => owner.phone.endpoint.decrypt(addr, kind, enc.data(), &mut rng),
            None => owner.phone.endpoint.decrypt_group(&from.to_string(), addr, enc.data()),
        };
        self.rng = rng;
        let padded = match result {
            Ok(padded) => padded,
            // Seen before: answered like a success, never with a retry.
            Err(SignalError::Duplicate) if self.phone_handled(account, node) => return Ok(None),
            Err(error) => return Err(error),
        };
        let plain = match unpad(&padded) {
            Ok(plain) => plain.to_vec(),
            Err(detail) => {
                self.object(None, Some(sender), Rule::Signal, Some(node), detail);
                return Ok(None);
            }
        };
        // A distribution must be in place before the skmsg behind it is decrypted.
        if let Ok(message) = ChatMessage::decode(&plain[..])
            && let Some(skdm) = &message.sender_key_distribution
        {
            self.phone_sender_key(account, sender, addr, node, from, skdm);
        }
        Ok(Some(plain))
    }

    fn phone_handled(&self, account: AccountId, node: &Node) -> bool {
        let author = node.jid("participant").or_else(|| node.jid("from")).unwrap_or_else(Jid::server);
        self.accounts.get(&account).is_some_and(|owner| owner.phone.handled.contains(&(node.text("id"), author)))
    }

    fn phone_sender_key(
        &mut self,
        account: AccountId,
        sender: DeviceKey,
        addr: &Addr,
        node: &Node,
        from: &Jid,
        skdm: &crate::proto::ChatSenderKey,
    ) {
        if skdm.group_id.as_deref() != Some(from.to_string().as_str()) {
            self.object(None, Some(sender), Rule::Signal, Some(node), "SKDM groupId is not the chat");
            return;
        }
        let bytes = skdm.axolotl.clone().unwrap_or_default();
        let learnt = self
            .accounts
            .get_mut(&account)
            .map(|owner| owner.phone.endpoint.learn_sender_key(&from.to_string(), addr, &bytes));
        if let Some(Err(error)) = learnt {
            self.object(None, Some(sender), Rule::Signal, Some(node), format!("SKDM: {error}"));
        }
    }

    /// A companion's `pkmsg` comes with an identity its account vouches for.
    fn phone_check_identity(&mut self, _account: AccountId, sender: DeviceKey, node: &Node, enc: &Node) {
        let Ok((_, _, Some(outer))) = inspect::pairwise(EncType::PkMsg, enc.data()) else { return };
        let Some(key) = self.accounts.get(&sender.0).map(|a| a.phone.endpoint.identity().public) else { return };
        let blob = node.find("device-identity").map(|identity| identity.data().to_vec());
        let detail = match (sender.1, blob) {
            (0, None) => return,
            (0, Some(_)) => "a phone has no device-identity",
            (_, None) => "a companion's pkmsg without device-identity",
            (_, Some(blob)) => match crate::adv::check_identity(&key, &PublicKey(outer.identity.0), &blob) {
                Ok(_) => return,
                Err(detail) => detail,
            },
        };
        self.object(None, Some(sender), Rule::DeviceIdentity, Some(node), detail);
    }

    fn phone_content(
        &mut self,
        account: AccountId,
        sender: DeviceKey,
        _addr: &Addr,
        node: &Node,
        from: &Jid,
        plain: &[u8],
    ) {
        let own = sender.0 == account;
        let peer = node.text("category") == "peer";
        let recipient = node.jid("recipient");
        let parsed = match ChatMessage::decode(plain) {
            Ok(parsed) => parsed,
            Err(error) => {
                return self.object(None, Some(sender), Rule::Signal, Some(node), format!("no Message: {error}"));
            }
        };
        let mut message = plain.to_vec();
        let mut detail = None;
        match (&parsed.device_sent, own && !peer && !from.is_group()) {
            (Some(wrapper), true) => {
                let chat = recipient.as_ref().map(ToString::to_string).unwrap_or_default();
                if wrapper.destination_jid.as_deref() != Some(chat.as_str()) {
                    detail = Some(format!("destinationJid {:?} is not the bare chat {chat}", wrapper.destination_jid));
                }
                message = wrapper.message.clone().unwrap_or_default();
                let inner = ChatMessage::decode(&message[..]).ok().and_then(|inner| inner.context_info);
                if inner.is_some() && inner != parsed.context_info && !self.is_lenient(sender) {
                    detail = Some("messageContextInfo is not copied to the wrapper".to_owned());
                }
                if inner.is_some() && parsed.context_info.is_none() && self.is_lenient(sender) {
                    detail = Some("messageContextInfo is missing on the wrapper".to_owned());
                }
            }
            (None, true) => detail = Some("an own copy that is not wrapped".to_owned()),
            (Some(_), false) => detail = Some("a deviceSentMessage for somebody else".to_owned()),
            (None, false) => {}
        }
        if let Some(detail) = detail {
            self.object(None, Some(sender), Rule::DeviceSent, Some(node), detail);
        }
        let chat = if from.is_group() { from.clone() } else { recipient.unwrap_or_else(|| from.bare()) };
        let author = node.jid("participant").unwrap_or_else(|| from.clone());
        let at = self.now;
        let only_key = parsed.sender_key_distribution.is_some()
            && ChatMessage {
                sender_key_distribution: parsed.sender_key_distribution.clone(),
                ..ChatMessage::default()
            }
            .encode_to_vec()
            .len()
                == plain.len();
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        owner.phone.handled.insert((node.text("id"), author.clone()));
        if !only_key {
            owner.phone.inbox.push(Received {
                at,
                from: author,
                chat,
                id: node.text("id"),
                from_me: own,
                peer,
                message,
            });
        }
    }

    fn phone_receipt(&mut self, account: AccountId, sender: DeviceKey, node: &Node) {
        let from = node.jid("from").unwrap_or_else(Jid::server);
        let participant = node.jid("participant");
        let author = participant.clone().unwrap_or_else(|| from.clone());
        let Some(owner) = self.accounts.get(&account).filter(|owner| owner.phone.auto_receipts) else { return };
        let me = owner.jid(&author.bare().server);
        let receipt = Node::new("receipt").attr("id", node.text("id")).attr("t", self.now.secs());
        let receipt = match &participant {
            Some(_) => receipt.attr("from", &from).attr("participant", &me),
            None => receipt.attr("from", &me),
        };
        if sender.0 == account {
            let kind = if node.text("category") == "peer" { "peer_msg" } else { "sender" };
            let receipt = receipt.attr("type", kind).attr_opt("recipient", node.jid("recipient"));
            return self.give(sender, receipt);
        }
        let devices = self.accounts.get(&sender.0).map(crate::server::Account::devices).unwrap_or_default();
        for device in devices {
            self.give((sender.0, device), receipt.clone());
        }
    }

    /// The phone could not decrypt: asks the sender to send again.
    fn phone_retry(&mut self, account: AccountId, sender: DeviceKey, node: &Node, error: SignalError) {
        let from = node.jid("from").unwrap_or_else(Jid::server);
        let participant = node.jid("participant");
        let author = participant.clone().unwrap_or_else(|| from.clone());
        let id = node.text("id");
        let mut rng = self.rng.clone();
        let now = self.now.secs();
        let Some(owner) = self.accounts.get_mut(&account) else { return };
        let count = owner.phone.retries.entry((id.clone(), author.clone())).or_default();
        *count += 1;
        let count = *count;
        if count > 4 {
            return;
        }
        let me = owner.jid(&author.bare().server);
        let mut receipt = Node::new("receipt")
            .attr("id", id.as_str())
            .attr("type", "retry")
            .attr("t", now)
            .attr_opt("recipient", node.jid("recipient"))
            .child(
                Node::new("retry")
                    .attr("count", count)
                    .attr("id", id.as_str())
                    .attr("t", node.text("t"))
                    .attr("v", "1")
                    .attr("error", error.retry_code()),
            )
            .child(leaf("registration", owner.phone.endpoint.registration_id().to_be_bytes()));
        if count >= 2 {
            let bundle = owner.phone.endpoint.bundle(&mut rng);
            let nodes = crate::server::bundle_nodes(&bundle).into_iter().filter(|node| node.tag != "registration");
            receipt = receipt.child(Node::new("keys").children(nodes));
        }
        self.rng = rng;
        let receipt = match participant {
            Some(_) => receipt.attr("from", &from).attr("participant", &me),
            None => receipt.attr("from", &me),
        };
        self.ask_resend(sender, &id, &me, count);
        self.give(sender, receipt);
    }
}
