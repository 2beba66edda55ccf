//! [`Output`]: what the driver is to do in full, what the consumer is told as text and digest. Outputs are compared, never
//! decoded back.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;

use bytes::Bytes;

use super::super::MAX_TEXT;
use super::KeyRow;
use crate::crypto::hash::sha256;
use crate::engine::{Completion, Endpoint, HttpRequest, Load, Mono, Output};
use crate::event::{Delivery, Event, Pairing, Secret};
use crate::message::Message;
use crate::store::{Batch, Op};

/// One output of an engine, as a recording keeps it.
///
/// Frames, commits, reads and the like are there byte for byte. Events and answers are there as their `Debug` text, cut to
/// [`MAX_TEXT`], and a digest of all of it, what `Debug` does not show included.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct OutputRecord {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum Kind {
    #[prost(message, tag = "1")]
    Open(OpenRow),
    #[prost(message, tag = "2")]
    Send(SendRow),
    #[prost(uint64, tag = "3")]
    Close(u64),
    #[prost(message, tag = "4")]
    Load(LoadRow),
    #[prost(message, tag = "5")]
    Commit(CommitRow),
    #[prost(message, tag = "6")]
    Http(HttpRow),
    #[prost(message, tag = "7")]
    Event(ToldRow),
    #[prost(message, tag = "8")]
    Done(ToldRow),
    #[prost(message, tag = "9")]
    Idle(IdleRow),
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenRow {
    #[prost(uint64, tag = "1")]
    conn: u64,
    #[prost(string, tag = "2")]
    url: String,
    #[prost(string, tag = "3")]
    origin: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct SendRow {
    #[prost(uint64, tag = "1")]
    conn: u64,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

/// Either the keys, or a namespace and a limit.
#[derive(Clone, PartialEq, prost::Message)]
struct LoadRow {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "2")]
    keys: Vec<KeyRow>,
    #[prost(uint32, tag = "3")]
    namespace: u32,
    #[prost(string, optional, tag = "4")]
    after: Option<String>,
    #[prost(uint32, tag = "5")]
    limit: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct CommitRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(bool, tag = "2")]
    clear: bool,
    #[prost(message, repeated, tag = "3")]
    ops: Vec<OpRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct OpRow {
    #[prost(message, optional, tag = "1")]
    key: Option<KeyRow>,
    /// Absent: the record is removed.
    #[prost(bytes = "bytes", optional, tag = "2")]
    put: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct HttpRow {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(string, tag = "3")]
    url: String,
    /// Names and values in turn.
    #[prost(string, repeated, tag = "4")]
    headers: Vec<String>,
    #[prost(bytes = "bytes", tag = "5")]
    body: Bytes,
    #[prost(uint32, tag = "6")]
    limit: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ToldRow {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdleRow {
    #[prost(uint64, optional, tag = "1")]
    until: Option<u64>,
    #[prost(string, tag = "2")]
    reason: String,
}

impl OutputRecord {
    /// The record of an output.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let kind = match output {
            Output::Open(conn, Endpoint { url, origin }) => {
                Kind::Open(OpenRow { conn: conn.0, url: url.to_string(), origin: origin.to_string() })
            }
            Output::Send(conn, bytes) => Kind::Send(SendRow { conn: conn.0, bytes: bytes.clone() }),
            Output::Close(conn) => Kind::Close(conn.0),
            Output::Load(id, Load::Get(keys)) => {
                Kind::Load(LoadRow { id: id.0, keys: keys.iter().map(KeyRow::of).collect(), ..LoadRow::default() })
            }
            Output::Load(id, Load::Range { namespace, after, limit }) => Kind::Load(LoadRow {
                id: id.0,
                keys: Vec::new(),
                namespace: namespace.number().into(),
                after: super::text(after),
                limit: *limit,
            }),
            Output::Commit(seq, Batch { clear, ops }) => {
                let op = |(key, op): &(_, Op)| OpRow {
                    key: Some(KeyRow::of(key)),
                    put: match op {
                        Op::Put(value) => Some(value.clone()),
                        Op::Delete => None,
                    },
                };
                Kind::Commit(CommitRow { seq: seq.0, clear: *clear, ops: ops.iter().map(op).collect() })
            }
            Output::Http(id, HttpRequest { method, url, headers, body, limit }) => Kind::Http(HttpRow {
                id: id.0,
                method: (*method).to_string(),
                url: url.to_string(),
                headers: headers.iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]).collect(),
                body: body.clone(),
                limit: *limit,
            }),
            Output::Event(delivery) => Kind::Event(ToldRow::of(delivery, &hidden(delivery))),
            Output::Done(completion @ Completion { .. }) => Kind::Done(ToldRow::of(completion, &[])),
            Output::Idle { until, reason } => {
                Kind::Idle(IdleRow { until: until.map(|Mono(ms)| ms), reason: (*reason).to_string() })
            }
        };
        Self { kind: Some(kind) }
    }

    /// The variant's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.kind {
            None => "nothing known",
            Some(Kind::Open(_)) => "Open",
            Some(Kind::Send(_)) => "Send",
            Some(Kind::Close(_)) => "Close",
            Some(Kind::Load(_)) => "Load",
            Some(Kind::Commit(_)) => "Commit",
            Some(Kind::Http(_)) => "Http",
            Some(Kind::Event(_)) => "Event",
            Some(Kind::Done(_)) => "Done",
            Some(Kind::Idle(_)) => "Idle",
        }
    }

    /// The frame, if it is one that was sent.
    #[must_use]
    pub fn frame(&self) -> Option<&Bytes> {
        match &self.kind {
            Some(Kind::Send(send)) => Some(&send.bytes),
            _ => None,
        }
    }

    /// What is different in `replayed`, if anything is. Never a secret's bytes.
    pub(in super::super) fn difference(&self, replayed: &Self) -> Option<String> {
        if self == replayed {
            return None;
        }
        Some(match (&self.kind, &replayed.kind) {
            (Some(Kind::Send(a)), Some(Kind::Send(b))) if a.conn == b.conn => bytes_difference(&a.bytes, &b.bytes),
            (Some(Kind::Commit(a)), Some(Kind::Commit(b))) => commit_difference(a, b),
            (Some(Kind::Http(a)), Some(Kind::Http(b))) if a.url == b.url && a.body != b.body => {
                format!("in the body, {}", bytes_difference(&a.body, &b.body))
            }
            (Some(Kind::Event(a)), Some(Kind::Event(b))) | (Some(Kind::Done(a)), Some(Kind::Done(b)))
                if a.text == b.text =>
            {
                "in what is not shown".to_string()
            }
            (Some(a), Some(b)) if core::mem::discriminant(a) == core::mem::discriminant(b) => {
                let (a, b) = (self.to_string(), replayed.to_string());
                format!("from character {} on", a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count())
            }
            _ => "another kind of output".to_string(),
        })
    }
}

