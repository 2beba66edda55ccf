//! `amarula logout`.

use std::time::Instant;

use amarula_core::event::{Connection, Event};
use serde_json::json;

use crate::client::Client;
use crate::exit::Exit;
use crate::options::{Common, LogoutArgs};
use crate::output::Output;
use crate::problem::{Problem, Result};
use crate::session::{Next, Session};

pub(crate) fn run(common: &Common, args: &LogoutArgs, output: &Output) -> Result<()> {
    let mut session = Session::of_paired(Client::new(common)?)?;
    let deadline = Instant::now() + args.timeout;
    loop {
        match session.next(Some(deadline))? {
            Next::Event(delivery) => match &delivery.event {
                Event::Connection(Connection::Open) => break,
                Event::Connection(_) => output.event(&delivery)?,
                _ => {}
            },
            Next::TimedOut if args.force => break,
            Next::TimedOut => {
                return Err(Problem::new(Exit::Network, "timeout", "no connection in time; nothing was changed")
                    .hint("--force forgets the keys all the same; remove the device on the phone then"));
            }
            Next::Answered => {}
        }
    }
    let pending = session.start_call(Client::logout)?;
    let done = loop {
        // The engine has its own limit for this, and the session's end is what was asked for.
        match session.next(None) {
            Ok(_) => {}
            Err(problem) if problem.exit == Exit::Interrupted => return Err(problem),
            Err(_) => break pending.wait(),
        }
        if let Some(done) = pending.take() {
            break Some(done);
        }
    };
    let done = done.ok_or(amarula_io::Error::Stopped)??;
    output.result(&json!({"event": "loggedOut", "confirmed": done.confirmed}), || {
        if done.confirmed {
            "logged out".to_owned()
        } else {
            "the keys are forgotten, but the server did not confirm: remove this device on the phone".to_owned()
        }
    })
}
