//! The padding of every encrypted message (`protocol/messages.md` §5): n bytes of value n, n in 1..=16.

use alloc::vec::Vec;

use crate::crypto::Rng;

/// Appends 1 to 16 bytes.
pub(crate) fn pad(message: &mut Vec<u8>, rng: &mut Rng) {
    let n = rng.below(16) + 1;
    let byte = u8::try_from(n).unwrap_or(16);
    message.resize(message.len() + usize::from(byte), byte);
}

/// The message without its padding, or nothing if the padding is wrong.
pub(crate) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let n = *padded.last()?;
    let (message, padding) = padded.split_at_checked(padded.len().checked_sub(n.into())?)?;
    (n != 0 && padding.iter().all(|byte| *byte == n)).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::{pad, unpad};
    use crate::crypto::Rng;

    #[test]
    fn padding_is_verified() {
        let mut rng = Rng::from_seed([3; 32]);
        let mut lengths = [false; 17];
        for _ in 0..400 {
            let mut message = std::vec![9, 8, 7];
            pad(&mut message, &mut rng);
            lengths[message.len() - 3] = true;
            assert_eq!(unpad(&message), Some(&[9, 8, 7][..]));
        }
        assert!(!lengths[0] && lengths[1..].iter().all(|seen| *seen), "{lengths:?}");
        assert_eq!(unpad(&[]), None);
        assert_eq!(unpad(&[0]), None);
        assert_eq!(unpad(&[1]), Some(&[][..]));
        assert_eq!(unpad(&[5, 3, 3]), None);
        assert_eq!(unpad(&[1, 4, 3, 3]), None);
    }
}
