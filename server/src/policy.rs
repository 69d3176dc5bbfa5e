//! The organisation's rules, from the org.json that the configuration names; read again when the file changes.
//!
//! A newer file is taken only if it verifies and no version in it went down; otherwise the relay goes on with what it
//! has and says why.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sealdesk_protocol::crypto::certificate::{
    CertificateChain, CertificateError, SignedRevocations, VerifiedCertificate,
};
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile, VerifiedOrg};

use crate::clock::now_ms;
use crate::config::Config;

/// Why org.json is not used. At fault: the operator or the organisation; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Cannot be read.
    #[error("cannot read org.json at {path}: {source}; set `org` to the file that `sealdesk org init` wrote")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not JSON of the right form.
    #[error("{path} is no org.json: {reason}")]
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

/// The current org.json.
#[derive(Debug)]
pub struct Policy {
    path: PathBuf,
    name: String,
    root: RootHash,
    current: RwLock<Arc<Org>>,
    seen: Mutex<Option<SystemTime>>,
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
    /// Reads the file that the configuration names.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn open(config: &Config) -> Result<Self, PolicyError> {
        let seen = modified(&config.org);
        let org = load(&config.org, &config.name, config.root, &Floor::default())?;
        Ok(Self {
            path: config.org.clone(),
            name: config.name.clone(),
            root: org.verified.root(),
            current: RwLock::new(Arc::new(org)),
            seen: Mutex::new(seen),
        })
    }

    /// What is in force.
    pub fn org(&self) -> Arc<Org> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it changed. Answers true when something else is in force now.
    ///
    /// # Errors
    /// [`PolicyError`]: the old content stays in force.
    pub fn refresh(&self) -> Result<bool, PolicyError> {
        let found = modified(&self.path);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return Ok(false);
            }
            *seen = found;
        }
        let before = self.org();
        let org = load(&self.path, &self.name, Some(self.root), &before.verified.floor())?;
        let (list, known) = (org.verified.revocations(), before.verified.revocations());
        org.verified
            .check_issuer(known)
            .map_err(|source| PolicyError::Refused { path: self.path.clone(), source })?;
        if list.number() > known.number() && !list.may_follow(known) {
            let source = OrgError::Issuer(CertificateError::Revoked);
            return Err(PolicyError::Refused { path: self.path.clone(), source });
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(org);
        Ok(true)
    }
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|found| found.modified()).ok()
}
