//! Somebody with a phone and a linked device.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use amarula_core::Address;
use amarula_core::content::{Content, Outgoing};
use amarula_core::engine::command::Sent;
use amarula_core::event::{Connection, Delivery, Event, Pairing};
use amarula_core::message::Message;
use amarula_core::wire::Jid;
use amarula_io::SendOptions;
use amarula_sim::AccountId;

use super::PATIENCE;
use super::stage::{Stage, failed};
use crate::client::Client;
use crate::problem::{Problem, Result};
use crate::session::spawn;

pub(crate) struct Person<'a> {
    pub(crate) name: &'static str,
    pub(crate) account: AccountId,
    number: &'static str,
    stage: &'a Stage<'a>,
    device: Option<Device>,
}

/// A running client.
struct Device {
    client: Client,
    events: Receiver<Delivery>,
    /// Came while something else was waited for.
    early: Vec<Delivery>,
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Err(error) = self.client.shutdown() {
            tracing::warn!(%error, "not shut down in order");
        }
    }
}

impl<'a> Person<'a> {
    pub(crate) fn new(stage: &'a Stage<'a>, name: &'static str, number: &'static str, lid: &str) -> Self {
        let account = stage.act(|server, _| {
            let account = server.add_account(number, lid);
            if let Some(account) = server.account_mut(account) {
                account.phone.set_name(name);
            }
            account
        });
        Self { name, account, number, stage, device: None }
    }

    pub(crate) fn jid(&self) -> Jid {
        Jid::pn(self.number)
    }

    pub(crate) fn address(&self) -> Address {
        Address::phone(self.number)
    }

    /// As printed.
    pub(crate) fn client_name(&self) -> String {
        format!("{}'s client", self.name)
    }

    /// As printed.
    pub(crate) fn phone_name(&self) -> String {
        format!("{}'s phone", self.name)
    }

    pub(crate) fn client(&self) -> Result<&Client> {
        self.device.as_ref().map(|device| &device.client).ok_or_else(|| failed("the client does not run"))
    }

    /// Starts the client.
    pub(crate) fn start(&mut self) -> Result<()> {
        let client = Client::new(&self.stage.options(self.name))?;
        let mut stream = client.connect()?;
        let (sender, events) = mpsc::channel();
        spawn("amarula-events", move || {
            while let Some(delivery) = stream.next() {
                if sender.send(delivery).is_err() {
                    return;
                }
            }
        })?;
        self.device = Some(Device { client, events, early: Vec::new() });
        Ok(())
    }

    /// Stops it in order.
    pub(crate) fn stop(&mut self) {
        self.device = None;
    }

    /// Waits for an event that `is` gives something for; others stay for later. Messages are confirmed.
    pub(crate) fn expect<R>(&mut self, what: &str, is: impl Fn(&Event) -> Option<R>) -> Result<R> {
        let name = self.name;
        let device = self.device.as_mut().ok_or_else(|| failed("the client does not run"))?;
        let deadline = Instant::now() + PATIENCE;
        let mut at = 0;
        loop {
            self.stage.check()?;
            if let Some(delivery) = device.early.get(at) {
                if let Some(found) = is(&delivery.event) {
                    let delivery = device.early.remove(at);
                    if let Some(id) = delivery.id {
                        device.client.confirm(id)?;
                    }
                    return Ok(found);
                }
                at += 1;
                continue;
            }
            match device.events.recv_timeout(Duration::from_millis(50)) {
                Ok(delivery) => {
                    if let Event::Connection(Connection::Ended { reason, .. }) = &delivery.event {
                        return Err(reason.clone().into());
                    }
                    device.early.push(delivery);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!(early = ?device.early, "what came instead");
                    return Err(failed(&format!("{name} does not see in time: {what}")));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(amarula_io::Error::Stopped.into()),
            }
        }
    }

    /// Waits for a message of this text.
    pub(crate) fn expect_text(&mut self, text: &str) -> Result<Message> {
        self.expect(text, |event| match event {
            Event::Message(message) if matches!(&message.content, Content::Text(said) if said.body == text) => {
                Some((**message).clone())
            }
            _ => None,
        })
    }

    /// Waits until the backlog is through.
    pub(crate) fn expect_login(&mut self) -> Result<()> {
        self.expect("a login", |event| matches!(event, Event::Connection(Connection::CaughtUp { .. })).then_some(()))
    }

    /// Waits for a QR code.
    pub(crate) fn expect_qr(&mut self) -> Result<String> {
        self.expect("a QR code", |event| match event {
            Event::Pairing(Pairing::Qr { text, .. }) => Some(text.0.to_string()),
            Event::Pairing(Pairing::Failed(error)) => Some(error.to_string()),
            _ => None,
        })
    }

    /// The phone gets a text.
    pub(crate) fn expect_on_phone(&self, text: &str) -> Result<()> {
        self.stage.wait(text, |server| server.phone(self.account).texts().iter().any(|got| got == text).then_some(()))
    }

    /// The client sends a text. Returns what the server says and the milliseconds it took.
    pub(crate) fn send(&self, to: &Address, text: &str) -> Result<(Sent, u128)> {
        let start = Instant::now();
        let sent = self.client()?.send(to, Outgoing::text(text), SendOptions::new()).map_err(Problem::from)?;
        Ok((sent, start.elapsed().as_millis()))
    }
}
