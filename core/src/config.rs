//! What an engine is told once, when it is made.

use core::time::Duration;

use crate::crypto::PublicKey;
use crate::wire::Str;

/// Configuration of one engine. `Config::default()` is right for WhatsApp itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Config {
    /// The chat server.
    pub url: Str,
    /// `Origin` header of the upgrade.
    pub origin: Str,
    /// WhatsApp Web version (primary, secondary, revision). An old one is refused; see the updating guide.
    pub version: (u32, u32, u32),
    /// What this device is called on the phone.
    pub device_name: Str,
    /// Which browser it poses as, and on what: both are checked by the server (`protocol/pairing.md` §5.3).
    pub browser: Browser,
    /// Operating system shown beside the browser in phone-code pairing: Windows, Mac OS, Linux, Android, iOS.
    pub os: Str,
    /// Language (ISO 639-1) and country (ISO 3166-1 alpha-2).
    pub locale: (Str, Str),
    /// Root of the server's certificates. Only for another server than WhatsApp's (a simulated one).
    pub root_key: PublicKey,
    /// How far the host's clock may be off when certificates are checked.
    pub clock_tolerance: Duration,
    /// Resume with Noise IK when possible (one round trip less).
    pub noise_ik: bool,
    /// Our own name as others see it, until the phone sends one. Presence needs a name.
    pub push_name: Option<Str>,
    /// Become `available` after login.
    pub mark_online: bool,
    /// Keep every message event in the inbox until it is confirmed. Off: events are delivered at most once.
    pub inbox: bool,
    /// Ask the phone for its full history when pairing.
    pub full_history: bool,
    /// Sizes and counts; see each.
    pub limits: crate::engine::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: Str::const_new("wss://web.whatsapp.com/ws/chat"),
            origin: Str::const_new("https://web.whatsapp.com"),
            version: (2, 3000, 1_045_692_687),
            device_name: Str::const_new("Amarula"),
            browser: Browser::Chrome,
            os: Str::const_new("Linux"),
            locale: (Str::const_new("en"), Str::const_new("US")),
            root_key: PublicKey(WHATSAPP_ROOT),
            clock_tolerance: Duration::ZERO,
            noise_ik: false,
            push_name: None,
            mark_online: true,
            inbox: true,
            full_history: false,
            limits: crate::engine::Limits::default(),
        }
    }
}

/// WhatsApp's root of server certificates, "WhatsAppLongTerm1" (`protocol/transport.md` §4).
pub const WHATSAPP_ROOT: [u8; 32] = [
    0x14, 0x23, 0x75, 0x57, 0x4d, 0x0a, 0x58, 0x71, 0x66, 0xaa, 0xe7, 0x1e, 0xbe, 0x51, 0x64, 0x37, 0xc4, 0xa2, 0x8b,
    0x73, 0xe3, 0x69, 0x5c, 0x6c, 0xe1, 0xf7, 0xf9, 0x54, 0x5d, 0xa8, 0xee, 0x6b,
];

/// A browser this device can pose as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Browser {
    Chrome,
    Firefox,
    Edge,
    Opera,
    Safari,
}