/// In a few words, without secrets.
impl fmt::Display for OutputRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &self.kind {
            None => Ok(()),
            Some(Kind::Open(row)) => write!(f, " (connection {}, {}, origin {})", row.conn, row.url, row.origin),
            Some(Kind::Send(row)) => write!(f, " (connection {}, {} bytes)", row.conn, row.bytes.len()),
            Some(Kind::Close(conn)) => write!(f, " (connection {conn})"),
            Some(Kind::Load(row)) if row.namespace == 0 => {
                write!(f, " (read {}:", row.id)?;
                row.keys.iter().try_for_each(|key| write!(f, " {}", shown(key)))?;
                f.write_str(")")
            }
            Some(Kind::Load(row)) => {
                let LoadRow { id, namespace, after, limit, .. } = row;
                write!(f, " (read {id}: up to {limit} of namespace {namespace} after {after:?})")
            }
            Some(Kind::Commit(row)) => {
                let all = if row.clear { "everything removed, " } else { "" };
                write!(f, " (commit {}, {all}{} changes)", row.seq, row.ops.len())
            }
            Some(Kind::Http(row)) => {
                let HttpRow { id, method, url, headers, body, limit } = row;
                let (headers, body) = (headers.len() / 2, body.len());
                write!(f, " (request {id}, {method} {url}, {headers} headers, {body} bytes, limit {limit})")
            }
            Some(Kind::Event(told) | Kind::Done(told)) => write!(f, " ({})", told.text),
            Some(Kind::Idle(row)) => match row.until {
                Some(until) => write!(f, " (until {until}, {})", row.reason),
                None => write!(f, " ({})", row.reason),
            },
        }
    }
}

