//! The hash behind the search for a token. The generator of `token_table.rs` includes this file, too: after a change
//! here the table must be generated anew.

/// First level: the hash chooses a bucket, the bucket knows a displacement.
pub(crate) const BUCKETS: usize = 512;
/// Second level: hash and displacement choose a slot, which holds at most one token.
pub(crate) const SLOTS: usize = 2048;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Reads a text eight bytes at a time; the last step overlaps the one before, so that none is shorter.
pub(crate) fn hash(text: &[u8]) -> u64 {
    let mut hash = (text.len() as u64).wrapping_mul(MULTIPLIER);
    let mut rest = text;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>().filter(|(_, tail)| !tail.is_empty()) {
        hash = mix(hash, u64::from_le_bytes(*chunk));
        rest = tail;
    }
    let last = if let Some(chunk) = text.last_chunk::<8>() {
        u64::from_le_bytes(*chunk)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else if let (Some(first), Some(last)) = (text.first(), text.last()) {
        u64::from(*first) | u64::from(text[text.len() / 2]) << 8 | u64::from(*last) << 16
    } else {
        0
    };
    mix(hash, last)
}

fn mix(hash: u64, input: u64) -> u64 {
    let product = (hash ^ input).wrapping_mul(MULTIPLIER);
    product ^ (product >> 29)
}

/// The bucket of a hash.
pub(crate) fn bucket(hash: u64) -> usize {
    (hash >> 32) as usize % BUCKETS
}

/// The slot of a hash, when its bucket has this displacement.
pub(crate) fn slot(hash: u64, displacement: u8) -> usize {
    let step = (hash >> 11) as u32 | 1;
    (hash as u32).wrapping_add(step.wrapping_mul(u32::from(displacement))) as usize % SLOTS
}
