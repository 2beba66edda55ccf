//! Binary nodes, written (`protocol/transport.md` §6.2–§6.6).

use alloc::vec::Vec;

use super::jid::{Jid, Server};
use super::node::{Content, Node, Value};
use super::tags::{self, MAX_DEPTH, PACKED_MAX};
use super::tokens::{self, Token};

/// The node has no wire form. Nothing the peer did: the caller built it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A tag or attribute name is empty.
    #[error("a tag or attribute name is empty")]
    EmptyName,
    /// Over 32 767 attributes, or over 65 535 children.
    #[error("too many attributes or children for a list header")]
    TooMany,
    /// Over 128 levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A text or content of 4 GiB or more.
    #[error("a content is too long for a length field")]
    TooLong,
    /// A device above 255, a device without a user, or one on a server whose JIDs have none.
    #[error("this device has no place in this JID's wire form")]
    Device,
    /// An interop JID, whose outbound form is not known, or a JID without a server name.
    #[error("this JID has no wire form")]
    Jid,
}

/// Appends `node` to `out`, which may be a reused buffer. Attributes with an empty text are left out, and an empty list
/// of children is written as no content; the peers do the same.
///
/// # Errors
/// [`EncodeError`]; `out` is then as long as it was before.
pub fn encode(node: &Node, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    write_node(node, out, 1).inspect_err(|_| out.truncate(start))
}

fn write_node(node: &Node, out: &mut Vec<u8>, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    let is_written = |value: &Value| !matches!(value, Value::Text(text) if text.is_empty());
    let attrs = node.attrs.iter().filter(|(_, value)| is_written(value));
    let has_content = match &node.content {
        Content::None => false,
        Content::Bytes(_) => true,
        Content::Nodes(nodes) => !nodes.is_empty(),
    };
    write_list_header(1 + 2 * attrs.clone().count() + usize::from(has_content), out)?;
    write_name(&node.tag, out)?;
    for (key, value) in attrs {
        write_name(key, out)?;
        match value {
            Value::Text(text) => write_text(text, out)?,
            Value::Jid(jid) => write_jid(jid, out)?,
        }
    }
    match &node.content {
        Content::Bytes(bytes) => write_binary(bytes, out),
        Content::Nodes(nodes) if has_content => {
            write_list_header(nodes.len(), out)?;
            nodes.iter().try_for_each(|child| write_node(child, out, depth + 1))
        }
        Content::None | Content::Nodes(_) => Ok(()),
    }
}

fn write_list_header(size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Ok(size) = u8::try_from(size) {
        out.extend_from_slice(&[tags::LIST_8, size]);
    } else {
        let [high, low] = u16::try_from(size).map_err(|_| EncodeError::TooMany)?.to_be_bytes();
        out.extend_from_slice(&[tags::LIST_16, high, low]);
    }
    Ok(())
}

fn write_name(name: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if name.is_empty() { Err(EncodeError::EmptyName) } else { write_text(name, out) }
}

/// §6.4: token, packed, or bytes.
fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if text.is_empty() {
        out.extend_from_slice(&[tags::BINARY_8, 0]);
        return Ok(());
    }
    match tokens::find(text) {
        Some(Token::Single(index)) => out.push(index),
        Some(Token::Double(dictionary, index)) => out.extend_from_slice(&[tags::DICTIONARY_0 + dictionary, index]),
        None if text.len() <= PACKED_MAX => {
            if !write_packed(text, tags::NIBBLE_8, nibble, out) && !write_packed(text, tags::HEX_8, hex, out) {
                write_binary(text.as_bytes(), out)?;
            }
        }
        None => write_binary(text.as_bytes(), out)?,
    }
    Ok(())
}

fn nibble(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'-' => Some(10),
        b'.' => Some(11),
        _ => None,
    }
}

fn hex(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'A'..=b'F' => Some(char - b'A' + 10),
        _ => None,
    }
}

/// Writes `text` two characters to the byte and says so, or writes nothing because a character is not of this alphabet.
fn write_packed(text: &str, tag: u8, value: fn(u8) -> Option<u8>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let odd = text.len() % 2;
    let Ok(len) = u8::try_from(text.len().div_ceil(2)) else { return false };
    out.extend_from_slice(&[tag, if odd == 1 { len | 0x80 } else { len }]);
    for pair in text.as_bytes().chunks(2) {
        let (high, low) = match *pair {
            [high, low] => (value(high), value(low)),
            [high] => (value(high), Some(0x0f)),
            _ => (None, None),
        };
        let (Some(high), Some(low)) = (high, low) else {
            out.truncate(start);
            return false;
        };
        out.push(high << 4 | low);
    }
    true
}

fn write_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?;
    let [b0, b1, b2, b3] = len.to_be_bytes();
    match len {
        0..0x100 => out.extend_from_slice(&[tags::BINARY_8, b3]),
        0x100..0x10_0000 => out.extend_from_slice(&[tags::BINARY_20, b1, b2, b3]),
        _ => out.extend_from_slice(&[tags::BINARY_32, b0, b1, b2, b3]),
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// §6.6.
fn write_jid(jid: &Jid, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if jid.server == Server::Interop || jid.integrator != 0 || jid.server.as_str().is_empty() || !jid.has_plain_name() {
        return Err(EncodeError::Jid);
    }
    if jid.device == 0 {
        if !jid.is_well_formed() {
            return Err(EncodeError::Jid);
        }
        out.push(tags::JID_PAIR);
        write_user(&jid.user, out)?;
        return write_text(jid.server.as_str(), out);
    }
    if jid.user.is_empty() {
        return Err(EncodeError::Device);
    }
    let domain = match jid.server {
        Server::Pn => 0,
        Server::Lid => 1,
        Server::Hosted => 128,
        Server::HostedLid => 129,
        Server::Msgr => {
            out.push(tags::FB_JID);
            write_user(&jid.user, out)?;
            out.extend_from_slice(&jid.device.to_be_bytes());
            return write_text(jid.server.as_str(), out);
        }
        _ => return Err(EncodeError::Device),
    };
    let device = u8::try_from(jid.device).map_err(|_| EncodeError::Device)?;
    out.extend_from_slice(&[tags::AD_JID, domain, device]);
    write_user(&jid.user, out)
}

fn write_user(user: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if user.is_empty() {
        out.push(tags::LIST_EMPTY);
        return Ok(());
    }
    write_text(user, out)
}
