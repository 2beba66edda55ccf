//! The entries of a recording.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};

use zeroize::{Zeroize as _, Zeroizing};

use super::Malformed;
use super::rows::{ConfigRow, InputRow, NowRow, OutputRecord, RequestRow};
use crate::config::Config;
use crate::engine::{Input, Now, Request, TicketId};
use crate::wire::Str;

/// What an engine was made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Start {
    /// Its configuration.
    pub config: Config,
    /// Its randomness: whoever has it can compute every key the engine made.
    pub seed: Zeroizing<[u8; 32]>,
    /// When.
    pub now: Now,
}

impl core::fmt::Debug for Start {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Start").field("config", &self.config).field("now", &self.now).finish_non_exhaustive()
    }
}

/// What the engine said to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took it.
    Taken(TicketId),
    /// It did not, for this reason (as `Debug` shows it).
    Rejected(Str),
}

/// One call on the engine, or what it gave back.
#[derive(Clone, PartialEq)]
pub enum Entry {
    /// It was made. Always first.
    Start(Box<Start>),
    /// [`Engine::handle`](crate::Engine::handle).
    Input {
        /// When.
        now: Now,
        /// What.
        input: Input,
    },
    /// The input before was refused with this [`Misuse`](crate::error::Misuse) (as `Debug` shows it).
    Misuse(Str),
    /// [`Engine::submit_request`](crate::Engine::submit_request).
    Command {
        /// When.
        now: Now,
        /// What.
        request: Request,
    },
    /// The answer to the command before.
    Answer(Answer),
    /// [`Engine::cancel`](crate::Engine::cancel).
    Cancel {
        /// When.
        now: Now,
        /// Which command.
        ticket: TicketId,
    },
    /// [`Engine::poll_output`](crate::Engine::poll_output) gave this.
    Output(OutputRecord),
}

impl Entry {
    /// What kind of entry it is, in a few words and without secrets: `input Received: 57 bytes on connection 1`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Start(_) => "start".to_string(),
            Self::Input { input, .. } => describe_input(input),
            Self::Misuse(what) => alloc::format!("refusal {what}"),
            Self::Command { request, .. } => alloc::format!("command {}", super::rows::request_name(request)),
            Self::Answer(Answer::Taken(ticket)) => alloc::format!("ticket {}", ticket.0),
            Self::Answer(Answer::Rejected(reason)) => alloc::format!("rejection {reason}"),
            Self::Cancel { ticket, .. } => alloc::format!("cancel of ticket {}", ticket.0),
            Self::Output(output) => alloc::format!("output {output}"),
        }
    }
}

/// Inputs hold what was read from storage, which is secret: only their size is shown.
impl core::fmt::Debug for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.describe())
    }
}

fn describe_input(input: &Input) -> String {
    use crate::engine::Loaded;
    match input {
        Input::Tick => "input Tick".to_string(),
        Input::Opened { conn } => alloc::format!("input Opened: connection {}", conn.0),
        Input::OpenFailed { conn, error } => alloc::format!("input OpenFailed: connection {}, {error}", conn.0),
        Input::Received { conn, bytes } => {
            alloc::format!("input Received: {} bytes on connection {}", bytes.len(), conn.0)
        }
        Input::Closed { conn, code } => alloc::format!("input Closed: connection {}, code {code:?}", conn.0),
        Input::Loaded { id, result } => match result {
            Ok(Loaded::Values(values)) => alloc::format!("input Loaded: read {}, {} values", id.0, values.len()),
            Ok(Loaded::Range(rows)) => alloc::format!("input Loaded: read {}, {} rows", id.0, rows.len()),
            Err(error) => alloc::format!("input Loaded: read {}, {error}", id.0),
        },
        Input::Committed { upto } => alloc::format!("input Committed: up to {}", upto.0),
        Input::CommitFailed { seq, error } => alloc::format!("input CommitFailed: commit {}, {error}", seq.0),
        Input::HttpDone { id, result } => match result {
            Ok(response) => alloc::format!("input HttpDone: request {}, status {}", id.0, response.status),
            Err(error) => alloc::format!("input HttpDone: request {}, {error}", id.0),
        },
        Input::NetworkChanged => "input NetworkChanged".to_string(),
        Input::Reading { paused } => {
            if *paused {
                "input Reading, paused".to_string()
            } else {
                "input Reading".to_string()
            }
        }
    }
}

