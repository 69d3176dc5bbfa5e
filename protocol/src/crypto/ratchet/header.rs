//! The small header: which message of which chain, and for which roster it was composed (§5).
//!
//! ```text
//! small header = chain hash (32) | PN (4) | N (4) | epoch (4) | roster hash (32)        integers big-endian
//! sealed       = XChaCha(HK, r, aad = clear part, small header)                         r: fresh 24 bytes per envelope
//! ```

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::chain::ChainHash;
use crate::crypto::aead;
use crate::ids::RosterHash;
use crate::secret::Secret;

const LEN: usize = 32 + 4 + 4 + 4 + 32;

/// HK: seals the small headers and the chain part of one chain.
#[derive(Serialize, Deserialize)]
pub(crate) struct HeaderKey(Secret<32>);

impl HeaderKey {
    pub(super) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.0
    }
}

/// An opened small header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallHeader {
    /// Name of the chain, and proof that its part was not exchanged.
    pub(super) chain: ChainHash,
    /// PN: length of the sender's previous chain.
    pub(super) previous: u32,
    /// N: number in this chain, from 0.
    pub(super) number: u32,
    /// Epoch that the sender was in.
    pub(super) epoch: u32,
    /// Roster that the sender had.
    pub(super) roster: RosterHash,
}

impl SmallHeader {
    pub(super) fn seal(&self, key: &HeaderKey, r: &[u8; 24], clear: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(LEN + aead::TAG_LEN);
        text.extend_from_slice(&self.chain.0);
        text.extend_from_slice(&self.previous.to_be_bytes());
        text.extend_from_slice(&self.number.to_be_bytes());
        text.extend_from_slice(&self.epoch.to_be_bytes());
        text.extend_from_slice(self.roster.as_bytes());
        aead::seal_x(key.secret(), r, clear, text)
    }

    /// None when the key is another chain's, or the bytes were altered.
    pub(super) fn open(key: &HeaderKey, r: &[u8; 24], clear: &[u8], sealed: &[u8]) -> Option<Self> {
        let text = aead::open_x(key.secret(), r, clear, sealed).ok()?;
        let (chain, rest) = text.split_first_chunk()?;
        let (previous, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        Some(Self {
            chain: ChainHash(*chain),
            previous: u32::from_be_bytes(*previous),
            number: u32::from_be_bytes(*number),
            epoch: u32::from_be_bytes(*epoch),
            roster: RosterHash(rest.try_into().ok()?),
        })
    }
}
