//! [`Input`]: all of it, payloads included.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::Malformed;
use super::{KeyRow, present, u16_of};
use crate::engine::{
    CommitSeq, ConnId, HttpError, HttpId, HttpResponse, Input, LoadId, Loaded, OpenError, StorageError,
};

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(in super::super) struct InputRow {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum Kind {
    #[prost(message, tag = "1")]
    Tick(EmptyRow),
    #[prost(uint64, tag = "2")]
    Opened(u64),
    #[prost(message, tag = "3")]
    OpenFailed(OpenFailedRow),
    #[prost(message, tag = "4")]
    Received(ReceivedRow),
    #[prost(message, tag = "5")]
    Closed(ClosedRow),
    #[prost(message, tag = "6")]
    Loaded(LoadedRow),
    #[prost(uint64, tag = "7")]
    Committed(u64),
    #[prost(message, tag = "8")]
    CommitFailed(CommitFailedRow),
    #[prost(message, tag = "9")]
    HttpDone(HttpDoneRow),
    #[prost(message, tag = "10")]
    NetworkChanged(EmptyRow),
    #[prost(bool, tag = "11")]
    Reading(bool),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct EmptyRow {}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenFailedRow {
    #[prost(uint64, tag = "1")]
    conn: u64,
    #[prost(oneof = "OpenErrorKind", tags = "2, 3, 4, 5")]
    error: Option<OpenErrorKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OpenErrorKind {
    #[prost(string, tag = "2")]
    Network(String),
    #[prost(uint32, tag = "3")]
    Status(u32),
    #[prost(string, tag = "4")]
    Config(String),
    #[prost(message, tag = "5")]
    Timeout(EmptyRow),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ReceivedRow {
    #[prost(uint64, tag = "1")]
    conn: u64,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ClosedRow {
    #[prost(uint64, tag = "1")]
    conn: u64,
    #[prost(uint32, optional, tag = "2")]
    code: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct LoadedRow {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(oneof = "LoadedKind", tags = "2, 3, 4")]
    result: Option<LoadedKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum LoadedKind {
    #[prost(message, tag = "2")]
    Values(ValuesRow),
    #[prost(message, tag = "3")]
    Range(RangeRow),
    #[prost(message, tag = "4")]
    Failed(StorageErrorRow),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ValuesRow {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ValueRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ValueRow {
    #[prost(bytes = "bytes", optional, tag = "1")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct RangeRow {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<RecordRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct RecordRow {
    #[prost(message, optional, tag = "1")]
    key: Option<KeyRow>,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StorageErrorRow {
    #[prost(string, tag = "1")]
    message: String,
    #[prost(bool, tag = "2")]
    retryable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommitFailedRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(message, optional, tag = "2")]
    error: Option<StorageErrorRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct HttpDoneRow {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(oneof = "HttpKind", tags = "2, 3")]
    result: Option<HttpKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum HttpKind {
    #[prost(message, tag = "2")]
    Response(ResponseRow),
    #[prost(string, tag = "3")]
    Failed(String),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ResponseRow {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
    #[prost(uint32, optional, tag = "3")]
    retry_after: Option<u32>,
}

impl InputRow {
    pub(in super::super) fn of(input: &Input) -> Self {
        let kind = match input {
            Input::Tick => Kind::Tick(EmptyRow {}),
            Input::Opened { conn } => Kind::Opened(conn.0),
            Input::OpenFailed { conn, error } => {
                Kind::OpenFailed(OpenFailedRow { conn: conn.0, error: Some(OpenErrorKind::of(error)) })
            }
            Input::Received { conn, bytes } => Kind::Received(ReceivedRow { conn: conn.0, bytes: bytes.clone() }),
            Input::Closed { conn, code } => Kind::Closed(ClosedRow { conn: conn.0, code: code.map(Into::into) }),
            Input::Loaded { id, result } => {
                Kind::Loaded(LoadedRow { id: id.0, result: Some(LoadedKind::of(result.as_ref())) })
            }
            Input::Committed { upto } => Kind::Committed(upto.0),
            Input::CommitFailed { seq, error } => {
                Kind::CommitFailed(CommitFailedRow { seq: seq.0, error: Some(StorageErrorRow::of(error)) })
            }
            Input::HttpDone { id, result } => {
                Kind::HttpDone(HttpDoneRow { id: id.0, result: Some(HttpKind::of(result.as_ref())) })
            }
            Input::NetworkChanged => Kind::NetworkChanged(EmptyRow {}),
            Input::Reading { paused } => Kind::Reading(*paused),
        };
        Self { kind: Some(kind) }
    }

    pub(in super::super) fn into_input(self) -> Result<Input, Malformed> {
        Ok(match self.kind.ok_or(Malformed("an input of an unknown kind"))? {
            Kind::Tick(_) => Input::Tick,
            Kind::Opened(conn) => Input::Opened { conn: ConnId(conn) },
            Kind::OpenFailed(row) => {
                Input::OpenFailed { conn: ConnId(row.conn), error: present(row.error)?.into_error()? }
            }
            Kind::Received(row) => Input::Received { conn: ConnId(row.conn), bytes: row.bytes },
            Kind::Closed(row) => Input::Closed { conn: ConnId(row.conn), code: row.code.map(u16_of).transpose()? },
            Kind::Loaded(row) => Input::Loaded { id: LoadId(row.id), result: present(row.result)?.into_result()? },
            Kind::Committed(upto) => Input::Committed { upto: CommitSeq(upto) },
            Kind::CommitFailed(row) => {
                Input::CommitFailed { seq: CommitSeq(row.seq), error: present(row.error)?.into_error() }
            }
            Kind::HttpDone(row) => Input::HttpDone { id: HttpId(row.id), result: present(row.result)?.into_result()? },
            Kind::NetworkChanged(_) => Input::NetworkChanged,
            Kind::Reading(paused) => Input::Reading { paused },
        })
    }
}

impl OpenErrorKind {
    fn of(error: &OpenError) -> Self {
        match error {
            OpenError::Network(text) => Self::Network(text.to_string()),
            OpenError::Status(status) => Self::Status((*status).into()),
            OpenError::Config(text) => Self::Config(text.to_string()),
            OpenError::Timeout => Self::Timeout(EmptyRow {}),
        }
    }

    fn into_error(self) -> Result<OpenError, Malformed> {
        Ok(match self {
            Self::Network(text) => OpenError::Network(text.into()),
            Self::Status(status) => OpenError::Status(u16_of(status)?),
            Self::Config(text) => OpenError::Config(text.into()),
            Self::Timeout(_) => OpenError::Timeout,
        })
    }
}

impl LoadedKind {
    fn of(result: Result<&Loaded, &StorageError>) -> Self {
        match result {
            Ok(Loaded::Values(values)) => {
                let values = values.iter().map(|value| ValueRow { value: value.clone() }).collect();
                Self::Values(ValuesRow { values })
            }
            Ok(Loaded::Range(rows)) => {
                let row = |(key, value): &(_, Bytes)| RecordRow { key: Some(KeyRow::of(key)), value: value.clone() };
                Self::Range(RangeRow { rows: rows.iter().map(row).collect() })
            }
            Err(error) => Self::Failed(StorageErrorRow::of(error)),
        }
    }

    fn into_result(self) -> Result<Result<Loaded, StorageError>, Malformed> {
        Ok(match self {
            Self::Values(row) => Ok(Loaded::Values(row.values.into_iter().map(|row| row.value).collect())),
            Self::Range(row) => {
                let pair = |row: RecordRow| Ok((present(row.key)?.into_key()?, row.value));
                Ok(Loaded::Range(row.rows.into_iter().map(pair).collect::<Result<_, Malformed>>()?))
            }
            Self::Failed(error) => Err(error.into_error()),
        })
    }
}

impl StorageErrorRow {
    fn of(StorageError { message, retryable }: &StorageError) -> Self {
        Self { message: message.to_string(), retryable: *retryable }
    }

    fn into_error(self) -> StorageError {
        StorageError { message: self.message.into(), retryable: self.retryable }
    }
}

impl HttpKind {
    fn of(result: Result<&HttpResponse, &HttpError>) -> Self {
        match result {
            Ok(HttpResponse { status, body, retry_after }) => {
                Self::Response(ResponseRow { status: (*status).into(), body: body.clone(), retry_after: *retry_after })
            }
            Err(HttpError { message }) => Self::Failed(message.to_string()),
        }
    }

    fn into_result(self) -> Result<Result<HttpResponse, HttpError>, Malformed> {
        Ok(match self {
            Self::Response(row) => {
                Ok(HttpResponse { status: u16_of(row.status)?, body: row.body, retry_after: row.retry_after })
            }
            Self::Failed(message) => Err(HttpError { message: message.into() }),
        })
    }
}
