//! Certificates: root -> issuer -> agent device (§3).
//!
//! ```text
//! issuer certificate  signed by the organisation root   90 days at most
//! device certificate  signed by the issuer              30 days at most
//! revocation list     signed by an issuer, in the order of editions
//! ```
//!
//! A chain becomes a [`VerifiedCertificate`] only by [`CertificateChain::verify`]: whoever needs an agent's keys asks for
//! that type, so that forgetting to verify does not compile.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::identity::{BadSignature, DevicePublic, DeviceSecret, SignedBytes, SigningSecret, VerifyKey};
use super::{kdf, labels};
use crate::ids::{CertificateId, DeviceKeyHash, Handle, RootHash};
use crate::org::VerifiedPins;

mod revocation;

pub use revocation::{MAX_REVOCATIONS, RevocationList, Revocations, Revoked, SignedRevocations};

/// Largest encoded certificate body, bytes.
pub const MAX_CERTIFICATE: usize = 2 * 1024;
/// Longest display name, bytes of UTF-8.
pub const MAX_DISPLAY_NAME: usize = 64;
/// Longest life of an issuer certificate, ms.
pub const ISSUER_LIFE: u64 = 90 * DAY;
/// Longest life of a device certificate, ms.
pub const DEVICE_LIFE: u64 = 30 * DAY;
/// How far clocks may differ before "not yet valid" is said, ms.
pub const CLOCK_SKEW: u64 = 10 * 60 * 1000;
/// One day, ms.
pub const DAY: u64 = 24 * 60 * 60 * 1000;
/// What a certified person may do. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AgentRole {
    /// Answers customers.
    Agent,
    /// May take over and join visibly.
    Supervisor,
    /// Sees that conversations exist.
    Manager,
    /// Administers people and policy.
    Admin,
}

/// Signed by the root: this issuer key may certify devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerCertificate {
    /// The organisation.
    pub root: RootHash,
    /// Which version of the root key signs.
    pub root_version: u32,
    /// The issuer's key.
    pub key: VerifyKey,
    /// Counts issuer certificates: what a later one signs counts as newer, see [`Edition`](super::edition::Edition).
    pub serial: u64,
    /// Valid from, ms.
    pub not_before: u64,
    /// Valid until, ms, exclusive.
    pub not_after: u64,
}

impl IssuerCertificate {
    /// Signs with the root key of [`Self::root_version`].
    pub fn sign(&self, root: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::ISSUER, self, root)
    }
}

/// An earlier device of the same agent vouches for a further one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// The earlier device.
    pub by: DevicePublic,
    /// Its signature over [`EndorsementBody`].
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// What an endorsing device signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndorsementBody {
    /// The organisation.
    pub root: RootHash,
    /// The agent.
    pub agent: Handle,
    /// The further device.
    pub device: DeviceKeyHash,
}

/// Signed by an issuer: this device belongs to this agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCertificate {
    /// The organisation.
    pub root: RootHash,
    /// The issuer certificate under which it is signed.
    pub issuer: CertificateId,
    /// The agent's id.
    pub agent: Handle,
    /// The name shown to customers: public.
    pub display_name: String,
    /// What the agent may do, sorted, each once.
    pub roles: Vec<AgentRole>,
    /// The agent's teams, sorted, each once.
    pub teams: Vec<Handle>,
    /// The device's keys.
    pub device: DevicePublic,
    /// Counts the agent's devices from 1.
    pub device_number: u32,
    /// Counts certificates of this issuer.
    pub serial: u64,
    /// Valid from, ms.
    pub not_before: u64,
    /// Valid until, ms, exclusive.
    pub not_after: u64,
    /// An earlier device's word; without it a further device is shown as new.
    pub endorsement: Option<Endorsement>,
}

impl DeviceCertificate {
    /// Signs with the issuer's key.
    pub fn sign(&self, issuer: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::AGENT_DEVICE, self, issuer)
    }
}

