//! Linking: QR codes, phone codes, pair-success (`protocol/pairing.md`).

use bytes::Bytes;

use crate::engine::TicketId;
use crate::engine::command::RequestPairingCode;
use crate::engine::cx::Cx;
use crate::engine::iq::IqAnswer;
use crate::error::{EndReason, RejectReason};
use crate::wire::NodeRef;

/// A question of phone-code pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// companion_hello.
    Hello,
    /// companion_finish.
    Finish,
}

/// State of linking.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Pair {}

impl Pair {
    pub(crate) fn admit(&self, _cx: &Cx, _request: &RequestPairingCode) -> Result<(), RejectReason> {
        Ok(())
    }

    pub(crate) fn request_code(&mut self, _cx: &mut Cx, _ticket: TicketId, _request: RequestPairingCode) {}

    /// `<iq xmlns="md" type="set">`: pair-device or pair-success.
    pub(crate) fn iq(&mut self, _cx: &mut Cx, _iq: NodeRef<'_>, _stanza: &Bytes) {}

    /// Notifications `link_code_companion_reg` and `companion_reg_refresh`. The ack is sent by the caller.
    pub(crate) fn notified(&mut self, _cx: &mut Cx, _node: NodeRef<'_>) {}

    pub(crate) fn next_qr(&mut self, _cx: &mut Cx) {}

    pub(crate) fn code_expired(&mut self, _cx: &mut Cx) {}

    pub(crate) fn answered(&mut self, _cx: &mut Cx, _ask: Ask, _answer: IqAnswer<'_>) {}

    /// The connection is gone.
    pub(crate) fn down(&mut self, _cx: &mut Cx) {}

    /// The session is over.
    pub(crate) fn ended(&mut self, _cx: &mut Cx, _reason: &EndReason) {}
}
