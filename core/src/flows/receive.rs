//! Receiving a message (`protocol/messages.md` §11): decrypt, keep, answer, deliver, all in one transaction.

use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::ToCompactString as _;
use prost::Message as _;

use super::deliver::{deliver, undecryptable};
use super::people::{self, SessionPlace};
use super::source::Source;
use super::{encrypt, receipts, retry};
use crate::adv::AdvError;
use crate::content::padding::unpad;
use crate::content::stanza;
use crate::engine::cx::Cx;
use crate::engine::limits;
use crate::event::Warning;
use crate::proto::wa;
use crate::proto::wa::message::protocol_message::Type as ProtocolType;
use crate::signal::{
    self, Distribution, FailureResponse, Forward, LocalIdentity, LocalPreKeys, MessageClass, PreKeyMessage,
    RetryReason, SenderKeyMessage, SenderKeyRecord, SessionRecord, SessionUsed, SignalError, SignalMessage,
};
use crate::store::records::{Account, Identity, PreKey, SenderKey, SenderKeyName, Session, SignedPreKey};
use crate::store::{Gap, View};
use crate::wire::{Jid, NodeRef, Str};

/// What a message stanza is.
pub(crate) enum Plan {
    /// It can never be dealt with.
    Refuse(&'static str),
    /// It holds something that the sender encrypted for us.
    Encrypted(Encrypted),
    /// It says that there is a message, but not what it says.
    Unavailable(Source),
    /// A channel's message, which is not encrypted.
    Plaintext(Source),
}

/// Everything needed to decrypt.
pub(crate) struct Encrypted {
    source: Source,
    place: SessionPlace,
}

/// Reads a stanza and looks up what decrypting it will need.
pub(crate) fn plan(cx: &Cx, view: &View<'_>, node: NodeRef<'_>) -> Result<Plan, Gap> {
    let Some(me) = cx.me() else { return Ok(Plan::Refuse("a message for a device that is not linked")) };
    let source = match Source::of(node, me) {
        Ok(source) => source,
        Err(what) => return Ok(Plan::Refuse(what)),
    };
    if node.child("plaintext").is_some() {
        let newsletter = source.chat.server == crate::wire::Server::Newsletter;
        return Ok(if newsletter {
            Plan::Plaintext(source)
        } else {
            Plan::Refuse("plaintext from somebody who must encrypt")
        });
    }
    let encs = encs(node);
    if encs.is_empty() {
        return Ok(Plan::Unavailable(source));
    }
    let mut gap = Ok(());
    for jid in [Some(&source.sender), source.sender_alt.as_ref(), Some(&source.chat), source.chat_alt.as_ref()]
        .into_iter()
        .flatten()
    {
        gap = people::want_mapping(view, jid).and(gap);
    }
    // The stanza itself may tell the sender's LID for the first time.
    let canonical = match &source.sender_alt {
        Some(alt) if alt.is_lid() && source.sender.is_pn() => {
            crate::query::usync::device_jid(alt, source.sender.device, source.sender.is_hosted())
        }
        _ => people::canonical(view, &source.sender)?,
    };
    let pn = match &source.sender_alt {
        _ if source.sender.is_pn() => Some(source.sender.clone()),
        Some(alt) if alt.is_pn() => {
            Some(crate::query::usync::device_jid(alt, source.sender.device, source.sender.is_hosted()))
        }
        _ => people::phone_number(view, &canonical)?,
    };
    encrypt::want_account_key(view, &canonical)?;
    let place = SessionPlace::find_with(view, canonical, pn)?;
    let session = view.get::<Session>(place.moved_from.as_ref().unwrap_or(&place.canonical))?;
    let empty = SessionRecord::new();
    let record = session.map_or(&empty, |session| &session.0);
    for enc in &encs {
        if enc.kind == "pkmsg" {
            let Ok(message) = PreKeyMessage::parse(enc.bytes) else { continue };
            let needed = signal::prekeys_needed(record, &message);
            if let Some(id) = needed.signed {
                gap = view.get::<SignedPreKey>(&id).map(|_| ()).and(gap);
            }
            if let Some(id) = needed.one_time {
                gap = view.get::<PreKey>(&id).map(|_| ()).and(gap);
            }
        }
    }
    if matches!(source.chat.server, crate::wire::Server::Group | crate::wire::Server::Broadcast) {
        let name = sender_key_name(&source, &place);
        let keys = view.get::<SenderKey>(&name);
        let older = older_sender_key_name(&source, &place).map(|older| view.get::<SenderKey>(&older));
        gap = keys.map(|_| ()).and(older.unwrap_or(Ok(None)).map(|_| ())).and(gap);
    }
    gap?;
    Ok(Plan::Encrypted(Encrypted { source, place }))
}

fn sender_key_name(source: &Source, place: &SessionPlace) -> SenderKeyName {
    SenderKeyName { group: source.chat.clone(), sender: place.canonical.clone() }
}

/// The name that sender keys had before the sender's LID was known.
fn older_sender_key_name(source: &Source, place: &SessionPlace) -> Option<SenderKeyName> {
    let pn = place.pn.clone().filter(|pn| *pn != place.canonical)?;
    Some(SenderKeyName { group: source.chat.clone(), sender: pn })
}

/// One `<enc>`.
struct Enc<'a> {
    kind: &'a str,
    bytes: &'a [u8],
    count: u32,
    hide: bool,
}

