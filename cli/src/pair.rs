//! `amarula pair`.

use std::time::Instant;

use amarula_core::engine::command::PairingCode;
use amarula_core::event::{Connection, Delivery, Event, Pairing};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::exit::Exit;
use crate::options::{Common, PairArgs};
use crate::output::{Output, line};
use crate::problem::{Problem, Result};
use crate::qr;
use crate::session::{Next, Pending, Session};

pub(crate) fn run(common: &Common, args: &PairArgs, output: &Output) -> Result<()> {
    let client = Client::new(common)?;
    if let Some(own) = client.own_account_at_rest()? {
        output.notice(&format!("linked to +{} already; logging in to see whether it still is", own.pn.user()));
    }
    let mut pairing = Attempt { args, output, code: None, asked: false };
    let deadline = Instant::now() + args.timeout;
    let mut session = Session::start(client)?;
    loop {
        let step = match session.next(Some(deadline))? {
            Next::Event(delivery) => pairing.event(&session, &delivery)?,
            Next::Answered => pairing.answered()?,
            Next::TimedOut => return Err(Problem::new(Exit::Network, "timeout", "not paired in time")),
        };
        if step == Step::Done {
            return finish(&session, output);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    More,
    Done,
}

struct Attempt<'a> {
    args: &'a PairArgs,
    output: &'a Output,
    code: Option<Pending<Answer<PairingCode>>>,
    asked: bool,
}

impl Attempt<'_> {
    fn event(&mut self, session: &Session, delivery: &Delivery) -> Result<Step> {
        match &delivery.event {
            Event::Pairing(Pairing::Qr { text, valid_for }) => match &self.args.phone {
                None if self.output.is_json() => self.output.event(delivery)?,
                None => {
                    let code = qr::render(&text.0).ok_or_else(|| Problem::usage("the QR code is too long"))?;
                    line(&code)?;
                    self.output.notice(&format!(
                        "On the phone: WhatsApp, Linked devices, Link a device. This code is good for {} s.",
                        valid_for.as_secs()
                    ));
                }
                // The first QR code says that the server is ready for a code.
                Some(phone) if !self.asked => {
                    self.asked = true;
                    let (phone, code) = (phone.clone(), self.args.code.clone());
                    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
                    self.code =
                        Some(session.start_call(move |client| client.request_pairing_code(&digits, code.as_deref()))?);
                }
                Some(_) => {}
            },
            Event::Pairing(Pairing::Failed(error)) => {
                self.output.event(delivery)?;
                // A code is asked for once; QR codes go on coming.
                if self.args.phone.is_some() {
                    return Err(error.clone().into());
                }
            }
            Event::Pairing(_) | Event::Warning(_) => self.output.event(delivery)?,
            Event::Connection(connection) => {
                self.output.event(delivery)?;
                if let Connection::CaughtUp { .. } = connection {
                    return Ok(Step::Done);
                }
            }
            // Messages stay in the inbox, for `listen`.
            _ => {}
        }
        Ok(Step::More)
    }

    fn answered(&mut self) -> Result<Step> {
        if let Some(answer) = self.code.as_ref().and_then(Pending::take) {
            let code = answer?.code;
            self.output.result(&json!({"event": "pairing", "step": "code", "code": code.as_str()}), || {
                let (left, right) = code.split_at_checked(4).unwrap_or((&code, ""));
                format!("{left}-{right}")
            })?;
            self.output
                .notice("On the phone: WhatsApp, Linked devices, Link with phone number instead; type this code.");
        }
        Ok(Step::More)
    }
}

/// Logged in: what was linked works.
fn finish(session: &Session, output: &Output) -> Result<()> {
    let own = session.client().own_account()?.ok_or_else(|| Problem::not_paired(session.client().profile()))?;
    let object = json!({
        "event": "ready",
        "profile": session.client().profile(),
        "pn": own.pn.to_string(),
        "lid": own.lid.as_ref().map(ToString::to_string),
    });
    output.result(&object, || {
        format!("profile {:?} is linked to +{}, device {}", session.client().profile(), own.pn.user(), own.pn.device())
    })
}
