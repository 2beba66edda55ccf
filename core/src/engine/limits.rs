//! Every limit, in one place. Exceeding one is a typed outcome, never a surprise.

use core::time::Duration;

/// Limits a host may want to change. The rest are constants below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of records kept in memory (their encoded size plus overhead). What is in use is kept beyond it.
    pub cache_bytes: usize,
    /// Commands open at once; more are rejected as busy.
    pub open_commands: usize,
    /// Inbound stanzas waiting for storage before [`Engine::appetite`](super::Engine::appetite) turns to
    /// [`Appetite::Full`](super::Appetite::Full).
    pub inbound_queue: usize,
    /// Outputs waiting for a commit before appetite turns to full.
    pub gated_outputs: usize,
    /// Bytes of received, undecoded stream before appetite turns to full.
    pub inbound_bytes: usize,
    /// Deliveries that the consumer has and has not confirmed before appetite turns to full. A consumer that does not
    /// confirm must turn the inbox off.
    pub unconfirmed: usize,
    /// A command that has not left by then fails as timed out.
    pub command_timeout: Duration,
    /// A sent message without the server's ack by then is reported as unknown.
    pub ack_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes: 256 * 1024,
            open_commands: 1024,
            inbound_queue: 256,
            gated_outputs: 4096,
            inbound_bytes: 4 * 1024 * 1024,
            unconfirmed: 65_536,
            command_timeout: Duration::from_secs(90),
            ack_timeout: Duration::from_secs(75),
        }
    }
}

/// Time for TCP, TLS and the upgrade; counted by the engine, not the driver.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for each expected handshake reply.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time from the end of the handshake to success, failure or pair-device.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the answer to a query.
pub const IQ_TIMEOUT: Duration = Duration::from_secs(75);
/// Resends under way at once; a device whose request is dropped asks again.
pub const OPEN_RESENDS: usize = 256;
/// Keepalive: a ping goes out after a random time in this range (seconds) without an open query.
pub const PING_INTERVAL_SECS: (u32, u32) = (15, 30);
/// A connection on which nothing was received for this long after the first send since the last receive is dead.
pub const DEAD_PEER: Duration = Duration::from_secs(20);
/// A login that lasted this long was a good one: the reconnect counter starts again.
pub const STABLE_LOGIN: Duration = Duration::from_secs(30);
/// Longest wait between two tries to connect.
pub const RECONNECT_CAP: Duration = Duration::from_secs(900);
/// How many steps of the back-off a rate-limited (429) close costs.
pub const RATE_LIMIT_STEPS: u32 = 5;
/// Undecodable nodes in good frames that one connection may bring before it is closed.
pub const BAD_NODES_PER_CONNECTION: u32 = 8;
/// `xml-not-well-formed` closes in a row before it is taken for a fault of ours.
pub const MALFORMED_IN_A_ROW: u32 = 3;
/// Rounds of gathering facts that one flow may need.
pub const FLOW_ROUNDS: u32 = 12;
/// Unacknowledged WebSocket opens that fail in a row before the routing hint is dropped.
pub const ROUTING_FAILURES: u32 = 2;
/// First QR code of a set.
pub const QR_FIRST: Duration = Duration::from_secs(60);
/// Each further one.
pub const QR_NEXT: Duration = Duration::from_secs(20);
/// Refs kept of one pair-device stanza.
pub const QR_REFS: usize = 16;
/// Life of a pairing code.
pub const PAIR_CODE_LIFE: Duration = Duration::from_secs(180);
/// primary_hello notifications handled per pairing code.
pub const PAIR_CODE_HELLOS: u32 = 3;
/// From primary_hello to pair-success.
pub const PAIR_CODE_FINISH: Duration = Duration::from_secs(60);
/// After the answer to pair-success the server restarts the stream; if it does not by then, we do.
pub const PAIR_RESTART: Duration = Duration::from_secs(10);
/// One-time prekeys of one upload.
pub const PREKEY_UPLOAD: u32 = 812;
/// Fewer on the server than this: upload.
pub const PREKEY_LOW: u32 = 5;
/// Age at which the signed prekey is rotated.
pub const SIGNED_PREKEY_AGE: Duration = Duration::from_secs(27 * 24 * 3600);
/// Signed prekeys kept, the current one included.
pub const SIGNED_PREKEYS_KEPT: u32 = 3;
/// Longest wait between two tries of an upload or of becoming active.
pub const RETRY_CAP: Duration = Duration::from_secs(610);
/// Wait before another try to rotate the signed prekey that failed on the server's side.
pub const ROTATION_RETRY: Duration = Duration::from_secs(24 * 3600);
/// Ids of "prekeys are low" notifications remembered.
pub const LOW_PREKEY_NOTICES: usize = 16;
/// Prekey ids that a digest of the server may name.
pub const DIGEST_IDS: usize = 4096;
/// After the first stanza of a backlog batch the next batch is asked for.
pub const OFFLINE_BATCH_DELAY: Duration = Duration::from_millis(100);
/// Answer to companion_finish: none by then is no failure yet.
pub const PAIR_CODE_IQ: Duration = Duration::from_secs(30);
/// Time for a refused pair-success's answer to leave before the connection is closed.
pub const PAIR_REFUSED: Duration = Duration::from_secs(2);
/// The length of a pairing ref, QR or code.
pub const PAIR_REF_BYTES: usize = 1024;
/// Dirty bits held back until the backlog is through.
pub const DIRTY_LATER: usize = 16;
/// Stanzas asked of the backlog at a time.
pub const OFFLINE_BATCH: u32 = 200;
/// The backlog counts as through after this long without its end.
pub const OFFLINE_TIMEOUT: Duration = Duration::from_secs(60);
/// Users in one device query, devices in one bundle query.
pub const QUERY_BATCH: usize = 50;
/// Resends asked for one message.
pub const RETRIES_ASKED: u32 = 5;
/// Resends given for one message to one device; a receipt with this count or more is refused.
pub const RETRIES_GIVEN: u32 = 5;
/// Retry counters kept in memory.
pub const RETRY_COUNTERS: usize = 1024;
/// How often sent messages that are too old are looked for.
pub const SENT_MESSAGE_SWEEP: Duration = Duration::from_secs(24 * 3600);
/// Records looked at in one step of a sweep.
pub const SWEEP_PAGE: u32 = 64;
/// One-time prekeys made for retry receipts and kept.
pub const RETRY_PREKEYS: usize = 256;
/// Restarts asked by the server (515) in a row without a login between, before they count as failures.
pub const RESTARTS_IN_A_ROW: u32 = 3;
/// A status post older than this is not worth a resend.
pub const STATUS_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long a sent message is kept for resends.
pub const SENT_MESSAGE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Unconfirmed inbox entries handed out at once when a session starts.
pub const INBOX_PAGE: u32 = 256;
/// Ids in one receipt stanza.
pub const RECEIPT_IDS: usize = 256;
/// A device list older than this is asked again before a send.
pub const DEVICE_LIST_AGE: Duration = Duration::from_secs(24 * 3600);
/// Largest encoded message content.
pub const CONTENT_BYTES: usize = 1024 * 1024;
/// Time that logout waits for the server.
pub const LOGOUT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that shutdown waits for open commits.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
