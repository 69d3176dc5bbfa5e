//! What is remembered of a device, and its two forms on disk.
//!
//! ```text
//! now      2 | postcard {signed generation or none, day}
//! before   postcard {generation, day}: two numbers and nothing more, which the form of now never is
//! ```

use sealdesk_protocol::generation::SignedGeneration;
use serde::{Deserialize, Serialize};

use super::StoreError;

const VERSION: u8 = 2;

/// What is remembered of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Highest vault generation that the device has signed for this relay (§9.2).
    pub vault: Option<SignedGeneration>,
    /// Day of the last connection, in days since the Unix epoch: no finer, on purpose.
    pub last_seen_day: u32,
}

impl DeviceRecord {
    /// The higher one of what is remembered and what the device signed now.
    pub fn newest(&self, now: SignedGeneration) -> SignedGeneration {
        self.vault.filter(|before| before.claimed() > now.claimed()).unwrap_or(now)
    }

    /// This record after an earlier one: a connection that was replaced may still tell a lower generation.
    pub(super) fn after(self, before: &Self) -> Self {
        let vault = self.vault.map(|now| before.newest(now)).or(before.vault);
        Self { vault, last_seen_day: self.last_seen_day.max(before.last_seen_day) }
    }

    pub(super) fn to_stored(self) -> Result<Vec<u8>, StoreError> {
        postcard::to_extend(&self, vec![VERSION]).map_err(|_| StoreError::Corrupt("device"))
    }

    pub(super) fn from_stored(bytes: &[u8]) -> Result<Self, StoreError> {
        // A generation that nobody signed proves nothing to the device: it is forgotten.
        if let Ok(((_, last_seen_day), [])) = postcard::take_from_bytes::<(u64, u32)>(bytes) {
            return Ok(Self { vault: None, last_seen_day });
        }
        match bytes.split_first().map(|(&version, rest)| (version, postcard::take_from_bytes(rest))) {
            Some((VERSION, Ok((record, [])))) => Ok(record),
            _ => Err(StoreError::Corrupt("device")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_protocol::crypto::identity::DeviceSecret;

    fn signed(number: u64) -> SignedGeneration {
        let device = DeviceSecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        SignedGeneration::sign("relay.test", &device, number)
    }

    #[test]
    fn records_come_back() {
        for vault in [None, Some(signed(0)), Some(signed(1)), Some(signed(u64::MAX))] {
            for last_seen_day in [0, 1, 20_000, u32::MAX] {
                let record = DeviceRecord { vault, last_seen_day };
                let stored = record.to_stored().unwrap();
                assert_eq!(DeviceRecord::from_stored(&stored), Ok(record));
                let longer = [stored.as_slice(), &[0]].concat();
                assert!(DeviceRecord::from_stored(&longer).is_err());
            }
        }
        for damaged in [&[][..], &[2], &[2, 9, 9], &[3, 0, 1]] {
            assert!(DeviceRecord::from_stored(damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn records_of_before_come_back_without_a_proof() {
        for generation in [0u64, 2, 7, 300, u64::MAX] {
            let old = postcard::to_allocvec(&(generation, 20_000u32)).unwrap();
            let expected = DeviceRecord { vault: None, last_seen_day: 20_000 };
            assert_eq!(DeviceRecord::from_stored(&old), Ok(expected), "{generation}");
        }
    }

    #[test]
    fn the_highest_generation_stays() {
        let record = DeviceRecord { vault: Some(signed(7)), last_seen_day: 1 };
        assert_eq!(record.newest(signed(3)).claimed(), 7);
        assert_eq!(record.newest(signed(9)).claimed(), 9);
        assert_eq!(DeviceRecord::default().newest(signed(3)).claimed(), 3);
    }
}
