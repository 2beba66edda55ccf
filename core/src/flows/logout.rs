//! Unlinking this device (`protocol/transport.md` §16).
//!
//! The server is asked if it can be reached; whatever it says, and if it says nothing, the local account is removed. Only
//! then are the commands answered, with the commit of that removal.

use alloc::vec::Vec;

use crate::engine::cx::{Cx, Signal};
use crate::engine::iq::{Iq, IqAnswer};
use crate::engine::timers::Timer;
use crate::engine::{Reply, TicketId, command::LoggedOut, limits};
use crate::error::{EndReason, Failure};
use crate::flows::IqOwner;
use crate::wire::Node;

/// A logout under way.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct LogoutFlow {
    /// Commands to be answered. Not empty: a logout is under way.
    tickets: Vec<TicketId>,
    /// The server has said yes.
    confirmed: bool,
}

impl LogoutFlow {
    pub(crate) fn begin(&mut self, cx: &mut Cx, ticket: TicketId) {
        let first = self.tickets.is_empty();
        self.tickets.push(ticket);
        if !first {
            return;
        }
        self.confirmed = false;
        match cx.own_device() {
            Some(device) if cx.open => {
                let content = Node::new("remove-companion-device").attr("jid", device).attr("reason", "user_initiated");
                cx.ask(Iq::set("md", content), IqOwner::Logout);
                cx.timer_in(Timer::Logout, limits::LOGOUT_TIMEOUT);
            }
            _ => finish(cx),
        }
    }

    /// Also when the connection ended first: the account is removed here all the same.
    pub(crate) fn answered(&mut self, cx: &mut Cx, answer: IqAnswer<'_>) {
        if !self.tickets.is_empty() {
            self.confirmed = matches!(answer, IqAnswer::Result(_));
            finish(cx);
        }
    }

    pub(crate) fn timed_out(&mut self, cx: &mut Cx) {
        if !self.tickets.is_empty() {
            finish(cx);
        }
    }

    /// What the end of the session means: that the server removes the device is what was asked of it.
    pub(crate) fn end_reason(&mut self, reason: EndReason) -> EndReason {
        if !self.tickets.is_empty() && reason == EndReason::DeviceRemoved {
            self.confirmed = true;
            return EndReason::LoggedOut;
        }
        reason
    }

    /// The session is over.
    pub(crate) fn ended(&mut self, cx: &mut Cx, reason: &EndReason) {
        cx.timers.clear(Timer::Logout);
        let confirmed = self.confirmed;
        for ticket in core::mem::take(&mut self.tickets) {
            let result = match reason {
                EndReason::LoggedOut => Ok(Reply::LoggedOut(LoggedOut { confirmed })),
                other => Err(Failure::SessionEnded(other.clone())),
            };
            cx.done(ticket, result);
        }
    }
}

fn finish(cx: &mut Cx) {
    cx.signal(Signal::End { reason: EndReason::LoggedOut, wipe: true });
}
