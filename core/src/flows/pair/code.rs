//! Phone-code pairing (`protocol/pairing.md` §5).

use alloc::vec::Vec;

use bytes::Bytes;
use compact_str::format_compact;

use super::code_keys::{self, CodeText, Fresh, WRAPPED};
use super::{Ask, Pair, failed};
use crate::crypto::{KeyPair, PublicKey};
use crate::engine::command::{PairingCode, Reply, RequestPairingCode};
use crate::engine::cx::Cx;
use crate::engine::iq::{Iq, IqAnswer, IqError};
use crate::engine::timers::Timer;
use crate::engine::{Mono, TicketId, limits};
use crate::error::{EndReason, Failure, PairingError, RejectReason};
use crate::event::Warning;
use crate::flows::{IqOwner, client_payload};
use crate::wire::{Jid, Node, NodeRef, Str};

/// Fewest and most digits of an international number.
const PHONE_DIGITS: core::ops::RangeInclusive<usize> = 7..=20;

/// A code that is being made, or shown.
#[derive(Clone, Debug, Hash)]
pub(super) struct Code {
    /// The command that asked for it, until it is answered.
    ticket: Option<TicketId>,
    phone: Jid,
    text: CodeText,
    ephemeral: KeyPair,
    stage: Stage,
}

#[derive(Clone, Debug, Hash)]
enum Stage {
    /// For pair-device: the proof that the stream is up.
    Waiting,
    /// companion_hello is out.
    Asked { at: Mono },
    /// The user has the code.
    Live { at: Mono, reference: Bytes, hellos: u32 },
}

/// Whether the command can be carried out.
pub(super) fn check(request: &RequestPairingCode) -> Result<(), RejectReason> {
    let phone = &request.phone;
    let digits = phone.bytes().all(|c| c.is_ascii_digit()) && !phone.starts_with('0');
    if !digits || !PHONE_DIGITS.contains(&phone.len()) {
        return Err(RejectReason::BadPhoneNumber);
    }
    match &request.custom_code {
        Some(code) if CodeText::parse(code).is_none() => Err(RejectReason::BadCode),
        _ => Ok(()),
    }
}

impl Code {
    pub(super) fn new(cx: &mut Cx, ticket: TicketId, request: RequestPairingCode) -> Self {
        let custom = request.custom_code.as_deref().and_then(CodeText::parse);
        Self {
            ticket: Some(ticket),
            phone: Jid::pn(request.phone),
            text: custom.unwrap_or_else(|| CodeText::generate(&mut cx.rng)),
            ephemeral: KeyPair::generate(&mut cx.rng),
            stage: Stage::Waiting,
        }
    }

    /// Stage 1: companion_hello.
    pub(super) fn hello(&mut self, cx: &mut Cx) {
        let Some(noise) = cx.account().map(|account| account.noise.public) else { return };
        let wrapped = self.text.wrap(&self.ephemeral.public, &cx.rng.bytes(), &cx.rng.bytes());
        let client_type = client_payload::client_type(cx.config.browser);
        let display = format_compact!("{} ({})", client_payload::browser_name(cx.config.browser), cx.config.os);
        let leaf = |tag: &'static str, bytes: &[u8]| Node::new(tag).bytes(Bytes::copy_from_slice(bytes));
        let content = self
            .node("companion_hello")
            .attr("should_show_push_notification", "true")
            .child(leaf("link_code_pairing_wrapped_companion_ephemeral_pub", &wrapped))
            .child(leaf("companion_server_auth_key_pub", noise.as_bytes()))
            .child(leaf("companion_platform_id", client_type.encode_utf8(&mut [0; 4]).as_bytes()))
            .child(leaf("companion_platform_display", display.as_bytes()))
            .child(leaf("link_code_pairing_nonce", &[0]));
        self.stage = Stage::Asked { at: cx.mono() };
        cx.ask(Iq::set("md", content), IqOwner::PairCode(Ask::Hello));
    }

    fn node(&self, stage: &'static str) -> Node {
        Node::new("link_code_companion_reg").attr("jid", &self.phone).attr("stage", stage)
    }

    /// companion_finish is out, and pair-success is due.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.stage, Stage::Live { hellos: 1.., .. })
    }

    /// It came to nothing. Told to whom it concerns: the command if the code was not shown yet, else by an event.
    pub(super) fn fail(mut self, cx: &mut Cx, error: PairingError) {
        cx.timers.clear(Timer::PairCode);
        match self.ticket.take() {
            Some(ticket) => cx.done(ticket, Err(Failure::Pairing(error))),
            None => failed(cx, error),
        }
    }

    /// The device is linked, by this code or by QR.
    pub(super) fn complete(self, cx: &mut Cx) {
        cx.timers.clear(Timer::PairCode);
        if let Some(ticket) = self.ticket {
            cx.done(ticket, Err(Failure::Pairing(PairingError::Superseded)));
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, cx: &mut Cx, reason: &EndReason) {
        cx.timers.clear(Timer::PairCode);
        cx.done(self.ticket.take(), Err(Failure::SessionEnded(reason.clone())));
    }
}

impl Pair {
    pub(crate) fn answered(&mut self, cx: &mut Cx, ask: Ask, answer: IqAnswer<'_>) {
        match ask {
            Ask::Hello => self.hello_answered(cx, answer),
            Ask::Finish(hello) => {
                let live = |code: &Code| matches!(code.stage, Stage::Live { hellos, .. } if hellos == hello);
                // No answer is no failure: pair-success may come all the same. An answer to an older one says nothing.
                if let (IqAnswer::Error(error), true) = (answer, self.code.as_ref().is_some_and(live)) {
                    self.code_failed(cx, refused(error));
                }
            }
        }
    }

