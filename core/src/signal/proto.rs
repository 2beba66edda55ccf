//! Just enough protobuf to read records and messages without copying, and to write them without leaving secrets in
//! temporary buffers (which generated structs would do).

use alloc::vec::Vec;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field};

/// The input is not protobuf, or a field has another type than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadProto;

/// One field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A type none of our messages has: an unknown field.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], BadProto> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(BadProto) }
    }

    /// As protobuf does for uint32 and int32: the low 32 bits.
    #[allow(clippy::cast_possible_truncation, reason = "what protobuf prescribes")]
    pub(super) fn u32(self) -> Result<u32, BadProto> {
        self.u64().map(|value| value as u32)
    }

    pub(super) fn u64(self) -> Result<u64, BadProto> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(BadProto) }
    }

    pub(super) fn fixed64(self) -> Result<u64, BadProto> {
        if let Self::Fixed64(value) = self { Ok(value) } else { Err(BadProto) }
    }

    /// Bytes of exactly this length.
    pub(super) fn array<const N: usize>(self) -> Result<[u8; N], BadProto> {
        self.bytes()?.try_into().map_err(|_| BadProto)
    }
}

/// The fields of a message, in the order they are in. Ends after the first error.
pub(super) struct Fields<'a>(&'a [u8]);

pub(super) const fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), BadProto> {
        let (tag, wire) = decode_key(&mut self.0).map_err(|_| BadProto)?;
        let value = match wire {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0).map_err(|_| BadProto)?),
            WireType::SixtyFourBit => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(BadProto)?;
                self.0 = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let len = decode_varint(&mut self.0).map_err(|_| BadProto)?;
                let len = usize::try_from(len).map_err(|_| BadProto)?;
                let (bytes, rest) = self.0.split_at_checked(len).ok_or(BadProto)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            WireType::StartGroup | WireType::EndGroup | WireType::ThirtyTwoBit => {
                skip_field(wire, tag, &mut self.0, DecodeContext::default()).map_err(|_| BadProto)?;
                Value::Other
            }
        };
        Ok((tag, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), BadProto>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn put_tag(out: &mut Vec<u8>, tag: u32, wire: WireType) {
    encode_varint(u64::from(tag << 3 | wire as u32), out);
}

/// Writes a varint field, zero too.
pub(super) fn put_varint(out: &mut Vec<u8>, tag: u32, value: u64) {
    put_tag(out, tag, WireType::Varint);
    encode_varint(value, out);
}

/// Writes a uint32 field, zero too.
pub(super) fn put_u32(out: &mut Vec<u8>, tag: u32, value: u32) {
    put_varint(out, tag, u64::from(value));
}

/// Writes a uint32 field unless it is zero, as proto3 does for fields without presence.
pub(super) fn put_u32_nonzero(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        put_u32(out, tag, value);
    }
}

/// Writes a fixed64 field.
pub(super) fn put_fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    put_tag(out, tag, WireType::SixtyFourBit);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a bytes field, empty too.
pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    put_tag(out, tag, WireType::LengthDelimited);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Writes a nested message. Callers reserve `out` beforehand, so that growing it does not leave copies behind.
pub(super) fn put_message(out: &mut Vec<u8>, tag: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, tag, WireType::LengthDelimited);
    let start = out.len();
    body(out);
    // The length goes before the body: write it behind, then rotate. It is 1 to 4 bytes.
    let end = out.len();
    encode_varint((end - start) as u64, out);
    let width = out.len() - end;
    out[start..].rotate_right(width);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lengths_of_every_width() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384, 70_000] {
            let mut out = std::vec![9, 9];
            put_message(&mut out, 7, |out| out.extend(core::iter::repeat_n(0xab, len)));
            let (tag, value) = fields(&out[2..]).next().unwrap().unwrap();
            assert_eq!((tag, value.bytes().unwrap().len()), (7, len));
            assert!(value.bytes().unwrap().iter().all(|byte| *byte == 0xab));
        }
    }

    #[test]
    fn unknown_fields_of_every_type_are_skipped() {
        // varint 1, fixed32 2, group 3 with a field inside, fixed64 4, bytes 5
        let input = hex::decode("080115010203041b08051c2101000000000000002a0161").unwrap();
        let tags: std::vec::Vec<u32> = fields(&input).map(|field| field.unwrap().0).collect();
        assert_eq!(tags, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn stops_at_the_first_error() {
        let mut it = fields(&[0x08, 0x01, 0x2a, 0x05, 0x00]);
        assert!(it.next().unwrap().is_ok());
        assert!(it.next().unwrap().is_err());
        assert!(it.next().is_none());
    }
}