impl fmt::Debug for OutputRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ToldRow {
    fn of(told: &impl fmt::Debug, hidden: &[u8]) -> Self {
        let mut text = format!("{told:?}");
        let digest = sha256(&[&(text.len() as u64).to_le_bytes(), text.as_bytes(), hidden]).to_vec();
        let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        Self { text, digest }
    }
}

/// What the `Debug` text of an event does not show. Types whose `Debug` hides something belong here.
fn hidden(delivery: &Delivery) -> Vec<u8> {
    match &delivery.event {
        Event::Message(message) => {
            let Message { sender_alt, push_name, raw, .. } = &**message;
            let mut out = format!("{sender_alt:?} {push_name:?} ").into_bytes();
            out.extend_from_slice(raw);
            out
        }
        Event::Pairing(Pairing::Qr { text: Secret(text), valid_for: _ }) => text.as_bytes().to_vec(),
        Event::Pairing(Pairing::Paired { .. } | Pairing::Failed(_))
        | Event::Connection(_)
        | Event::Undecryptable(_)
        | Event::SendFinished { .. }
        | Event::Receipt(_)
        | Event::Presence(_)
        | Event::ChatState(_)
        | Event::LidMapping { .. }
        | Event::IdentityChanged { .. }
        | Event::DevicesChanged { .. }
        | Event::Warning(_) => vec![],
    }
}

fn shown(KeyRow { namespace, key }: &KeyRow) -> String {
    match super::namespace(*namespace) {
        Ok(known) => format!("{}/{key}", known.name()),
        Err(_) => format!("namespace {namespace}/{key}"),
    }
}

fn bytes_difference(recorded: &[u8], replayed: &[u8]) -> String {
    let (was, is) = (recorded.len(), replayed.len());
    let lengths = if was == is { format!("of {was}") } else { format!("({was} bytes recorded, {is} replayed)") };
    let same = recorded.iter().zip(replayed).take_while(|(a, b)| a == b).count();
    format!("from byte {same} {lengths} on")
}

fn commit_difference(a: &CommitRow, b: &CommitRow) -> String {
    if a.seq != b.seq {
        return format!("commit {} is {}", a.seq, b.seq);
    }
    if a.clear != b.clear {
        return "one removes everything first".to_string();
    }
    let name = |op: Option<&OpRow>| match op.and_then(|op| op.key.as_ref()) {
        Some(key) => shown(key),
        None => "nothing".to_string(),
    };
    let at = (0..).find(|i| a.ops.get(*i) != b.ops.get(*i)).unwrap_or(0);
    let (was, is) = (a.ops.get(at), b.ops.get(at));
    match (was, is) {
        (Some(OpRow { key, put: Some(was) }), Some(OpRow { key: same, put: Some(is) })) if key == same => {
            format!("value of {}, {}", name(a.ops.get(at)), bytes_difference(was, is))
        }
        (Some(OpRow { key, .. }), Some(OpRow { key: same, .. })) if key == same => {
            format!("{} is written by one and removed by the other", name(was))
        }
        _ => format!("change {at} concerns {} in the recording, {} now", name(was), name(is)),
    }
}
