//! Keys of messages that have not arrived yet: at most 2,000, each dropped after the mailbox TTL (§5).
//!
//! Each key is a record of its own, named by chain and number, so that a message that skips nothing writes none.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::chain::{ChainHash, MessageKey};
use crate::crypto::codec::{self, StoredError};

/// Most keys kept in one session; above it the oldest are dropped.
pub const MAX_STORED: usize = 2_000;
/// Version of a stored key's record.
const VERSION: u8 = 1;

/// Name of a skipped key: unique in its session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SkippedName {
    chain: ChainHash,
    number: u32,
}

impl SkippedName {
    pub(super) fn new(chain: ChainHash, number: u32) -> Self {
        Self { chain, number }
    }

    /// `chain hash | number`, for the name of the record.
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut out = [0; 36];
        out[..32].copy_from_slice(&self.chain.0);
        out[32..].copy_from_slice(&self.number.to_be_bytes());
        out
    }

    /// From [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 36]) -> Self {
        let (mut chain, mut number) = ([0; 32], [0; 4]);
        chain.copy_from_slice(&bytes[..32]);
        number.copy_from_slice(&bytes[32..]);
        Self { chain: ChainHash(chain), number: u32::from_be_bytes(number) }
    }
}

impl fmt::Debug for SkippedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SkippedName({:02x}{:02x}.., {})", self.chain.0[0], self.chain.0[1], self.number)
    }
}

/// Which records to write and which to delete after an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedChanges {
    /// New keys; their records come from [`Session::skipped`](crate::session::Session::skipped).
    pub added: Vec<SkippedName>,
    /// Keys that are gone.
    pub removed: Vec<SkippedName>,
}

impl SkippedChanges {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    key: MessageKey,
    expires: u64,
}

/// All skipped keys of a session.
#[derive(Default)]
pub(super) struct SkippedKeys(BTreeMap<SkippedName, Stored>);

impl SkippedKeys {
    /// The key of a message, unless it is used, dropped or expired at `now`.
    pub(super) fn get(&self, name: &SkippedName, now: u64) -> Option<&MessageKey> {
        self.0.get(name).filter(|stored| now < stored.expires).map(|stored| &stored.key)
    }

    pub(super) fn remove(&mut self, name: SkippedName) -> SkippedChanges {
        self.0.remove(&name);
        SkippedChanges { added: Vec::new(), removed: alloc::vec![name] }
    }

    /// Adds keys; drops those of `dropped` chains, then the soonest to expire above [`MAX_STORED`].
    pub(super) fn update(
        &mut self,
        keys: impl IntoIterator<Item = (SkippedName, MessageKey)>,
        dropped: Option<ChainHash>,
        expires: u64,
    ) -> SkippedChanges {
        let mut changes = SkippedChanges::default();
        for (name, key) in keys {
            self.0.insert(name, Stored { key, expires });
            changes.added.push(name);
        }
        if let Some(chain) = dropped {
            let range = SkippedName::new(chain, 0)..=SkippedName::new(chain, u32::MAX);
            let names: Vec<SkippedName> = self.0.range(range).map(|(name, _)| *name).collect();
            self.drop_all(names, &mut changes);
        }
        let over = self.0.len().saturating_sub(MAX_STORED);
        self.drop_soonest(over, &mut changes);
        changes
    }

    /// Drops the `count` that expire soonest.
    pub(super) fn forget(&mut self, count: usize) -> SkippedChanges {
        let mut changes = SkippedChanges::default();
        self.drop_soonest(count, &mut changes);
        changes
    }

    fn drop_soonest(&mut self, count: usize, changes: &mut SkippedChanges) {
        if count > 0 {
            let mut by_age: Vec<(u64, SkippedName)> =
                self.0.iter().map(|(name, stored)| (stored.expires, *name)).collect();
            by_age.sort_unstable();
            self.drop_all(by_age.into_iter().take(count).map(|(_, name)| name).collect(), changes);
        }
    }

    /// Drops what expired.
    pub(super) fn expire(&mut self, now: u64) -> SkippedChanges {
        let mut changes = SkippedChanges::default();
        let gone = self.0.iter().filter(|(_, stored)| stored.expires <= now).map(|(name, _)| *name).collect();
        self.drop_all(gone, &mut changes);
        changes
    }

    /// A key that was added in the same operation never reached a record.
    fn drop_all(&mut self, names: Vec<SkippedName>, changes: &mut SkippedChanges) {
        for name in names {
            self.0.remove(&name);
            match changes.added.iter().position(|added| *added == name) {
                Some(at) => drop(changes.added.swap_remove(at)),
                None => changes.removed.push(name),
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &SkippedName> {
        self.0.keys()
    }

    /// A key's record, secret: `version | postcard`.
    pub(super) fn record(&self, name: &SkippedName) -> Option<Zeroizing<Vec<u8>>> {
        self.0.get(name).map(|stored| codec::encode_versioned(VERSION, &(name, stored)))
    }

    pub(super) fn load(&mut self, record: &[u8]) -> Result<(), StoredError> {
        let (name, stored) = codec::decode_versioned(VERSION, record)?;
        self.0.insert(name, stored);
        Ok(())
    }
}
