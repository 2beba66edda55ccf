//! stdout: whole lines, from any thread.

use std::io::{self, Write as _};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::End;
use crate::problem::Problem;

/// Writes lines. A broken stdout ends the program.
pub(crate) struct Writer {
    end: Mutex<Sender<End>>,
}

impl Writer {
    pub(crate) fn new(end: Sender<End>) -> Self {
        Self { end: Mutex::new(end) }
    }

    /// One line, flushed. Waits while nobody reads.
    pub(crate) fn write(&self, value: &Value) {
        let mut line = value.to_string();
        line.push('\n');
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
            let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            // Once is enough.
            let _ = end.send(End::Output(Problem::stdout(&error)));
        }
    }
}
