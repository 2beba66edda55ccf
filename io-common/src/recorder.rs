//! Recording a session into a file: configuration, seed, every input and command with its moment, and every output.
//! [`replay`](amarula_core::engine::recording::replay) runs it again and compares.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use amarula_core::Config;
use amarula_core::engine::recording::{Recorder, TooLarge};
use amarula_core::engine::{Input, Now, Output, Rejected, Request, TicketId};
use amarula_core::error::{Misuse, RejectReason};

/// A file for one recording, which holds the account's keys. It is written by the driver's own thread or task, at the
/// latest when the engine idles: recording costs some speed.
///
/// A recording that cannot go on (the disk is full) stops with an error in the log. The session goes on.
#[derive(Debug)]
pub struct Recording {
    file: File,
    /// `None` before the start and after a failure.
    recorder: Option<Recorder>,
}

impl Recording {
    /// Makes the file, for its owner only. Never overwrites one.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` if there is one.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: create_private(path)?, recorder: None })
    }

    /// What the engine is made of.
    pub fn start(&mut self, config: &Config, seed: &[u8; 32], now: Now) {
        match Recorder::start(config, seed, now) {
            Ok(recorder) => self.recorder = Some(recorder),
            Err(error) => failed(&error),
        }
        self.write();
    }

    /// The engine is about to be told this.
    pub fn input(&mut self, now: Now, input: &Input) {
        self.put(|recorder| recorder.input(now, input));
        self.write();
    }

    /// It refused that.
    pub fn misuse(&mut self, misuse: Misuse) {
        self.put(|recorder| recorder.misuse(misuse));
    }

    /// The engine is about to be given this command.
    pub fn command(&mut self, now: Now, request: &Request) {
        self.put(|recorder| recorder.command(now, request));
        self.write();
    }

    /// What it said to it.
    pub fn answer(&mut self, answer: &Result<TicketId, RejectReason>) {
        let answer = answer.as_ref().copied().map_err(|reason| Rejected { command: (), reason: reason.clone() });
        self.put(|recorder| recorder.answer(&answer));
    }

    /// What it gave out.
    pub fn output(&mut self, output: &Output) {
        self.put(|recorder| recorder.output(output));
        if matches!(output, Output::Idle { .. }) {
            self.write();
        }
    }

    fn put(&mut self, put: impl FnOnce(&mut Recorder) -> Result<(), TooLarge>) {
        if let Some(Err(error)) = self.recorder.as_mut().map(put) {
            self.write();
            self.recorder = None;
            failed(&error);
        }
    }

    fn write(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        let written = self.file.write_all(recorder.pending());
        recorder.clear();
        if let Err(error) = written {
            self.recorder = None;
            failed(&error);
        }
    }
}

fn failed(error: &dyn std::fmt::Display) {
    tracing::error!(%error, "the recording ends here; the session goes on");
}

/// Makes a file that only its owner can read. Never overwrites one.
///
/// # Errors
/// Those of the file system; `AlreadyExists` if there is one.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_and_never_over_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("session");
        let recording = Recording::create(&path).expect("new");
        #[cfg(unix)]
        {
            let metadata = recording.file.metadata().expect("there");
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(recording);
        let again = Recording::create(&path).map(drop).map_err(|error| error.kind());
        assert_eq!(again, Err(io::ErrorKind::AlreadyExists));
    }
}
