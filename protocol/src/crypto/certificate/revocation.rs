//! The revocation list (§3.7): what is revoked, and which list may follow which.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{CertificateError, certificate_id, verify_issuer};
use crate::crypto::edition::Edition;
use crate::crypto::identity::{SignedBytes, SigningSecret};
use crate::crypto::labels;
use crate::ids::{CertificateId, DeviceKeyHash, RootHash};
use crate::org::VerifiedPins;

/// Most entries of a revocation list in one frame.
pub const MAX_REVOCATIONS: usize = 1000;

const MAX_REVOCATION_BYTES: usize = 48 * 1024;

/// What is revoked. Append-only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Revoked {
    /// One certificate.
    Certificate(CertificateId),
    /// A device for good, whatever its certificate.
    Device(DeviceKeyHash),
    /// An issuer certificate and everything under it.
    Issuer(CertificateId),
}

/// Signed by an issuer; its [`Edition`] only rises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// The organisation.
    pub root: RootHash,
    /// Rises with each list of one issuer.
    pub number: u64,
    /// When it was signed, ms.
    pub issued: u64,
    /// What is revoked, at most [`MAX_REVOCATIONS`].
    pub revoked: Vec<Revoked>,
}

/// A revocation list as sent: with the issuer certificate that signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocations {
    /// Signed [`IssuerCertificate`](super::IssuerCertificate).
    pub issuer: SignedBytes,
    /// Signed [`RevocationList`].
    pub list: SignedBytes,
}

/// The newest verified revocation list that this side knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    edition: Edition,
    /// The issuer certificate under which it is signed; none for no list.
    issuer: Option<CertificateId>,
    revoked: Vec<Revoked>,
}

impl Revocations {
    /// No list yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Verifies a list that was taken before. The issuer may have expired since: a revocation does not end with its issuer,
    /// so validity is judged at the time of signing, which the signer chooses. For a list from elsewhere see
    /// [`Self::successor`].
    ///
    /// # Errors
    /// [`CertificateError`]; at fault: whoever made or altered it.
    pub fn verify(signed: &SignedRevocations, pins: &VerifiedPins) -> Result<Self, CertificateError> {
        let claimed: RevocationList = signed.list.peek(MAX_REVOCATION_BYTES)?;
        let issuer = verify_issuer(&signed.issuer, pins, claimed.issued)?;
        let list: RevocationList =
            signed.list.verify(labels::REVOCATION, &issuer.key, MAX_REVOCATION_BYTES)?;
        if list.root != pins.root() {
            return Err(CertificateError::Foreign);
        }
        if list.revoked.len() > MAX_REVOCATIONS {
            return Err(CertificateError::Fields);
        }
        let edition = Edition::new(&issuer, list.number);
        Ok(Self { edition, issuer: Some(certificate_id(&signed.issuer)), revoked: list.revoked })
    }

    /// Verifies a list that comes from anywhere. None: it may not follow this one, see [`Self::may_follow`].
    ///
    /// # Errors
    /// [`CertificateError`], also when its issuer has expired: whoever holds an old issuer's key chooses the time of signing.
    pub fn successor(
        &self,
        signed: &SignedRevocations,
        pins: &VerifiedPins,
        now: u64,
    ) -> Result<Option<Self>, CertificateError> {
        let list = Self::verify(signed, pins)?;
        if !list.may_follow(self) {
            return Ok(None);
        }
        verify_issuer(&signed.issuer, pins, now)?;
        Ok(Some(list))
    }

    /// Takes the newer of two verified lists, see [`Self::may_follow`].
    pub fn newest(self, other: Self) -> Self {
        if other.may_follow(&self) { other } else { self }
    }

    /// Whether this list may take the place of `before`: a later edition, and not signed by an issuer that `before` revokes.
    /// Otherwise whoever stole an issuer's key could take back that it was revoked.
    pub fn may_follow(&self, before: &Self) -> bool {
        self.edition > before.edition && !self.issuer.is_some_and(|issuer| before.revokes_issuer(&issuer))
    }

    /// Its place among all lists.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The list's number; 0 for none.
    pub fn number(&self) -> u64 {
        self.edition.number()
    }

    /// The issuer certificate under which it is signed; none for no list.
    pub fn issuer(&self) -> Option<&CertificateId> {
        self.issuer.as_ref()
    }

    /// Whether an issuer certificate is revoked.
    pub fn revokes_issuer(&self, issuer: &CertificateId) -> bool {
        self.revoked.contains(&Revoked::Issuer(*issuer))
    }

    /// Whether a device is revoked for good.
    pub fn revokes_device(&self, device: &DeviceKeyHash) -> bool {
        self.revoked.contains(&Revoked::Device(*device))
    }

    /// Whether any of the three is revoked.
    pub fn revokes(&self, issuer: &CertificateId, id: &CertificateId, device: &DeviceKeyHash) -> bool {
        self.revoked.iter().any(|r| match r {
            Revoked::Certificate(c) => c == id,
            Revoked::Device(d) => d == device,
            Revoked::Issuer(i) => i == issuer,
        })
    }
}

impl RevocationList {
    /// Signs with an issuer's key.
    pub fn sign(&self, issuer: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::REVOCATION, self, issuer)
    }
}
