//! Sending a message to a user (`protocol/messages.md` §5, §6): to every device of theirs and of ours.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::format_compact;
use prost::Message as _;

use super::encrypt::{self, Target};
use super::people;
use super::query::{Finding, Query};
use crate::address::Kind;
use crate::content::padding::pad;
use crate::content::stanza::StanzaAttrs;
use crate::crypto::hash;
use crate::engine::command::{Reply, SendMessage, Sent};
use crate::engine::cx::{Cx, encode_frame};
use crate::engine::facts::{Acted, Facts, Stop};
use crate::engine::{Wall, limits};
use crate::error::{Failure, RejectReason};
use crate::event::Event;
use crate::proto::wa::Message;
use crate::proto::wa::message::DeviceSentMessage;
use crate::query::usync::{device_jid, phash};
use crate::store::records::{Device, DeviceList, Identity, OutboxEntry, SentKey, SentMessage};
use crate::wire::{Jid, Node, NodeRef, Str};

/// A send. What it needs of time and randomness is taken when it begins, so that its plan can be made again and again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Send {
    to: Jid,
    id: Str,
    reference: Option<Str>,
    /// Encoded `Message`, without padding.
    content: Bytes,
    started: Wall,
    /// What became of it, once it is on its way.
    memo: Memo,
}

/// Without the content.
impl core::fmt::Debug for Send {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Send").field("to", &self.to).field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the ack is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memo {
    to: Option<Jid>,
    devices: u32,
    phash: Str,
    accounts: Vec<Jid>,
}

/// It failed while being made; nothing was sent.
#[derive(Debug)]
pub(crate) struct SendError(pub(crate) Failure);

/// What to do.
#[derive(Debug)]
pub(crate) enum Plan {
    /// This reference was sent before and has no answer: the same stanza again, never a second message.
    Again(OutboxEntry),
    /// Encrypt and send.
    New(Route),
}

/// Where a message goes.
#[derive(Debug)]
pub(crate) struct Route {
    /// The chat on the wire.
    to: Jid,
    theirs: Vec<Target>,
    ours: Vec<Target>,
    /// All devices of both sides, the sending one included, for the phash.
    everyone: Vec<Jid>,
    /// Canonical names of both accounts.
    accounts: Vec<Jid>,
}

