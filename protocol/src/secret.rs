//! Secret bytes: wiped on drop, compared in constant time, never shown.

use core::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes, zeroized on drop.
///
/// Not `Clone`: a deliberate copy is [`Secret::duplicate`]. Moving a value may leave a copy of it on the stack, as with
/// every Rust value; what lives long (vault key, session state) stays where it was put. Serialisation is for state that
/// is sealed afterwards, never for the wire.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over; the caller wipes its own copy, if it keeps one.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Fresh random bytes.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut out = Self([0; N]);
        rng.fill_bytes(&mut out.0);
        out
    }

    /// Copies a slice of exactly `N` bytes; none for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut out = Self([0; N]);
        (bytes.len() == N).then(|| out.0.copy_from_slice(bytes))?;
        Some(out)
    }

    /// The bytes. The name is long so that every use stands out.
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes for a function that fills them in place.
    pub(crate) const fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// A second copy, on purpose.
    pub const fn duplicate(&self) -> Self {
        Self(self.0)
    }

    /// `M` of the bytes from `at` on, for splitting the output of a key derivation. `at + M <= N` is checked when compiled.
    pub(crate) fn part<const M: usize, const AT: usize>(&self) -> Secret<M> {
        const { assert!(AT + M <= N, "a part lies inside the secret") };
        let mut out = Secret([0; M]);
        out.0.copy_from_slice(&self.0[AT..AT + M]);
        out
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;
        impl<const N: usize> de::Visitor<'_> for Bytes<N> {
            type Value = Secret<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Secret<N>, E> {
                Secret::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(alloc::format!("{:?}", Secret::new([0x41; 32])), "Secret(..)");
    }

    #[test]
    fn wiped_by_zeroize_and_on_drop() {
        fn on_drop<T: ZeroizeOnDrop>() {}
        on_drop::<Secret<32>>();
        let mut secret = Secret::new([7; 32]);
        secret.zeroize();
        assert_eq!(secret.expose(), &[0; 32]);
    }

    #[test]
    fn equality_and_stored_form() {
        let secret = Secret::new([9; 32]);
        assert_eq!(secret, secret.duplicate());
        assert_ne!(secret, Secret::new([8; 32]));
        let stored = postcard::to_allocvec(&secret).unwrap();
        assert_eq!(stored.len(), 33);
        assert_eq!(postcard::from_bytes::<Secret<32>>(&stored).unwrap(), secret);
        assert!(postcard::from_bytes::<Secret<16>>(&stored).is_err());
    }
}
