//! Root keys and what they sign: the chain of versions, and the pins (§3.8).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{MAX_PART, OrgError};
use crate::crypto::identity::{SignedBytes, SigningSecret, VerifyKey};
use crate::crypto::{kdf, labels};
use crate::ids::RootHash;

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

/// Root keys whose chain verified up to the pinned root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPins {
    root: RootHash,
    keys: Vec<VerifyKey>,
    pins: Pins,
}

impl VerifiedPins {
    pub(super) fn verify(signed: &SignedBytes, pinned: &RootHash) -> Result<Self, OrgError> {
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
