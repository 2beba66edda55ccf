//! The file of one record.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `AMRC` |
//! | 1 | version of this layout: 1 |
//! | 1 | number of the namespace |
//! | 2 | length of the key |
//! | 4 | length of the value |
//! | 4 | CRC-32 of the eight bytes before, the key and the value |
//! | … | the key, UTF-8 |
//! | … | the value |
//!
//! Numbers are little-endian. The file ends with the value.

use amarula_core::engine::StorageError;
use amarula_core::store::{Namespace, RecordKey};
use bytes::Bytes;

use super::errors::refused;

const MAGIC: &[u8; 4] = b"AMRC";
const VERSION: u8 = 1;
const HEADER: usize = 16;

pub(crate) fn encode(key: &RecordKey, value: &[u8]) -> Result<Vec<u8>, StorageError> {
    let (Ok(key_len), Ok(value_len)) = (u16::try_from(key.key.len()), u32::try_from(value.len())) else {
        return Err(refused(format!("a record of {} bytes is too large", value.len())));
    };
    let mut file = Vec::with_capacity(HEADER + key.key.len() + value.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[VERSION, key.namespace.number()]);
    file.extend_from_slice(&key_len.to_le_bytes());
    file.extend_from_slice(&value_len.to_le_bytes());
    let crc = checksum(&file[4..], &[key.key.as_bytes(), value]);
    file.extend_from_slice(&crc.to_le_bytes());
    file.extend_from_slice(key.key.as_bytes());
    file.extend_from_slice(value);
    Ok(file)
}

fn checksum(header: &[u8], rest: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    rest.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The key's text and the value; or how it is damaged.
pub(crate) fn decode(namespace: Namespace, file: Vec<u8>) -> Result<(String, Bytes), String> {
    let Some((header, body)) = file.split_at_checked(HEADER) else {
        return Err(format!("{} bytes are no record", file.len()));
    };
    if &header[..4] != MAGIC {
        return Err("not a record".to_owned());
    }
    if header[4] != VERSION {
        return Err(format!("version {} of the record layout is unknown", header[4]));
    }
    let key_len = usize::from(u16::from_le_bytes([header[6], header[7]]));
    let value_len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    let crc = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if body.len() as u64 != key_len as u64 + u64::from(value_len) {
        return Err(format!("{} bytes where {} should be", body.len(), key_len as u64 + u64::from(value_len)));
    }
    if checksum(&header[4..12], &[body]) != crc {
        return Err("the checksum is wrong".to_owned());
    }
    if header[5] != namespace.number() {
        return Err("it belongs to another namespace".to_owned());
    }
    let key = String::from_utf8(body[..key_len].to_vec()).map_err(|_| "the key is not text".to_owned())?;
    Ok((key, Bytes::from(file).slice(HEADER + key_len..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_and_any_other_length_is_noticed() {
        let key = RecordKey { namespace: Namespace::Session, key: "k/é".into() };
        let file = encode(&key, b"value").unwrap();
        assert_eq!(decode(Namespace::Session, file.clone()).unwrap(), ("k/é".to_owned(), Bytes::from("value")));
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            decode(Namespace::Session, bad).unwrap_err();
        }
        for len in 0..file.len() {
            decode(Namespace::Session, file[..len].to_vec()).unwrap_err();
        }
        decode(Namespace::Session, [&file[..], b"x"].concat()).unwrap_err();
        decode(Namespace::Identity, file).unwrap_err();
    }
}
