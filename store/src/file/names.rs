//! File names of records: safe for any key text, on file systems that ignore case too.
//!
//! Lower-case ASCII letters, digits and `@ . _ - = ,` stand for themselves; an upper-case letter is `+` and its
//! lower-case form; any other byte, and a leading dot, is `%` and two hex digits. The empty key is `%`. A name that
//! would be longer than [`MAX_NAME`] is `~` and the SHA-256 of the key in hex: the key is in the file.

use std::fmt::Write as _;

use amarula_core::crypto::hash::sha256;

/// Longest file name made, in bytes: what the narrowest file systems in use (eCryptfs) allow.
pub(crate) const MAX_NAME: usize = 140;

/// What a file name says about the key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is this one.
    Key(String),
    /// It is in the file.
    InFile,
    /// No record has such a name.
    Nothing,
}

pub(crate) fn encode(key: &str) -> String {
    if key.is_empty() {
        return "%".to_owned();
    }
    let mut name = String::with_capacity(key.len() + 8);
    for (i, byte) in key.bytes().enumerate() {
        match byte {
            b'.' if i == 0 => name.push_str("%2e"),
            b'a'..=b'z' | b'0'..=b'9' | b'@' | b'.' | b'_' | b'-' | b'=' | b',' => name.push(char::from(byte)),
            b'A'..=b'Z' => {
                name.push('+');
                name.push(char::from(byte.to_ascii_lowercase()));
            }
            _ => write!(name, "%{byte:02x}").expect("writing to a String"),
        }
    }
    if name.len() <= MAX_NAME {
        return name;
    }
    name.clear();
    name.push('~');
    for byte in sha256(&[key.as_bytes()]) {
        write!(name, "{byte:02x}").expect("writing to a String");
    }
    name
}

pub(crate) fn decode(name: &str) -> Named {
    if name.starts_with('~') {
        return Named::InFile;
    }
    // Whatever the decoding makes of it: a name is good only if its key has that name.
    match decode_bytes(name).and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(key) if encode(&key) == name => Named::Key(key),
        _ => Named::Nothing,
    }
}

fn decode_bytes(name: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(name.len());
    if name == "%" {
        return Some(key);
    }
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'+' => bytes.next()?.to_ascii_uppercase(),
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    Some(key)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (key, name) in [
            ("", "%"),
            ("15551234567@s.whatsapp.net", "15551234567@s.whatsapp.net"),
            ("1555:3@lid", "1555%3a3@lid"),
            ("3EB0Aa", "3+e+b0+aa"),
            ("..", "%2e."),
            ("a/b\\c", "a%2fb%5cc"),
            ("100%", "100%25"),
            ("~x", "%7ex"),
            ("é", "%c3%a9"),
        ] {
            assert_eq!(encode(key), name);
            assert_eq!(decode(name), Named::Key(key.to_owned()));
        }
        let long = encode(&"x".repeat(255));
        assert_eq!((long.len(), decode(&long)), (65, Named::InFile));
        for name in [".new-1", "%2", "%zz", "%61", "A", "+1", "%c3", "a b", "+"] {
            assert_eq!(decode(name), Named::Nothing, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_safe_name_of_its_own(key in "\\PC{0,90}|[a-zA-Z./%+~\\x00-\\x1f]{0,255}") {
            let name = encode(&key);
            prop_assert!(name.len() <= MAX_NAME && !name.is_empty() && !name.starts_with('.'));
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b'/'));
            if let Named::Key(back) = decode(&name) {
                prop_assert_eq!(back, key);
            } else {
                prop_assert!(name.starts_with('~'));
            }
        }
    }
}
