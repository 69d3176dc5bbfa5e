//! ML-KEM-768 (FIPS 203) behind a small trait; the test oracle implements it as well (§2).

use alloc::boxed::Box;
use core::fmt;

use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::Secret;

/// Bytes of an encapsulation key.
pub const KEY_LEN: usize = 1184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_LEN: usize = 1088;
/// Bytes of the seed `d | z` that a key pair is made from and stored as.
pub const SEED_LEN: usize = 64;
const EXPANDED_LEN: usize = 2400;
/// Where the expanded key `s | ek | H(ek) | z` holds the encapsulation key (FIPS 203 algorithm 16).
const PUBLIC: core::ops::Range<usize> = 1152..1152 + KEY_LEN;
/// And what is secret of it: s, and the implicit rejection's z.
const SECRET: [core::ops::Range<usize>; 2] = [0..1152, 2368..EXPANDED_LEN];

/// What the protocol needs of a KEM with the sizes of ML-KEM-768.
pub trait Kem {
    /// The expanded decapsulation key; lives in memory only, and wipes what is secret of it.
    type Decapsulation;

    /// `KeyGen_internal(d, z)` (FIPS 203 algorithm 16).
    fn key_pair(seed: &Secret<SEED_LEN>) -> (Self::Decapsulation, [u8; KEY_LEN]);
    /// The modulus check of FIPS 203 §7.2.
    fn is_valid(key: &[u8; KEY_LEN]) -> bool;
    /// `Encaps_internal(ek, m)` (algorithm 17).
    fn encapsulate(key: &[u8; KEY_LEN], message: &Secret<32>) -> ([u8; CIPHERTEXT_LEN], Secret<32>);
    /// `Decaps_internal(dk, c)` (algorithm 18): implicit rejection, no branch on validity.
    fn decapsulate(key: &Self::Decapsulation, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret<32>;
}

/// libcrux's verified implementation.
#[derive(Debug)]
pub struct MlKem768;

/// libcrux's expanded key, which does not wipe itself.
pub struct Expanded(Box<MlKem768PrivateKey>);

impl Zeroize for Expanded {
    fn zeroize(&mut self) {
        SECRET.into_iter().for_each(|range| self.0[range].zeroize());
    }
}

impl Drop for Expanded {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Expanded {}

impl Expanded {
    /// FIPS 203's encoding of the expanded key.
    pub(crate) fn as_bytes(&self) -> &[u8; EXPANDED_LEN] {
        self.0.as_slice()
    }

    /// The encapsulation key in it.
    #[expect(clippy::expect_used, reason = "a range of constant length")]
    fn public(&self) -> &[u8; KEY_LEN] {
        self.as_bytes()[PUBLIC].try_into().expect("as many bytes")
    }
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expanded(..)")
    }
}

impl Kem for MlKem768 {
    type Decapsulation = Expanded;

    fn key_pair(seed: &Secret<SEED_LEN>) -> (Expanded, [u8; KEY_LEN]) {
        let (secret, public) = mlkem768::generate_key_pair(*seed.expose()).into_parts();
        (Expanded(Box::new(secret)), public.into())
    }

    fn is_valid(key: &[u8; KEY_LEN]) -> bool {
        mlkem768::validate_public_key(&MlKem768PublicKey::from(key))
    }

    fn encapsulate(key: &[u8; KEY_LEN], message: &Secret<32>) -> ([u8; CIPHERTEXT_LEN], Secret<32>) {
        let (ciphertext, mut shared) =
            mlkem768::encapsulate(&MlKem768PublicKey::from(key), *message.expose());
        let secret = Secret::new(shared);
        shared.zeroize();
        (ciphertext.into(), secret)
    }

