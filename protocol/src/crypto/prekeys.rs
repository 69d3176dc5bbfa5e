//! Prekey pairs: X25519 and ML-KEM-768 under ONE signature, so that neither half can be exchanged (§3).
//!
//! ```text
//! id        = hash("prekey-id", X25519 | ML-KEM)
//! signature = device key over {device key hash, kind, id, created, expires, X25519, ML-KEM}
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::codec::{self, StoredError};
use super::dh::DhSecret;
use super::identity::{BadSignature, DevicePublic, DeviceSecret, SignedBytes};
use super::kdf;
use super::kem::{KEY_LEN, KemPublic, KemSecret};
use super::labels;
use crate::ids::{DeviceKeyHash, PrekeyId};

/// Largest encoded prekey body, bytes.
const MAX_BODY: usize = 1400;
/// Version of the stored form of a [`PrekeySecret`].
const STORED_VERSION: u8 = 1;

/// How often a pair may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PrekeyKind {
    /// Any number of times until it rotates; weaker forward secrecy of the first flight.
    LastResort,
    /// By one handshake; deleted with it.
    OneTime,
}

/// What is signed.
#[derive(Serialize, Deserialize)]
struct Body {
    device: DeviceKeyHash,
    kind: PrekeyKind,
    id: PrekeyId,
    created: u64,
    expires: u64,
    x: [u8; 32],
    #[serde(with = "serde_bytes")]
    kem: Box<[u8]>,
}

fn id_of(x: &[u8; 32], kem: &[u8]) -> PrekeyId {
    PrekeyId(kdf::hash(labels::PREKEY_ID, &[x, kem]))
}

/// Why a prekey pair is not used. At fault: the device that it names, or whoever altered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrekeyError {
    /// Wrong signature, or malformed.
    #[error("a prekey's signature does not verify")]
    Signature,
    /// Signed by the expected key, but names another device.
    #[error("a prekey names another device")]
    Device,
    /// Not the kind that its place demands.
    #[error("a prekey is of the wrong kind")]
    Kind,
    /// The id is not the hash of the keys.
    #[error("a prekey's id is not the hash of its keys")]
    Id,
    /// Past its end.
    #[error("a prekey has expired")]
    Expired,
    /// The ML-KEM half is invalid.
    #[error("a prekey's ML-KEM-768 key is invalid")]
    Kem,
}

impl From<BadSignature> for PrekeyError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

/// A published prekey pair: public and signed, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedPrekey(SignedBytes);

impl SignedPrekey {
    /// Checks signature, device, id, expiry at `now` (ms) and the ML-KEM key.
    ///
    /// # Errors
    /// [`PrekeyError`].
    pub fn verify(&self, device: &DevicePublic, now: u64) -> Result<VerifiedPrekey, PrekeyError> {
        let body: Body = self.0.verify(labels::PREKEY, &device.verify_key(), MAX_BODY)?;
        if body.device != device.hash() {
            return Err(PrekeyError::Device);
        }
        let kem = KemPublic::validate(&body.kem).map_err(|_| PrekeyError::Kem)?;
        if body.id != id_of(&body.x, &body.kem) {
            return Err(PrekeyError::Id);
        }
        if now >= body.expires {
            return Err(PrekeyError::Expired);
        }
        Ok(VerifiedPrekey {
            kind: body.kind,
            id: body.id,
            created: body.created,
            expires: body.expires,
            x: body.x,
            kem,
        })
    }
}

/// A prekey pair whose signature, id, expiry and keys were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPrekey {
    kind: PrekeyKind,
    id: PrekeyId,
    created: u64,
    expires: u64,
    pub(crate) x: [u8; 32],
    pub(crate) kem: KemPublic,
}

impl VerifiedPrekey {
    /// One-time or last-resort.
    pub fn kind(&self) -> PrekeyKind {
        self.kind
    }

    /// Hash of both keys.
    pub fn id(&self) -> PrekeyId {
        self.id
    }

    /// When it was made, ms.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// When it ends, ms.
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

/// What the relay hands out for one handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrekeyBundle {
    /// Always there.
    pub last_resort: SignedPrekey,
    /// Issued once; none when the device has none left.
    pub one_time: Option<SignedPrekey>,
}

impl PrekeyBundle {
    /// Verifies both pairs under the key of the device that the handshake is meant for.
    ///
    /// # Errors
    /// [`PrekeyError`]: nothing of the bundle is used then.
    pub fn verify(&self, device: &DevicePublic, now: u64) -> Result<VerifiedBundle, PrekeyError> {
        let of_kind = |prekey: &SignedPrekey, kind| {
            let verified = prekey.verify(device, now)?;
            if verified.kind == kind { Ok(verified) } else { Err(PrekeyError::Kind) }
        };
        Ok(VerifiedBundle {
            device: *device,
            last_resort: of_kind(&self.last_resort, PrekeyKind::LastResort)?,
            one_time: self.one_time.as_ref().map(|p| of_kind(p, PrekeyKind::OneTime)).transpose()?,
        })
    }
}

/// Proof that a bundle was verified for its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBundle {
    pub(crate) device: DevicePublic,
    pub(crate) last_resort: VerifiedPrekey,
    pub(crate) one_time: Option<VerifiedPrekey>,
}

impl VerifiedBundle {
    /// The device that the pairs belong to.
    pub fn device(&self) -> &DevicePublic {
        &self.device
    }

    /// No one-time pair: the first flight has weaker forward secrecy and is flagged.
    pub fn is_last_resort_only(&self) -> bool {
        self.one_time.is_none()
    }
}

/// The secret half of a prekey pair, kept by its device until used (one-time) or rotated (last resort).
#[derive(Serialize, Deserialize)]
pub struct PrekeySecret {
    kind: PrekeyKind,
    id: PrekeyId,
    created: u64,
    expires: u64,
    pub(crate) x: DhSecret,
    pub(crate) kem: KemSecret,
}

impl PrekeySecret {
    /// A fresh pair, valid from `created` until `expires` (ms).
    pub fn generate(kind: PrekeyKind, created: u64, expires: u64, rng: &mut dyn CryptoRng) -> Self {
        let x = DhSecret::generate(rng);
        let kem = KemSecret::generate(rng);
        let id = id_of(x.public(), kem.public());
        Self { kind, id, created, expires, x, kem }
    }

    /// The public half, signed by its device.
    pub fn publish(&self, device: &DeviceSecret) -> SignedPrekey {
        let body = Body {
            device: device.hash(),
            kind: self.kind,
            id: self.id,
            created: self.created,
            expires: self.expires,
            x: *self.x.public(),
            kem: self.kem.public()[..].into(),
        };
        SignedPrekey(SignedBytes::sign(labels::PREKEY, &body, device))
    }

    /// One-time or last-resort.
    pub fn kind(&self) -> PrekeyKind {
        self.kind
    }

    /// Hash of both public keys.
    pub fn id(&self) -> PrekeyId {
        self.id
    }

    /// When it was made, ms.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// When it ends, ms.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Stored form, secret: `version | postcard`; the ML-KEM half as its seed. Seal it before it is written.
    pub fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        codec::encode_versioned(STORED_VERSION, self)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`StoredError`]: the vault is damaged or newer than this program.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, StoredError> {
        codec::decode_versioned(STORED_VERSION, bytes)
    }
}

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeySecret({:?}, {:?}, ..)", self.kind, self.id)
    }
}

const _: () = assert!(MAX_BODY > 32 * 3 + 1 + 2 * 10 + 2 + KEY_LEN);
