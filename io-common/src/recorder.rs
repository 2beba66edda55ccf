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

/// Starts a recording in a new file that only its owner can read.
///
/// # Errors
/// Those of the file system; `AlreadyExists` if there is one; `Unsupported` as long as `amarula-core` has no encoding
/// for recordings.
pub fn open(path: &Path) -> std::io::Result<Box<dyn Recorder>> {
    let _ = path;
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "this version cannot record yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_and_never_over_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("session");
        let file = create_private(&path).expect("new");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("there").permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(file);
        let again = create_private(&path).map(drop).map_err(|error| error.kind());
        assert_eq!(again, Err(std::io::ErrorKind::AlreadyExists));
    }
}
