//! Passphrase -> key: Argon2id (RFC 9106) with its parameters and salt stored beside what the key opens.

use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use sealdesk_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Shortest passphrase, characters.
pub const MIN_CHARACTERS: usize = 8;
/// Longest passphrase, bytes.
const MAX_BYTES: usize = 1024;

/// A passphrase, wiped on drop and never shown.
pub struct Passphrase(Zeroizing<String>);

/// Why a text is no passphrase. At fault: whoever chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassphrase {
    /// Too few characters.
    #[error("a passphrase has at least {MIN_CHARACTERS} characters")]
    Short,
    /// Too many bytes.
    #[error("a passphrase has at most {MAX_BYTES} bytes")]
    Long,
}

impl Passphrase {
    /// Checks the length.
    ///
    /// # Errors
    /// [`BadPassphrase`].
    pub fn new(text: Zeroizing<String>) -> Result<Self, BadPassphrase> {
        if text.len() > MAX_BYTES {
            return Err(BadPassphrase::Long);
        }
        if text.chars().count() < MIN_CHARACTERS {
            return Err(BadPassphrase::Short);
        }
        Ok(Self(text))
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        // Both were typed at this terminal: nothing is learnt from the time that this takes.
        *self.0 == *other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Parameters and salt of one stretching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Random.
    pub salt: [u8; 16],
}

/// Parameters outside what this program accepts. At fault: whoever altered the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of the passphrase's key are out of range: the file is damaged or was altered")]
pub struct BadStretch;

impl Stretch {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes; and a fresh salt.
    pub fn fresh(rng: &mut dyn CryptoRng) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4, salt }
    }

    /// The key: about 0.1 s and 64 MiB.
    ///
    /// # Errors
    /// [`BadStretch`]: nothing weaker than 8 MiB and nothing that would block this machine is accepted from a file.
    pub fn key(&self, passphrase: &Passphrase) -> Result<Secret<32>, BadStretch> {
        let in_range = (8 * 1024..=1024 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        if !in_range {
            return Err(BadStretch);
        }
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| BadStretch)?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), &self.salt, out.as_mut_slice())
            .map_err(|_| BadStretch)?;
        Ok(Secret::new(*out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into())).unwrap()
    }

    #[test]
    fn salt_and_passphrase_both_count() {
        let stretch = Stretch { memory_kib: 8 * 1024, passes: 1, lanes: 1, salt: [1; 16] };
        let other = Stretch { salt: [2; 16], ..stretch.clone() };
        let key = stretch.key(&passphrase("correct horse")).unwrap();
        assert_eq!(key, stretch.key(&passphrase("correct horse")).unwrap());
        assert_ne!(key, stretch.key(&passphrase("correct house")).unwrap());
        assert_ne!(key, other.key(&passphrase("correct horse")).unwrap());
    }

    #[test]
    fn parameters_from_a_file_are_bounded() {
        let good = Stretch { memory_kib: 8 * 1024, passes: 1, lanes: 1, salt: [1; 16] };
        for bad in [
            Stretch { memory_kib: 8 * 1024 - 1, ..good.clone() },
            Stretch { memory_kib: u32::MAX, ..good.clone() },
            Stretch { passes: 0, ..good.clone() },
            Stretch { passes: 1000, ..good.clone() },
            Stretch { lanes: 0, ..good.clone() },
            Stretch { lanes: 17, ..good },
        ] {
            assert_eq!(bad.key(&passphrase("correct horse")), Err(BadStretch), "{bad:?}");
        }
    }

    #[test]
    fn length_is_checked_and_debug_hides() {
        let new = |text: &str| Passphrase::new(Zeroizing::new(text.into()));
        assert_eq!(new("1234567").err(), Some(BadPassphrase::Short));
        assert_eq!(new(&"x".repeat(1025)).err(), Some(BadPassphrase::Long));
        assert_eq!(format!("{:?}", new("كلمة سر طويلة").unwrap()), "Passphrase(..)");
    }
}
