//! What the server says of a connection when it refuses or ends it, and what follows (`protocol/transport.md` §12).

use core::time::Duration;

use compact_str::format_compact;

use super::Connect;
use crate::engine::cx::{Cx, Signal};
use crate::engine::limits;
use crate::error::{DropCause, EndReason};
use crate::event::Warning;
use crate::wire::{NodeRef, Str};

impl Connect {
    /// `<failure>` (§12.2).
    pub(crate) fn failure(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        let reason = node.u32("reason").unwrap_or(0);
        let text = ["logout_message_header", "logout_message_subtext", "message"]
            .iter()
            .filter_map(|key| node.text(key))
            .fold(Str::default(), |all, part| if all.is_empty() { part } else { format_compact!("{all}: {part}") });
        let end = |reason, wipe| Signal::End { reason, wipe };
        cx.signal(match reason {
            500 | 503 => Signal::Drop(DropCause::LoginFailed { reason }),
            401 => end(EndReason::DeviceRemoved, true),
            402 => end(
                EndReason::TemporaryBan {
                    code: node.u32("code").unwrap_or(0),
                    expires_in: node.u64("expire").map(Duration::from_secs),
                },
                false,
            ),
            403 | 406 => end(EndReason::AccountLocked { reason, text }, true),
            405 => end(EndReason::ClientOutdated, false),
            _ => end(EndReason::Refused { reason }, false),
        });
    }

    /// `<stream:error>` (§12.1).
    pub(crate) fn stream_error(&mut self, cx: &mut Cx, node: NodeRef<'_>) {
        let code = node.u32("code").unwrap_or(0);
        let conflict = node.child("conflict").map(|conflict| conflict.text("type").unwrap_or_default());
        let end = |reason, wipe| Signal::End { reason, wipe };
        let signal = match (code, conflict.as_deref()) {
            (515, _) => Signal::Drop(DropCause::RestartRequired),
            (_, Some("replaced")) | (409, None) => end(EndReason::Replaced, false),
            (401, Some("device_removed") | None) | (516, _) | (_, Some("device_removed")) => {
                end(EndReason::DeviceRemoved, true)
            }
            (_, Some(_)) => end(EndReason::Refused { reason: code }, false),
            (429, None) => {
                self.steps += limits::RATE_LIMIT_STEPS;
                self.rate_limited = true;
                Signal::Drop(DropCause::StreamError { code })
            }
            _ if node.child("xml-not-well-formed").is_some() => {
                self.malformed += 1;
                if self.malformed >= limits::MALFORMED_IN_A_ROW {
                    end(EndReason::Refused { reason: code }, false)
                } else {
                    Signal::Drop(DropCause::StreamError { code })
                }
            }
            // The server waits for an ack of ours; the connection goes on until it ends the stream.
            (0, None) if node.child("ack").is_some() => {
                cx.warn(Warning::BadStanza { what: format_compact!("the server misses an ack: {node}") });
                return;
            }
            _ => Signal::Drop(DropCause::StreamError { code }),
        };
        cx.signal(signal);
    }
}