// ---- as protobuf ---------------------------------------------------------------------------------------------------

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct EntryRow {
    #[prost(oneof = "EntryKind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    kind: Option<EntryKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum EntryKind {
    #[prost(message, boxed, tag = "1")]
    Start(Box<StartRow>),
    #[prost(message, tag = "2")]
    Input(TimedInput),
    #[prost(string, tag = "3")]
    Misuse(String),
    #[prost(message, tag = "4")]
    Command(TimedRequest),
    #[prost(uint64, tag = "5")]
    Taken(u64),
    #[prost(string, tag = "6")]
    Rejected(String),
    #[prost(message, tag = "7")]
    Cancel(CancelRow),
    #[prost(message, tag = "8")]
    Output(OutputRecord),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct StartRow {
    #[prost(message, optional, tag = "1")]
    config: Option<ConfigRow>,
    #[prost(bytes = "vec", tag = "2")]
    seed: alloc::vec::Vec<u8>,
    #[prost(message, optional, tag = "3")]
    now: Option<NowRow>,
}

impl Drop for StartRow {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct TimedInput {
    #[prost(message, optional, tag = "1")]
    now: Option<NowRow>,
    #[prost(message, optional, tag = "2")]
    input: Option<InputRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct TimedRequest {
    #[prost(message, optional, tag = "1")]
    now: Option<NowRow>,
    #[prost(message, optional, tag = "2")]
    request: Option<RequestRow>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct CancelRow {
    #[prost(message, optional, tag = "1")]
    now: Option<NowRow>,
    #[prost(uint64, tag = "2")]
    ticket: u64,
}

impl EntryRow {
    fn of(kind: EntryKind) -> Self {
        Self { kind: Some(kind) }
    }

    pub(super) fn start(config: &Config, seed: &[u8; 32], now: Now) -> Self {
        let (config, seed) = (Some(ConfigRow::of(config)), seed.to_vec());
        Self::of(EntryKind::Start(Box::new(StartRow { config, seed, now: Some(now.into()) })))
    }

    pub(super) fn input(now: Now, input: &Input) -> Self {
        Self::of(EntryKind::Input(TimedInput { now: Some(now.into()), input: Some(InputRow::of(input)) }))
    }

    pub(super) fn misuse(what: String) -> Self {
        Self::of(EntryKind::Misuse(what))
    }

    pub(super) fn command(now: Now, request: &Request) -> Self {
        Self::of(EntryKind::Command(TimedRequest { now: Some(now.into()), request: Some(RequestRow::of(request)) }))
    }

    pub(super) fn taken(ticket: TicketId) -> Self {
        Self::of(EntryKind::Taken(ticket.0))
    }

    pub(super) fn rejected(reason: String) -> Self {
        Self::of(EntryKind::Rejected(reason))
    }

    pub(super) fn cancel(now: Now, ticket: TicketId) -> Self {
        Self::of(EntryKind::Cancel(CancelRow { now: Some(now.into()), ticket: ticket.0 }))
    }

    pub(super) fn output(output: OutputRecord) -> Self {
        Self::of(EntryKind::Output(output))
    }

    pub(super) fn into_entry(self) -> Result<Entry, Malformed> {
        let now = |now: Option<NowRow>| now.map(Now::from).ok_or(Malformed("no time"));
        Ok(match self.kind.ok_or(Malformed("an entry of an unknown kind"))? {
            EntryKind::Start(start) => Entry::Start(Box::new(Start {
                config: start.config.clone().ok_or(Malformed("no configuration"))?.into_config()?,
                seed: Zeroizing::new(start.seed.as_slice().try_into().map_err(|_| Malformed("a seed has 32 bytes"))?),
                now: now(start.now)?,
            })),
            EntryKind::Input(row) => {
                Entry::Input { now: now(row.now)?, input: row.input.ok_or(Malformed("no input"))?.into_input()? }
            }
            EntryKind::Misuse(what) => Entry::Misuse(what.into()),
            EntryKind::Command(row) => Entry::Command {
                now: now(row.now)?,
                request: row.request.ok_or(Malformed("no command"))?.into_request()?,
            },
            EntryKind::Taken(ticket) => Entry::Answer(Answer::Taken(TicketId(ticket))),
            EntryKind::Rejected(reason) => Entry::Answer(Answer::Rejected(reason.into())),
            EntryKind::Cancel(row) => Entry::Cancel { now: now(row.now)?, ticket: TicketId(row.ticket) },
            EntryKind::Output(output) => Entry::Output(output),
        })
    }
}
