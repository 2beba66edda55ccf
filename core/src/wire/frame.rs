//! Frames on the socket: a length of three bytes, then the body (`protocol/transport.md` §2).
//!
//! WebSocket message boundaries carry no meaning: [`FrameDecoder`] takes the bytes in any split.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf as _, Bytes, BytesMut};

use super::token_table::DICTIONARY_VERSION;

/// Longest body a frame can have, in bytes: what three bytes of length can say.
pub const MAX_FRAME_BODY: usize = 0x00ff_ffff;

/// Longest routing info that can be announced, in bytes.
pub const MAX_ROUTING_INFO: usize = 0x00ff_ffff;

/// The client's first bytes, once per connection: "WA", protocol 6, token dictionary 3. Also the Noise prologue.
pub const INTRO: [u8; 4] = [b'W', b'A', 6, DICTIONARY_VERSION];

/// Length of the length prefix.
const PREFIX_LEN: usize = 3;

/// A frame cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than the limit allows.
    #[error("a frame of {len} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Bytes of the body, as announced or given.
        len: usize,
        /// What was allowed.
        limit: usize,
    },
}

/// Appends what opens a connection: the routing info of an earlier one, if there is any and it fits, and [`INTRO`].
/// The first frame follows in the same WebSocket message.
pub fn write_intro(out: &mut Vec<u8>, routing_info: Option<&[u8]>) {
    if let Some((info, len)) =
        routing_info.filter(|info| !info.is_empty()).and_then(|i| Some((i, prefix(i.len()).ok()?)))
    {
        out.extend_from_slice(b"ED\0\x01");
        out.extend_from_slice(&len);
        out.extend_from_slice(info);
    }
    out.extend_from_slice(&INTRO);
}

/// Appends a frame with this body.
///
/// # Errors
/// [`FrameError::TooLong`] beyond [`MAX_FRAME_BODY`]; `out` is unchanged.
pub fn write_frame(out: &mut Vec<u8>, body: &[u8]) -> Result<(), FrameError> {
    let prefix = prefix(body.len())?;
    out.extend_from_slice(&prefix);
    out.extend_from_slice(body);
    Ok(())
}

/// Appends a frame whose body `write` appends in place: nothing is copied.
///
/// # Errors
/// What `write` answers, or [`FrameError::TooLong`]; `out` is then as long as it was before.
pub fn write_frame_with<E: From<FrameError>>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    let body = start + PREFIX_LEN;
    out.extend_from_slice(&[0; PREFIX_LEN]);
    let written = write(out).and_then(|()| Ok(prefix(out.len().saturating_sub(body))?));
    match written {
        Ok(prefix) => {
            if let Some(place) = out.get_mut(start..body) {
                place.copy_from_slice(&prefix);
            }
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn prefix(len: usize) -> Result<[u8; PREFIX_LEN], FrameError> {
    match u32::try_from(len).map(u32::to_be_bytes) {
        Ok([0, prefix @ ..]) => Ok(prefix),
        _ => Err(FrameError::TooLong { len, limit: MAX_FRAME_BODY }),
    }
}

/// Cuts a byte stream into frames. Holds only bytes that really came, never what a length merely announces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
}

impl FrameDecoder {
    /// A decoder that accepts every length.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(MAX_FRAME_BODY)
    }

    /// A decoder that accepts bodies of at most `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit: limit.min(MAX_FRAME_BODY) }
    }

    /// Changes the limit, for frames not yet pulled.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_FRAME_BODY);
    }

    /// Takes the next bytes of the stream. When nothing is buffered and nobody else holds `bytes`, they are not copied.
    pub fn push(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::from(bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The body of the next whole frame, ready to be decrypted in place; `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the length is known. The stream cannot be read any further: every later call
    /// answers the same.
    pub fn next_frame(&mut self) -> Result<Option<BytesMut>, FrameError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let len = prefix.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if len > self.limit {
            return Err(FrameError::TooLong { len, limit: self.limit });
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_LEN);
        if self.buffer.len() == len {
            return Ok(Some(core::mem::take(&mut self.buffer)));
        }
        Ok(Some(self.buffer.split_to(len)))
    }

    /// Bytes taken and not yet given out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecoder").field("buffered", &self.buffered()).field("limit", &self.limit).finish()
    }
}
