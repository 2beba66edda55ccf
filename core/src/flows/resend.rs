//! Answering a retry receipt: sending a message again, to the one device that could not decrypt it
//! (`protocol/messages.md` §10.3).

use alloc::string::ToString as _;
use alloc::vec::Vec;

use prost::Message as _;

use super::encrypt::{self, Target, Unreachable};
use super::people::{self, SessionPlace};
use super::query::{Finding, Query};
use super::retry::Retries;
use super::send::SendError;
use crate::adv;
use crate::content::padding::pad;
use crate::content::stanza::StanzaAttrs;
use crate::crypto::PublicKey;
use crate::engine::cx::Cx;
use crate::engine::facts::{Acted, Facts, Stop};
use crate::engine::limits;
use crate::error::Failure;
use crate::proto::wa::Message;
use crate::proto::wa::message::DeviceSentMessage;
use crate::query::bundle::{self, DeviceBundle};
use crate::signal::{Ciphertext, CiphertextKind};
use crate::store::records::{DeviceList, Identity, Me, SentKey, SentMessage, Session};
use crate::wire::{Jid, Node, NodeRef, Str};

/// A request for a resend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resend {
    /// The chat of the message, bare.
    chat: Jid,
    id: Str,
    /// The device that asks, as it names itself.
    device: Jid,
    /// It is one of our own.
    own: bool,
    count: u32,
    registration_id: u32,
    /// Keys for a new session, from its second request on.
    keys: Option<DeviceBundle>,
}

/// How to answer.
#[derive(Debug)]
pub(crate) struct Plan {
    sent: SentMessage,
    target: Target,
    /// The session that is there must not be used.
    renew: bool,
}

impl Resend {
    /// Reads a retry receipt. `None` if it must be refused: too many, for nobody, or not from a party to the chat.
    pub(crate) fn of(node: NodeRef<'_>, me: &Me) -> Option<Self> {
        let from = node.jid("from")?;
        let retry = node.child("retry")?;
        let count = retry.u32("count").unwrap_or(1).max(1);
        if count >= limits::RETRIES_GIVEN || !from.is_user() {
            return None;
        }
        let own = me.is_me(&from);
        if me.is_this_device(&from) {
            return None;
        }
        let registration = node.child("registration").and_then(|node| node.bytes()).unwrap_or_default();
        Some(Self {
            chat: if own { node.jid("recipient")?.bare() } else { from.bare() },
            id: retry.text("id").or_else(|| node.text("id"))?,
            device: from,
            own,
            count,
            registration_id: registration.try_into().map_or(0, u32::from_be_bytes),
            // Keys without a one-time key are refused: they could be replayed.
            keys: match node.child("keys") {
                Some(_) => Some(bundle::of_retry(node).filter(|keys| keys.bundle.one_time.is_some())?),
                None => None,
            },
        })
    }

