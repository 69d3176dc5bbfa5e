//! Signing keys (Ed25519, RFC 8032, `verify_strict`), device keys, and bytes with a signature over them.
//!
//! ```text
//! signature  = Ed25519(key, lp(label) | body)          lp: 4-byte big-endian length prefix; over the exact bytes sent
//! device key hash = hash("device", Ed25519 | X25519)   §4: a renewed certificate does not change it
//! ```

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::codec;
use super::dh::DhSecret;
use super::kdf;
use super::labels::{self, Label};
use crate::ids::{DeviceKeyHash, MailboxId};
use crate::secret::Secret;

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// The signature does not verify under the expected key and label, or the signed bytes do not decode. At fault: the
/// signer, or whoever altered the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature does not verify, or the signed bytes are malformed")]
pub struct BadSignature;

/// `lp(label) | body`: what is signed.
fn signed_message(label: Label, body: &[u8]) -> Vec<u8> {
    let label = label.as_bytes();
    let mut message = Vec::with_capacity(4 + label.len() + body.len());
    message.extend_from_slice(&(label.len() as u32).to_be_bytes());
    message.extend_from_slice(label);
    message.extend_from_slice(body);
    message
}

/// An Ed25519 public key, not yet known to be a point; a bad one fails each verification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VerifyKey(pub [u8; 32]);

impl VerifyKey {
    /// Verifies a signature over `lp(label) | body` (`verify_strict`: no malleable or small-order forms).
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        label: Label,
        body: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Result<(), BadSignature> {
        self.verify_raw(&signed_message(label, body), signature)
    }

    pub(crate) fn verify_raw(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyKey({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// An Ed25519 signing key: root, issuer, profile, or the signing half of a device. Wiped on drop.
pub struct SigningSecret(SigningKey);

impl SigningSecret {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_seed(&Secret::random(rng))
    }

    /// The key of a stored 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// The seed, for sealed storage.
    pub fn to_seed(&self) -> Secret<32> {
        Secret::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `lp(label) | body`.
    pub fn sign(&self, label: Label, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(&signed_message(label, body)).to_bytes()
    }
}

impl AsRef<SigningSecret> for SigningSecret {
    fn as_ref(&self) -> &SigningSecret {
        self
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

impl Serialize for SigningSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_seed().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer).map(|seed| Self::from_seed(&seed))
    }
}

/// A device's public keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DevicePublic {
    /// Ed25519.
    pub ed: [u8; 32],
    /// X25519.
    pub x: [u8; 32],
}

impl DevicePublic {
    /// `hash("device", Ed25519 | X25519)`: the device's name in rosters and handshakes.
    pub fn hash(&self) -> DeviceKeyHash {
        DeviceKeyHash(kdf::hash(labels::DEVICE, &[&self.ed, &self.x]))
    }

    /// The one mailbox of this device: `hash("mailbox", device key hash)[..16]`.
    pub fn mailbox(&self) -> MailboxId {
        mailbox_of(&self.hash())
    }

    /// The signing half.
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.ed)
    }
}

/// The mailbox of the device with this hash.
pub fn mailbox_of(device: &DeviceKeyHash) -> MailboxId {
    let hash = kdf::hash(labels::MAILBOX, &[device.as_bytes()]);
    let mut id = [0; MailboxId::LEN];
    id.copy_from_slice(&hash[..MailboxId::LEN]);
    MailboxId(id)
}

impl fmt::Debug for DevicePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DevicePublic({:?})", self.hash())
    }
}

/// A device's secret keys. Wiped on drop.
pub struct DeviceSecret {
    signing: SigningSecret,
    agreement: DhSecret,
    public: DevicePublic,
}

impl DeviceSecret {
    /// Fresh keys.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_parts(SigningSecret::generate(rng), DhSecret::generate(rng))
    }

    fn from_parts(signing: SigningSecret, agreement: DhSecret) -> Self {
        let public = DevicePublic { ed: signing.verify_key().0, x: *agreement.public() };
        Self { signing, agreement, public }
    }

    /// The public keys.
    pub fn public(&self) -> DevicePublic {
        self.public
    }

    /// Hash of the public keys.
    pub fn hash(&self) -> DeviceKeyHash {
        self.public.hash()
    }

    /// Signs `lp(label) | body`.
    pub fn sign(&self, label: Label, body: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.signing.sign(label, body)
    }

    pub(crate) fn agreement(&self) -> &DhSecret {
        &self.agreement
    }
}

impl AsRef<SigningSecret> for DeviceSecret {
    fn as_ref(&self) -> &SigningSecret {
        &self.signing
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecret({:?}, ..)", self.public.hash())
    }
}

