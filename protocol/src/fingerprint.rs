//! The safety number: what customer and agent compare aloud to know that nobody sits between them (§13).
//!
//! ```text
//! half(d)  = h_5200, where h_0 = hash("fingerprint", version, root hash, conversation, d)
//!                          h_n = hash("fingerprint", h_(n-1), d)
//! digits   = for each 5 bytes of the first 30: big-endian number mod 100,000, five digits
//! number   = digits of the smaller half | digits of the larger half            60 digits
//! ```
//!
//! After Signal's numeric fingerprint: the iterations make each guess at a colliding device key 5,200 times dearer, and
//! sorting the halves makes both sides read the same number. Root and conversation enter, so that a number of one
//! conversation or organisation says nothing in another.

use core::fmt;

use crate::crypto::{kdf, labels};
use crate::ids::{ConversationId, DeviceKeyHash, RootHash};

/// Digits of a safety number.
pub const DIGITS: usize = 60;
const HALF: usize = DIGITS / 2;
const GROUP: usize = 5;
const ITERATIONS: u32 = 5_200;
const VERSION: u8 = 1;

/// 60 decimal digits; shown in twelve groups of five.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SafetyNumber([u8; DIGITS]);

impl SafetyNumber {
    /// The number of two devices in a conversation; the order of the devices does not matter.
    pub fn of(root: &RootHash, conversation: &ConversationId, a: &DeviceKeyHash, b: &DeviceKeyHash) -> Self {
        let (a, b) = (half(root, conversation, a), half(root, conversation, b));
        let mut digits = [0; DIGITS];
        digits[..HALF].copy_from_slice(&a.min(b));
        digits[HALF..].copy_from_slice(&a.max(b));
        Self(digits)
    }

    /// Whether `typed` is this number; spaces and line breaks do not matter.
    pub fn matches(&self, typed: &str) -> bool {
        typed.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(self.0)
    }
}

/// 30 ASCII digits of one device.
fn half(root: &RootHash, conversation: &ConversationId, device: &DeviceKeyHash) -> [u8; HALF] {
    let device = device.as_bytes();
    let mut hash =
        kdf::hash(labels::FINGERPRINT, &[&[VERSION], root.as_bytes(), conversation.as_bytes(), device]);
    for _ in 0..ITERATIONS {
        hash = kdf::hash(labels::FINGERPRINT, &[&hash, device]);
    }
    let mut digits = [0; HALF];
    for (group, bytes) in digits.chunks_exact_mut(GROUP).zip(hash.chunks_exact(5)) {
        let mut number = bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte)) % 100_000;
        for digit in group.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    digits
}

/// Twelve groups of five digits, separated by spaces.
impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, digit) in self.0.iter().enumerate() {
            if i > 0 && i % GROUP == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{}", char::from(*digit))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyNumber({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const ROOT: RootHash = RootHash([1; 32]);
    const CONVERSATION: ConversationId = ConversationId([2; 32]);
    const A: DeviceKeyHash = DeviceKeyHash([3; 32]);
    const B: DeviceKeyHash = DeviceKeyHash([4; 32]);

    #[test]
    fn same_for_both_sides_and_pinned() {
        let number = SafetyNumber::of(&ROOT, &CONVERSATION, &A, &B);
        assert_eq!(number, SafetyNumber::of(&ROOT, &CONVERSATION, &B, &A));
        // Computed by an independent program.
        assert_eq!(
            number.to_string(),
            "61727 39347 25897 24758 98437 24774 92356 59523 51771 03307 88588 45260"
        );
        assert!(number.matches(&number.to_string()));
        assert!(number.matches(&number.to_string().replace(' ', "\n")));
        assert!(!number.matches(""));
        assert!(!number.matches(&number.to_string()[1..]));
    }

    #[test]
    fn every_input_changes_it() {
        let number = SafetyNumber::of(&ROOT, &CONVERSATION, &A, &B);
        for other in [
            SafetyNumber::of(&RootHash([9; 32]), &CONVERSATION, &A, &B),
            SafetyNumber::of(&ROOT, &ConversationId([9; 32]), &A, &B),
            SafetyNumber::of(&ROOT, &CONVERSATION, &DeviceKeyHash([9; 32]), &B),
            SafetyNumber::of(&ROOT, &CONVERSATION, &A, &DeviceKeyHash([9; 32])),
        ] {
            assert_ne!(number, other);
        }
    }
}
