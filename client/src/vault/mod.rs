//! The vault: every record that the engine keeps, sealed before it leaves (§11).
//!
//! ```text
//! id, name key, record key, wrap key = HKDF-Expand(vault key, ..)
//! conversation key                   = random, stored wrapped under the wrap key; deleting that one row shreds the rest
//! name   = kind | HMAC-SHA-256(name key, kind | what it names)
//! sealed = format (1) | key tag (8) | generation (8) | nonce (24) | XChaCha(key, nonce, aad, version (1) | postcard)
//! aad    = "vault-record" | vault id | name | format | key tag | generation
//! ```
//!
//! The generation counts batches. A row is bound to the batch that wrote it, so that rows of a later copy of the vault
//! do not pass for this one's.

mod key;
mod record;
mod sealed;

pub use key::VaultKey;
pub(crate) use key::{Key, Kind};
pub(crate) use record::{Record, body, decode, encode};
pub(crate) use sealed::{Opened, Vault};

/// Whether a record with this kind byte (the first byte of its name) is read when the vault is opened. The others are
/// transcript and quarantine, read on demand.
pub const fn is_hot(kind: u8) -> bool {
    kind < 0x80
}

/// Why a vault does not open. At fault: the disk, whoever altered it, or the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corrupt {
    /// Nothing opens under this key.
    #[error(
        "the vault does not open: wrong key or passphrase, or its first record is damaged; restore it from a backup"
    )]
    WrongKey,
    /// A record of this kind does not open or decode.
    #[error("a record of kind {0:#04x} in the vault is damaged; restore the vault from a backup")]
    Record(u8),
    /// A record of this kind was written by a newer program.
    #[error("a record of kind {0:#04x} was written by a newer version of Sealdesk; update this program")]
    Newer(u8),
    /// Records do not fit together: some are missing or come from another copy of this vault.
    #[error("the vault's records do not fit together ({0}); restore it from a backup")]
    Inconsistent(&'static str),
    /// The vault belongs to another organisation than the org.json given.
    #[error("the vault belongs to another organisation than this org.json")]
    ForeignOrganisation,
    /// org.json is older than one that this vault accepted before.
    #[error(
        "org.json is older than the one seen before: an old copy was put there, by mistake or by somebody"
    )]
    OrganisationRollback,
}
