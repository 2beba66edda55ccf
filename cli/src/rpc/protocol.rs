//! JSON-RPC 2.0 itself: requests out of text, answers. Knows no method.

use serde_json::{Map, Value, json};

use crate::problem::Problem;

pub(crate) const PARSE_ERROR: i64 = -32_700;
pub(crate) const INVALID_REQUEST: i64 = -32_600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32_601;
pub(crate) const INVALID_PARAMS: i64 = -32_602;
/// An application's error is this minus the exit code that the command line would have ended with.
const APPLICATION: i64 = -32_000;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// `None`: a notification, which is never answered.
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    pub(crate) params: Params,
}

/// Parameters as they were given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Params {
    Named(Map<String, Value>),
    Positional(Vec<Value>),
}

/// An error object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Error {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl Error {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> i64 {
        self.code
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let data = Some(problem.data());
        Self { code: APPLICATION - i64::from(problem.exit as u8), message: problem.message, data }
    }
}

impl From<amarula_io::Error> for Error {
    fn from(error: amarula_io::Error) -> Self {
        Problem::from(error).into()
    }
}

/// A line: one request, or a batch of them. What is no request is its answer already.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Single(Result<Request, Value>),
    Batch(Vec<Result<Request, Value>>),
}

/// Reads a line.
pub(crate) fn parse(line: &[u8]) -> Incoming {
    match serde_json::from_slice(line) {
        Err(error) => {
            Incoming::Single(Err(failure(&Value::Null, &Error::new(PARSE_ERROR, format!("Parse error: {error}")))))
        }
        Ok(Value::Array(list)) if list.is_empty() => Incoming::Single(Err(invalid(&Value::Null, "an empty batch"))),
        Ok(Value::Array(list)) => Incoming::Batch(list.into_iter().map(request).collect()),
        Ok(value) => Incoming::Single(request(value)),
    }
}

fn request(value: Value) -> Result<Request, Value> {
    let Value::Object(mut object) = value else { return Err(invalid(&Value::Null, "not an object")) };
    let id = match object.remove("id") {
        None => None,
        Some(id @ (Value::String(_) | Value::Number(_) | Value::Null)) => Some(id),
        Some(_) => return Err(invalid(&Value::Null, "an id is a string, a number or null")),
    };
    let answer_to = id.clone().unwrap_or(Value::Null);
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid(&answer_to, "\"jsonrpc\" must be \"2.0\""));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(invalid(&answer_to, "\"method\" must be a string"));
    };
    let params = match object.remove("params") {
        None => Params::Named(Map::new()),
        Some(Value::Object(named)) => Params::Named(named),
        Some(Value::Array(list)) => Params::Positional(list),
        Some(_) => return Err(invalid(&answer_to, "\"params\" must be an object or an array")),
    };
    Ok(Request { id, method, params })
}

fn invalid(id: &Value, what: &str) -> Value {
    failure(id, &Error::new(INVALID_REQUEST, format!("Invalid Request: {what}")))
}

/// An answer.
pub(crate) fn answer(id: &Value, result: Result<Value, Error>) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => failure(id, &error),
    }
}

/// A bad one.
pub(crate) fn failure(id: &Value, error: &Error) -> Value {
    let mut object = json!({"code": error.code, "message": error.message});
    if let Some(data) = &error.data {
        object["data"] = data.clone();
    }
    json!({"jsonrpc": "2.0", "id": id, "error": object})
}

/// What is said unasked.
pub(crate) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> (Value, i64) {
        match parse(line.as_bytes()) {
            Incoming::Single(Err(answer)) => (answer["id"].clone(), answer["error"]["code"].as_i64().expect("a code")),
            other => panic!("taken: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_request() {
        assert_eq!(code("{"), (Value::Null, PARSE_ERROR));
        assert_eq!(code("\u{0}"), (Value::Null, PARSE_ERROR));
        assert_eq!(code("[]"), (Value::Null, INVALID_REQUEST));
        assert_eq!(code("1"), (Value::Null, INVALID_REQUEST));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":[],"method":"x"}"#), (Value::Null, INVALID_REQUEST));
        assert_eq!(code(r#"{"id":7,"method":"x"}"#), (json!(7), INVALID_REQUEST));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":1}"#), (json!("a"), INVALID_REQUEST));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":"x","params":1}"#), (json!("a"), INVALID_REQUEST));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), (json!(1), INVALID_REQUEST));
    }

    #[test]
    fn requests_notifications_and_batches() {
        let Incoming::Single(Ok(request)) = parse(br#"{"jsonrpc":"2.0","method":"x","params":[1]}"#) else {
            panic!("a notification");
        };
        assert_eq!(request, Request { id: None, method: "x".into(), params: Params::Positional(vec![json!(1)]) });
        let Incoming::Single(Ok(request)) = parse(br#"{"jsonrpc":"2.0","id":null,"method":"x"}"#) else {
            panic!("an id of null is an id");
        };
        assert_eq!(request.id, Some(Value::Null));
        let Incoming::Batch(list) = parse(br#"[{"jsonrpc":"2.0","id":1,"method":"x"},2]"#) else { panic!("a batch") };
        assert!(list[0].is_ok() && list[1].is_err());
    }
}
