//! Waits that grow: 1, 2, 3, 5, 8, … seconds.

use core::time::Duration;

/// The wait before try `step` (from 0), at most `cap`.
pub(crate) fn fibonacci(step: u32, cap: Duration) -> Duration {
    let (mut a, mut b) = (1u64, 2u64);
    for _ in 0..step.min(64) {
        (a, b) = (b, a + b);
    }
    Duration::from_secs(a).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap() {
        let cap = Duration::from_secs(610);
        let waits: std::vec::Vec<_> = (0..16).map(|step| fibonacci(step, cap).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 610, 610]);
        assert_eq!(fibonacci(u32::MAX, cap), cap);
    }
}
