//! org.json: what a client has to know of an organisation before it trusts anybody (§3).
//!
//! Two signed parts. The *pins* are signed by the root: root keys, log, witnesses, version. The *settings* are signed by
//! an issuer: the relay's name and URLs, topics, teams, privacy notices. A client knows the root hash beforehand (the page
//! has it baked in, an agent gets it with the invitation) and never accepts lower versions than it saw.
//!
//! ```text
//! org.json = { "sealdesk": 1, "root": hex, "pins": base64, "issuer": base64, "settings": base64, "revocations": base64? }
//! ```

use serde::{Deserialize, Serialize};

use crate::crypto::certificate::{CertificateError, IssuerCertificate, Revocations};
use crate::crypto::edition::Edition;
use crate::crypto::identity::BadSignature;
use crate::ids::{CertificateId, RootHash};

mod file;
mod roots;
mod settings;

pub use file::OrgFile;
pub use roots::{LogPins, MAX_ROOTS, Pins, RootVersion, SignedRoot, VerifiedPins, root_hash};
pub use settings::{AssignmentMode, Notice, Settings, Team, Topic};

/// Largest signed part, bytes.
pub const MAX_PART: usize = 256 * 1024;
/// Why org.json is refused. At fault: whoever made, serves or altered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrgError {
    /// Not of format 1, or not base64 of signed bytes.
    #[error("org.json is malformed or of a later format: fetch it again or update this program")]
    Malformed,
    /// A signature is wrong.
    #[error("org.json's signature does not verify: it was altered")]
    Signature,
    /// The root hash is not the pinned one.
    #[error("org.json belongs to another organisation than the one that is pinned here")]
    WrongRoot,
    /// The chain of root versions has a gap or a missing signature.
    #[error("org.json's chain of root keys is broken")]
    RootChain,
    /// A lower version than this client saw before.
    #[error(
        "org.json is older than the one seen before: an old copy was put there, by mistake or by somebody"
    )]
    Rollback,
    /// A log was demanded before and is not any more.
    #[error("org.json no longer names the transparency log that it named before")]
    LogDropped,
    /// The revocation list is another issuer's than the settings.
    #[error("org.json's revocation list is signed by another issuer than its settings")]
    ListIssuer,
    /// The issuer certificate or the revocation list is refused.
    #[error("org.json's issuer certificate is refused: {0}")]
    Issuer(#[from] CertificateError),
}

impl From<BadSignature> for OrgError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

/// What a client remembers of org.json files that it accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Highest version of the pins.
    pub pins: u32,
    /// Latest edition of the settings.
    pub settings: Edition,
    /// Latest edition of the revocation list.
    pub revocations: Edition,
    /// Whether a log was ever demanded.
    pub log: bool,
}

/// An organisation whose org.json verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOrg {
    pins: VerifiedPins,
    settings: Settings,
    issuer: IssuerCertificate,
    issuer_id: CertificateId,
    revocations: Revocations,
}

impl VerifiedOrg {
    /// The verified root keys and pins.
    pub fn pins(&self) -> &VerifiedPins {
        &self.pins
    }

    /// The organisation.
    pub fn root(&self) -> RootHash {
        self.pins.root()
    }

    /// Topics, notices, relay.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The issuer under which the settings are signed.
    pub fn issuer(&self) -> &IssuerCertificate {
        &self.issuer
    }

    /// Checks the file against the newest revocation list known from elsewhere: the one in the file, or none, is what
    /// whoever made the file chose. To be asked by whoever knew the organisation before.
    ///
    /// # Errors
    /// [`OrgError::Issuer`]: `known` revokes the issuer of the settings.
    pub fn check_issuer(&self, known: &Revocations) -> Result<(), OrgError> {
        if known.revokes_issuer(&self.issuer_id) { Err(CertificateError::Revoked.into()) } else { Ok(()) }
    }

    /// The revocation list that came with the file.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// What to remember, at least.
    pub fn floor(&self) -> Floor {
        Floor {
            pins: self.pins.pins().version,
            settings: Edition::new(&self.issuer, self.settings.version.into()),
            revocations: self.revocations.edition(),
            log: self.pins.pins().log.is_some(),
        }
    }
}

impl Floor {
    /// The higher of both in every field.
    pub fn raise(self, other: Self) -> Self {
        Self {
            pins: self.pins.max(other.pins),
            settings: self.settings.max(other.settings),
            revocations: self.revocations.max(other.revocations),
            log: self.log || other.log,
        }
    }
}
