//! Events for people. What others wrote is made harmless first: it could hold a terminal's control sequences.

use std::fmt::Write as _;

use amarula_core::Address;
use amarula_core::content::Content;
use amarula_core::event::{Connection, Event, Pairing, Warning};
use amarula_core::message::Message;

use crate::events::{chat_state, receipt_kind};

/// A line, and where it belongs.
pub(crate) enum Line {
    /// What was asked for: stdout.
    Result(String),
    /// How things are going: stderr.
    Notice(String),
}

/// The event as a line.
pub(crate) fn event(event: &Event) -> Line {
    match event {
        Event::Connection(connection) => Line::Notice(format!("* {}", harmless(&of_connection(connection)))),
        Event::Pairing(pairing) => Line::Notice(format!("* {}", harmless(&of_pairing(pairing)))),
        Event::Warning(warning) => Line::Notice(format!("* warning: {}", harmless(&of_warning(warning)))),
        Event::Message(message) => Line::Result(of_message(message)),
        Event::Undecryptable(message) => Line::Result(format!(
            "{} {}: a message that cannot be decrypted{} [{}]",
            time(message.timestamp),
            chat(&message.chat, &message.sender),
            if message.retrying { " yet; a resend was asked for" } else { "" },
            harmless(&message.id),
        )),
        Event::SendFinished { reference, id, result } => Line::Result(match result {
            Ok(_) => format!("* sent after all: {} [{}]", harmless(reference), harmless(id)),
            Err(failure) => format!("* not sent: {} [{}]: {failure}", harmless(reference), harmless(id)),
        }),
        Event::Receipt(receipt) => Line::Result(format!(
            "{} {}: {} {}",
            time(receipt.timestamp),
            chat(&receipt.chat, &receipt.from),
            harmless(receipt_kind(&receipt.kind)),
            receipt.ids.iter().map(|id| format!("[{}]", harmless(id))).collect::<Vec<_>>().join(" "),
        )),
        Event::Presence(update) => {
            let seen = update.last_seen.map(|seen| format!(", last seen {}", time(seen))).unwrap_or_default();
            let state = if update.available { "online" } else { "offline" };
            Line::Result(format!("* {} is {state}{seen}", who(&update.from)))
        }
        Event::ChatState(update) => {
            Line::Result(format!("* {}: {}", chat(&update.chat, &update.from), chat_state(update.state)))
        }
        Event::LidMapping { lid, pn } => Line::Notice(format!("* {lid} is {pn}")),
        Event::IdentityChanged { address, .. } => {
            Line::Result(format!("* the security code of {} changed", who(address)))
        }
        Event::DevicesChanged { address } => Line::Notice(format!("* the devices of {} changed", who(address))),
        other => Line::Notice(format!("* {}", harmless(&format!("{other:?}")))),
    }
}

fn of_connection(connection: &Connection) -> String {
    match connection {
        Connection::Connecting { attempt: 1 } => "connecting".to_owned(),
        Connection::Connecting { attempt } => format!("connecting, try {attempt}"),
        Connection::Open => "connected".to_owned(),
        Connection::OfflinePending { count } => format!("{count} waiting"),
        Connection::CaughtUp { count } => format!("caught up ({count})"),
        Connection::Dropped { cause, retry_in } => format!("{cause}; next try in {:.1} s", retry_in.as_secs_f64()),
        Connection::Ended { reason, .. } => format!("the session ended: {reason}"),
        other => format!("{other:?}"),
    }
}

fn of_pairing(pairing: &Pairing) -> String {
    match pairing {
        Pairing::Qr { .. } => "a QR code is there".to_owned(),
        Pairing::Paired { pn, platform, .. } => format!("linked to {} ({platform})", pn.user()),
        Pairing::Failed(error) => format!("pairing failed: {error}"),
        other => format!("{other:?}"),
    }
}

fn of_warning(warning: &Warning) -> String {
    match warning {
        Warning::CorruptRecord { namespace } => format!("a stored record ({namespace}) cannot be read"),
        Warning::StorageFailed { message } => format!("the store failed: {message}"),
        Warning::VersionExpires { at } => format!("this WhatsApp Web version stops working at {} UTC", date(*at)),
        Warning::Certificate { what } => format!("the server's certificate does not verify: {what}"),
        other => format!("{other:?}"),
    }
}

fn of_message(message: &Message) -> String {
    let mut line = format!("{} ", time(message.timestamp));
    if message.from_me {
        let _ = write!(line, "me → {}", who(&message.chat));
    } else {
        if let Some(name) = &message.push_name {
            let _ = write!(line, "{} ", harmless(name));
        }
        let _ = write!(line, "({})", chat(&message.chat, &message.sender));
    }
    let said = match &message.content {
        Content::Text(text) => harmless(&text.body),
        Content::Protocol(number) => format!("(protocol message {number})"),
        _ => "(not text; see --json)".to_owned(),
    };
    let _ = write!(line, ": {said} [{}]", harmless(&message.id));
    line
}

fn who(address: &Address) -> String {
    match address.kind() {
        amarula_core::Kind::PhoneNumber => harmless(&format!("+{}", address.user())),
        _ => harmless(&address.bare().to_string()),
    }
}

fn chat(chat: &Address, sender: &Address) -> String {
    if chat.same_account(sender) { who(chat) } else { format!("{} in {}", who(sender), who(chat)) }
}

/// Without control characters, and without what turns the direction of writing for the rest of the line.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push('\t'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Time of day, UTC.
fn time(unix: u64) -> String {
    let second = unix % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Date and time, UTC.
pub(crate) fn date(unix: u64) -> String {
    // Days to a civil date, by 400-year eras that begin in March (Howard Hinnant's algorithm).
    let days = unix / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {}", time(unix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(1_795_478_400), "2026-11-24 00:00:00");
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\u{202e}c\nd"), "a\\u{1b}[2Jb\\u{d}c\n    d");
    }
}