    /// The same message for the same device.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.id == other.id && self.device == other.device && self.chat == other.chat
    }

    /// Counts this request. `false`: the device has asked for this message too often.
    pub(crate) fn count_in(&self, retries: &mut Retries) -> bool {
        retries.give(&self.chat, &self.id, &self.device)
    }

    pub(crate) fn plan(&self, cx: &Cx, facts: &Facts<'_>) -> Result<Plan, Stop> {
        let view = &facts.view;
        let (chat, device) = (people::canonical(view, &self.chat), people::canonical(view, &self.device));
        let (chat, device) = (chat?, device?);
        let pn = people::phone_number(view, &chat)?.map(|pn| pn.bare());
        let names = [Some(self.chat.clone()), Some(chat), pn].into_iter().flatten();
        let mut sent = None;
        for chat in names {
            if let Some(record) = view.get::<SentMessage>(&SentKey { chat, id: self.id.clone() })? {
                sent = Some(record.clone());
                break;
            }
        }
        // Too old, or never sent there.
        let oldest = cx.now.wall.secs().saturating_sub(limits::SENT_MESSAGE_LIFE.as_secs());
        let Some(sent) = sent.filter(|sent| sent.sent_at >= oldest) else { return Err(Failure::NoRecipient.into()) };
        let list = view.get::<DeviceList>(&device.bare())?;
        let listed = list.is_some_and(|list| list.devices.iter().any(|listed| listed.id == device.device));
        if let (false, Some(keys)) = (listed || device.device == 0, &self.keys) {
            // A companion we have not heard of must prove that it belongs to the account before it gets a message.
            let account_key = match me_key(cx, &device) {
                Some(key) => Some(key),
                None => view.get::<Identity>(&device.bare())?.map(|identity| identity.0),
            };
            let proof = keys.device_identity.as_deref().unwrap_or_default();
            let hosted = device.is_hosted();
            let proved = account_key.is_some()
                && adv::verify_companion(proof, &keys.bundle.identity, account_key.as_ref(), hosted).is_ok();
            if !proved {
                return Err(Failure::NoRecipient.into());
            }
        }
        if !listed && self.keys.is_none() {
            match facts.ask(&Query::Devices(self.device.bare()))? {
                Finding::Recorded => {
                    let list = view.get::<DeviceList>(&device.bare())?;
                    if !list.is_some_and(|list| list.devices.iter().any(|listed| listed.id == device.device)) {
                        return Err(Failure::NoRecipient.into());
                    }
                }
                _ => return Err(Failure::NoRecipient.into()),
            }
        }
        encrypt::want_account_key(view, &device)?;
        let place = SessionPlace::find(view, device.clone())?;
        let session = view.get::<Session>(place.moved_from.as_ref().unwrap_or(&place.canonical))?;
        let registered = session.and_then(|session| session.0.remote_registration_id());
        // Our own devices do not change their registration; somebody plays one.
        if self.own
            && self.keys.is_some()
            && registered.is_some_and(|known| known != self.registration_id && known != 0)
        {
            return Err(Failure::NoRecipient.into());
        }
        let base = session.and_then(|session| session.0.base_key());
        let renew = self.keys.is_some()
            || !place.ready
            || registered.is_some_and(|known| known != self.registration_id && known != 0 && self.registration_id != 0)
            || cx.retries.session_at_fault(&self.chat, &self.id, &self.device, self.count, base);
        let bundle = match (&self.keys, renew) {
            (Some(keys), _) => Some(keys.clone()),
            (None, false) => None,
            (None, true) => match facts.ask(&Query::Bundle(place.canonical.clone()))? {
                Finding::Bundle(bundle) => Some((**bundle).clone()),
                _ => return Err(Failure::NoRecipient.into()),
            },
        };
        Ok(Plan { sent, target: Target { wire: self.device.clone(), place, bundle }, renew })
    }

    pub(crate) fn act(&mut self, plan: Plan, cx: &mut Cx) -> Result<Acted, SendError> {
        let message =
            Message::decode(plan.sent.content.clone()).map_err(|_| SendError(Failure::Internal("content")))?;
        let attrs = StanzaAttrs::of(&message);
        let mut padded = if self.own { self.own_copy(&message) } else { plan.sent.content.to_vec() };
        pad(&mut padded, &mut cx.rng);
        let ciphertext = self.encrypt(&plan, cx, &padded).map_err(|error| {
            encrypt::warn_unreachable(cx, &self.device, &error);
            SendError(Failure::NoRecipient)
        })?;
        let device = &plan.target.place.canonical;
        if self.count >= 2
            && let Some(base) = cx.cache.get::<Session>(device).and_then(|session| session.0.base_key())
        {
            cx.retries.note_base_key(&self.chat, &self.id, &self.device, base);
        }
        let prekey = ciphertext.kind == CiphertextKind::PreKey;
        let enc = encrypt::enc(ciphertext, attrs.media, attrs.hide_failure).attr("count", self.count);
        let stanza = Node::new("message")
            .attr("to", &self.device)
            .attr("id", &self.id)
            .attr("type", attrs.kind)
            .attr_opt("edit", attrs.edit)
            .attr("device_fanout", "false")
            .attr_opt("recipient", self.own.then_some(&self.chat))
            .child(enc)
            .child_opt(if prekey { encrypt::device_identity(cx) } else { None });
        cx.send(&stanza);
        // If it is lost on the way, the device asks again.
        Ok(Acted::Finished)
    }

    fn encrypt(&self, plan: &Plan, cx: &mut Cx, padded: &[u8]) -> Result<Ciphertext, Unreachable> {
        if let (true, Some(bundle)) = (plan.renew, &plan.target.bundle) {
            plan.target.place.settle(cx);
            encrypt::replace_session(cx, &plan.target.place.canonical, bundle)?;
        }
        plan.target.encrypt(cx, padded)
    }

    fn own_copy(&self, message: &Message) -> Vec<u8> {
        Message {
            message_context_info: message.message_context_info.clone(),
            device_sent_message: Some(
                DeviceSentMessage {
                    destination_jid: Some(self.chat.to_string()),
                    message: Some(message.clone().into()),
                    phash: None,
                }
                .into(),
            ),
            ..Message::default()
        }
        .encode_to_vec()
    }
}

/// The account key of one of our own devices.
fn me_key(cx: &Cx, device: &Jid) -> Option<PublicKey> {
    cx.me().filter(|me| me.is_me(device)).map(|me| me.account_key)
}