    fn hello_answered(&mut self, cx: &mut Cx, answer: IqAnswer<'_>) {
        let Some(code) = &mut self.code else { return };
        let Stage::Asked { at } = code.stage else { return };
        let failure = match answer {
            IqAnswer::Result(iq) => {
                let reference = iq
                    .child("link_code_companion_reg")
                    .and_then(|reg| reg.child("link_code_pairing_ref")?.bytes())
                    .filter(|bytes| !bytes.is_empty() && bytes.len() <= limits::PAIR_REF_BYTES);
                match reference {
                    Some(reference) => {
                        code.stage = Stage::Live { at, reference: Bytes::copy_from_slice(reference), hellos: 0 };
                        let reply = PairingCode { code: code.text.as_str().into() };
                        cx.done(code.ticket.take(), Ok(Reply::PairingCode(reply)));
                        cx.timers.set(Timer::PairCode, at + limits::PAIR_CODE_LIFE);
                        return;
                    }
                    None => Failure::BadAnswer("no pairing ref"),
                }
            }
            IqAnswer::Error(error) => Failure::Pairing(refused(error)),
            IqAnswer::Timeout => Failure::Pairing(PairingError::Expired),
            IqAnswer::Disconnected => Failure::Pairing(PairingError::Disconnected),
        };
        cx.done(code.ticket.take(), Err(failure));
        self.code = None;
        self.exhausted(cx);
    }

    /// `<notification type="link_code_companion_reg">`.
    pub(super) fn code_step(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        let Some(reg) = node.child("link_code_companion_reg") else { return };
        let Some(Code { stage: Stage::Live { reference, .. }, .. }) = &self.code else { return };
        // One for another code, also of ours, touches nothing.
        if reg.child("link_code_pairing_ref").and_then(|r| r.bytes()) != Some(reference) {
            return;
        }
        match reg.text("stage").as_deref() {
            Some("primary_hello") => self.primary_hello(cx, reg),
            Some("refresh_code") => self.code_failed(cx, PairingError::NewCodeWanted),
            _ => {}
        }
    }

    /// The user has typed a code: ours, or something like it. Stage 2.
    fn primary_hello(&mut self, cx: &mut Cx, reg: NodeRef<'_>) {
        let Some(identity) = cx.account().map(|account| account.identity.clone()) else { return };
        let Some(code) = &mut self.code else { return };
        let Stage::Live { at, reference, hellos } = &mut code.stage else { return };
        let Some(wrapped) = reg.child("link_code_pairing_wrapped_primary_ephemeral_pub") else {
            // Seen where the account must be linked with a passkey.
            return self.code_failed(cx, PairingError::PasskeyRequired);
        };
        let wrapped: Option<[u8; WRAPPED]> = wrapped.bytes().and_then(|bytes| bytes.try_into().ok());
        let phone = reg.child("primary_identity_pub").and_then(|node| PublicKey::from_raw(node.bytes()?).ok());
        let (Some(wrapped), Some(phone)) = (wrapped, phone) else {
            return cx.warn(Warning::BadStanza { what: Str::const_new("malformed primary_hello") });
        };
        if *hellos >= limits::PAIR_CODE_HELLOS || cx.mono() - *at > limits::PAIR_CODE_LIFE {
            return;
        }
        let fresh = Fresh { random: cx.rng.bytes(), salt: cx.rng.bytes(), nonce: cx.rng.bytes() };
        let Ok(done) = code_keys::finish(&code.ephemeral, &identity, &code.text.unwrap(&wrapped), &phone, &fresh)
        else {
            return cx.warn(Warning::BadStanza { what: Str::const_new("primary_hello with a low-order key") });
        };
        *hellos += 1;
        let (hello, reference) = (*hellos, reference.clone());
        let leaf = |tag: &'static str, bytes: Bytes| Node::new(tag).bytes(bytes);
        let content = code.node("companion_finish").children(Vec::from([
            leaf("link_code_pairing_wrapped_key_bundle", done.bundle.into()),
            leaf("companion_identity_public", Bytes::copy_from_slice(identity.public.as_bytes())),
            leaf("link_code_pairing_ref", reference),
        ]));
        // The phone will authenticate with this secret: durable first, which is the gate's business.
        self.set_secret(cx, done.secret);
        cx.ask_within(Iq::set("md", content), IqOwner::PairCode(Ask::Finish(hello)), limits::PAIR_CODE_IQ);
        cx.timer_in(Timer::PairCode, limits::PAIR_CODE_FINISH);
    }

    /// [`Timer::PairCode`]: nobody typed it, or the phone could not open what we sent.
    pub(crate) fn code_expired(&mut self, cx: &mut Cx) {
        self.code_failed(cx, PairingError::Expired);
    }

    /// A code that was shown came to nothing. The QR codes go on.
    fn code_failed(&mut self, cx: &mut Cx, error: PairingError) {
        let Some(code) = self.code.take() else { return };
        let finishing = code.is_finishing();
        code.fail(cx, error);
        if finishing {
            // Whoever made the last secret with us has no use of it any more.
            self.new_secret(cx);
        }
        self.exhausted(cx);
    }
}

fn refused(error: &IqError) -> PairingError {
    PairingError::Refused { code: error.code, text: error.text.clone() }
}
