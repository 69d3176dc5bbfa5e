//! org.json: what a client has to know of an organisation before it trusts anybody (§3).
//!
//! Two signed parts. The *pins* are signed by the root: root keys, log, witnesses, version. The *settings* are signed by
//! an issuer: the relay's name and URLs, topics, teams, privacy notices. A client knows the root hash beforehand (the page
//! has it baked in, an agent gets it with the invitation) and never accepts lower versions than it saw.
//!
//! ```text
//! org.json = { "sealdesk": 1, "root": hex, "pins": base64, "issuer": base64, "settings": base64, "revocations": base64? }
//! ```

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use crate::crypto::certificate::{self, CertificateError, IssuerCertificate, Revocations, SignedRevocations};
use crate::crypto::codec;
use crate::crypto::edition::Edition;
use crate::crypto::identity::{BadSignature, SignedBytes, SigningSecret, VerifyKey};
use crate::crypto::{kdf, labels};
use crate::ids::{CertificateId, Handle, NoticeHash, RootHash};

/// Largest signed part, bytes.
pub const MAX_PART: usize = 256 * 1024;
/// Most root versions in one chain.
pub const MAX_ROOTS: usize = 32;

/// Hash of the first root key: the organisation for ever.
pub fn root_hash(first: &VerifyKey) -> RootHash {
    RootHash(kdf::hash(labels::ROOT_HASH, &[first.as_bytes()]))
}

/// One version of the root key. Version 1 is signed by itself, version n+1 by n and by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootVersion {
    /// Counts from 1.
    pub version: u32,
    /// The key.
    pub key: VerifyKey,
    /// Since when, ms.
    pub since: u64,
}

/// A root version with the signatures of its predecessor (none for version 1) and of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRoot {
    /// Signed by the key itself.
    pub own: SignedBytes,
    /// The same body, signed by the version before.
    pub previous: Option<SignedBytes>,
}

/// The transparency log that clients demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPins {
    /// The log's key.
    pub key: VerifyKey,
    /// Its origin line.
    pub origin: String,
    /// Witness keys.
    pub witnesses: Vec<VerifyKey>,
    /// How many of them must have signed a checkpoint.
    pub threshold: u8,
}

/// Signed by the newest root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Rises with each change; clients never accept a lower one.
    pub version: u32,
    /// When it was signed, ms.
    pub issued: u64,
    /// All root versions, oldest first.
    pub roots: Vec<SignedRoot>,
    /// None: "log: none"; clients that saw a log never return to it.
    pub log: Option<LogPins>,
}

/// A topic that customers choose from; its id is all that the relay learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Id.
    pub id: Handle,
    /// The team that answers.
    pub team: Handle,
    /// Name by language tag.
    pub names: BTreeMap<String, String>,
}

/// A team's public name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Id.
    pub id: Handle,
    /// Name shown to customers.
    pub name: String,
}

/// The privacy notice in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// BCP 47 tag.
    pub language: String,
    /// Plain text, as shown.
    pub text: String,
}

impl Notice {
    /// What a consent receipt names.
    pub fn hash(&self) -> NoticeHash {
        crate::conversation::notice_hash(&self.language, &self.text)
    }
}

/// How conversations reach agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AssignmentMode {
    /// The relay picks an agent: team, presence, capacity, round robin.
    #[default]
    Automatic,
    /// Agents see topic, language and waiting time, and the first who claims gets it.
    Claim,
}

/// Signed by an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The organisation.
    pub root: RootHash,
    /// Rises with each change under one issuer; clients never accept an earlier [`Edition`].
    pub version: u32,
    /// When it was signed, ms.
    pub issued: u64,
    /// The organisation's public name.
    pub name: String,
    /// The relay's name: challenges bind to it, never to a URL.
    pub relay_name: String,
    /// `wss://` URLs, first choice first.
    pub relay_urls: Vec<String>,
    /// How conversations reach agents.
    pub assignment: AssignmentMode,
    /// Topics, in the order of display.
    pub topics: Vec<Topic>,
    /// Teams.
    pub teams: Vec<Team>,
    /// The current privacy notice, one for each language.
    pub notices: Vec<Notice>,
}

impl Settings {
    /// The topic with this id.
    pub fn topic(&self, id: &Handle) -> Option<&Topic> {
        self.topics.iter().find(|t| t.id == *id)
    }

