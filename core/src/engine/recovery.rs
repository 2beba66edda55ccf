//! Endings: of a connection, of a session, of trust in memory. After each the engine is ready to begin again.

use super::gate::Held;
use super::{Engine, Reply, StorageError, iq, timers};
use crate::error::{EndReason, Failure};
use crate::event::{self, Event, Warning};
use crate::flows::retry::Retries;
use crate::wire::Str;

impl Engine {
    /// The connection is gone.
    pub(super) fn down(&mut self) {
        let cx = &mut self.cx;
        // What had left and what had not is known only while the old connection's ciphers are there.
        self.runner.down(cx);
        cx.secured = None;
        self.inbound.clear(cx);
        self.login.down(cx);
        self.pair.down(cx);
        self.prekeys.down(cx);
        let owners: alloc::vec::Vec<_> = cx.iqs.abandon(&mut cx.timers).collect();
        for owner in owners {
            self.answer(owner, iq::IqAnswer::Disconnected);
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, reason: &EndReason, wipe: bool) {
        // What was said before the end may still leave.
        self.close_transaction();
        if !self.connect.is_wanted() && self.shutdown.is_none() && *reason != EndReason::ShutDown {
            return;
        }
        self.connect.ended(&mut self.cx);
        self.logout.ended(&mut self.cx, reason);
        self.pair.ended(&mut self.cx, reason);
        self.down();
        self.runner.end(&mut self.cx, reason);
        self.session.close(&mut self.cx);
        self.sweep.end(&mut self.cx);
        if wipe {
            self.cx.cache.wipe();
            self.cx.gate.forget_deliveries();
            self.cx.retries = Retries::default();
        }
        self.cx.event(Event::Connection(event::Connection::Ended { reason: reason.clone(), wiped: wipe }));
    }

    /// Everything in memory may be newer than what is durable: forget it and start over from storage.
    pub(super) fn commit_failed(&mut self, error: &StorageError) {
        let answers = self.cx.gate.drop_held();
        self.pair.storage_failed(&mut self.cx);
        self.runner.storage_failed(&mut self.cx);
        self.cx.cache.poison();
        self.cx.retries.storage_failed();
        self.start_over(error.retryable, &error.message);
        for mut answer in answers {
            // What the server said stays true; what we only wrote did not happen.
            let of_server = matches!(
                answer.result,
                Ok(Reply::Sent(_) | Reply::PairingCode(_) | Reply::LoggedOut(_))
                    | Err(Failure::Refused { .. } | Failure::Unknown { .. } | Failure::Pairing(_) | Failure::Cancelled)
            );
            if !of_server {
                answer.result = Err(Failure::Storage);
            }
            self.cx.gate.push(Held::Done(answer));
        }
    }

    /// Records that are needed cannot be read. What is on its way to storage stays on its way; the session starts over.
    pub(super) fn read_failed(&mut self, message: &Str) {
        self.close_transaction();
        self.pair.storage_failed(&mut self.cx);
        self.runner.storage_failed(&mut self.cx);
        self.close_transaction();
        self.cx.cache.distrust();
        self.start_over(true, message);
    }

    fn start_over(&mut self, retryable: bool, message: &Str) {
        let cx = &mut self.cx;
        self.session.close(cx);
        self.sweep.end(cx);
        cx.warn(Warning::StorageFailed { message: message.clone() });
        if retryable {
            self.connect.storage_failed(cx, message);
            self.down();
        } else {
            self.end(&EndReason::Storage(message.clone()), false);
        }
    }

    pub(super) fn force_shutdown(&mut self) {
        if let Some(ticket) = self.shutdown.take() {
            for completion in self.cx.gate.drop_held() {
                self.cx.tickets.insert(completion.ticket);
                let result = if completion.ticket == ticket { completion.result } else { Err(Failure::Storage) };
                self.cx.done(completion.ticket, result);
            }
            self.cx.cache.poison();
            self.cx.timers = timers::Timers::default();
            self.finished = true;
        }
    }
}
