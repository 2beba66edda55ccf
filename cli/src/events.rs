//! Events as JSON: one flat object each, `event` says which. The same in `--json` and in `rpc`; docs/rpc.md has the list.

use amarula_core::content::Content;
use amarula_core::engine::command::{ChatState, Sent};
use amarula_core::error::Failure;
use amarula_core::event::{Connection, Delivery, Event, Pairing, Receipt, ReceiptKind, Undecryptable, Warning};
use amarula_core::message::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::problem::Problem;

/// An event, with its delivery id if it wants to be confirmed.
pub(crate) fn json(delivery: &Delivery) -> Value {
    let mut object = of_event(&delivery.event);
    if let Some(id) = delivery.id {
        object["delivery"] = json!(id.0);
    }
    object
}

fn of_event(event: &Event) -> Value {
    match event {
        Event::Connection(connection) => of_connection(connection),
        Event::Pairing(pairing) => of_pairing(pairing),
        Event::Message(message) => of_message(message),
        Event::Undecryptable(message) => of_undecryptable(message),
        Event::SendFinished { reference, id, result } => of_finished(reference, id, result),
        Event::Receipt(receipt) => of_receipt(receipt),
        Event::Presence(update) => json!({
            "event": "presence",
            "from": update.from.to_string(),
            "available": update.available,
            "lastSeen": update.last_seen,
        }),
        Event::ChatState(update) => json!({
            "event": "chatState",
            "chat": update.chat.to_string(),
            "from": update.from.to_string(),
            "state": chat_state(update.state),
        }),
        Event::LidMapping { lid, pn } => {
            json!({"event": "lidMapping", "lid": lid.to_string(), "pn": pn.to_string()})
        }
        Event::IdentityChanged { address, implicit } => {
            json!({"event": "identityChanged", "address": address.to_string(), "implicit": implicit})
        }
        Event::DevicesChanged { address } => json!({"event": "devicesChanged", "address": address.to_string()}),
        Event::Warning(warning) => of_warning(warning),
        other => json!({"event": "other", "debug": format!("{other:?}")}),
    }
}

fn of_connection(connection: &Connection) -> Value {
    let mut object = match connection {
        Connection::Connecting { attempt } => json!({"state": "connecting", "attempt": attempt}),
        Connection::Open => json!({"state": "open"}),
        Connection::OfflinePending { count } => json!({"state": "offlinePending", "count": count}),
        Connection::CaughtUp { count } => json!({"state": "caughtUp", "count": count}),
        Connection::Dropped { cause, retry_in } => {
            json!({"state": "dropped", "cause": cause.to_string(), "retryInMs": millis(*retry_in)})
        }
        Connection::Ended { reason, wiped } => {
            let problem = Problem::from(reason.clone());
            json!({
                "state": "ended",
                "kind": problem.kind,
                "reason": reason.to_string(),
                "code": problem.code,
                "hint": problem.hint,
                "wiped": wiped,
            })
        }
        other => json!({"state": "other", "debug": format!("{other:?}")}),
    };
    object["event"] = json!("connection");
    object
}

fn of_pairing(pairing: &Pairing) -> Value {
    let mut object = match pairing {
        Pairing::Qr { text, valid_for } => {
            json!({"step": "qr", "text": text.0.as_str(), "validForMs": millis(*valid_for)})
        }
        Pairing::Paired { pn, lid, platform, business_name } => json!({
            "step": "paired",
            "pn": pn.to_string(),
            "lid": lid.as_ref().map(ToString::to_string),
            "platform": platform.as_str(),
            "businessName": business_name.as_deref(),
        }),
        Pairing::Failed(error) => {
            let problem = Problem::from(error.clone());
            json!({"step": "failed", "kind": problem.kind, "reason": error.to_string(), "code": problem.code})
        }
        other => json!({"step": "other", "debug": format!("{other:?}")}),
    };
    object["event"] = json!("pairing");
    object
}

