//! The primitives of the binary node codec, read from a slice (`protocol/transport.md` §6.2, §6.5, §6.6).

use alloc::string::String;

use compact_str::CompactString;

use super::decode::NodeError;
use super::jid::{Jid, Server};
use super::tags::{self, DICTIONARY_0, LAST_SINGLE, LIST_EMPTY};
use super::tokens;

/// A text that is a slice of the frame or a token where it can be, and its own where it was packed.
#[derive(Clone)]
pub(super) enum Text<'a> {
    Slice(&'a str),
    Own(CompactString),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Slice(text) => text,
            Self::Own(text) => text,
        }
    }

    fn into_compact(self) -> CompactString {
        match self {
            Self::Slice(text) => text.into(),
            Self::Own(text) => text,
        }
    }
}

/// By content: a token and the same text packed are equal.
impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// What stands in the place of an attribute value or a content, lists excepted.
pub(super) enum Scalar<'a> {
    Text(Text<'a>),
    /// From one of the BINARY tags: text or bytes, by position.
    Bytes(&'a [u8]),
    Jid(Jid),
    /// A JID whose domain this version does not know (§6.6). The bytes around it still make sense.
    BadJid,
}

impl Scalar<'_> {
    /// A JID, if its text would name it: everything we store is named by texts.
    fn of(jid: Jid) -> Self {
        if jid.is_well_formed() { Self::Jid(jid) } else { Self::BadJid }
    }
}