/// All `<enc>` of a stanza, session ciphertexts before sender-key ciphertexts: the former may bring the key of the latter.
fn encs(node: NodeRef<'_>) -> Vec<Enc<'_>> {
    let own = node.child("participants").into_iter().flat_map(|all| all.children_named("to").collect::<Vec<_>>());
    let nested = own.flat_map(|to| to.children_named("enc").collect::<Vec<_>>());
    let mut encs: Vec<_> = node
        .children_named("enc")
        .chain(nested)
        .map(|enc| Enc {
            kind: enc.str("type").unwrap_or_default(),
            bytes: enc.bytes().unwrap_or_default(),
            count: enc.u32("count").unwrap_or(0),
            hide: enc.str("decrypt-fail") == Some("hide"),
        })
        .collect();
    encs.sort_by_key(|enc| enc.kind == "skmsg");
    encs
}

/// Why an `<enc>` gave no message.
enum Unreadable {
    Signal(SignalError, MessageClass),
    /// Not padded as every message is.
    Padding,
    /// No message inside.
    Protobuf,
    /// A kind of encryption that we do not know.
    Kind,
    /// The sending companion does not prove that it belongs to its account.
    Adv(AdvError),
}

pub(crate) fn act(plan: Plan, cx: &mut Cx, node: NodeRef<'_>) {
    match plan {
        Plan::Refuse(what) => {
            cx.warn(Warning::BadStanza { what: Str::const_new(what) });
            receipts::nack(cx, node, 487);
        }
        Plan::Unavailable(source) => {
            undecryptable(cx, &source, "the server has no content for this device", false, false);
            receipts::ack(cx, node);
        }
        Plan::Plaintext(source) => {
            let bytes = node.child("plaintext").and_then(|node| node.bytes()).unwrap_or_default();
            let raw = Bytes::copy_from_slice(bytes);
            match wa::Message::decode(raw.clone()) {
                Ok(message) => {
                    deliver(cx, &source, &message, raw);
                    receipts::ack(cx, node);
                }
                Err(_) => receipts::nack(cx, node, 491),
            }
        }
        Plan::Encrypted(encrypted) => encrypted.open(cx, node),
    }
}

impl Encrypted {
    fn open(self, cx: &mut Cx, node: NodeRef<'_>) {
        let source = &self.source;
        if let Some(alt) = &source.sender_alt {
            people::learn(cx, alt, &source.sender);
        }
        if let Some(alt) = &source.chat_alt {
            people::learn(cx, alt, &source.chat);
        }
        self.place.settle(cx);
        self.settle_sender_key(cx);
        let (mut failure, mut duplicate, mut known, mut hide) = (None, false, 0, false);
        for enc in encs(node) {
            if enc.kind == "skmsg" && failure.is_some() {
                // Its key was in what failed; the resend brings both.
                continue;
            }
            match self.decrypt(cx, node, &enc).and_then(parse) {
                Ok((message, raw)) => self.take(cx, message, raw),
                Err(Unreadable::Signal(SignalError::Duplicate { .. }, _)) => duplicate = true,
                Err(unreadable) => {
                    (known, hide) = (enc.count, enc.hide);
                    failure.get_or_insert(unreadable);
                }
            }
        }
        match failure {
            None => receipts::delivered(cx, source, node),
            Some(unreadable) => {
                debug_assert!(!matches!(unreadable, Unreadable::Signal(SignalError::Duplicate { .. }, _)) || duplicate);
                self.failed(cx, node, &unreadable, known, hide);
            }
        }
    }

    fn decrypt(&self, cx: &mut Cx, node: NodeRef<'_>, enc: &Enc<'_>) -> Result<Vec<u8>, Unreadable> {
        let pairwise = |error| Unreadable::Signal(error, MessageClass::Pairwise);
        let group = |error| Unreadable::Signal(error, MessageClass::SenderKey);
        match enc.kind {
            "pkmsg" => {
                let message = PreKeyMessage::parse(enc.bytes).map_err(pairwise)?;
                // The key is authenticated by the decryption that follows, the proof by the key.
                let proof = node.child("device-identity").and_then(|proof| proof.bytes());
                encrypt::verify_companion(cx, &self.place.canonical, &message.identity_key, proof)
                    .map_err(Unreadable::Adv)?;
                self.decrypt_prekey(cx, &message).map_err(pairwise)
            }
            "msg" => self.decrypt_session(cx, enc.bytes).map_err(pairwise),
            "skmsg" => {
                let message = SenderKeyMessage::parse(enc.bytes).map_err(group)?;
                let name = sender_key_name(&self.source, &self.place);
                let result = cx.cache.update::<SenderKey, _, _>(&name, |keys| keys.0.decrypt(&message));
                result.unwrap_or(Err(SignalError::NoSenderKey(message.key_id))).map_err(group)
            }
            _ => Err(Unreadable::Kind),
        }
    }

    /// Moves sender keys to the sender's canonical name, if they are not there.
    fn settle_sender_key(&self, cx: &mut Cx) {
        let Some(older) = older_sender_key_name(&self.source, &self.place) else { return };
        let Some(keys) = cx.cache.get::<SenderKey>(&older).cloned() else { return };
        let name = sender_key_name(&self.source, &self.place);
        if cx.cache.get::<SenderKey>(&name).is_none() {
            cx.cache.put(&name, keys);
            cx.cache.delete::<SenderKey>(&older);
        }
    }

    fn forward(&self) -> Forward {
        if self.source.from_me { Forward::OwnDevice } else { Forward::Peer }
    }

    fn decrypt_session(&self, cx: &mut Cx, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        let message = SignalMessage::parse(bytes)?;
        let forward = self.forward();
        let Cx { cache, rng, .. } = cx;
        let result = cache.update::<Session, _, _>(&self.place.canonical, |session| {
            signal::decrypt(&mut session.0, &message, rng, forward)
        });
        Ok(result.unwrap_or(Err(SignalError::NoSession))?.plaintext)
    }

    fn decrypt_prekey(&self, cx: &mut Cx, message: &PreKeyMessage<'_>) -> Result<Vec<u8>, SignalError> {
        let device = &self.place.canonical;
        let Some(account) = cx.cache.get::<Account>(&()).cloned() else { return Err(SignalError::NoSession) };
        let local = LocalIdentity { keys: &account.identity, registration_id: account.registration_id };
        let empty = SessionRecord::new();
        let existing = cx.cache.get::<Session>(device).map(|session| &session.0);
        let exists = existing.is_some();
        let needed = signal::prekeys_needed(existing.unwrap_or(&empty), message);
        let signed: Vec<_> = needed
            .signed
            .and_then(|id| cx.cache.get::<SignedPreKey>(&id))
            .map(|key| key.0.clone())
            .into_iter()
            .collect();
        let one_time: Vec<_> =
            needed.one_time.and_then(|id| cx.cache.get::<PreKey>(&id)).map(|key| key.0.clone()).into_iter().collect();
        let prekeys = LocalPreKeys { signed: &signed, one_time: &one_time };
        let forward = self.forward();
        let Cx { cache, rng, .. } = cx;
        let decrypted = if exists {
            let result = cache.update::<Session, _, _>(device, |session| {
                signal::decrypt_prekey(&mut session.0, &local, message, &prekeys, rng, forward)
            });
            result.unwrap_or(Err(SignalError::NoSession))?
        } else {
            let mut record = SessionRecord::new();
            let decrypted = signal::decrypt_prekey(&mut record, &local, message, &prekeys, rng, forward)?;
            cache.put(device, Session(record));
            decrypted
        };
        if let Some(id) = decrypted.used_prekey {
            cx.cache.delete::<PreKey>(&id);
        }
        if decrypted.session == SessionUsed::New || cx.cache.get::<Identity>(device).is_none() {
            // Only now is the identity authenticated.
            people::trust(cx, device, decrypted.identity);
        }
        Ok(decrypted.plaintext)
    }

    /// Takes one decrypted message.
    fn take(&self, cx: &mut Cx, mut message: wa::Message, mut raw: Bytes) {
        let source = &self.source;
        if let Some(sent) = message.device_sent_message.take() {
            if !source.from_me {
                // It would let anybody write in our name.
                return forged(cx, source, "a message wrapped as our own");
            }
            let outer = message.message_context_info.take();
            message = sent.message.map(|inner| *inner).unwrap_or_default();
            if let Some(outer) = outer {
                let context = message.message_context_info.get_or_insert_default();
                if context.message_secret.is_none() {
                    context.message_secret = outer.message_secret;
                }
            }
            raw = message.encode_to_vec().into();
        }
        if let Some(distribution) = message.sender_key_distribution_message.take() {
            self.take_sender_key(cx, &distribution);
            let context = message.message_context_info.take();
            let empty = message == wa::Message::default();
            message.message_context_info = context;
            if empty {
                return;
            }
        }
        if let Some(protocol) = &stanza::unwrap(&message).protocol_message
            && !source.from_me
            && is_self_only(protocol)
        {
            return forged(cx, source, "a protocol message that only our own devices may send");
        }
        if cx.retries.comes(source) {
            deliver(cx, source, &message, raw);
        }
    }

    fn take_sender_key(&self, cx: &mut Cx, message: &wa::message::SenderKeyDistributionMessage) {
        let chat = &self.source.chat;
        let for_chat = message.group_id.as_deref().is_some_and(|group| group.parse::<Jid>().as_ref() == Ok(chat));
        if !for_chat || !(chat.is_group() || chat.server == crate::wire::Server::Broadcast) {
            return forged(cx, &self.source, "a sender key for another chat");
        }
        let bytes = message.axolotl_sender_key_distribution_message.as_deref().unwrap_or_default();
        let Ok(distribution) = Distribution::parse(bytes) else {
            return cx.warn(Warning::BadStanza { what: Str::const_new("a sender key that cannot be read") });
        };
        let name = sender_key_name(&self.source, &self.place);
        let mut keys = cx.cache.get::<SenderKey>(&name).map_or_else(SenderKeyRecord::new, |keys| keys.0.clone());
        keys.process_distribution(&distribution);
        cx.cache.put(&name, SenderKey(keys));
    }

    /// Answers what could not be read (§11.5).
    fn failed(&self, cx: &mut Cx, node: NodeRef<'_>, unreadable: &Unreadable, known: u32, hide: bool) {
        let source = &self.source;
        let (response, why) = match unreadable {
            Unreadable::Signal(error, class) => (error.response(*class), error.to_compact_string()),
            Unreadable::Adv(error) => (FailureResponse::Retry(RetryReason::AdvFailure), error.to_compact_string()),
            Unreadable::Padding => {
                (FailureResponse::Retry(RetryReason::InvalidMessage), Str::const_new("the padding is wrong"))
            }
            Unreadable::Protobuf => {
                undecryptable(cx, source, "what was decrypted is no message", false, hide);
                return receipts::nack(cx, node, 491);
            }
            Unreadable::Kind => {
                undecryptable(cx, source, "an unknown kind of encryption", false, hide);
                return receipts::ack(cx, node);
            }
        };
        match response {
            FailureResponse::Delivered => receipts::delivered(cx, source, node),
            FailureResponse::Unparsable => {
                undecryptable(cx, source, &why, false, hide);
                receipts::nack(cx, node, 487);
            }
            // Our own copy from another device: the server would bring it again for an hour.
            FailureResponse::Retry(_) if source.from_me && source.recipient.is_some() && !source.peer => {
                undecryptable(cx, source, &why, false, hide);
                receipts::delivered(cx, source, node);
            }
            FailureResponse::Retry(_) if source.chat.is_status() && is_old_status(cx, source) => {
                undecryptable(cx, source, &why, false, hide);
                receipts::ack(cx, node);
            }
            FailureResponse::Retry(reason) => {
                let retrying = retry::ask(cx, source, known, reason);
                undecryptable(cx, source, &why, retrying, hide);
                receipts::ack(cx, node);
            }
        }
    }
}

fn is_old_status(cx: &Cx, source: &Source) -> bool {
    source.timestamp + limits::STATUS_AGE.as_secs() < cx.server_time().secs()
}

fn parse(mut plaintext: Vec<u8>) -> Result<(wa::Message, Bytes), Unreadable> {
    let len = unpad(&plaintext).ok_or(Unreadable::Padding)?.len();
    plaintext.truncate(len);
    let raw = Bytes::from(plaintext);
    let message = wa::Message::decode(raw.clone()).map_err(|_| Unreadable::Protobuf)?;
    Ok((message, raw))
}

/// Protocol messages that change this account and count only when they come from it (§11.3).
fn is_self_only(protocol: &wa::message::ProtocolMessage) -> bool {
    // The type or the content alone is enough: a forger may leave out either.
    protocol.history_sync_notification.is_some()
        || protocol.app_state_sync_key_share.is_some()
        || protocol.app_state_sync_key_request.is_some()
        || protocol.peer_data_operation_request_message.is_some()
        || protocol.peer_data_operation_request_response_message.is_some()
        || protocol.initial_security_notification_setting_sync.is_some()
        || protocol.app_state_fatal_exception_notification.is_some()
        || protocol.lid_migration_mapping_sync_message.is_some()
        || matches!(
            protocol.r#type.and_then(|kind| ProtocolType::try_from(kind).ok()),
            Some(
                ProtocolType::HistorySyncNotification
                    | ProtocolType::AppStateSyncKeyShare
                    | ProtocolType::AppStateSyncKeyRequest
                    | ProtocolType::AppStateFatalExceptionNotification
                    | ProtocolType::InitialSecurityNotificationSettingSync
                    | ProtocolType::PeerDataOperationRequestMessage
                    | ProtocolType::PeerDataOperationRequestResponseMessage
                    | ProtocolType::LidMigrationMappingSync
            )
        )
}

fn forged(cx: &mut Cx, source: &Source, what: &'static str) {
    cx.warn(Warning::Forged { from: source.sender.clone().into(), what });
}
