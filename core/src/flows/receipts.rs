//! Receipts, acks and nacks, both ways (`protocol/messages.md` §13, `protocol/transport.md` §14).

use alloc::vec::Vec;

use super::people;
use super::resend::Resend;
use super::source::Source;
use crate::engine::command::MarkRead;
use crate::engine::cx::Cx;
use crate::engine::limits;
use crate::engine::runner::Runner;
use crate::event::{Event, Receipt, ReceiptKind};
use crate::store::{Gap, View};
use crate::wire::{Jid, Node, NodeRef, Str};

// ---- inbound -------------------------------------------------------------------------------------------------------

/// What to do with a receipt.
#[allow(clippy::large_enum_variant, reason = "made and consumed at once, never kept")]
pub(crate) enum Plan {
    /// Somebody could not decrypt our message.
    Retry(Resend),
    /// Tell the consumer.
    Tell(Vec<Receipt>),
    /// Only acknowledge.
    Nothing,
}

pub(crate) fn plan(cx: &Cx, view: &View<'_>, node: NodeRef<'_>) -> Result<Plan, Gap> {
    let (Some(me), Some(from), Some(_)) = (cx.me(), node.jid("from"), node.text("id")) else {
        return Ok(Plan::Nothing);
    };
    let kind = node.text("type").unwrap_or_default();
    if kind == "retry" {
        people::canonical(view, &from)?;
        return Ok(Resend::of(node, me).map_or(Plan::Nothing, Plan::Retry));
    }
    if let Some(alt) = node.jid("participant_pn") {
        people::want_mapping(view, &alt)?;
    }
    let kind = match kind.as_str() {
        "" if node.child("error").is_some() => return Ok(Plan::Nothing),
        "" => ReceiptKind::Delivered,
        "inactive" => ReceiptKind::Inactive,
        "read" | "read-self" => ReceiptKind::Read,
        "played" | "played-self" => ReceiptKind::Played,
        "sender" => ReceiptKind::Sender,
        "enc_rekey_retry" | "hist_sync" | "peer_msg" | "server-error" => return Ok(Plan::Nothing),
        other => ReceiptKind::Other(other.into()),
    };
    let timestamp = node.u64("t").unwrap_or(0);
    let chat_of = |who: &Jid| {
        if from.is_user() && me.is_me(&from) {
            node.jid("recipient").map_or_else(|| who.bare(), |recipient| recipient.bare())
        } else {
            from.bare()
        }
    };
    if let Some(grouped) = node.child("participants") {
        let ids: Vec<Str> = grouped.text("key").or_else(|| node.text("id")).into_iter().collect();
        let receipts = grouped.children_named("user").filter_map(|user| {
            let who = user.jid("jid")?;
            Some(Receipt {
                chat: from.bare().into(),
                from_me: me.is_me(&who),
                from: who.into(),
                ids: ids.clone(),
                kind: kind.clone(),
                timestamp: user.u64("t").unwrap_or(timestamp),
            })
        });
        return Ok(Plan::Tell(receipts.collect()));
    }
    let who = node.jid("participant").unwrap_or_else(|| from.clone());
    Ok(Plan::Tell(Vec::from([Receipt {
        chat: chat_of(&who).into(),
        from_me: me.is_me(&who),
        from: who.into(),
        ids: ids(node),
        kind,
        timestamp,
    }])))
}

/// The ids of a receipt: its own and those of its list.
fn ids(node: NodeRef<'_>) -> Vec<Str> {
    let own = node.text("id");
    let items = node.child("list").into_iter().flat_map(|list| list.children_named("item").collect::<Vec<_>>());
    let listed = items.filter_map(|item| item.text("id")).filter(|id| Some(id) != own.as_ref());
    let mut seen = alloc::collections::BTreeSet::new();
    own.clone().into_iter().chain(listed).filter(|id| seen.insert(id.clone())).collect()
}

pub(crate) fn act(plan: Plan, cx: &mut Cx, runner: &mut Runner, node: NodeRef<'_>) {
    match plan {
        Plan::Retry(resend) => runner.resend(cx, resend),
        Plan::Tell(receipts) => receipts.into_iter().for_each(|receipt| cx.event(Event::Receipt(receipt))),
        Plan::Nothing => {}
    }
    ack(cx, node);
}