/// SHA-256 of a certificate's exact body bytes, labelled.
pub fn certificate_id(signed: &SignedBytes) -> CertificateId {
    CertificateId(kdf::hash(labels::CERTIFICATE_ID, &[signed.body()]))
}

/// Why a chain is refused. At fault: the organisation's administrators unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Does not decode, or a signature is wrong. At fault: whoever made or altered it.
    #[error("a certificate's signature does not verify")]
    Signature,
    /// Another organisation's.
    #[error("the certificate belongs to another organisation")]
    Foreign,
    /// The root version is not in org.json.
    #[error("the certificate is signed by a root key that org.json does not list")]
    RootVersion,
    /// The device certificate names another issuer certificate.
    #[error("the device certificate does not belong to the issuer certificate sent with it")]
    Issuer,
    /// Before its validity. Often this machine's clock.
    #[error("the certificate is not valid yet: check this machine's clock")]
    NotYetValid,
    /// After its validity.
    #[error("the certificate has expired: an administrator has to renew it")]
    Expired,
    /// Longer than allowed.
    #[error("the certificate is valid for longer than the protocol allows")]
    Lifetime,
    /// On the revocation list.
    #[error("the certificate was revoked")]
    Revoked,
    /// Names too long, empty or with control characters; unsorted lists.
    #[error("the certificate's fields are malformed")]
    Fields,
    /// The role that is needed is missing.
    #[error("the certificate lacks the role that is needed")]
    Role,
}

impl From<BadSignature> for CertificateError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

/// Issuer certificate and device certificate, as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateChain {
    /// Signed [`IssuerCertificate`].
    pub issuer: SignedBytes,
    /// Signed [`DeviceCertificate`].
    pub device: SignedBytes,
}

/// A device certificate whose chain, validity and revocation were checked at a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    certificate: DeviceCertificate,
    id: CertificateId,
    valid_until: u64,
    endorsed: bool,
}

impl CertificateChain {
    /// Verifies root -> issuer -> device at time `now`, against the pinned roots and the newest revocation list.
    ///
    /// # Errors
    /// [`CertificateError`], the first check that fails.
    pub fn verify(
        &self,
        pins: &VerifiedPins,
        revocations: &Revocations,
        now: u64,
    ) -> Result<VerifiedCertificate, CertificateError> {
        let issuer = verify_issuer(&self.issuer, pins, now)?;
        let issuer_id = certificate_id(&self.issuer);
        let certificate: DeviceCertificate =
            self.device.verify(labels::AGENT_DEVICE, &issuer.key, MAX_CERTIFICATE)?;
        if certificate.root != pins.root() {
            return Err(CertificateError::Foreign);
        }
        if certificate.issuer != issuer_id {
            return Err(CertificateError::Issuer);
        }
        check_validity(certificate.not_before, certificate.not_after, DEVICE_LIFE, now)?;
        check_fields(&certificate)?;
        let endorsed = check_endorsement(&certificate)?
            && !certificate.endorsement.as_ref().is_some_and(|e| revocations.revokes_device(&e.by.hash()));
        let id = certificate_id(&self.device);
        if revocations.revokes(&issuer_id, &id, &certificate.device.hash()) {
            return Err(CertificateError::Revoked);
        }
        let valid_until = certificate.not_after.min(issuer.not_after);
        Ok(VerifiedCertificate { certificate, id, valid_until, endorsed })
    }
}

/// Verifies an issuer certificate at time `now` under the pinned roots.
///
/// # Errors
/// [`CertificateError`], the first check that fails.
pub fn verify_issuer(
    signed: &SignedBytes,
    pins: &VerifiedPins,
    now: u64,
) -> Result<IssuerCertificate, CertificateError> {
    let claimed: IssuerCertificate = signed.peek(MAX_CERTIFICATE)?;
    let root_key = pins.root_key(claimed.root_version).ok_or(CertificateError::RootVersion)?;
    let issuer: IssuerCertificate = signed.verify(labels::ISSUER, root_key, MAX_CERTIFICATE)?;
    if issuer.root != pins.root() {
        return Err(CertificateError::Foreign);
    }
    check_validity(issuer.not_before, issuer.not_after, ISSUER_LIFE, now)?;
    Ok(issuer)
}

