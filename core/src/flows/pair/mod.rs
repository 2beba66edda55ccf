//! Linking: QR codes, phone codes, pair-success (`protocol/pairing.md`).
//!
//! QR and phone code run side by side on one unpaired connection and share the ADV secret; everything that reads or
//! replaces it is one step of this one state machine.

mod code;
mod code_keys;
mod qr;
mod success;

use self::code::Code;
use self::qr::Qr;
use crate::engine::command::RequestPairingCode;
use crate::engine::cx::{Cx, Signal};
use crate::engine::timers::Timer;
use crate::engine::{CommitSeq, TicketId};
use crate::error::{DropCause, EndReason, PairingError, RejectReason};
use crate::event::{Event, Pairing};
use crate::store::records::AdvSecret;
use crate::wire::{Jid, Node, NodeRef};

/// A question of phone-code pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// companion_hello.
    Hello,
    /// companion_finish, answering the n-th primary_hello.
    Finish(u32),
}

/// State of linking, on one connection.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Pair {
    /// pair-device came: the stream is up.
    ready: bool,
    qr: Qr,
    code: Option<Code>,
    outcome: Outcome,
}

/// What became of a pair-success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Outcome {
    /// None came.
    #[default]
    Open,
    /// Accepted, with this commit: a restart of the stream follows.
    Linked(CommitSeq),
    /// Refused: the connection is of no more use.
    Refused,
}

impl Pair {
    pub(crate) fn admit(&self, cx: &Cx, request: &RequestPairingCode) -> Result<(), RejectReason> {
        match cx.account() {
            Some(account) if account.me.is_some() => return Err(RejectReason::AlreadyPaired),
            Some(_) if cx.conn.is_some() => {}
            _ => return Err(RejectReason::NotConnected),
        }
        code::check(request)?;
        if self.code.is_some() || self.outcome != Outcome::Open {
            return Err(RejectReason::PairingInProgress);
        }
        Ok(())
    }

    pub(crate) fn request_code(&mut self, cx: &mut Cx, ticket: TicketId, request: RequestPairingCode) {
        let mut code = Code::new(cx, ticket, request);
        if self.ready {
            code.hello(cx);
        }
        self.code = Some(code);
    }

    /// `<iq xmlns="md" type="set">`: pair-device or pair-success.
    pub(crate) fn iq(&mut self, cx: &mut Cx, iq: NodeRef<'_>) {
        if iq.jid("from").is_some_and(|from| !from.is_server()) {
            return;
        }
        if let Some(device) = iq.child("pair-device") {
            self.pair_device(cx, iq, device);
        } else if let Some(success) = iq.child("pair-success") {
            self.pair_success(cx, iq, success);
        }
    }

    /// New refs: they replace those not shown yet.
    fn pair_device(&mut self, cx: &mut Cx, iq: NodeRef<'_>, device: NodeRef<'_>) {
        let answer = Node::new("iq").attr("to", Jid::server()).attr("type", "result").attr_opt("id", iq.text("id"));
        cx.send(&answer);
        // Only a connection that asked to be linked gets refs, and once linked none are needed.
        if cx.account().is_none_or(|account| account.me.is_some()) {
            return;
        }
        cx.signal(Signal::Greeted);
        self.qr.begin(cx, device);
        if !self.ready {
            self.ready = true;
            if let Some(code) = &mut self.code {
                code.hello(cx);
            }
        }
    }

    /// Notifications `link_code_companion_reg`, `companion_reg_refresh` and `passkey_prologue_request`. The ack is sent
    /// by the caller.
    pub(crate) fn notified(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        let unpaired = cx.account().is_some_and(|account| account.me.is_none());
        if !unpaired || !node.jid("from").is_some_and(|from| from.is_server()) {
            return;
        }
        match node.text("type").as_deref() {
            Some("link_code_companion_reg") => self.code_step(cx, node),
            Some("companion_reg_refresh") => {
                if node.child("companion_reg_refresh").is_none() && node.child("pair-device-rotate-qr").is_none() {
                    return;
                }
                // A pair-success under the secret of companion_finish is due: replacing it would lose the link.
                if !self.code.as_ref().is_some_and(Code::is_finishing) {
                    self.new_secret(cx);
                }
            }
            Some("passkey_prologue_request") => failed(cx, PairingError::PasskeyRequired),
            _ => {}
        }
    }

    pub(crate) fn next_qr(&mut self, cx: &mut Cx) {
        self.qr.next(cx);
        self.exhausted(cx);
    }

    /// No ref is left, and no code is live: nothing can come of this connection.
    fn exhausted(&self, cx: &mut Cx) {
        if self.ready && self.qr.is_empty() && self.code.is_none() && self.outcome == Outcome::Open {
            cx.signal(Signal::End { reason: EndReason::QrExhausted, wipe: false });
        }
    }

    /// [`Timer::PairRestart`].
    pub(crate) fn restart(&mut self, cx: &mut Cx) {
        cx.signal(Signal::Drop(match self.outcome {
            Outcome::Refused => DropCause::PairingFailed,
            _ => DropCause::RestartRequired,
        }));
    }

    /// However a connection ends that has answered a pair-success: the next one follows at once, and logs in.
    pub(crate) fn drop_cause(&self, cause: DropCause) -> DropCause {
        if matches!(self.outcome, Outcome::Linked(_)) { DropCause::RestartRequired } else { cause }
    }

    /// The connection is gone.
    pub(crate) fn down(&mut self, cx: &mut Cx) {
        if let Some(code) = self.code.take() {
            code.fail(cx, PairingError::Disconnected);
        }
        *self = Self::default();
        for timer in [Timer::Qr, Timer::PairCode, Timer::PairRestart] {
            cx.timers.clear(timer);
        }
    }

    /// The session is over; the account is still in memory.
    pub(crate) fn ended(&mut self, cx: &mut Cx, reason: &EndReason) {
        if let Some(mut code) = self.code.take() {
            code.end(cx, reason);
        }
        if *reason == EndReason::DeviceRemoved && cx.me().is_some_and(|me| me.fresh) {
            failed(cx, PairingError::RemovedAtLogin);
        }
    }

    /// Storage failed; what is durable is still known. A link that was not stored never was.
    pub(crate) fn storage_failed(&mut self, cx: &mut Cx) {
        if let Outcome::Linked(seq) = self.outcome {
            self.outcome = Outcome::Open;
            if seq > cx.cache.durable() {
                failed(cx, PairingError::Storage);
            }
        }
        if let Some(code) = self.code.take() {
            code.fail(cx, PairingError::Storage);
        }
    }

    /// Replaces the ADV secret, and redraws the code that shows it.
    fn new_secret(&mut self, cx: &mut Cx) {
        let secret = AdvSecret(cx.rng.bytes());
        self.set_secret(cx, secret);
    }

    fn set_secret(&mut self, cx: &mut Cx, secret: AdvSecret) {
        cx.update_account(|account| account.adv_secret = secret);
        self.qr.redraw(cx);
    }
}

fn failed(cx: &mut Cx, error: PairingError) {
    cx.event(Event::Pairing(Pairing::Failed(error)));
}
