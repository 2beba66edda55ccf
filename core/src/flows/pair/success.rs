//! pair-success: checks, records, answer (`protocol/pairing.md` §3).

use bytes::Bytes;
use prost::Message as _;

use super::{Outcome, Pair, code::Code, failed};
use crate::adv::{self, AdvError, LinkedIdentity};
use crate::engine::cx::Cx;
use crate::engine::limits;
use crate::engine::timers::Timer;
use crate::error::PairingError;
use crate::event::{Event, Pairing, Warning};
use crate::flows::login;
use crate::proto::wa::ClientPairingProps;
use crate::store::records::{AdvSecret, Identity, Me};
use crate::wire::{Jid, Node, NodeRef, Str};

/// Longest platform or business name kept.
const NAME_CHARS: usize = 256;

impl Pair {
    /// The phone says that this device is linked.
    pub(super) fn pair_success(&mut self, cx: &mut Cx, iq: NodeRef<'_>, success: NodeRef<'_>) {
        // Once is enough; and only a connection that asked to be linked can be.
        if self.outcome != Outcome::Open || cx.account().is_none_or(|account| account.me.is_some()) {
            return cx.warn(Warning::BadStanza { what: Str::const_new("pair-success that is not wanted") });
        }
        if let Some(t) = iq.u64("t") {
            cx.learn_server_time(t);
        }
        match checked(cx, success) {
            Ok((linked, pn, lid)) => self.link(cx, iq, success, &linked, pn, lid),
            Err(refusal) => self.refuse(cx, iq, refusal),
        }
    }

    /// Stores who we are; the gate holds the answer back until that is durable.
    fn link(
        &mut self,
        cx: &mut Cx,
        iq: NodeRef<'_>,
        success: NodeRef<'_>,
        linked: &LinkedIdentity,
        pn: Jid,
        lid: Option<Jid>,
    ) {
        let Some(identity) = cx.account().map(|account| account.identity.clone()) else { return };
        let signature = linked.sign(&identity, &cx.rng.bytes());
        let name = |tag: &str| {
            let text = success.child(tag).and_then(|node| node.text("name"));
            text.map(|text| text.chars().take(NAME_CHARS).collect::<Str>())
        };
        let me = Me {
            pn: pn.clone(),
            lid: lid.clone(),
            adv: linked.full(&signature).into(),
            account_key: linked.account_key,
            key_index: linked.key_index,
            platform: name("platform").unwrap_or_default(),
            business_name: name("biz"),
            push_name: None,
            lid_migrated: lid_migrated(success),
            fresh: true,
        };
        let event = Pairing::Paired {
            pn: pn.clone().into(),
            lid: lid.clone().map(Into::into),
            platform: me.platform.clone(),
            business_name: me.business_name.clone(),
        };
        cx.update_account(|account| {
            account.me = Some(me);
            account.prekeys_on_server = false;
        });
        cx.cache.put(&pn.bare(), Identity(linked.account_key));
        if let Some(lid) = &lid {
            login::own_mapping(cx, &pn, lid, linked.account_key);
        }
        let content = Node::new("device-identity")
            .attr("key-index", linked.key_index)
            .bytes(Bytes::from(linked.answer(&signature)));
        cx.send(&answer(iq, "result").child(Node::new("pair-device-sign").child(content)));
        cx.event(Event::Pairing(event));
        self.outcome = Outcome::Linked(cx.cache.next_commit());
        self.qr.end(cx);
        if let Some(code) = self.code.take() {
            code.complete(cx);
        }
        cx.timer_in(Timer::PairRestart, limits::PAIR_RESTART);
    }

    fn refuse(&mut self, cx: &mut Cx, iq: NodeRef<'_>, refusal: Refusal) {
        let error = Node::new("error").attr("code", refusal.code).attr("text", refusal.text);
        cx.send(&answer(iq, "error").child(error));
        if self.code.as_ref().is_some_and(Code::is_finishing) {
            // Of a flow that this code has superseded: it must not end the new one.
            return cx.warn(Warning::BadStanza { what: Str::const_new("pair-success under another secret") });
        }
        failed(cx, refusal.reason);
        self.outcome = Outcome::Refused;
        if let Some(code) = self.code.take() {
            code.fail(cx, PairingError::Disconnected);
        }
        self.qr.end(cx);
        // The keys stay, the secret was seen by somebody.
        let secret = AdvSecret(cx.rng.bytes());
        cx.update_account(|account| account.adv_secret = secret);
        cx.timer_in(Timer::PairRestart, limits::PAIR_REFUSED);
    }
}

struct Refusal {
    code: u32,
    text: &'static str,
    reason: PairingError,
}

/// Checks 1 to 4, and the addresses.
fn checked(cx: &Cx, success: NodeRef<'_>) -> Result<(LinkedIdentity, Jid, Option<Jid>), Refusal> {
    let malformed = || Refusal { code: 500, text: "internal-error", reason: PairingError::Malformed };
    let account = cx.account().ok_or_else(malformed)?;
    let container = success.child("device-identity").and_then(|node| node.bytes()).ok_or_else(malformed)?;
    let linked =
        adv::open(container, &account.adv_secret.0, &account.identity.public).map_err(|error| match error {
            AdvError::HmacMismatch => Refusal { code: 401, text: "hmac-mismatch", reason: PairingError::HmacMismatch },
            AdvError::AccountSignature => {
                Refusal { code: 401, text: "signature-mismatch", reason: PairingError::SignatureMismatch }
            }
            _ => malformed(),
        })?;
    let device = success.child("device").ok_or_else(malformed)?;
    let pn = device.jid("jid").filter(|jid| jid.is_pn() && jid.device != 0).ok_or_else(malformed)?;
    let lid = device.jid("lid").filter(|lid| lid.is_lid() && !lid.user.is_empty() && lid.device == pn.device);
    Ok((linked, pn, lid))
}

/// What is unreadable counts as absent.
fn lid_migrated(success: NodeRef<'_>) -> bool {
    let props = success.child("client-props").and_then(|node| ClientPairingProps::decode(node.bytes()?).ok());
    props.is_some_and(|props| props.is_chat_db_lid_migrated())
}

fn answer(iq: NodeRef<'_>, kind: &'static str) -> Node {
    Node::new("iq").attr("to", Jid::server()).attr("type", kind).attr_opt("id", iq.text("id"))
}