impl Send {
    pub(crate) fn check(command: &SendMessage) -> Result<(), RejectReason> {
        match command.to.kind() {
            Kind::PhoneNumber | Kind::Lid if !command.to.user().is_empty() && command.to.jid().is_well_formed() => {}
            _ => return Err(RejectReason::BadAddress(format_compact!("{}", command.to))),
        }
        let message = command.content.to_message()?;
        if message.encoded_len() > limits::CONTENT_BYTES {
            return Err(RejectReason::BadContent("the message is too large"));
        }
        match &command.id {
            Some(id) if id.is_empty() || id.len() > 128 || id.chars().any(char::is_whitespace) => {
                Err(RejectReason::BadContent("a message id has 1 to 128 characters without spaces"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn new(cx: &mut Cx, command: SendMessage) -> Self {
        // It was checked when the command was taken.
        let mut message = command.content.to_message().unwrap_or_default();
        if has_secret(&message) {
            let context = message.message_context_info.get_or_insert_default();
            if context.message_secret.is_none() {
                context.message_secret = Some(Bytes::copy_from_slice(&cx.rng.bytes::<32>()));
            }
        }
        Self {
            to: command.to.jid().bare(),
            id: command.id.unwrap_or_else(|| message_id(cx)),
            reference: command.reference,
            content: message.encode_to_vec().into(),
            started: cx.now.wall,
            memo: Memo::default(),
        }
    }

    /// A durable send of an earlier run, whose stanza is in the outbox.
    pub(crate) fn restored(reference: &Str, entry: &OutboxEntry) -> Option<Self> {
        let to: Jid = entry.chat.parse().ok()?;
        Some(Self {
            to: to.clone(),
            id: entry.id.as_str().into(),
            reference: Some(reference.clone()),
            content: Bytes::new(),
            started: Wall(0),
            memo: Memo { to: Some(to), devices: entry.devices, ..Memo::default() },
        })
    }

    /// Stanza id.
    pub(crate) fn id(&self) -> &Str {
        &self.id
    }

    pub(crate) fn reference(&self) -> Option<&Str> {
        self.reference.as_ref()
    }

    /// Tells the consumer how a durable send of an earlier run ended.
    pub(crate) fn tell(&self, cx: &mut Cx, reference: &Str, result: &Result<Reply, Failure>) {
        let result = match result {
            Ok(Reply::Sent(sent)) => Ok(sent.clone()),
            Ok(_) => return,
            Err(failure) => Err(failure.clone()),
        };
        cx.event(Event::SendFinished { reference: reference.clone(), id: self.id.clone(), result });
    }

    /// Finds out where the message goes.
    pub(crate) fn plan(&self, cx: &Cx, facts: &Facts<'_>) -> Result<Plan, Stop> {
        if let Some(reference) = &self.reference
            && let Some(entry) = facts.view.get::<OutboxEntry>(reference)?
        {
            return Ok(Plan::Again(entry.clone()));
        }
        self.route(cx, facts).map(Plan::New)
    }

    fn route(&self, cx: &Cx, facts: &Facts<'_>) -> Result<Route, Stop> {
        let Some(me) = cx.me() else { return Err(Failure::Internal("no account").into()) };
        let theirs = Account::find(facts, &self.to, self.started);
        let own = me.lid.as_ref().unwrap_or(&me.pn).bare();
        let ours = Account::find(facts, &own, self.started);
        let (theirs, ours) = (theirs?, ours?);
        // One namespace for everything in the stanza: the account's.
        let use_lid = theirs.lid.is_some() && (me.lid_migrated || theirs.pn.is_none()) && me.lid.is_some();
        let to_myself = me.is_me(&self.to);
        let name = |account: &Account| if use_lid { account.lid.clone() } else { account.pn.clone() };
        let (Some(to), Some(own_wire)) = (name(&theirs), name(&ours).or_else(|| Some(me.pn.bare()))) else {
            return Err(Failure::NoRecipient.into());
        };
        let this_device = me.pn.device;
        let their_devices: &[Device] = if to_myself { &[] } else { &theirs.devices };
        let (mut gap, mut failed) = (false, None);
        let mut targets = |account: &Account, wire: &Jid, devices: &[Device], skip: Option<u16>| {
            let mut found = Vec::with_capacity(devices.len());
            for device in devices.iter().filter(|device| skip != Some(device.id)) {
                let canonical = device_jid(&account.canonical, device.id, device.hosted);
                match Target::find(facts, device_jid(wire, device.id, device.hosted), canonical) {
                    Ok(target) => found.extend(target),
                    Err(Stop::Gap) => gap = true,
                    Err(Stop::Fail(failure)) => failed = Some(failure),
                }
            }
            found
        };
        let their_targets = targets(&theirs, &to, their_devices, None);
        let our_targets = targets(&ours, &own_wire, &ours.devices, Some(this_device));
        if let Some(failure) = failed {
            return Err(failure.into());
        }
        if gap {
            return Err(Stop::Gap);
        }
        if their_targets.is_empty() && !to_myself {
            return Err(Failure::NoRecipient.into());
        }
        let everyone = their_devices
            .iter()
            .map(|device| device_jid(&to, device.id, device.hosted))
            .chain(ours.devices.iter().map(|device| device_jid(&own_wire, device.id, device.hosted)))
            .collect();
        Ok(Route {
            to,
            theirs: their_targets,
            ours: our_targets,
            everyone,
            accounts: Vec::from([theirs.canonical, ours.canonical]),
        })
    }

    /// Encrypts and records.
    pub(crate) fn act(&mut self, plan: Plan, cx: &mut Cx) -> Result<Acted, SendError> {
        let plan = match plan {
            Plan::New(route) => route,
            Plan::Again(entry) => {
                self.id = entry.id.as_str().into();
                self.memo = Memo { to: entry.chat.parse().ok(), devices: entry.devices, ..Memo::default() };
                return Ok(Acted::Sent { id: self.id.clone(), frame: entry.stanza.to_vec() });
            }
        };
        let message = Message::decode(self.content.clone()).map_err(|_| SendError(Failure::Internal("content")))?;
        let attrs = StanzaAttrs::of(&message);
        let mut reached = Vec::new();
        let mut nodes = Vec::new();
        let mut prekey = false;
        let own_copy = own_copy(&plan.to, &message);
        for (targets, content) in [(&plan.theirs, &self.content[..]), (&plan.ours, &own_copy[..])] {
            for target in targets {
                // Every device gets its own padding: equal lengths would tell which ciphertexts belong together.
                let mut padded = content.to_vec();
                pad(&mut padded, &mut cx.rng);
                match target.encrypt(cx, &padded) {
                    Ok(ciphertext) => {
                        prekey |= ciphertext.kind == crate::signal::CiphertextKind::PreKey;
                        let enc = encrypt::enc(ciphertext, attrs.media, attrs.hide_failure);
                        nodes.push(Node::new("to").attr("jid", &target.wire).child(enc));
                        reached.push(target.wire.clone());
                    }
                    Err(error) => encrypt::warn_unreachable(cx, &target.wire, &error),
                }
            }
            if core::ptr::eq(targets, &raw const plan.theirs) && nodes.is_empty() && !plan.theirs.is_empty() {
                return Err(SendError(Failure::NoRecipient));
            }
        }
        let stanza = Node::new("message")
            .attr("to", &plan.to)
            .attr("id", &self.id)
            .attr("type", attrs.kind)
            .attr_opt("edit", attrs.edit)
            .child(Node::new("participants").children(nodes))
            .child_opt(if prekey { encrypt::device_identity(cx) } else { None });
        let frame = encode_frame(&stanza).map_err(|_| SendError(Failure::Internal("stanza")))?;
        let devices = u32::try_from(reached.len()).unwrap_or(u32::MAX);
        cx.cache.put(
            &SentKey { chat: plan.to.clone(), id: self.id.clone() },
            SentMessage {
                content: self.content.clone(),
                devices: encrypt::device_names(&reached),
                sent_at: cx.now.wall.secs(),
            },
        );
        if let Some(reference) = &self.reference {
            let entry = OutboxEntry {
                reference: reference.to_string(),
                id: self.id.to_string(),
                chat: plan.to.to_string(),
                stanza: Bytes::copy_from_slice(&frame),
                devices,
                place: cx.next_place(),
            };
            cx.cache.put(reference, entry);
        }
        self.memo = Memo { to: Some(plan.to), devices, phash: phash(&plan.everyone), accounts: plan.accounts };
        Ok(Acted::Sent { id: self.id.clone(), frame })
    }

    /// What the server's ack says (`protocol/messages.md` §10.2).
    pub(crate) fn acked(&self, cx: &mut Cx, ack: NodeRef<'_>) -> Result<Reply, Failure> {
        let code = ack.u32("error");
        // A different set of devices than we knew, or stale ones: look again before the next send.
        let differs = ack.text("phash").is_some_and(|phash| phash != self.memo.phash);
        if differs || matches!(code, Some(421 | 479)) {
            self.memo.accounts.iter().for_each(|account| cx.cache.delete::<DeviceList>(account));
        }
        match code {
            Some(code) => Err(Failure::Refused { code, text: Str::const_new(meaning(code)), backoff: None }),
            None if ack.has("error") => {
                let text = ack.text("error").unwrap_or_default();
                Err(Failure::Refused { code: 0, text, backoff: None })
            }
            None => Ok(Reply::Sent(Sent {
                id: self.id.clone(),
                to: self.memo.to.clone().unwrap_or_else(|| self.to.clone()).into(),
                timestamp: ack.u64("t").unwrap_or(0),
                devices: self.memo.devices,
            })),
        }
    }
}

/// An account as the stanza needs it.
struct Account {
    canonical: Jid,
    lid: Option<Jid>,
    pn: Option<Jid>,
    devices: Vec<Device>,
}

impl Account {
    fn find(facts: &Facts<'_>, jid: &Jid, started: Wall) -> Result<Self, Stop> {
        let canonical = people::canonical(&facts.view, jid)?;
        let pn = people::phone_number(&facts.view, &canonical)?.or_else(|| jid.is_pn().then(|| jid.clone()));
        let known = facts.view.get::<DeviceList>(&canonical);
        // What the server says of its devices is checked with the key of its phone.
        facts.view.get::<Identity>(&canonical)?;
        let known = known?;
        let oldest = started.secs().saturating_sub(limits::DEVICE_LIST_AGE.as_secs());
        let fresh = known.is_some_and(|list| list.fetched_at > oldest && list.fetched_at != 0);
        let list = if fresh {
            known
        } else {
            let question = pn.clone().unwrap_or_else(|| canonical.clone());
            match facts.ask(&Query::Devices(question))? {
                Finding::Recorded => facts.view.get::<DeviceList>(&people::canonical(&facts.view, jid)?)?,
                // Better the list of yesterday than none.
                _ if known.is_some() => known,
                finding => return Err(finding.failure().unwrap_or(Failure::NoRecipient).into()),
            }
        };
        let devices = list.map(|list| list.devices.clone()).unwrap_or_default();
        if devices.is_empty() {
            return Err(Failure::NoRecipient.into());
        }
        let lid = canonical.is_lid().then(|| canonical.clone());
        Ok(Self { canonical, lid, pn, devices })
    }
}

/// The copy for our own other devices, encoded.
fn own_copy(to: &Jid, message: &Message) -> Vec<u8> {
    Message {
        message_context_info: message.message_context_info.clone(),
        device_sent_message: Some(
            DeviceSentMessage {
                destination_jid: Some(to.to_string()),
                message: Some(message.clone().into()),
                phash: None,
            }
            .into(),
        ),
        ..Message::default()
    }
    .encode_to_vec()
}

/// Whether a message carries a secret: new content does, what refers to other messages does not.
fn has_secret(message: &Message) -> bool {
    message.protocol_message.is_none()
        && message.reaction_message.is_none()
        && message.enc_reaction_message.is_none()
        && message.poll_update_message.is_none()
        && message.enc_event_response_message.is_none()
        && message.keep_in_chat_message.is_none()
        && message.pin_in_chat_message.is_none()
        && message.edited_message.is_none()
}

/// A fresh message id (`protocol/transport.md` §8).
pub(crate) fn message_id(cx: &mut Cx) -> Str {
    use core::fmt::Write as _;
    let user = cx.me().map(|me| me.pn.user.clone()).unwrap_or_default();
    let random: [u8; 16] = cx.rng.bytes();
    id_of(cx.server_time().secs(), &user, &random).unwrap_or_else(|| {
        let mut id = Str::const_new("3EB0");
        random.iter().try_for_each(|byte| write!(id, "{byte:02X}")).ok();
        id
    })
}

fn id_of(secs: u64, user: &str, random: &[u8; 16]) -> Option<Str> {
    use core::fmt::Write as _;
    let digest = hash::sha256(&[&secs.to_be_bytes(), user.as_bytes(), b"@c.us", random]);
    let mut id = Str::const_new("3EB0");
    digest.iter().take(9).try_for_each(|byte| write!(id, "{byte:02X}")).ok()?;
    Some(id)
}

/// What a refusal of a message means and what to do.
fn meaning(code: u32) -> &'static str {
    match code {
        400 => "malformed or mixed addressing; not to be repeated",
        404 => "not found",
        405 | 473 => "this kind of interactive content is refused",
        421 => "the group's addressing is out of date; send again",
        429 => "too many messages; slow down",
        463 => "the account may not write to this user now (missing token or restriction); do not repeat",
        475 => "limit of new chats reached; wait",
        479 => "out-of-date devices or sessions; send again once",
        503 => "not available now; try again later",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn message_id_vector() {
        let id = super::id_of(1_700_000_000, "15550000001", &[0x11; 16]);
        assert_eq!(id.as_deref(), Some("3EB0134F9141F7E2B988B6"));
    }
}