    fn decapsulate(key: &Expanded, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret<32> {
        Secret::new(mlkem768::decapsulate(&key.0, &MlKem768Ciphertext::from(ciphertext)))
    }
}

/// The bytes are no ML-KEM-768 encapsulation key. At fault: the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's ML-KEM-768 key is invalid")]
pub struct InvalidKemKey;

/// An encapsulation key that passed validation; there is no other way to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEY_LEN]>);

impl KemPublic {
    /// Validates a peer's key (FIPS 203 §7.2).
    ///
    /// # Errors
    /// [`InvalidKemKey`].
    pub fn validate(bytes: &[u8]) -> Result<Self, InvalidKemKey> {
        let bytes: &[u8; KEY_LEN] = bytes.try_into().map_err(|_| InvalidKemKey)?;
        MlKem768::is_valid(bytes).then(|| Self(Box::new(*bytes))).ok_or(InvalidKemKey)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Ciphertext and shared secret, with randomness from `rng`.
    pub fn encapsulate(&self, rng: &mut dyn CryptoRng) -> ([u8; CIPHERTEXT_LEN], Secret<32>) {
        MlKem768::encapsulate(&self.0, &Secret::random(rng))
    }
}

impl fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemPublic({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Serialize for KemPublic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0[..])
    }
}

impl<'de> Deserialize<'de> for KemPublic {
    /// Validates again: stored state cannot smuggle a bad key in.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: serde_bytes::ByteBuf = Deserialize::deserialize(deserializer)?;
        Self::validate(&bytes).map_err(de::Error::custom)
    }
}

/// A decapsulation key: stored as its seed, expanded in memory.
pub struct KemSecret {
    seed: Secret<SEED_LEN>,
    expanded: Expanded,
}

impl KemSecret {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_seed(Secret::random(rng))
    }

    /// The key of a stored seed.
    pub fn from_seed(seed: Secret<SEED_LEN>) -> Self {
        let (expanded, _) = MlKem768::key_pair(&seed);
        Self { seed, expanded }
    }

    /// The public key's bytes.
    pub fn public(&self) -> &[u8; KEY_LEN] {
        self.expanded.public()
    }

    /// The shared secret of a ciphertext; of a forged one, an unpredictable other secret.
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret<32> {
        MlKem768::decapsulate(&self.expanded, ciphertext)
    }

    /// A second copy, on purpose.
    pub fn duplicate(&self) -> Self {
        Self { seed: self.seed.duplicate(), expanded: Expanded(self.expanded.0.clone()) }
    }
}

impl fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecret(..)")
    }
}

impl Serialize for KemSecret {
    /// The seed alone.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.seed.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KemSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer).map(Self::from_seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn wiped_stored_as_seed_and_never_shown() {
        let secret = KemSecret::generate(&mut ChaCha20Rng::from_seed([1; 32]));
        let mut copy = secret.duplicate();
        copy.expanded.zeroize();
        let (before, after) = (secret.expanded.as_bytes(), copy.expanded.as_bytes());
        assert!(before[..1152].iter().any(|b| *b != 0) && before[2368..].iter().any(|b| *b != 0));
        assert!(after[..1152].iter().chain(&after[2368..]).all(|b| *b == 0));
        // What is left is the public key and its hash, which another z does not change.
        let mut seed = *secret.seed.expose();
        seed[32..].fill(7);
        let other = KemSecret::from_seed(Secret::new(seed));
        assert_eq!(other.expanded.as_bytes()[2368..], [7; 32], "z");
        assert_eq!(after[1152..2368], other.expanded.as_bytes()[1152..2368]);
        assert_eq!(MlKem768::key_pair(&secret.seed).1, *secret.public());
        assert_eq!(alloc::format!("{secret:?} {:?}", secret.expanded), "KemSecret(..) Expanded(..)");

        let stored = postcard::to_allocvec(&secret).unwrap();
        assert_eq!(stored.len(), 1 + SEED_LEN);
        let again: KemSecret = postcard::from_bytes(&stored).unwrap();
        assert_eq!(again.public(), secret.public());
    }

    #[test]
    fn invalid_keys_do_not_load() {
        let key = KemSecret::generate(&mut ChaCha20Rng::from_seed([2; 32]));
        let public = KemPublic::validate(key.public()).unwrap();
        let mut stored = postcard::to_allocvec(&public).unwrap();
        assert_eq!(postcard::from_bytes::<KemPublic>(&stored), Ok(public));
        stored[2..5].fill(0xFF);
        assert!(postcard::from_bytes::<KemPublic>(&stored).is_err());
    }
}
