//! Which attributes and children a client's stanzas may have (transport §14, messages §5 to §13).

use amarula_core::wire::{Content, Node, Value};

use super::ClientProfile;
use crate::codec::Read as _;

struct Form {
    tag: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// `None`: not looked into.
    children: Option<&'static [&'static str]>,
}

/// Top-level stanzas.
const STANZAS: &[Form] = &[
    Form {
        tag: "message",
        required: &["to", "id", "type"],
        optional: &[
            "edit",
            "phash",
            "addressing_mode",
            "category",
            "push_priority",
            "privacy_sensitive",
            "participant",
            "recipient",
            "device_fanout",
            "peer_recipient_pn",
            "peer_recipient_lid",
            "t",
            "media_id",
        ],
        children: Some(&[
            "participants",
            "enc",
            "device-identity",
            "meta",
            "biz",
            "bot",
            "reporting",
            "tctoken",
            "cstoken",
            "plaintext",
            "reaction",
        ]),
    },
    Form {
        tag: "receipt",
        required: &["id", "to"],
        optional: &["type", "participant", "recipient", "t", "category", "context", "edit", "peer_participant_pn"],
        children: Some(&["list", "retry", "registration", "keys", "meta", "encrypt", "rmr"]),
    },
    Form {
        tag: "ack",
        required: &["class", "id", "to"],
        optional: &["participant", "recipient", "type", "error", "from"],
        children: Some(&["meta"]),
    },
    Form { tag: "iq", required: &["id", "to", "type"], optional: &["xmlns", "smax_id", "target"], children: None },
    Form { tag: "presence", required: &[], optional: &["type", "name", "to"], children: Some(&["tctoken"]) },
    Form { tag: "chatstate", required: &["to"], optional: &[], children: Some(&["composing", "paused"]) },
    Form { tag: "ib", required: &[], optional: &[], children: Some(&["unified_session", "offline_batch"]) },
    Form { tag: "call", required: &["to", "id"], optional: &["type", "from"], children: None },
];

/// Nested nodes whose form is the same everywhere they stand inside a message or receipt.
const NESTED: &[Form] = &[
    Form { tag: "participants", required: &[], optional: &[], children: Some(&["to"]) },
    Form { tag: "to", required: &["jid"], optional: &[], children: Some(&["enc"]) },
    Form {
        tag: "enc",
        required: &["v", "type"],
        optional: &["mediatype", "decrypt-fail", "count"],
        children: Some(&[]),
    },
    Form { tag: "device-identity", required: &[], optional: &[], children: Some(&[]) },
    Form { tag: "tctoken", required: &[], optional: &[], children: Some(&[]) },
    Form { tag: "cstoken", required: &[], optional: &[], children: Some(&[]) },
    Form { tag: "reporting", required: &[], optional: &[], children: Some(&["reporting_token"]) },
    Form { tag: "reporting_token", required: &["v"], optional: &[], children: Some(&[]) },
    Form {
        tag: "meta",
        required: &[],
        optional: &[
            "polltype",
            "event_type",
            "view_once",
            "appdata",
            "tag_reason",
            "status_setting",
            "thread_msg_id",
            "thread_msg_sender_jid",
            "deprecated_lid_session",
            "failure_reason",
            "mode",
        ],
        children: Some(&[]),
    },
    Form { tag: "retry", required: &["v", "id", "t", "count"], optional: &["error"], children: Some(&[]) },
    Form { tag: "registration", required: &[], optional: &[], children: Some(&[]) },
    Form {
        tag: "keys",
        required: &[],
        optional: &[],
        children: Some(&["type", "identity", "key", "skey", "device-identity"]),
    },
    Form { tag: "list", required: &[], optional: &[], children: Some(&["item"]) },
    Form { tag: "item", required: &[], optional: &["id", "server_id"], children: Some(&[]) },
    Form { tag: "unified_session", required: &["id"], optional: &[], children: Some(&[]) },
    Form { tag: "offline_batch", required: &["count"], optional: &[], children: Some(&[]) },
];

/// Objections to a stanza's form, as text.
pub(crate) fn check(node: &Node, profile: ClientProfile) -> Vec<String> {
    let mut out = Vec::new();
    let Some(form) = STANZAS.iter().find(|form| form.tag == node.tag) else {
        out.push(format!("<{}> is no stanza a client sends", node.tag));
        return out;
    };
    attributes(node, form, profile, &mut out);
    if let Some(children) = form.children {
        for child in node.nodes() {
            if !children.contains(&child.tag.as_str()) {
                out.push(format!("<{}> has no child <{}>", node.tag, child.tag));
            }
            nested(child, profile, &mut out);
        }
    }
    out
}

fn nested(node: &Node, profile: ClientProfile, out: &mut Vec<String>) {
    let Some(form) = NESTED.iter().find(|form| form.tag == node.tag) else { return };
    attributes(node, form, profile, out);
    for child in node.nodes() {
        if form.children.is_some_and(|children| !children.contains(&child.tag.as_str())) {
            out.push(format!("<{}> has no child <{}>", node.tag, child.tag));
        }
        nested(child, profile, out);
    }
    if matches!(node.tag.as_str(), "enc" | "device-identity" | "registration" | "tctoken" | "cstoken")
        && !matches!(node.content, Content::Bytes(_))
    {
        out.push(format!("<{}> holds no bytes", node.tag));
    }
}

fn attributes(node: &Node, form: &Form, profile: ClientProfile, out: &mut Vec<String>) {
    for key in form.required {
        if !node.has(key) {
            out.push(format!("<{}> lacks {key}", node.tag));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in &node.attrs {
        let tolerated = profile == ClientProfile::Baileys
            && matches!(
                (form.tag, key.as_str()),
                ("presence" | "chatstate", "from" | "id") | ("message", "expiration") | ("tctoken", "t")
            );
        if !tolerated && !form.required.contains(&key.as_str()) && !form.optional.contains(&key.as_str()) {
            out.push(format!("<{}> has no attribute {key}", node.tag));
        }
        if matches!(value, Value::Text(text) if text.is_empty()) {
            out.push(format!("<{}> has an empty {key}", node.tag));
        }
        if seen.contains(&key.as_str()) {
            out.push(format!("<{}> has {key} twice", node.tag));
        }
        seen.push(key);
        let is_jid = matches!(key.as_str(), "to" | "from" | "jid" | "participant" | "recipient" | "peer_recipient_pn");
        if is_jid && node.jid(key).is_none() {
            out.push(format!("{key} of <{}> is no JID", node.tag));
        }
        if is_jid && !matches!(value, Value::Jid(_)) {
            out.push(format!("{key} of <{}> is written as text and not as a JID", node.tag));
        }
    }
}
