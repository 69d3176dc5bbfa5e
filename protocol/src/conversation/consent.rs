//! Consent: the customer device signs which privacy notice its person agreed to (§7).
//!
//! The relay opens no conversation without a receipt for a current notice; the agent's client shows it.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::crypto::identity::{BadSignature, DevicePublic, DeviceSecret, SignedBytes};
use crate::crypto::labels;
use crate::ids::{ConversationId, NoticeHash, RootHash};

/// Largest encoded receipt, bytes.
pub const MAX_RECEIPT: usize = 512;

/// The signed body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentReceipt {
    /// The organisation.
    pub root: RootHash,
    /// The conversation that it is given for.
    pub conversation: ConversationId,
    /// The customer device that signs.
    pub device: DevicePublic,
    /// Hash of the notice's exact text.
    pub notice: NoticeHash,
    /// BCP 47 tag of the notice that was shown.
    pub language: String,
    /// When the person agreed, ms.
    pub given: u64,
}

impl ConsentReceipt {
    /// Signs with the customer device's key.
    pub fn sign(&self, device: &DeviceSecret) -> SignedBytes {
        SignedBytes::sign(labels::CONSENT, self, device)
    }

    /// Decodes and verifies a receipt against the device that it names.
    ///
    /// The caller compares root, conversation, device and notice with what it expects.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not decode or the signature is wrong; at fault: the customer's client.
    pub fn verify(signed: &SignedBytes) -> Result<Self, BadSignature> {
        let receipt: Self = signed.peek(MAX_RECEIPT)?;
        signed.verify::<Self>(labels::CONSENT, &receipt.device.verify_key(), MAX_RECEIPT)
    }
}
