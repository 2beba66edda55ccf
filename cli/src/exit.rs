//! Exit codes.

use std::process::ExitCode;

/// How the program ends. The numbers are documented and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Other = 1,
    Usage = 2,
    NotPaired = 3,
    Refused = 4,
    Unknown = 5,
    SessionEnded = 6,
    Network = 7,
    InUse = 8,
    Storage = 9,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0    done
  1    anything else (a bug, no thread to be had, stdout closed)
  2    usage: an option, address or configuration that cannot work
  3    not paired: no account is linked to the profile
  4    refused, by the server or before anything was sent
  5    unknown outcome: it was sent and no answer came
  6    the session ended: logged out, unlinked, replaced, banned, or a too old WhatsApp Web version
  7    network: no connection, or not finished in time
  8    the profile is in use by another process
  9    storage failed
  130  interrupted (Ctrl-C, SIGTERM)";
