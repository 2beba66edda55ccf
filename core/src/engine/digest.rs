//! A deterministic fingerprint of anything that is `Hash`: FNV-1a, 128 bits. For exploration and replay, not for security.

use core::hash::{Hash, Hasher};

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

struct Fnv128(u128);

impl Hasher for Fnv128 {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    // The default methods feed integers in native byte order; digests must be equal on every machine.
    fn write_u16(&mut self, i: u16) {
        self.write(&i.to_le_bytes());
    }

    fn write_u32(&mut self, i: u32) {
        self.write(&i.to_le_bytes());
    }

    fn write_u64(&mut self, i: u64) {
        self.write(&i.to_le_bytes());
    }

    fn write_u128(&mut self, i: u128) {
        self.write(&i.to_le_bytes());
    }

    fn write_usize(&mut self, i: usize) {
        self.write(&(i as u64).to_le_bytes());
    }

    fn finish(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, reason = "only the 128-bit result is used")]
        {
            self.0 as u64
        }
    }
}

/// The fingerprint of `value`.
pub(crate) fn of(value: &impl Hash) -> u128 {
    let mut hasher = Fnv128(OFFSET);
    value.hash(&mut hasher);
    hasher.0
}
