//! A device's own word for how far its vault has come (§9.2).
//!
//! A vault counts its batches. The device signs that number for the relay, the relay keeps the highest with its signature,
//! and shows it when the device connects: a vault that is behind what its own key once signed is an old copy. So a relay
//! can hide that a newer copy exists, and cannot invent one.
//!
//! ```text
//! signature = Ed25519(device, lp("vault-generation") | {relay's name, device key hash, generation})
//! ```

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::codec;
use crate::crypto::identity::{BadSignature, DevicePublic, DeviceSecret, SIGNATURE_LEN};
use crate::crypto::labels;
use crate::ids::DeviceKeyHash;

#[derive(Serialize)]
struct Body<'a> {
    relay: &'a str,
    device: DeviceKeyHash,
    generation: u64,
}

fn body(relay: &str, device: DeviceKeyHash, generation: u64) -> Vec<u8> {
    codec::encode(&Body { relay, device, generation })
}

/// A vault's generation with the signature of the device that lives in it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGeneration {
    number: u64,
    #[serde(with = "serde_bytes")]
    signature: [u8; SIGNATURE_LEN],
}

impl SignedGeneration {
    /// Signs for one relay, by its name in org.json.
    pub fn sign(relay: &str, device: &DeviceSecret, number: u64) -> Self {
        let body = body(relay, device.hash(), number);
        Self { number, signature: device.sign(labels::VAULT_GENERATION, &body) }
    }

    /// The number, proven by nobody yet.
    pub fn claimed(&self) -> u64 {
        self.number
    }

    /// The number, if this device signed it for this relay.
    ///
    /// # Errors
    /// [`BadSignature`]; at fault: whoever showed it.
    pub fn verify(&self, relay: &str, device: &DevicePublic) -> Result<u64, BadSignature> {
        let body = body(relay, device.hash(), self.number);
        device.verify_key().verify(labels::VAULT_GENERATION, &body, &self.signature)?;
        Ok(self.number)
    }
}

impl fmt::Debug for SignedGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedGeneration({})", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn a_generation_is_bound_to_number_relay_and_device() {
        let (device, other) = (DeviceSecret::generate(&mut rng(1)), DeviceSecret::generate(&mut rng(2)));
        let signed = SignedGeneration::sign("relay.test", &device, 7);
        assert_eq!(signed.verify("relay.test", &device.public()), Ok(7));
        assert!(SignedGeneration { number: 8, ..signed }.verify("relay.test", &device.public()).is_err());
        assert!(signed.verify("other.test", &device.public()).is_err());
        assert!(signed.verify("relay.test", &other.public()).is_err());
        // The agreement key is covered by the hash.
        let half = DevicePublic { x: other.public().x, ..device.public() };
        assert!(signed.verify("relay.test", &half).is_err());
        // No signature under another label passes.
        let body = body("relay.test", device.hash(), 7);
        let stray = SignedGeneration { number: 7, signature: device.sign(labels::AUTH, &body) };
        assert!(stray.verify("relay.test", &device.public()).is_err());
    }
}
