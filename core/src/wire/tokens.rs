//! Tokens: frequent strings, for which a node on the wire has one or two bytes. The dictionaries are generated data
//! (`token_table.rs`).

use super::token_hash::{bucket, hash, slot};
use super::token_table::{DISPLACEMENTS, DOUBLE_BYTE, LONGEST, SINGLE_BYTE, TOKEN_IN_SLOT};

/// A place in the dictionaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A token of one byte; never 0.
    Single(u8),
    /// Dictionary 0 to 3, and the place in it.
    Double(u8, u8),
}

/// The text of a one-byte token. None for 0, which stands for the empty list, and for bytes that have another meaning.
pub(crate) fn single(i: u8) -> Option<&'static str> {
    if i == 0 { None } else { SINGLE_BYTE.get(usize::from(i)).copied() }
}

/// The text of a two-byte token.
pub(crate) fn double(dict: u8, i: u8) -> Option<&'static str> {
    DOUBLE_BYTE.get(usize::from(dict)).map(|dictionary| dictionary[usize::from(i)])
}

/// The token for a text, if there is one.
pub(crate) fn find(text: &str) -> Option<Token> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let hash = hash(text.as_bytes());
    let number = TOKEN_IN_SLOT[slot(hash, DISPLACEMENTS[bucket(hash)])];
    // An empty slot leads to single-byte token 0, whose text is empty and so is not the one sought.
    let (token, found) = match number.checked_sub(SINGLE_BYTE.len() as u16) {
        None => (Token::Single(number as u8), SINGLE_BYTE[usize::from(number)]),
        Some(place) => {
            let [dict, i] = place.to_be_bytes();
            (Token::Double(dict, i), DOUBLE_BYTE[usize::from(dict)][usize::from(i)])
        }
    };
    (found == text).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::super::token_table::DICTIONARY_VERSION;
    use super::*;
    use alloc::format;

    #[test]
    fn every_token_is_found_and_read_back() {
        let mut seen = 0;
        for i in 0..=u8::MAX {
            let Some(text) = single(i) else {
                assert!(i == 0 || i >= 236, "{i}");
                continue;
            };
            assert_eq!(find(text), Some(Token::Single(i)), "{text}");
            seen += 1;
        }
        for dict in 0..=u8::MAX {
            for i in 0..=u8::MAX {
                let Some(text) = double(dict, i) else {
                    assert!(dict >= 4);
                    continue;
                };
                assert_eq!(find(text), Some(Token::Double(dict, i)), "{text}");
                seen += 1;
            }
        }
        assert_eq!(seen, 235 + 4 * 256);
    }

    #[test]
    fn other_texts_are_not_found() {
        assert_eq!(find(""), None);
        for i in 1..236 {
            let token = single(i).unwrap();
            assert_eq!(find(&format!("{token}~")), None);
            assert_eq!(find(&format!("~{token}")), None);
            let shorter = &token[1..];
            if let Some(Token::Single(i)) = find(shorter) {
                assert_eq!(single(i), Some(shorter));
            }
        }
        assert_eq!(find("3EB0A9253FA64269E11C9D"), None);
        assert_eq!(find(&"a".repeat(1000)), None);
        assert_eq!(find("Grüße"), None);
    }

    #[test]
    fn known_places() {
        assert_eq!(DICTIONARY_VERSION, 3);
        assert_eq!(find("s.whatsapp.net"), Some(Token::Single(3)));
        assert_eq!(find("read-self"), Some(Token::Double(0, 0)));
        assert_eq!(find("reject"), Some(Token::Double(1, 0)));
    }
}
