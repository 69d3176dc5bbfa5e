//! X25519 (RFC 7748) with refusal of all-zero outputs (§2).

use core::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::secret::Secret;

/// The peer's X25519 key is of low order: the shared secret would be all zero, known to everybody. At fault: the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's X25519 key is of low order")]
pub struct LowOrder;

/// An X25519 secret with its public key computed once: recomputing it costs more than the whole of a message.
pub struct DhSecret {
    secret: StaticSecret,
    public: [u8; 32],
}

impl DhSecret {
    /// A fresh key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::from_secret(&Secret::random(rng))
    }

    /// From stored bytes; clamping happens at use (RFC 7748 §5).
    pub fn from_secret(bytes: &Secret<32>) -> Self {
        let secret = StaticSecret::from(*bytes.expose());
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// The public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// `DH(self, peer)`.
    ///
    /// # Errors
    /// [`LowOrder`] when the output is all zero.
    pub fn agree(&self, peer: &[u8; 32]) -> Result<Secret<32>, LowOrder> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*peer));
        shared.was_contributory().then(|| Secret::new(shared.to_bytes())).ok_or(LowOrder)
    }

    /// A second copy, on purpose.
    pub fn duplicate(&self) -> Self {
        Self { secret: self.secret.clone(), public: self.public }
    }

    pub(crate) fn to_secret(&self) -> Secret<32> {
        Secret::new(self.secret.to_bytes())
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret(..)")
    }
}

/// Secret and public key, so that loading costs no scalar multiplication.
#[derive(Serialize, Deserialize)]
struct Stored(Secret<32>, [u8; 32]);

impl Serialize for DhSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored(self.to_secret(), self.public).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DhSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored(secret, public) = Stored::deserialize(deserializer)?;
        Ok(Self { secret: StaticSecret::from(*secret.expose()), public })
    }
}
