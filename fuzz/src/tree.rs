//! Nodes out of choices, and the words that stanzas are made of.

use amarula_core::wire::{Jid, Node, Server, Value};

use crate::choices::Choices;

/// Nodes of one tree.
const NODES: usize = 64;

pub const TAGS: &[&str] = &[
    "iq",
    "message",
    "receipt",
    "notification",
    "ack",
    "ib",
    "success",
    "failure",
    "stream:error",
    "xmlstreamend",
    "presence",
    "chatstate",
    "call",
    "status",
    "enc",
    "participants",
    "to",
    "list",
    "item",
    "user",
    "devices",
    "device",
    "device-list",
    "key-index-list",
    "device-identity",
    "usync",
    "result",
    "error",
    "lid",
    "query",
    "skey",
    "signature",
    "value",
    "id",
    "key",
    "keys",
    "registration",
    "identity",
    "type",
    "retry",
    "offline",
    "offline_preview",
    "edge_routing",
    "routing_info",
    "dirty",
    "client_expiration",
    "downgrade_webclient",
    "props",
    "prop",
    "privacy",
    "category",
    "pair-device",
    "pair-success",
    "ref",
    "platform",
    "biz",
    "client-props",
    "link_code_companion_reg",
    "link_code_pairing_ref",
    "link_code_pairing_wrapped_primary_ephemeral_pub",
    "primary_identity_pub",
    "companion_reg_refresh",
    "pair-device-rotate-qr",
    "remove",
    "add",
    "update",
    "composing",
    "paused",
    "conflict",
    "plaintext",
    "unavailable",
    "count",
    "digest",
    "hash",
    "bot",
    "meta",
    "rotate",
    "xml-not-well-formed",
    "digest_key",
    "text",
    "code",
];

pub const KEYS: &[&str] = &[
    "id",
    "from",
    "to",
    "participant",
    "recipient",
    "type",
    "t",
    "class",
    "error",
    "code",
    "count",
    "offline",
    "notify",
    "lid",
    "jid",
    "ts",
    "hash",
    "key-index",
    "is_hosted",
    "v",
    "decrypt-fail",
    "category",
    "reason",
    "expire",
    "location",
    "xmlns",
    "sender_pn",
    "sender_lid",
    "participant_pn",
    "participant_lid",
    "recipient_pn",
    "recipient_lid",
    "peer_recipient_pn",
    "peer_recipient_lid",
    "addressing_mode",
    "phash",
    "refresh_lid",
    "val",
    "name",
    "value",
    "config_code",
    "config_value",
    "protocol",
    "stage",
    "timestamp",
    "retry",
    "last",
    "media",
    "backoff",
    "mode",
    "edit",
    "creation",
    "sender",
    "context",
    "message",
    "platform",
];

pub const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "5",
    "401",
    "403",
    "404",
    "463",
    "479",
    "503",
    "515",
    "516",
    "4294967295",
    "18446744073709551615",
    "-1",
    "result",
    "error",
    "get",
    "set",
    "md",
    "encrypt",
    "usync",
    "text",
    "media",
    "retry",
    "read",
    "read-self",
    "played",
    "sender",
    "inactive",
    "peer_msg",
    "server-error",
    "enc_rekey_retry",
    "hist_sync",
    "msg",
    "pkmsg",
    "skmsg",
    "frskmsg",
    "true",
    "false",
    "lid",
    "pn",
    "hide",
    "peer",
    "devices",
    "account_sync",
    "encrypt",
    "link_code_companion_reg",
    "companion_reg_refresh",
    "passkey_prologue_request",
    "primary_hello",
    "refresh_code",
    "groups",
    "newsletter_metadata",
    "message",
    "receipt",
    "notification",
    "urn:xmpp:ping",
    "available",
    "unavailable",
    "composing",
    "audio",
    "deny",
    "none",
    "replaced",
    "device_removed",
    "w:gp2",
    "none",
    "readreceipts",
    "1500",
    "3EB0A1",
    "status@broadcast",
    "s.whatsapp.net",
    "@",
    "1:1@lid",
];

/// A JID: of ourselves, of the peers, of groups and services, and impossible ones.
pub fn jid(choices: &mut Choices<'_>) -> Jid {
    let device = *choices.pick(&[0, 0, 0, 1, 3, 7, 99, 65535]);
    match choices.below(20) {
        0 => Jid::server(),
        1 => Jid::pn(crate::engine_support::PN).with_device(device),
        2 => Jid::lid(crate::engine_support::LID).with_device(device),
        3 | 4 => crate::peer::lid(choices.below(3) as u8).with_device(device),
        5 | 6 => crate::peer::pn(choices.below(3) as u8).with_device(device),
        7 => Jid::group("120363021033254949"),
        8 => Jid::group("15550000001-1400000000"),
        9 => Jid::status(),
        10 => Jid::new("1", Server::Newsletter),
        11 => Jid::new("1", Server::HostedLid).with_device(99),
        12 => Jid::new("15550001001", Server::Hosted).with_device(99),
        13 => Jid::new("13135550002", Server::Bot),
        14 => Jid::new("", Server::Lid),
        15 => Jid::new("1", Server::Call),
        16 => Jid { integrator: 5, ..Jid::new("9", Server::Interop) },
        17 => Jid::new(choices.text(), Server::Other("future.example".into())),
        18 => Jid::new(choices.text(), Server::Lid).with_device(device),
        _ => Jid::new(choices.text(), Server::Pn).with_device(device),
    }
}

fn value(choices: &mut Choices<'_>) -> Value {
    match choices.below(4) {
        0 => Value::Jid(jid(choices)),
        1 => Value::Text(choices.text().into()),
        2 => Value::Text(choices.number().to_string().into()),
        _ => Value::Text((*choices.pick(WORDS)).into()),
    }
}

/// A tree of nodes with these tags.
pub fn tree(choices: &mut Choices<'_>, tags: &[&str]) -> Node {
    let mut left = NODES;
    node(choices, tags, &mut left, 0)
}

fn node(choices: &mut Choices<'_>, tags: &[&str], left: &mut usize, depth: u8) -> Node {
    let mut out = Node::new(*choices.pick(tags));
    *left = left.saturating_sub(1);
    while !choices.is_empty() && *left > 0 {
        match choices.below(8) {
            0 | 1 => break,
            2 | 3 => {
                let key = *choices.pick(KEYS);
                // Written twice, a node does not encode.
                let value = value(choices);
                if out.get(key).is_none() {
                    out = out.attr(key, value);
                }
            }
            4 | 5 if depth < 8 => out = out.child(node(choices, tags, left, depth + 1)),
            6 => return out.bytes(choices.short().to_vec()),
            // Contents of the lengths that keys, signatures and ids have.
            _ => {
                let length = *choices.pick(&[3, 4, 20, 32, 33, 64, 80]);
                let seed = choices.byte();
                return out.bytes(vec![seed; length]);
            }
        }
    }
    out
}