/// A position in the node bytes. Every read checks what is left; nothing is allocated on the word of a length field.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, NodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(NodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(NodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], NodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(NodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The size in a list header, given its tag byte.
    pub(super) fn list_size(&mut self, tag: u8) -> Result<u16, NodeError> {
        match tag {
            LIST_EMPTY => Ok(0),
            tags::LIST_8 => Ok(u16::from(self.byte()?)),
            tags::LIST_16 => Ok(u16::from_be_bytes(self.array()?)),
            tag => Err(NodeError::UnexpectedTag(tag)),
        }
    }

    /// The scalar whose tag byte is `tag`; null is the empty text.
    pub(super) fn scalar(&mut self, tag: u8) -> Result<Scalar<'a>, NodeError> {
        match tag {
            tags::BINARY_8..=tags::BINARY_32 => self.binary(tag).map(Scalar::Bytes),
            tags::JID_PAIR => self.jid_pair(),
            tags::AD_JID => self.ad_jid(),
            tags::FB_JID => self.fb_jid(),
            tags::INTEROP_JID => self.interop_jid(),
            tag => self.token_or_packed(tag).map(Scalar::Text),
        }
    }

    /// A text where nothing else may stand: tags, keys, the parts of a JID. Null is the empty text.
    pub(super) fn text(&mut self) -> Result<Text<'a>, NodeError> {
        match self.byte()? {
            tag @ tags::BINARY_8..=tags::BINARY_32 => {
                core::str::from_utf8(self.binary(tag)?).map(Text::Slice).map_err(|_| NodeError::BadText)
            }
            tag => self.token_or_packed(tag),
        }
    }

    #[inline]
    fn token_or_packed(&mut self, tag: u8) -> Result<Text<'a>, NodeError> {
        let token = match tag {
            LIST_EMPTY => Some(""),
            1..=LAST_SINGLE => tokens::single(tag),
            DICTIONARY_0..=tags::DICTIONARY_3 => {
                let index = self.byte()?;
                tokens::double(tag - DICTIONARY_0, index)
            }
            tags::NIBBLE_8 => return self.packed(b"0123456789-.\0\0\0\0"),
            tags::HEX_8 => return self.packed(b"0123456789ABCDEF"),
            _ => None,
        };
        token.map(Text::Slice).ok_or(NodeError::UnexpectedTag(tag))
    }

    /// The bytes after one of the three BINARY tags.
    fn binary(&mut self, tag: u8) -> Result<&'a [u8], NodeError> {
        let len = match tag {
            tags::BINARY_8 => u32::from(self.byte()?),
            tags::BINARY_20 => {
                let [b0, b1, b2] = self.array()?;
                u32::from_be_bytes([0, b0 & 0x0f, b1, b2])
            }
            _ => u32::from_be_bytes(self.array()?),
        };
        self.take(usize::try_from(len).map_err(|_| NodeError::Truncated)?)
    }

    /// `hdr ‖ bytes`, high nibble first. A zero in `alphabet` stands for no character.
    fn packed(&mut self, alphabet: &[u8; 16]) -> Result<Text<'a>, NodeError> {
        let header = self.byte()?;
        let (len, odd) = (usize::from(header & 0x7f), header & 0x80 != 0);
        if len == 0 {
            return if odd { Err(NodeError::BadPacked) } else { Ok(Text::Slice("")) };
        }
        let bytes = self.take(len)?;
        let mut chars = [0; 254];
        for (out, byte) in chars.chunks_exact_mut(2).zip(bytes) {
            out[0] = alphabet[usize::from(byte >> 4)];
            out[1] = alphabet[usize::from(byte & 0x0f)];
        }
        let mut count = len * 2;
        if odd {
            // What is dropped is padding (`f`) or, by some encoder, a character; 12..=14 are neither.
            if matches!(bytes[len - 1] & 0x0f, 12..=14) && chars[count - 1] == 0 {
                return Err(NodeError::BadPacked);
            }
            count -= 1;
        }
        let chars = &chars[..count];
        if chars.contains(&0) {
            return Err(NodeError::BadPacked);
        }
        core::str::from_utf8(chars).map(|text| Text::Own(text.into())).map_err(|_| NodeError::BadPacked)
    }

    fn user(&mut self) -> Result<CompactString, NodeError> {
        self.text().map(Text::into_compact)
    }

    fn server(&mut self) -> Result<Server, NodeError> {
        let name = self.text()?;
        if name.as_str().is_empty() {
            return Err(NodeError::JidWithoutServer);
        }
        Ok(Server::from_name(name.as_str()))
    }

    fn u16(&mut self) -> Result<u16, NodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn jid_pair(&mut self) -> Result<Scalar<'a>, NodeError> {
        let (user, server) = (self.user()?, self.server()?);
        Ok(Scalar::of(Jid { user, server, device: 0, integrator: 0 }))
    }

    fn ad_jid(&mut self) -> Result<Scalar<'a>, NodeError> {
        let [domain, device] = self.array()?;
        let user = self.user()?;
        if user.is_empty() {
            return Err(NodeError::JidWithoutUser);
        }
        let server = match domain {
            0 => Server::Pn,
            1 => Server::Lid,
            129 => Server::HostedLid,
            domain if domain & 0x80 != 0 && domain & 1 == 0 => Server::Hosted,
            _ => return Ok(Scalar::BadJid),
        };
        Ok(Scalar::of(Jid { user, server, device: device.into(), integrator: 0 }))
    }

    fn fb_jid(&mut self) -> Result<Scalar<'a>, NodeError> {
        let (user, device) = (self.user()?, self.u16()?);
        Ok(match self.server()? {
            server @ Server::Msgr => Scalar::of(Jid { user, server, device, integrator: 0 }),
            _ => Scalar::BadJid,
        })
    }

    fn interop_jid(&mut self) -> Result<Scalar<'a>, NodeError> {
        let (user, device, integrator) = (self.user()?, self.u16()?, self.u16()?);
        Ok(match self.server()? {
            server @ Server::Interop => Scalar::of(Jid { user, server, device, integrator }),
            _ => Scalar::BadJid,
        })
    }
}

/// Bytes where a value is expected: text, and if it is no UTF-8, the nearest text. A damaged name must not cost a frame.
pub(super) fn lenient(bytes: &[u8]) -> Text<'_> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Text::Slice(text),
        Err(_) => Text::Own(String::from_utf8_lossy(bytes).into()),
    }
}