// ---- acks ----------------------------------------------------------------------------------------------------------

/// The plain ack of a stanza that was dealt with.
pub(crate) fn ack(cx: &mut Cx, node: NodeRef<'_>) {
    answer(cx, node, None);
}

/// The ack that says that a stanza can never be dealt with: the server will not bring it again.
pub(crate) fn nack(cx: &mut Cx, node: NodeRef<'_>, code: u32) {
    answer(cx, node, Some(code));
}

fn answer(cx: &mut Cx, node: NodeRef<'_>, error: Option<u32>) {
    let (Some(id), Some(from)) = (node.text("id"), node.jid("from")) else { return };
    let tag = node.tag();
    let message = matches!(tag, "message" | "status");
    let participant = node.jid("participant").filter(|participant| tag != "receipt" || *participant != from);
    let identity_change =
        tag == "notification" && node.str("type") == Some("encrypt") && node.child("identity").is_some();
    let kind = node.text("type").filter(|_| !identity_change && (!message || error.is_some()));
    let stanza = Node::new("ack")
        .attr("class", tag)
        .attr("id", id)
        .attr("to", from)
        .attr_opt("participant", participant)
        .attr_opt("recipient", node.jid("recipient"))
        .attr_opt("type", kind)
        .attr_opt("from", cx.own_device().filter(|_| message || error.is_some()))
        .attr_opt("error", error);
    cx.send(&stanza);
}

/// A stanza of an unknown kind: unanswered it would come again and again.
pub(crate) fn unknown_stanza(cx: &mut Cx, node: NodeRef<'_>) {
    nack(cx, node, 488);
}

// ---- receipts we owe -----------------------------------------------------------------------------------------------

/// The receipt of a message that was taken (§13.1).
pub(crate) fn delivered(cx: &mut Cx, source: &Source, node: NodeRef<'_>) {
    let receipt = Node::new("receipt").attr("id", &source.id);
    let in_group = source.participant.is_some();
    if source.peer {
        cx.send(&receipt.attr("to", &source.from).attr("type", "peer_msg"));
    } else if in_group {
        let kind = match (source.from_me, source.chat.is_status(), cx.available) {
            (true, ..) => Some("sender"),
            (false, false, false) => Some("inactive"),
            _ => None,
        };
        let receipt = receipt
            .attr("to", &source.from)
            .attr("participant", &source.sender)
            .attr_opt("type", kind)
            .attr_opt("context", source.chat.is_status().then_some("status"));
        cx.send(&receipt);
        if source.chat.is_status() {
            ack(cx, node);
        }
    } else if source.from_me {
        match &source.recipient {
            Some(recipient) => {
                let receipt =
                    receipt.attr("to", &source.from).attr("type", "sender").attr("recipient", recipient.bare());
                cx.send(&receipt);
            }
            None => ack(cx, node),
        }
    } else if source.from.is_user() {
        let kind = (!cx.available).then_some("inactive");
        cx.send(&receipt.attr("to", &source.from).attr_opt("type", kind));
    } else {
        // Newsletters and the like have no receipts.
        ack(cx, node);
    }
}

/// Tells the other side that messages were read.
pub(crate) fn mark_read(cx: &mut Cx, command: &MarkRead) {
    let t = cx.server_time().secs();
    for ids in command.ids.chunks(limits::RECEIPT_IDS) {
        let Some((first, rest)) = ids.split_first() else { continue };
        let mut receipt = Node::new("receipt")
            .attr("id", first)
            .attr("to", command.chat.jid().bare())
            .attr("type", "read")
            .attr("t", t)
            .attr_opt("participant", command.sender.as_ref().map(|sender| sender.jid().bare()));
        if !rest.is_empty() {
            let items = rest.iter().map(|id| Node::new("item").attr("id", id));
            receipt = receipt.child(Node::new("list").children(items));
        }
        cx.send(&receipt);
    }
}
