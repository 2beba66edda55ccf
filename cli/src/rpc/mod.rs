//! `amarula rpc`: JSON-RPC 2.0 on stdio. docs/rpc.md is its manual.
//!
//! The main thread waits for the end; one thread reads requests, one writes events, and each lane of requests has one
//! while it has work. Nothing is queued without limit: with too many requests under way stdin is not read, and when
//! nobody reads stdout, neither are events taken from the driver, which then stops reading the socket.

mod lanes;
mod methods;
mod params;
mod protocol;
mod service;
mod writer;

use std::io::{self, BufRead, Read as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use crate::client::Client;
use crate::interrupt;
use crate::options::{Common, RpcArgs};
use crate::problem::{Problem, Result};
use crate::session::spawn;
use lanes::Lanes;
use service::Service;
use writer::Writer;

/// Longest line taken, in bytes.
const LINE_LIMIT: u64 = 32 << 20;

/// How long the last lines may take when nobody seems to read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why it ends.
pub(crate) enum End {
    /// stdin has ended: let what is under way finish.
    Input,
    /// The method `shutdown` was called, and is answered.
    Asked,
    Interrupt,
    /// stdout is closed.
    Output(Problem),
}

pub(crate) fn run(common: &Common, args: &RpcArgs) -> Result<()> {
    let (sender, end) = mpsc::channel();
    let for_interrupt = sender.clone();
    interrupt::watch(move || _ = for_interrupt.send(End::Interrupt));
    let writer = Arc::new(Writer::new(sender.clone()));
    let service = Arc::new(Service::new(Client::new(common)?, common, writer, sender.clone()));
    let lanes = Arc::new(Lanes::new());
    let (to_service, to_lanes) = (Arc::clone(&service), Arc::clone(&lanes));
    spawn("amarula-stdin", move || read(&to_service, &to_lanes, &sender))?;
    let end = end.recv().unwrap_or(End::Input);
    if matches!(end, End::Input) {
        lanes.wait_idle(args.timeout);
    }
    service.client().shutdown()?;
    // What the shutdown has answered and caused is written too, if somebody reads.
    lanes.wait_idle(LAST_WORDS);
    service.wait_events(LAST_WORDS);
    match end {
        End::Input | End::Asked => Ok(()),
        End::Interrupt => Err(Problem::interrupted()),
        End::Output(problem) => Err(problem),
    }
}

fn read(service: &Arc<Service>, lanes: &Arc<Lanes>, end: &Sender<End>) {
    let mut stdin = io::stdin().lock();
    loop {
        match read_line(&mut stdin) {
            Ok(Some(Line::Whole(line))) => service.line(&line, lanes),
            Ok(Some(Line::TooLong)) => service.too_long(),
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "cannot read stdin");
                break;
            }
        }
    }
    let _ = end.send(End::Input);
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// One line, without its end. Empty ones are left out.
fn read_line(stdin: &mut impl BufRead) -> io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        if stdin.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_LIMIT {
            stdin.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Whole(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let long = "x".repeat(LINE_LIMIT as usize + 10);
        let mut input = io::Cursor::new(format!("a\n\n \nb\r\n{long}\nc"));
        let mut next = || read_line(&mut input).expect("a cursor");
        assert!(matches!(next(), Some(Line::Whole(line)) if line == b"a\n"));
        assert!(matches!(next(), Some(Line::Whole(line)) if line == b"b\r\n"));
        assert!(matches!(next(), Some(Line::TooLong)));
        assert!(matches!(next(), Some(Line::Whole(line)) if line == b"c"));
        assert!(next().is_none());
    }
}
