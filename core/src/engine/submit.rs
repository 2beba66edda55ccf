//! Taking commands.

use alloc::vec::Vec;

use super::command::{Command, Confirm, MarkRead, Rejected, Reply, Request, Ticket, TicketId};
use super::cx::Signal;
use super::gate::Held;
use super::timers::Timer;
use super::{Engine, Now, limits};
use crate::error::{EndReason, Failure, RejectReason};
use crate::flows::{presence, receipts};
use crate::store::records::InboxEntry;

impl Engine {
    /// Takes one command. Exactly one [`Output::Done`](super::Output::Done) follows for its ticket.
    ///
    /// # Errors
    /// The command comes back if it cannot be taken; then nothing has happened.
    pub fn submit<C: Command>(&mut self, now: Now, command: C) -> Result<Ticket<C::Reply>, Rejected<C>> {
        match self.submit_request(now, command.into_request()) {
            Ok(id) => Ok(Ticket::new(id)),
            Err(rejected) => match C::from_request(rejected.command) {
                Some(command) => Err(Rejected { command, reason: rejected.reason }),
                None => unreachable!("a request turns back into the command it was made of"),
            },
        }
    }

    /// [`Engine::submit`] without the types, for replaying recorded commands.
    ///
    /// # Errors
    /// As there.
    #[allow(clippy::result_large_err, reason = "the whole command comes back, as it was given")]
    pub fn submit_request(&mut self, now: Now, request: Request) -> Result<TicketId, Rejected<Request>> {
        if let Err(reason) = self.admit(&request) {
            return Err(Rejected { command: request, reason });
        }
        self.advance(now);
        self.last_ticket += 1;
        let ticket = TicketId(self.last_ticket);
        self.cx.tickets.insert(ticket);
        self.carry_out(ticket, request);
        self.settle();
        Ok(ticket)
    }

    /// "Don't tell me": the ticket is answered as cancelled at once; what is under way goes on. Unknown ids are ignored.
    pub fn cancel(&mut self, now: Now, ticket: TicketId) {
        self.advance(now);
        if self.shutdown != Some(ticket) {
            self.cx.done(ticket, Err(Failure::Cancelled));
        }
        self.settle();
    }

    fn admit(&self, request: &Request) -> Result<(), RejectReason> {
        if self.shutdown.is_some() || self.finished {
            return Err(RejectReason::ShutDown);
        }
        let limit = self.cx.config.limits.open_commands;
        if self.cx.tickets.len().max(self.runner.len()) >= limit
            && !matches!(request, Request::Shutdown(_) | Request::Disconnect(_))
        {
            return Err(RejectReason::Busy { limit });
        }
        let paired = || if self.cx.me().is_some() { Ok(()) } else { Err(RejectReason::NotPaired) };
        let open = || if self.cx.open { Ok(()) } else { Err(RejectReason::NotConnected) };
        match request {
            Request::SendMessage(send) => {
                if !self.connect.is_wanted() {
                    return Err(RejectReason::NotConnected);
                }
                if self.session.is_open() {
                    paired()?;
                }
                self.runner.admit(send)
            }
            Request::RequestPairingCode(code) => self.pair.admit(&self.cx, code),
            Request::Logout(_) => {
                if !self.session.is_open() {
                    return Err(RejectReason::NotConnected);
                }
                paired()
            }
            Request::MarkRead(MarkRead { ids, .. }) => {
                if ids.is_empty() {
                    return Err(RejectReason::BadContent("no message ids"));
                }
                paired().and_then(|()| open())
            }
            Request::SendChatState(_) | Request::SubscribePresence(_) => paired().and_then(|()| open()),
            Request::SetPresence(_) => {
                paired().and_then(|()| open())?;
                presence::own_name(&self.cx).map(|_| ()).ok_or(RejectReason::NoPushName)
            }
            Request::Connect(_) | Request::Disconnect(_) | Request::Shutdown(_) | Request::Confirm(_) => Ok(()),
        }
    }

    fn carry_out(&mut self, ticket: TicketId, request: Request) {
        let cx = &mut self.cx;
        match request {
            Request::Connect(_) => {
                if self.connect.start() {
                    self.session.begin(cx);
                }
                cx.done(ticket, Ok(Reply::Unit));
            }
            Request::Disconnect(_) => {
                cx.signal(Signal::End { reason: EndReason::Disconnected, wipe: false });
                self.signals();
                self.cx.done(ticket, Ok(Reply::Unit));
            }
            Request::Shutdown(_) => self.shut_down(ticket),
            Request::RequestPairingCode(code) => self.pair.request_code(cx, ticket, code),
            Request::Logout(_) => self.logout.begin(cx, ticket),
            Request::SendMessage(send) => self.runner.submit(cx, ticket, send),
            Request::MarkRead(read) => {
                receipts::mark_read(cx, &read);
                cx.done(ticket, Ok(Reply::Unit));
            }
            Request::SetPresence(set) => {
                presence::set(cx, set.presence);
                cx.done(ticket, Ok(Reply::Unit));
            }
            Request::SendChatState(state) => {
                presence::send_chatstate(cx, &state);
                cx.done(ticket, Ok(Reply::Unit));
            }
            Request::SubscribePresence(subscribe) => {
                presence::subscribe(cx, &subscribe);
                cx.done(ticket, Ok(Reply::Unit));
            }
            Request::Confirm(Confirm { delivery }) => {
                cx.cache.delete::<InboxEntry>(&delivery);
                cx.gate.push(Held::Confirmed(delivery));
                if !self.session.is_open() {
                    cx.confirmed.insert(delivery);
                }
                cx.done(ticket, Ok(Reply::Unit));
            }
        }
    }

    fn shut_down(&mut self, ticket: TicketId) {
        self.shutdown = Some(ticket);
        self.cx.signal(Signal::End { reason: EndReason::ShutDown, wipe: false });
        self.signals();
        // Whatever is still open is answered before the shutdown itself.
        let open: Vec<_> = self.cx.tickets.iter().copied().filter(|open| *open != ticket).collect();
        for open in open {
            self.cx.done(open, Err(Failure::SessionEnded(EndReason::ShutDown)));
        }
        self.cx.done(ticket, Ok(Reply::Unit));
        self.cx.timer_in(Timer::Shutdown, limits::SHUTDOWN_TIMEOUT);
    }
}
