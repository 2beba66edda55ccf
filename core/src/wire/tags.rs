//! Tag bytes of the binary node codec (`protocol/transport.md` §6.2).

/// Empty list, null or empty string, by position.
pub(super) const LIST_EMPTY: u8 = 0x00;
/// Last single-byte token.
pub(super) const LAST_SINGLE: u8 = 0xeb;
/// Dictionary 0 of the two-byte tokens; the other three follow.
pub(super) const DICTIONARY_0: u8 = 0xec;
/// Dictionary 3.
pub(super) const DICTIONARY_3: u8 = 0xef;
/// JID of a third-party network.
pub(super) const INTEROP_JID: u8 = 0xf5;
/// Messenger JID.
pub(super) const FB_JID: u8 = 0xf6;
/// JID with a domain byte and a device.
pub(super) const AD_JID: u8 = 0xf7;
/// List, count in one byte.
pub(super) const LIST_8: u8 = 0xf8;
/// List, count in two bytes.
pub(super) const LIST_16: u8 = 0xf9;
/// JID without device.
pub(super) const JID_PAIR: u8 = 0xfa;
/// Packed `0-9 A-F`.
pub(super) const HEX_8: u8 = 0xfb;
/// Bytes, length in one byte.
pub(super) const BINARY_8: u8 = 0xfc;
/// Bytes, length in 20 bits.
pub(super) const BINARY_20: u8 = 0xfd;
/// Bytes, length in 32 bits.
pub(super) const BINARY_32: u8 = 0xfe;
/// Packed `0-9 - .`.
pub(super) const NIBBLE_8: u8 = 0xff;

/// Longest text that an encoder packs two characters to the byte.
pub(super) const PACKED_MAX: usize = 127;

/// Deepest nesting, in levels, that we write and by default read.
pub const MAX_DEPTH: usize = 128;

/// Name of the node that ends a stream (§6.3).
pub const STREAM_END: &str = "xmlstreamend";
