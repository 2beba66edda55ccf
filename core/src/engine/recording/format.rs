//! Entries in a stream of bytes: framing, the check, and reading piece by piece.

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;

use super::entry::{Entry, EntryRow};
use super::{MAGIC, MAX_ENTRY, Malformed, VERSION};

/// Longest first line.
const MAX_HEADER: usize = MAGIC.len() + 12;
/// Bytes of the check behind each entry.
const CHECK_BYTES: usize = 4;
/// Longest length of an entry that is within the limit.
const MAX_LENGTH_BYTES: usize = 5;

/// FNV-1a over the bodies of all entries so far. Finds accidents, not forgeries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check(u64);

impl Check {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, body: &[u8]) -> [u8; CHECK_BYTES] {
        for byte in body {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        [a ^ e, b ^ f, c ^ g, d ^ h]
    }
}

/// Writes the first line.
pub(super) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(alloc::format!("{MAGIC}{VERSION}\n").as_bytes());
}

/// Appends one entry. `Err` with its length if it is too long; then nothing was written.
pub(super) fn write_entry(out: &mut Vec<u8>, check: &mut Check, row: &EntryRow) -> Result<(), usize> {
    let length = row.encoded_len();
    if length > MAX_ENTRY {
        return Err(length);
    }
    out.reserve(length + MAX_LENGTH_BYTES + CHECK_BYTES);
    prost::encoding::encode_varint(length as u64, out);
    let start = out.len();
    row.encode_raw(out);
    let check = check.add(&out[start..]);
    out.extend_from_slice(&check);
    Ok(())
}

/// A recording that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The first line is not that of a recording.
    #[error("this is no session recording")]
    NotARecording,
    /// Written by another version of this program.
    #[error("the recording has format {0}, this program reads format {VERSION}")]
    Version(u32),
    /// An entry is longer than any can be: the bytes were damaged.
    #[error("entry {entry} (at byte {offset}) claims {length} bytes")]
    TooLong {
        /// Number of the entry; the start is 0.
        entry: u64,
        /// Its place in the recording.
        offset: u64,
        /// What it claims.
        length: u64,
    },
    /// An entry is not what was written, or an entry before it is missing.
    #[error("entry {entry} (at byte {offset}) is damaged")]
    Damaged {
        /// Number of the entry; the start is 0.
        entry: u64,
        /// Its place in the recording.
        offset: u64,
    },
    /// An entry is whole and makes no sense.
    #[error("entry {entry} (at byte {offset}) cannot be read: {what}")]
    Malformed {
        /// Number of the entry; the start is 0.
        entry: u64,
        /// Its place in the recording.
        offset: u64,
        /// Why.
        what: Malformed,
    },
}

/// The end of a recording that was cut off inside an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Torn {
    /// Where the unfinished entry begins: a recording of this length would be whole.
    pub offset: u64,
    /// How many of its bytes are there.
    pub bytes: usize,
}

/// Reads a recording, given in pieces of any size.
#[derive(Clone, Debug)]
pub struct Reader {
    buffer: BytesMut,
    check: Check,
    /// Where `buffer` begins in the recording.
    offset: u64,
    header: bool,
    entries: u64,
    error: Option<ReadError>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that has nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), check: Check::new(), offset: 0, header: false, entries: 0, error: None }
    }

    /// A reader that has all of a recording.
    #[must_use]
    pub fn of(recording: &[u8]) -> Self {
        let mut reader = Self::new();
        reader.push(recording);
        reader
    }

    /// Gives it the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole entry. `None`: there is no whole entry left; push more bytes, or see [`Reader::torn`].
    ///
    /// The first one is [`Entry::Start`], and no other is.
    ///
    /// # Errors
    /// [`ReadError`], again and again: nothing behind it can be trusted.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.read().inspect_err(|error| self.error = Some(error.clone()))
    }

    /// How many entries were read.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What is left when [`Reader::next_entry`] has given `None` and no more bytes will come: the recording was cut off.
    #[must_use]
    pub fn torn(&self) -> Option<Torn> {
        // Without a single entry there is no recording, however few its bytes.
        let torn = !self.buffer.is_empty() || self.entries == 0;
        torn.then_some(Torn { offset: self.offset, bytes: self.buffer.len() })
    }

    fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        if !self.header && !self.read_header()? {
            return Ok(None);
        }
        let (entry, offset) = (self.entries, self.offset);
        let Some((length, prefix)) = self.length()? else { return Ok(None) };
        let whole = prefix + length + CHECK_BYTES;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(whole).freeze();
        bytes.advance(prefix);
        let body = bytes.split_to(length);
        if self.check.add(&body)[..] != bytes[..] {
            return Err(ReadError::Damaged { entry, offset });
        }
        self.offset += whole as u64;
        self.entries += 1;
        self.decode(body).map(Some).map_err(|what| ReadError::Malformed { entry, offset, what })
    }

    fn decode(&self, body: Bytes) -> Result<Entry, Malformed> {
        let row = EntryRow::decode(body).map_err(|_| Malformed("not protobuf of this format"))?;
        let decoded = row.into_entry()?;
        match (self.entries, &decoded) {
            (1, Entry::Start(_)) => Ok(decoded),
            (1, _) => Err(Malformed("a recording begins with its start")),
            (_, Entry::Start(_)) => Err(Malformed("a second start")),
            _ => Ok(decoded),
        }
    }

    /// The first line. Returns whether it is there.
    fn read_header(&mut self) -> Result<bool, ReadError> {
        let same = self.buffer.iter().zip(MAGIC.as_bytes()).all(|(a, b)| a == b);
        if !same {
            return Err(ReadError::NotARecording);
        }
        let Some(end) = self.buffer.iter().take(MAX_HEADER).position(|byte| *byte == b'\n') else {
            return if self.buffer.len() < MAX_HEADER { Ok(false) } else { Err(ReadError::NotARecording) };
        };
        let number = core::str::from_utf8(&self.buffer[MAGIC.len()..end]).ok().and_then(|text| text.parse().ok());
        match number {
            None => return Err(ReadError::NotARecording),
            Some(VERSION) => {}
            Some(version) => return Err(ReadError::Version(version)),
        }
        self.buffer.advance(end + 1);
        self.offset = end as u64 + 1;
        self.header = true;
        Ok(true)
    }

    /// The next entry's length and the bytes that it takes up, if they are there.
    fn length(&self) -> Result<Option<(usize, usize)>, ReadError> {
        let mut length = 0u64;
        for (i, byte) in self.buffer.iter().take(MAX_LENGTH_BYTES).enumerate() {
            length |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return match usize::try_from(length) {
                    Ok(fits) if fits <= MAX_ENTRY => Ok(Some((fits, i + 1))),
                    _ => Err(self.too_long(length)),
                };
            }
        }
        if self.buffer.len() < MAX_LENGTH_BYTES { Ok(None) } else { Err(self.too_long(length)) }
    }

    fn too_long(&self, length: u64) -> ReadError {
        ReadError::TooLong { entry: self.entries, offset: self.offset, length }
    }
}