impl Serialize for DeviceSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.signing, &self.agreement).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeviceSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer)
            .map(|(signing, agreement)| Self::from_parts(signing, agreement))
    }
}

/// A postcard value as its exact bytes, and a signature over them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBytes {
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: [u8; SIGNATURE_LEN],
}

impl SignedBytes {
    /// Encodes `value` and signs it.
    pub fn sign<T: Serialize>(label: Label, value: &T, key: &impl AsRef<SigningSecret>) -> Self {
        let body = codec::encode(value);
        let signature = key.as_ref().sign(label, &body);
        Self { body, signature }
    }

    /// Verifies, then decodes a body of at most `max` bytes.
    ///
    /// # Errors
    /// [`BadSignature`]: signature, size or encoding.
    pub fn verify<T: DeserializeOwned>(
        &self,
        label: Label,
        key: &VerifyKey,
        max: usize,
    ) -> Result<T, BadSignature> {
        if self.body.len() > max {
            return Err(BadSignature);
        }
        key.verify(label, &self.body, &self.signature)?;
        self.peek(max)
    }

    /// Decodes without verifying, to learn whose key is needed. Trust nothing of it.
    ///
    /// # Errors
    /// [`BadSignature`]: size or encoding.
    pub fn peek<T: DeserializeOwned>(&self, max: usize) -> Result<T, BadSignature> {
        codec::decode(&self.body, max).map_err(|_| BadSignature)
    }

    /// The exact bytes that were signed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// SHA-256 of the exact bytes that were signed: how a statement refers to them.
    pub fn digest(&self) -> [u8; 32] {
        kdf::sha256(&self.body)
    }

    /// The signature.
    pub fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }
}

impl fmt::Debug for SignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedBytes({} bytes)", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

    fn device(seed: u8) -> DeviceSecret {
        DeviceSecret::generate(&mut ChaCha20Rng::from_seed([seed; 32]))
    }

    #[test]
    fn signatures_bind_label_body_and_key() {
        let (a, b) = (device(1), device(2));
        let signature = a.sign(labels::STATEMENT, b"body");
        let key = a.public().verify_key();
        assert_eq!(key.verify(labels::STATEMENT, b"body", &signature), Ok(()));
        assert!(key.verify(labels::CONSENT, b"body", &signature).is_err());
        assert!(key.verify(labels::STATEMENT, b"bodY", &signature).is_err());
        assert!(b.public().verify_key().verify(labels::STATEMENT, b"body", &signature).is_err());
    }

    #[test]
    fn every_flipped_bit_of_signed_bytes_is_refused() {
        let a = device(1);
        let signed = SignedBytes::sign(labels::AUTH, &(7u32, [1u8; 8]), &a);
        let key = a.public().verify_key();
        assert_eq!(signed.verify::<(u32, [u8; 8])>(labels::AUTH, &key, 64), Ok((7, [1; 8])));
        let bytes = postcard::to_allocvec(&signed).unwrap();
        for i in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[i / 8] ^= 1 << (i % 8);
            let verdict = postcard::from_bytes::<SignedBytes>(&bent)
                .map(|s| s.verify::<(u32, [u8; 8])>(labels::AUTH, &key, 64));
            assert!(!matches!(verdict, Ok(Ok(_))), "bit {i}");
        }
    }

    #[test]
    fn caps_and_trailing_bytes() {
        let a = device(1);
        let key = a.public().verify_key();
        let signed = SignedBytes::sign(labels::AUTH, &(7u8, 8u8), &a);
        assert_eq!(signed.verify::<(u8, u8)>(labels::AUTH, &key, 1), Err(BadSignature));
        assert_eq!(signed.verify::<u8>(labels::AUTH, &key, 64), Err(BadSignature), "a byte is left over");
    }

    #[test]
    fn stored_keys_come_back_and_debug_hides_them() {
        let a = device(3);
        let stored = postcard::to_allocvec(&a).unwrap();
        let again: DeviceSecret = postcard::from_bytes(&stored).unwrap();
        assert_eq!(again.public(), a.public());
        assert_eq!(alloc::format!("{:?}", a), alloc::format!("DeviceSecret({:?}, ..)", a.hash()));
        assert_eq!(alloc::format!("{:?}", a.agreement()), "DhSecret(..)");
        let root = SigningSecret::generate(&mut ChaCha20Rng::from_seed([4; 32]));
        assert_eq!(alloc::format!("{root:?}"), "SigningSecret(..)");
        fn on_drop<T: zeroize::ZeroizeOnDrop>() {}
        on_drop::<SigningKey>();
        on_drop::<x25519_dalek::StaticSecret>();
    }
}
