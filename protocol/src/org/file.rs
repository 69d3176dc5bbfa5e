//! org.json as text, and its verification against the pinned root.

use alloc::string::{String, ToString};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::{Floor, MAX_PART, OrgError, Settings, VerifiedOrg, VerifiedPins};
use crate::crypto::certificate::{self, CertificateError, Revocations, SignedRevocations};
use crate::crypto::edition::Edition;
use crate::crypto::identity::SignedBytes;
use crate::crypto::{codec, labels};
use crate::ids::RootHash;

/// org.json as text fields. Serialise with any JSON library; the page hands the fields over as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgFile {
    /// Format, 1.
    pub sealdesk: u32,
    /// Root hash in hex, for people to compare; never trusted by itself.
    pub root: String,
    /// Base64 of the signed [`Pins`](super::Pins).
    pub pins: String,
    /// Base64 of the signed issuer certificate under which the settings are signed.
    pub issuer: String,
    /// Base64 of the signed [`Settings`].
    pub settings: String,
    /// Base64 of the [`SignedRevocations`], when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<String>,
}

impl OrgFile {
    /// Verifies both parts against the pinned root hash at time `now`.
    ///
    /// # Errors
    /// [`OrgError`], the first check that fails.
    pub fn verify(&self, pinned: &RootHash, floor: &Floor, now: u64) -> Result<VerifiedOrg, OrgError> {
        if self.sealdesk != 1 {
            return Err(OrgError::Malformed);
        }
        let pins = VerifiedPins::verify(&decode(&self.pins)?, pinned)?;
        if pins.pins().version < floor.pins {
            return Err(OrgError::Rollback);
        }
        if floor.log && pins.pins().log.is_none() {
            return Err(OrgError::LogDropped);
        }
        let revocations = match &self.revocations {
            None => Revocations::none(),
            Some(text) => {
                let signed: SignedRevocations = decode(text)?;
                Revocations::verify(&signed, &pins)?
            }
        };
        if revocations.edition() < floor.revocations {
            return Err(OrgError::Rollback);
        }
        let signed_issuer: SignedBytes = decode(&self.issuer)?;
        let issuer = certificate::verify_issuer(&signed_issuer, &pins, now)?;
        let issuer_id = certificate::certificate_id(&signed_issuer);
        // One issuer answers for the whole file: whoever holds an earlier issuer's key puts no list of its own into it.
        if revocations.issuer().is_some_and(|signer| *signer != issuer_id) {
            return Err(OrgError::ListIssuer);
        }
        if revocations.revokes_issuer(&issuer_id) {
            return Err(CertificateError::Revoked.into());
        }
        let signed_settings: SignedBytes = decode(&self.settings)?;
        let settings: Settings = signed_settings.verify(labels::ORG_SETTINGS, &issuer.key, MAX_PART)?;
        if settings.root != pins.root() {
            return Err(OrgError::WrongRoot);
        }
        if Edition::new(&issuer, settings.version.into()) < floor.settings {
            return Err(OrgError::Rollback);
        }
        Ok(VerifiedOrg { pins, settings, issuer, issuer_id, revocations })
    }

    /// Assembles a file from its signed parts.
    pub fn assemble(
        root: &RootHash,
        pins: &SignedBytes,
        issuer: &SignedBytes,
        settings: &SignedBytes,
        revocations: Option<&SignedRevocations>,
    ) -> Self {
        Self {
            sealdesk: 1,
            root: root.to_string(),
            pins: encode(pins),
            issuer: encode(issuer),
            settings: encode(settings),
            revocations: revocations.map(encode),
        }
    }

    /// The root hash that the file claims: to show and to compare, not to trust.
    ///
    /// # Errors
    /// [`OrgError::Malformed`].
    pub fn claimed_root(&self) -> Result<RootHash, OrgError> {
        self.root.parse().map_err(|_| OrgError::Malformed)
    }

    /// The signed issuer certificate.
    ///
    /// # Errors
    /// [`OrgError::Malformed`].
    pub fn issuer(&self) -> Result<SignedBytes, OrgError> {
        decode(&self.issuer)
    }

    /// The signed pins.
    ///
    /// # Errors
    /// [`OrgError::Malformed`].
    pub fn pins(&self) -> Result<SignedBytes, OrgError> {
        decode(&self.pins)
    }

    /// The revocation list, if any.
    ///
    /// # Errors
    /// [`OrgError::Malformed`].
    pub fn revocations(&self) -> Result<Option<SignedRevocations>, OrgError> {
        self.revocations.as_deref().map(decode).transpose()
    }
}

fn encode<T: Serialize>(value: &T) -> String {
    Base64::encode_string(&codec::encode(value))
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, OrgError> {
    if text.len() > MAX_PART * 2 {
        return Err(OrgError::Malformed);
    }
    let bytes = Base64::decode_vec(text).map_err(|_| OrgError::Malformed)?;
    codec::decode(&bytes, MAX_PART * 2).map_err(|_| OrgError::Malformed)
}
