//! `amarula listen`.

use std::time::Instant;

use amarula_core::Kind;
use amarula_core::event::{Connection, Delivery, Event, Pairing};
use amarula_core::message::Message;

use crate::client::Client;
use crate::options::{Common, ListenArgs};
use crate::output::Output;
use crate::problem::{Problem, Result};
use crate::session::{Next, Session};

pub(crate) fn run(common: &Common, args: &ListenArgs, output: &Output) -> Result<()> {
    let mut session = Session::of_paired(Client::new(common)?)?;
    let deadline = args.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut reader = Reader { open: false, unread: Vec::new() };
    let mut left = args.count;
    while left != Some(0) {
        let delivery = match session.next(deadline)? {
            Next::Event(delivery) => delivery,
            Next::TimedOut => return Ok(()),
            Next::Answered => continue,
        };
        if let Event::Pairing(Pairing::Qr { .. }) = &delivery.event {
            return Err(Problem::not_paired(session.client().profile()));
        }
        output.event(&delivery)?;
        // Only what is out of this process is confirmed.
        if let Some(id) = delivery.id.filter(|_| !args.no_confirm) {
            session.client().confirm(id)?;
        }
        if args.mark_read {
            reader.see(delivery.event.clone(), session.client());
        }
        if is_message(&delivery) {
            left = left.map(|left| left - 1);
        }
    }
    Ok(())
}

fn is_message(delivery: &Delivery) -> bool {
    matches!(&delivery.event, Event::Message(message) if !message.from_me)
}

/// Says that messages were read, when there is a connection to say it on.
struct Reader {
    open: bool,
    unread: Vec<Message>,
}

impl Reader {
    fn see(&mut self, event: Event, client: &Client) {
        match event {
            Event::Connection(Connection::Open | Connection::CaughtUp { .. }) => self.open = true,
            Event::Connection(Connection::OfflinePending { .. }) => {}
            Event::Connection(_) => self.open = false,
            Event::Message(message) if !message.from_me => self.unread.push(*message),
            _ => return,
        }
        if !self.open {
            return;
        }
        for message in std::mem::take(&mut self.unread) {
            let sender = (message.chat.kind() == Kind::Group).then_some(&message.sender);
            if let Err(error) = client.mark_read(&message.chat, sender, &[message.id.to_string()]) {
                tracing::warn!(%error, id = %message.id, "not marked as read");
            }
        }
    }
}
