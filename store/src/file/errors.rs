//! From the operating system's words to ours.

use std::io::{self, ErrorKind};
use std::path::Path;

use amarula_core::engine::StorageError;

/// `doing` completes "cannot …".
pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> StorageError {
    let (words, retryable) = match error.kind() {
        ErrorKind::StorageFull => ("the disk is full".to_owned(), true),
        ErrorKind::QuotaExceeded => ("the disk quota is used up".to_owned(), true),
        ErrorKind::ReadOnlyFilesystem => ("the file system is read-only".to_owned(), false),
        ErrorKind::PermissionDenied => ("permission denied; the folder must belong to this user".to_owned(), false),
        ErrorKind::NotADirectory => ("a file is where a folder should be".to_owned(), false),
        ErrorKind::AlreadyExists => ("something else has this name".to_owned(), false),
        _ => (error.to_string(), true),
    };
    StorageError { message: format!("cannot {doing} {}: {words}", path.display()).into(), retryable }
}

/// An error that does not come from the operating system, and that trying again does not mend.
pub(crate) fn refused(message: impl Into<String>) -> StorageError {
    StorageError { message: message.into().into(), retryable: false }
}
