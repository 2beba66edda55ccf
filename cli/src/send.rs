//! `amarula send`.

use std::io::Read as _;
use std::time::Instant;

use amarula_core::content::Outgoing;
use amarula_core::engine::command::Sent;
use amarula_core::error::EndReason;
use amarula_core::error::Failure;
use amarula_core::event::{Event, Pairing};
use amarula_io::{Error, SendOptions};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::events;
use crate::exit::Exit;
use crate::options::{Common, SendArgs};
use crate::output::Output;
use crate::problem::{Problem, Result};
use crate::session::{Next, Pending, Session};

pub(crate) fn run(common: &Common, args: &SendArgs, output: &Output) -> Result<()> {
    let text = if args.text == "-" { from_stdin()? } else { args.text.clone() };
    let deadline = Instant::now() + args.timeout;
    let mut session = Session::of_paired(Client::new(common)?)?;
    let mut options = SendOptions::new();
    if let Some(id) = &args.id {
        options = options.id(id);
    }
    if let Some(reference) = &args.reference {
        options = options.reference(reference);
    }
    let to = args.to.clone();
    let pending = session.start_call(move |client| client.send(&to, Outgoing::text(text), options))?;
    let sent = match wait(&mut session, &pending, deadline, output) {
        Ok(sent) => sent,
        Err(problem) => {
            // The client answers whatever is open when it is shut down; that says whether the message left.
            drop(session);
            return outcome(pending, problem).and_then(|sent| tell(&sent, output));
        }
    };
    tell(&sent, output)
}

fn wait(session: &mut Session, pending: &Pending<Answer<Sent>>, deadline: Instant, output: &Output) -> Result<Sent> {
    loop {
        match session.next(Some(deadline))? {
            Next::Event(delivery) => match &delivery.event {
                Event::Pairing(Pairing::Qr { .. }) => return Err(Problem::not_paired(session.client().profile())),
                // Messages stay in the inbox, for `listen`.
                Event::Message(_) => {}
                Event::Connection(_) | Event::Warning(_) if !output.is_json() => output.event(&delivery)?,
                _ => {}
            },
            Next::TimedOut => return Err(Problem::new(Exit::Network, "timeout", "not sent in time")),
            Next::Answered => {}
        }
        if let Some(answer) = pending.take() {
            return Ok(answer?);
        }
    }
}

/// What became of a send that was not waited for to the end. `problem`: why not.
fn outcome(pending: Pending<Answer<Sent>>, problem: Problem) -> Result<Sent> {
    match pending.wait() {
        Some(Ok(sent)) => Ok(sent),
        // Nothing is known that `problem` does not say better.
        None | Some(Err(Error::Stopped | Error::Failed(Failure::SessionEnded(EndReason::ShutDown)))) => Err(problem),
        Some(Err(error)) => Err(error.into()),
    }
}

fn tell(sent: &Sent, output: &Output) -> Result<()> {
    let mut object = events::sent(sent);
    object["event"] = json!("sent");
    output.result(&object, || sent.id.to_string())
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|error| Problem::usage(format!("cannot read the text from stdin: {error}")))?;
    // The line feed that every tool ends its output with is no part of the message.
    let end = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(end);
    Ok(text)
}