    /// The notice for a language: exact tag, else same primary language, else the first.
    pub fn notice(&self, language: &str) -> Option<&Notice> {
        let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let exact = self.notices.iter().find(|n| n.language.eq_ignore_ascii_case(language));
        exact
            .or_else(|| self.notices.iter().find(|n| primary(&n.language) == primary(language)))
            .or_else(|| self.notices.first())
    }

    /// Whether the hash names a current notice.
    pub fn has_notice(&self, hash: &NoticeHash) -> bool {
        self.notices.iter().any(|n| n.hash() == *hash)
    }
}

/// org.json as text fields. Serialise with any JSON library; the page hands the fields over as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgFile {
    /// Format, 1.
    pub sealdesk: u32,
    /// Root hash in hex, for people to compare; never trusted by itself.
    pub root: String,
    /// Base64 of the signed [`Pins`].
    pub pins: String,
    /// Base64 of the signed issuer certificate under which the settings are signed.
    pub issuer: String,
    /// Base64 of the signed [`Settings`].
    pub settings: String,
    /// Base64 of the [`SignedRevocations`], when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<String>,
}

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
    #[error("org.json is older than the one seen before: somebody serves an old copy")]
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

/// Root keys whose chain verified up to the pinned root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPins {
    root: RootHash,
    keys: Vec<VerifyKey>,
    pins: Pins,
}

impl VerifiedPins {
    fn verify(signed: &SignedBytes, pinned: &RootHash) -> Result<Self, OrgError> {
        let claimed: Pins = signed.peek(MAX_PART)?;
        if claimed.roots.is_empty() || claimed.roots.len() > MAX_ROOTS {
            return Err(OrgError::RootChain);
        }
        let mut keys: Vec<VerifyKey> = Vec::new();
        for (signed_root, expected) in claimed.roots.iter().zip(1u32..) {
            let body: RootVersion = signed_root.own.peek(MAX_PART)?;
            let body: RootVersion = signed_root.own.verify(labels::ROOT, &body.key, MAX_PART)?;
            if body.version != expected {
                return Err(OrgError::RootChain);
            }
            match (keys.last(), &signed_root.previous) {
                (None, None) if root_hash(&body.key) == *pinned => {}
                (None, _) => return Err(OrgError::WrongRoot),
                (Some(before), Some(previous)) => {
                    let same: RootVersion = previous.verify(labels::ROOT, before, MAX_PART)?;
                    if same != body {
                        return Err(OrgError::RootChain);
                    }
                }
                (Some(_), None) => return Err(OrgError::RootChain),
            }
            keys.push(body.key);
        }
        let newest = keys.last().ok_or(OrgError::RootChain)?;
        let pins: Pins = signed.verify(labels::ORG_PINS, newest, MAX_PART)?;
        Ok(Self { root: *pinned, keys, pins })
    }

    /// The organisation.
    pub fn root(&self) -> RootHash {
        self.root
    }

    /// The key of a root version that is still allowed to sign: only the newest.
    pub fn root_key(&self, version: u32) -> Option<&VerifyKey> {
        let index = usize::try_from(version).ok()?.checked_sub(1)?;
        if index + 1 == self.keys.len() { self.keys.get(index) } else { None }
    }

    /// Everything that was signed.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }
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
        if pins.pins.version < floor.pins {
            return Err(OrgError::Rollback);
        }
        if floor.log && pins.pins.log.is_none() {
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
        if settings.root != pins.root {
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

impl VerifiedOrg {
    /// The verified root keys and pins.
    pub fn pins(&self) -> &VerifiedPins {
        &self.pins
    }

    /// The organisation.
    pub fn root(&self) -> RootHash {
        self.pins.root
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
            pins: self.pins.pins.version,
            settings: Edition::new(&self.issuer, self.settings.version.into()),
            revocations: self.revocations.edition(),
            log: self.pins.pins.log.is_some(),
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

impl RootVersion {
    /// Signs version 1 with its own key, later ones with the key before as well.
    pub fn sign(&self, own: &SigningSecret, previous: Option<&SigningSecret>) -> SignedRoot {
        SignedRoot {
            own: SignedBytes::sign(labels::ROOT, self, own),
            previous: previous.map(|key| SignedBytes::sign(labels::ROOT, self, key)),
        }
    }
}

impl Pins {
    /// Signs with the newest root key.
    pub fn sign(&self, root: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::ORG_PINS, self, root)
    }
}

impl Settings {
    /// Signs with an issuer's key.
    pub fn sign(&self, issuer: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::ORG_SETTINGS, self, issuer)
    }
}
