//! The plaintext of a transport frame: a flag byte, then the node bytes, perhaps compressed
//! (`protocol/transport.md` §6.1).

use alloc::vec::Vec;

use bytes::Bytes;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use super::encode::{EncodeError, encode};
use super::node::Node;

/// Most bytes a compressed payload may inflate to.
pub const MAX_INFLATED: usize = 16 << 20;

/// The bit that says the rest is a zlib stream. Other bits mean nothing.
const COMPRESSED: u8 = 0x02;

/// What we put in front: we never compress.
const PLAIN: u8 = 0x00;

/// The plaintext holds no node bytes. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not even a flag byte.
    #[error("empty payload")]
    Empty,
    /// The zlib stream is damaged or cut short.
    #[error("the payload does not inflate")]
    BadStream,
    /// It inflates to more than `limit` bytes.
    #[error("the payload inflates to more than {limit} bytes")]
    TooLong {
        /// What was allowed.
        limit: usize,
    },
}

/// The node bytes of a decrypted frame: a slice of `plaintext` without copying, or a fresh buffer of at most `limit`
/// bytes ([`MAX_INFLATED`]) if it came compressed.
///
/// # Errors
/// [`PayloadError`].
pub fn unpack(plaintext: &Bytes, limit: usize) -> Result<Bytes, PayloadError> {
    let (flag, rest) = plaintext.split_first().ok_or(PayloadError::Empty)?;
    if flag & COMPRESSED == 0 {
        return Ok(plaintext.slice(1..));
    }
    match decompress_to_vec_zlib_with_limit(rest, limit) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if error.status == TINFLStatus::HasMoreOutput => Err(PayloadError::TooLong { limit }),
        Err(_) => Err(PayloadError::BadStream),
    }
}

/// Appends the plaintext of a frame that carries `node`.
///
/// # Errors
/// [`EncodeError`]; `out` is then as long as it was before.
pub fn pack(node: &Node, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(PLAIN);
    encode(node, out).inspect_err(|_| {
        out.pop();
    })
}
