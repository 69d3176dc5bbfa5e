//! The vault's header: format, organisation, and how the vault key is kept.
//!
//! ```text
//! wrapped vault key = XChaCha20-Poly1305(Argon2id(passphrase), nonce, aad = label | format | root, vault key)
//! ```

use std::path::Path;

use rand_core::CryptoRng;
use sealdesk_client::VaultKey;
use sealdesk_protocol::crypto::{aead, labels};
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::VaultError;
use crate::passphrase::{Passphrase, Stretch};
use crate::private_file::{self, FileError};

const FORMAT: u32 = 1;

/// How a vault's key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKept {
    /// Wrapped under a passphrase.
    Passphrase,
    /// In a 0600 file beside the vault: protects against other users, not against whoever copies the folder.
    KeyFile,
}

#[derive(Serialize, Deserialize)]
enum Kept {
    Passphrase { stretch: Stretch, nonce: [u8; 24], wrapped: Vec<u8> },
    KeyFile,
}

/// Written at creation, and when the passphrase changes.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    pub(super) root: RootHash,
    kept: Kept,
}

fn aad(format: u32, root: &RootHash) -> Vec<u8> {
    [labels::VAULT_WRAP.as_bytes(), &format.to_be_bytes(), root.as_bytes()].concat()
}

impl Header {
    pub(super) fn new(
        key: &VaultKey,
        root: &RootHash,
        passphrase: Option<&Passphrase>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, VaultError> {
        let kept = match passphrase {
            None => Kept::KeyFile,
            Some(passphrase) => {
                let stretch = Stretch::fresh(rng);
                let mut nonce = [0; 24];
                rng.fill_bytes(&mut nonce);
                let mut text = Vec::with_capacity(32 + aead::TAG_LEN);
                text.extend_from_slice(key.expose());
                let wrapped = aead::seal_x(&stretch.key(passphrase)?, &nonce, &aad(FORMAT, root), text);
                Kept::Passphrase { stretch, nonce, wrapped }
            }
        };
        Ok(Self { format: FORMAT, root: *root, kept })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, VaultError> {
        postcard::to_allocvec(self).map_err(|e| VaultError::Damaged(e.to_string()))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let damaged = |_| VaultError::Damaged("its header is malformed".into());
        // The format comes first, so that a newer header is told from a damaged one.
        let (format, _): (u32, _) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(VaultError::Newer(format));
        }
        postcard::from_bytes(bytes).map_err(damaged)
    }

    pub(super) const fn has_passphrase(&self) -> bool {
        matches!(self.kept, Kept::Passphrase { .. })
    }

    pub(super) fn key(
        &self,
        passphrase: Option<&Passphrase>,
        key_file: &Path,
    ) -> Result<VaultKey, VaultError> {
        match (&self.kept, passphrase) {
            (Kept::Passphrase { .. }, None) => Err(VaultError::PassphraseNeeded),
            (Kept::KeyFile, Some(_)) => Err(VaultError::NoPassphrase),
            (Kept::KeyFile, None) => read_key_file(key_file),
            (Kept::Passphrase { stretch, nonce, wrapped }, Some(passphrase)) => {
                let wrapping = stretch.key(passphrase)?;
                let key = aead::open_x(&wrapping, nonce, &aad(self.format, &self.root), wrapped)
                    .map_err(|_| VaultError::WrongPassphrase)?;
                vault_key(Zeroizing::new(key))
            }
        }
    }
}

fn read_key_file(path: &Path) -> Result<VaultKey, VaultError> {
    private_file::demand_owner_only(path)?;
    match private_file::read(path, 32) {
        Ok(key) => vault_key(Zeroizing::new(key)),
        Err(FileError::TooLarge { .. }) => Err(VaultError::Damaged("its key file is malformed".into())),
        Err(error) => Err(error.into()),
    }
}

fn vault_key(bytes: Zeroizing<Vec<u8>>) -> Result<VaultKey, VaultError> {
    let secret =
        Secret::<32>::from_slice(&bytes).ok_or_else(|| VaultError::Damaged("its key is malformed".into()))?;
    Ok(VaultKey::new(*secret.expose()))
}
