//! Which of two things that issuers sign is newer: a revocation list, or the settings (§3.7).
//!
//! An issuer chooses the numbers of what it signs. The serial of its certificate is the root's word and comes first, so
//! that whoever holds the key of an earlier issuer neither takes anything back nor gets ahead of a later one.

use serde::{Deserialize, Serialize};

use super::certificate::IssuerCertificate;

/// A place in the order of what an organisation's issuers signed; the default comes before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edition {
    // The order of the fields is the order of comparison.
    root_version: u32,
    serial: u64,
    number: u64,
}

impl Edition {
    /// Number `number` of what this issuer signs.
    pub fn new(issuer: &IssuerCertificate, number: u64) -> Self {
        Self { root_version: issuer.root_version, serial: issuer.serial, number }
    }

    /// The number that the issuer gave.
    pub fn number(&self) -> u64 {
        self.number
    }
}
