//! The administrator's folder.
//!
//! ```text
//! DIR/org.json          public; the relay, the page and the agents get copies
//! DIR/root.key          encrypted; can be kept elsewhere, only `init`, `renew-issuer` and `rotate-root` need it; root-N.key:
//!                       older ones
//! DIR/issuer.key        encrypted; issuer-N.key: older ones
//! DIR/agents/ID.json    public record of an agent: invitation, devices, certificates
//! DIR/lock              held by the command that changes the folder; holds its process number
//! ```

pub mod key_file;
mod lock;
pub mod record;

pub use lock::LockedDir;

use std::path::{Path, PathBuf};

use sealdesk_native::clock;
use sealdesk_native::private_file::{self, Access};
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile, VerifiedOrg};

use crate::args::AdminPassphrases;
use crate::error::Error;
use crate::terminal;
use key_file::{AdminKey, KeyKind};

/// Largest org.json, bytes.
pub const MAX_ORG: u64 = 2 * 1024 * 1024;

/// The folder.
#[derive(Clone, Debug)]
pub struct AdminDir(pub PathBuf);

/// An opened issuer key with the verified org.json that it signs.
#[derive(Debug)]
pub struct Issuer {
    /// The key.
    pub key: AdminKey,
    /// Its signed certificate.
    pub certificate: SignedBytes,
    /// org.json, verified under the root hash that is bound into the key file.
    pub org: VerifiedOrg,
    /// The same as stored.
    pub file: OrgFile,
}

impl AdminDir {
    /// `org.json`.
    pub fn org(&self) -> PathBuf {
        self.0.join("org.json")
    }

    /// `root.key`.
    pub fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    /// `issuer.key`.
    pub fn issuer_key(&self) -> PathBuf {
        self.0.join("issuer.key")
    }

    /// An older version of the root key.
    pub fn old_root_key(&self, version: u32) -> PathBuf {
        self.0.join(format!("root-{version}.key"))
    }

    /// An older issuer's key.
    pub fn old_issuer_key(&self, serial: u64) -> PathBuf {
        self.0.join(format!("issuer-{serial}.key"))
    }

    /// `agents/`.
    pub fn agents(&self) -> PathBuf {
        self.0.join("agents")
    }

    /// org.json, not verified.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn read_org(&self) -> Result<OrgFile, Error> {
        read_org(&self.org())
    }

    /// Opens the root key.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_root(&self, passphrases: &AdminPassphrases) -> Result<AdminKey, Error> {
        AdminKey::open(&self.here(self.root_key())?, KeyKind::Root, || {
            terminal::passphrase(passphrases.root(), "the root key")
        })
    }

    /// The path of a root key that has to be here; it is mostly kept elsewhere.
    ///
    /// # Errors
    /// [`Error::RootKeyAway`].
    pub fn here(&self, key: PathBuf) -> Result<PathBuf, Error> {
        if key.exists() { Ok(key) } else { Err(Error::RootKeyAway(key)) }
    }

    /// Opens the issuer key and verifies the org.json beside it.
    ///
    /// # Errors
    /// [`Error::Org`] when org.json was altered; [`Error::ForeignKey`] when it is another organisation's than the key, or was
    /// signed by another issuer.
    pub fn open_issuer(&self, passphrases: &AdminPassphrases) -> Result<Issuer, Error> {
        let file = self.read_org()?;
        let key = AdminKey::open(&self.issuer_key(), KeyKind::Issuer, || {
            terminal::passphrase(passphrases.issuer(), "the issuer key")
        })?;
        let at = |source: OrgError| Error::Org { path: self.org(), source };
        let org = match file.verify(&key.root, &Floor::default(), clock::wall_ms()) {
            // org.json is sound by itself or not; beside this key it is a stranger's either way.
            Err(OrgError::WrongRoot) => return Err(Error::ForeignKey(self.issuer_key())),
            other => other.map_err(at)?,
        };
        if org.issuer().key != key.secret.verify_key() {
            return Err(Error::ForeignKey(self.issuer_key()));
        }
        let certificate = file.issuer().map_err(at)?;
        Ok(Issuer { key, certificate, org, file })
    }
}

impl LockedDir {
    /// Replaces org.json in one step.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_org(&self, file: &OrgFile) -> Result<(), Error> {
        Ok(private_file::replace(&self.org(), &org_text(file), Access::Public)?)
    }
}

impl AdminPassphrases {
    /// File of the root key's passphrase.
    pub fn root(&self) -> Option<&Path> {
        self.root_passphrase_file.as_deref().or(self.passphrase_file.as_deref())
    }

    /// File of the issuer key's passphrase.
    pub fn issuer(&self) -> Option<&Path> {
        self.issuer_passphrase_file.as_deref().or(self.passphrase_file.as_deref())
    }
}

/// Reads an org.json, not verified.
///
/// # Errors
/// [`Error::File`], [`Error::Malformed`].
pub fn read_org(path: &Path) -> Result<OrgFile, Error> {
    let bytes = private_file::read(path, MAX_ORG)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Malformed { path: path.into(), what: "org.json" })
}

/// org.json as written.
pub fn org_text(file: &OrgFile) -> Vec<u8> {
    // Text fields only: serialising cannot fail.
    let mut text = serde_json::to_vec_pretty(file).unwrap_or_default();
    text.push(b'\n');
    text
}
