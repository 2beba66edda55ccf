//! The log: a file of frames, each one write that is there wholly or not at all.
//!
//! The file starts with `AMLG`, a version byte (1) and three zero bytes; frames follow, each at a multiple of eight:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `AMFR` |
//! | 4 | length of the body |
//! | 8 | sequence number; rises by one per frame, across logs |
//! | 4 | CRC-32 of the profile's name, the log's generation, the eight and four bytes before, and the body |
//! | 4 | zero |
//! | … | the body: the changes of one commit or of several that went together |
//!
//! A change is a namespace number (1), 1 for put or 0 for delete (1), key length (2), value length (4), key, value. One
//! of kind 2, with everything else zero, removes all records of the profile.
//! Numbers are little-endian. What follows the last frame is zeros, or what a crash left of a frame.

use std::ops::Range;

use amarula_core::engine::StorageError;
use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;

use super::errors::refused;
use crate::Profile;

pub(crate) const FILE_HEADER: &[u8; 8] = b"AMLG\x01\0\0\0";
const MAGIC: &[u8; 4] = b"AMFR";
const HEADER: usize = 24;
const ALIGN: usize = 8;
const CLEAR: u8 = 2;

/// Appends a batch to a body.
pub(crate) fn put_batch(body: &mut Vec<u8>, batch: &Batch) -> Result<(), StorageError> {
    if batch.clear {
        body.extend_from_slice(&[0, CLEAR, 0, 0, 0, 0, 0, 0]);
    }
    for (key, op) in &batch.ops {
        let (kind, value): (u8, &[u8]) = match op {
            Op::Put(value) => (1, value),
            Op::Delete => (0, &[]),
        };
        let (Ok(key_len), Ok(value_len)) = (u16::try_from(key.key.len()), u32::try_from(value.len())) else {
            return Err(refused(format!("a record of {} bytes is too large", value.len())));
        };
        body.extend_from_slice(&[key.namespace.number(), kind]);
        body.extend_from_slice(&key_len.to_le_bytes());
        body.extend_from_slice(&value_len.to_le_bytes());
        body.extend_from_slice(key.key.as_bytes());
        body.extend_from_slice(value);
    }
    match u32::try_from(body.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(refused(format!("a batch of {} bytes is too large", body.len()))),
    }
}

/// One change as stored.
#[derive(PartialEq, Eq)]
pub(crate) enum Change {
    /// Removes all records.
    Clear,
    /// Writes a record; `None` deletes it.
    Set(RecordKey, Option<Bytes>),
}

/// Reads a body that passed its checksum.
pub(crate) fn changes(mut body: &[u8]) -> Result<Vec<Change>, StorageError> {
    let mut changes = Vec::new();
    while !body.is_empty() {
        let Some((change, rest)) = change(body) else {
            return Err(refused("the log was written by a newer version of this program; use that one"));
        };
        changes.push(change);
        body = rest;
    }
    Ok(changes)
}

fn change(body: &[u8]) -> Option<(Change, &[u8])> {
    let (header, rest) = body.split_at_checked(8)?;
    if header == [0, CLEAR, 0, 0, 0, 0, 0, 0] {
        return Some((Change::Clear, rest));
    }
    let namespace = Namespace::from_number(header[0])?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([header[2], header[3]])))?;
    let value_len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let (value, rest) = rest.split_at_checked(usize::try_from(value_len).ok()?)?;
    let value = match header[1] {
        0 => None,
        1 => Some(Bytes::copy_from_slice(value)),
        _ => return None,
    };
    let key = RecordKey { namespace, key: core::str::from_utf8(key).ok()?.into() };
    Some((Change::Set(key, value), rest))
}

/// What a frame's checksum is bound to, beside its contents: a frame of another log is not a frame of this one.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) generation: u64,
}

impl Place<'_> {
    fn checksum(self, len_and_seq: &[u8], body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.profile.as_str().as_bytes());
        hasher.update(&self.generation.to_le_bytes());
        hasher.update(len_and_seq);
        hasher.update(body);
        hasher.finalize()
    }
}

/// Appends a frame to `out`, with the zeros that align the next one. The body is checked by [`put_batch`].
pub(crate) fn put_frame(out: &mut Vec<u8>, place: Place<'_>, seq: u64, body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&u32::try_from(body.len()).expect("checked when it was made").to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    let crc = place.checksum(&out[start + 4..], body);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

/// What is in a log file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The bodies, in order.
    pub(crate) bodies: Vec<Range<usize>>,
    /// The newest sequence number.
    pub(crate) last_seq: u64,
    /// A frame or the file's head is damaged, and good frames follow: this is no crash's torn end, since a frame is
    /// only begun when the one before is durable.
    pub(crate) damaged: bool,
}

