//! From SQLite's words to ours.

use amarula_core::engine::StorageError;
use rusqlite::{Error, ErrorCode};

use super::open::Database;

impl Database {
    /// `doing` completes "cannot …".
    pub(super) fn failed(&self, doing: &str, error: &Error) -> StorageError {
        let (words, retryable) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ("the disk is full".to_owned(), true),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                ("another program holds the database's lock".to_owned(), true)
            }
            Some(ErrorCode::ReadOnly) => ("the database or its file system is read-only".to_owned(), false),
            Some(ErrorCode::PermissionDenied) => {
                ("permission denied; the file must belong to this user".to_owned(), false)
            }
            Some(ErrorCode::CannotOpen) => {
                ("it cannot be opened: does its folder exist, and belong to this user?".to_owned(), false)
            }
            Some(ErrorCode::NotADatabase) => ("the file is not an SQLite database".to_owned(), false),
            Some(ErrorCode::DatabaseCorrupt) => ("the database is damaged; restore a backup".to_owned(), false),
            Some(ErrorCode::TooBig) => ("a value is too large for SQLite".to_owned(), false),
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => (error.to_string(), true),
            _ => (error.to_string(), false),
        };
        StorageError { message: format!("cannot {doing} {}: {words}", self.path.display()).into(), retryable }
    }
}