fn of_message(message: &Message) -> Value {
    json!({
        "event": "message",
        "id": message.id.as_str(),
        "chat": message.chat.to_string(),
        "sender": message.sender.to_string(),
        "senderAlt": message.sender_alt.as_ref().map(ToString::to_string),
        "fromMe": message.from_me,
        "timestamp": message.timestamp,
        "pushName": message.push_name.as_deref(),
        "offline": message.offline,
        "content": of_content(&message.content),
        "raw": STANDARD.encode(&message.raw),
    })
}

fn of_content(content: &Content) -> Value {
    match content {
        Content::Text(text) => json!({
            "kind": "text",
            "body": text.body.as_str(),
            "mentions": text.mentions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Content::Protocol(number) => json!({"kind": "protocol", "type": number}),
        _ => json!({"kind": "other"}),
    }
}

fn of_undecryptable(message: &Undecryptable) -> Value {
    json!({
        "event": "undecryptable",
        "id": message.id.as_str(),
        "chat": message.chat.to_string(),
        "sender": message.sender.to_string(),
        "timestamp": message.timestamp,
        "reason": message.reason.as_str(),
        "retrying": message.retrying,
        "hidden": message.hidden,
    })
}

fn of_finished(reference: &str, id: &str, result: &Result<Sent, Failure>) -> Value {
    let mut object = match result {
        Ok(done) => json!({"sent": sent(done)}),
        Err(failure) => {
            let problem = Problem::from(failure.clone());
            let mut error = problem.data();
            error["message"] = json!(problem.message);
            json!({"error": error})
        }
    };
    object["event"] = json!("sendFinished");
    object["reference"] = json!(reference);
    object["id"] = json!(id);
    object
}

/// A message the server has accepted.
pub(crate) fn sent(sent: &Sent) -> Value {
    json!({"id": sent.id.as_str(), "to": sent.to.to_string(), "timestamp": sent.timestamp, "devices": sent.devices})
}

fn of_receipt(receipt: &Receipt) -> Value {
    json!({
        "event": "receipt",
        "kind": receipt_kind(&receipt.kind),
        "chat": receipt.chat.to_string(),
        "from": receipt.from.to_string(),
        "fromMe": receipt.from_me,
        "ids": receipt.ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "timestamp": receipt.timestamp,
    })
}

/// The kind's name.
pub(crate) fn receipt_kind(kind: &ReceiptKind) -> &str {
    match kind {
        ReceiptKind::Delivered => "delivered",
        ReceiptKind::Inactive => "inactive",
        ReceiptKind::Read => "read",
        ReceiptKind::Played => "played",
        ReceiptKind::Sender => "sender",
        ReceiptKind::Other(name) => name,
        _ => "other",
    }
}

/// The state's name, as in [`parse_chat_state`].
pub(crate) fn chat_state(state: ChatState) -> &'static str {
    match state {
        ChatState::Composing => "composing",
        ChatState::Recording => "recording",
        ChatState::Paused => "paused",
    }
}

/// The state of a name.
pub(crate) fn parse_chat_state(name: &str) -> Option<ChatState> {
    [ChatState::Composing, ChatState::Recording, ChatState::Paused].into_iter().find(|state| chat_state(*state) == name)
}

fn of_warning(warning: &Warning) -> Value {
    let mut object = match warning {
        Warning::CorruptRecord { namespace } => json!({"kind": "corruptRecord", "namespace": namespace}),
        Warning::StorageFailed { message } => json!({"kind": "storageFailed", "what": message.as_str()}),
        Warning::BadStanza { what } => json!({"kind": "badStanza", "what": what.as_str()}),
        Warning::Forged { from, what } => json!({"kind": "forged", "from": from.to_string(), "what": what}),
        Warning::PrekeyUploadFailed { code } => json!({"kind": "prekeyUploadFailed", "code": code}),
        Warning::PrekeysDiffer { what } => json!({"kind": "prekeysDiffer", "what": what.as_str()}),
        Warning::VersionExpires { at } => json!({"kind": "versionExpires", "at": at}),
        Warning::Certificate { what } => json!({"kind": "certificate", "what": what.as_str()}),
        Warning::Limit { name } => json!({"kind": "limit", "name": name}),
        other => json!({"kind": "other", "debug": format!("{other:?}")}),
    };
    object["event"] = json!("warning");
    object
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
