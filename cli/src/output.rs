//! Lines on stdout, flushed one by one.

use std::io::{self, Write as _};

use amarula_core::event::Delivery;
use serde_json::Value;

use crate::problem::{Problem, Result};
use crate::{events, human};

/// Where a command's results go.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One JSON object.
    pub(crate) fn object(&self, object: &Value) -> Result<()> {
        line(&object.to_string())
    }

    /// A result: `object` with `--json`, else the text.
    pub(crate) fn result(&self, object: &Value, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.object(object) } else { line(&text()) }
    }

    /// An event. For people, states of the connection and warnings go to stderr.
    pub(crate) fn event(&self, delivery: &Delivery) -> Result<()> {
        if self.json {
            return self.object(&events::json(delivery));
        }
        match human::event(&delivery.event) {
            human::Line::Result(text) => line(&text),
            human::Line::Notice(text) => {
                eprintln!("{text}");
                Ok(())
            }
        }
    }

    /// Something for people only, on stderr.
    pub(crate) fn notice(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

/// One line, out of this process when this returns.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Problem::stdout(&error))
}