fn check_validity(not_before: u64, not_after: u64, life: u64, now: u64) -> Result<(), CertificateError> {
    if not_after <= not_before || not_after - not_before > life {
        return Err(CertificateError::Lifetime);
    }
    if now.saturating_add(CLOCK_SKEW) < not_before {
        return Err(CertificateError::NotYetValid);
    }
    if now >= not_after {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

fn check_fields(certificate: &DeviceCertificate) -> Result<(), CertificateError> {
    let name = &certificate.display_name;
    let name_ok = !name.trim().is_empty() && name.len() <= MAX_DISPLAY_NAME && !crate::names::deceives(name);
    let sorted = certificate.roles.windows(2).all(|w| w[0] < w[1])
        && certificate.teams.windows(2).all(|w| w[0] < w[1])
        && certificate.roles.len() <= 8
        && certificate.teams.len() <= 32;
    if name_ok && sorted && certificate.device_number > 0 { Ok(()) } else { Err(CertificateError::Fields) }
}

fn check_endorsement(certificate: &DeviceCertificate) -> Result<bool, CertificateError> {
    let Some(endorsement) = &certificate.endorsement else { return Ok(false) };
    // The signing key makes the device: another key agreement half beside it does not make another one.
    if endorsement.by.ed == certificate.device.ed {
        return Err(CertificateError::Fields);
    }
    endorsement.verify(&EndorsementBody {
        root: certificate.root,
        agent: certificate.agent.clone(),
        device: certificate.device.hash(),
    })?;
    Ok(true)
}

impl Endorsement {
    /// Checks that the named device signed this body. Whose device it is, is to be asked besides.
    ///
    /// # Errors
    /// [`CertificateError::Signature`].
    pub fn verify(&self, body: &EndorsementBody) -> Result<(), CertificateError> {
        let bytes = super::codec::encode(body);
        Ok(self.by.verify_key().verify(labels::ENDORSEMENT, &bytes, &self.signature)?)
    }
}

/// Signs an endorsement of a further device of the same agent.
pub fn endorse(by: &DeviceSecret, body: &EndorsementBody) -> Endorsement {
    let signature = by.sign(labels::ENDORSEMENT, &super::codec::encode(body));
    Endorsement { by: by.public(), signature }
}

impl VerifiedCertificate {
    /// The agent's id.
    pub fn agent(&self) -> &Handle {
        &self.certificate.agent
    }

    /// The name shown to customers.
    pub fn display_name(&self) -> &str {
        &self.certificate.display_name
    }

    /// The device's keys.
    pub fn device(&self) -> &DevicePublic {
        &self.certificate.device
    }

    /// Everything that was signed.
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// The certificate's id.
    pub fn id(&self) -> CertificateId {
        self.id
    }

    /// When device or issuer certificate ends, ms.
    pub fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// A further device that nobody endorsed, or only a device that is revoked: everyone is shown "new device". That the
    /// endorsing key was an earlier device of the agent is the issuer's word until the log exists (§3.6).
    pub fn is_new_device(&self) -> bool {
        self.certificate.device_number > 1 && !self.endorsed
    }

    /// Whether the role is granted.
    pub fn has_role(&self, role: AgentRole) -> bool {
        self.certificate.roles.contains(&role)
    }

    /// Whether the agent is in the team.
    pub fn in_team(&self, team: &Handle) -> bool {
        self.certificate.teams.contains(team)
    }

    /// Demands a role.
    ///
    /// # Errors
    /// [`CertificateError::Role`].
    pub fn require(self, role: AgentRole) -> Result<Self, CertificateError> {
        if self.has_role(role) { Ok(self) } else { Err(CertificateError::Role) }
    }
}