/// Finds the frames. A torn end is passed over in silence.
pub(crate) fn scan(file: &[u8], place: Place<'_>) -> Scan {
    let mut scan = Scan::default();
    let mut skipped = !file.starts_with(FILE_HEADER);
    let mut at = FILE_HEADER.len();
    while at < file.len() {
        match frame_at(&file[at..], place).filter(|(seq, _)| *seq > scan.last_seq) {
            Some((seq, body)) => {
                scan.damaged |= skipped;
                skipped = false;
                scan.last_seq = seq;
                scan.bodies.push(at + body.start..at + body.end);
                at = (at + body.end).next_multiple_of(ALIGN);
            }
            None => {
                skipped = true;
                at += ALIGN;
            }
        }
    }
    scan
}

fn frame_at(bytes: &[u8], place: Place<'_>) -> Option<(u64, Range<usize>)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    if &header[..4] != MAGIC {
        return None;
    }
    let len = u32::from_le_bytes(header[4..8].try_into().expect("four bytes"));
    let body = rest.get(..usize::try_from(len).ok()?)?;
    let crc = u32::from_le_bytes(header[16..20].try_into().expect("four bytes"));
    (place.checksum(&header[4..16], body) == crc)
        .then(|| (u64::from_le_bytes(header[8..16].try_into().expect("eight bytes")), HEADER..HEADER + body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile::new("p").unwrap()
    }

    fn log(bodies: &[&[u8]]) -> Vec<u8> {
        let mut file = FILE_HEADER.to_vec();
        for (seq, body) in (7..).zip(bodies) {
            put_frame(&mut file, Place { profile: &profile(), generation: 3 }, seq, body);
        }
        file
    }

    fn found(file: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let scan = scan(file, Place { profile: &profile(), generation: 3 });
        (scan.bodies.iter().map(|range| file[range.clone()].to_vec()).collect(), scan.damaged)
    }

    #[test]
    fn every_cut_gives_a_prefix() {
        let bodies: [&[u8]; 3] = [b"first", b"", b"third body"];
        let file = log(&bodies);
        for cut in 0..=file.len() {
            for tail in [&b""[..], &[0; 100], &[0xa5; 100]] {
                let (got, damaged) = found(&[&file[..cut], tail].concat());
                assert!(!damaged, "cut at {cut}");
                assert!(bodies.iter().zip(&got).all(|(a, b)| a == b), "cut at {cut}");
                // The last frame's alignment may be missing; one without a body needs only its header.
                assert!(got.len() == 3 || cut < file.len(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_damaged_middle_is_told_and_later_frames_still_count() {
        let mut file = log(&[b"first", b"second", b"third"]);
        file[8 + 24] ^= 1;
        assert_eq!(found(&file), (vec![b"second".to_vec(), b"third".to_vec()], true));
        let mut file = log(&[b"first"]);
        file[0] ^= 1;
        assert_eq!(found(&file), (vec![b"first".to_vec()], true));
    }

    #[test]
    fn frames_of_another_log_do_not_count() {
        let file = log(&[b"first"]);
        let other = Profile::new("q").unwrap();
        assert!(scan(&file, Place { profile: &other, generation: 3 }).bodies.is_empty());
        assert!(scan(&file, Place { profile: &profile(), generation: 4 }).bodies.is_empty());
    }

    #[test]
    fn changes_survive_the_round() {
        let key = |namespace, key: &str| RecordKey { namespace, key: key.into() };
        let batch = Batch {
            clear: true,
            ops: vec![
                (key(Namespace::Account, ""), Op::Put(Bytes::new())),
                (key(Namespace::Session, "é/"), Op::Put("v".into())),
                (key(Namespace::AppStateMac, "x"), Op::Delete),
            ],
        };
        let mut body = Vec::new();
        put_batch(&mut body, &batch).unwrap();
        let back = changes(&body).unwrap();
        assert!(back[0] == Change::Clear);
        let set = |change| match change {
            Change::Set(key, value) => Some((key, value.map_or(Op::Delete, Op::Put))),
            Change::Clear => None,
        };
        assert_eq!(back.into_iter().skip(1).map(set).collect::<Option<Vec<_>>>().unwrap(), batch.ops);
        body[8] = 200;
        assert!(!changes(&body).err().unwrap().retryable);
    }
}
