//! The organisation's rules, from the org.json that the configuration names; read again when the file changes.
//!
//! A newer file is taken only if it verifies and no version in it went down; otherwise the relay goes on with what it
//! has and says why. What was in force last is remembered in the store, so that a restart does not let an older file in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sealdesk_protocol::crypto::certificate::{
    CertificateChain, CertificateError, Revocations, SignedRevocations, VerifiedCertificate,
};
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile, VerifiedOrg};
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::config::Config;
use crate::stamp::{Stamp, Watch};

/// Why org.json is not used. At fault: the operator or the organisation; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Cannot be read.
    #[error(
        "cannot read org.json at {path}: {source}; set `org` to the file that `sealdesk org init` wrote, and let the relay's user read it"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not JSON of the right form.
    #[error("{path} is no org.json: {reason}; copy the administrator's file again")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where.
        reason: String,
    },
    /// Does not verify.
    #[error("{path}: {source}")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// The first check that failed.
        source: OrgError,
    },
    /// The configured name is not the one in org.json.
    #[error(
        "org.json names the relay {expected:?}, the configuration says name = {configured:?}: make them equal"
    )]
    Name {
        /// In org.json.
        expected: String,
        /// In the configuration.
        configured: String,
    },
}

/// One verified org.json.
#[derive(Debug)]
pub struct Org {
    /// Verified content.
    pub verified: VerifiedOrg,
    /// The revocation list as it is passed on to clients.
    pub revocations: Option<SignedRevocations>,
}

impl Org {
    /// The certificate behind a chain, if it is valid now and not revoked.
    ///
    /// # Errors
    /// The first check that fails; at fault: whoever presents the chain.
    pub fn certificate(&self, chain: &CertificateChain) -> Result<VerifiedCertificate, CertificateError> {
        chain.verify(self.verified.pins(), self.verified.revocations(), now_ms())
    }
}

/// What is remembered of the org.json in force, in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    root: RootHash,
    floor: Floor,
    revocations: Option<SignedRevocations>,
}

impl Org {
    /// What to remember of it.
    pub fn remember(&self) -> Remembered {
        let (root, floor) = (self.verified.root(), self.verified.floor());
        Remembered { root, floor, revocations: self.revocations.clone() }
    }

    /// Whether this may be in force after content with the revocation list `known`: no issuer that was revoked comes back.
    fn may_replace(&self, known: &Revocations) -> Result<(), OrgError> {
        self.verified.check_issuer(known)?;
        let list = self.verified.revocations();
        if list.edition() > known.edition() && !list.may_follow(known) {
            return Err(OrgError::Issuer(CertificateError::Revoked));
        }
        Ok(())
    }
}

/// The current org.json.
#[derive(Debug)]
pub struct Policy {
    path: PathBuf,
    name: String,
    root: RootHash,
    current: RwLock<Arc<Org>>,
    watch: Mutex<Watch<Stamp>>,
}

fn load(path: &PathBuf, name: &str, root: Option<RootHash>, floor: &Floor) -> Result<Org, PolicyError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| PolicyError::Read { path: path.clone(), source })?;
    let file: OrgFile = serde_json::from_str(&text)
        .map_err(|error| PolicyError::Form { path: path.clone(), reason: error.to_string() })?;
    let refused = |source| PolicyError::Refused { path: path.clone(), source };
    let root = root.map_or_else(|| file.claimed_root(), Ok).map_err(refused)?;
    let verified = file.verify(&root, floor, now_ms()).map_err(refused)?;
    let expected = &verified.settings().relay_name;
    if expected != name {
        return Err(PolicyError::Name { expected: expected.clone(), configured: name.into() });
    }
    let revocations = file.revocations().map_err(refused)?;
    Ok(Org { verified, revocations })
}

impl Policy {
    /// Reads the file that the configuration names, which may not be older than what is remembered of the same
    /// organisation.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn open(config: &Config, remembered: Option<&Remembered>) -> Result<Self, PolicyError> {
        let seen = Stamp::of(&config.org);
        let mut org = load(&config.org, &config.name, config.root, &Floor::default())?;
        if let Some(before) = remembered.filter(|before| before.root == org.verified.root()) {
            org = load(&config.org, &config.name, Some(before.root), &before.floor)?;
            // A list that the current root keys do not carry any more cannot be compared.
            let known = before.revocations.as_ref();
            let known = known.and_then(|list| Revocations::verify(list, org.verified.pins()).ok());
            let replaces = known.map_or(Ok(()), |known| org.may_replace(&known));
            replaces.map_err(|source| PolicyError::Refused { path: config.org.clone(), source })?;
        }
        Ok(Self {
            path: config.org.clone(),
            name: config.name.clone(),
            root: org.verified.root(),
            current: RwLock::new(Arc::new(org)),
            watch: Mutex::new(Watch::new(seen)),
        })
    }

    /// What is in force.
    pub fn org(&self) -> Arc<Org> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it changed, or could not be used when it did. Answers true when something else is in force
    /// now.
    ///
    /// # Errors
    /// [`PolicyError`], once for each reason: the old content stays in force.
    pub fn refresh(&self) -> Result<bool, PolicyError> {
        let found = Stamp::of(&self.path);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let org = watch.refresh(found, || {
            let before = self.org();
            let org = load(&self.path, &self.name, Some(self.root), &before.verified.floor())?;
            org.may_replace(before.verified.revocations())
                .map_err(|source| PolicyError::Refused { path: self.path.clone(), source })?;
            Ok::<_, PolicyError>(org)
        })?;
        let Some(org) = org else { return Ok(false) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(org);
        Ok(true)
    }
}
