//! A symmetric chain: its keys, and the chain part that tells the peer how to reach it (§5).
//!
//! ```text
//! mk = HMAC(CK, 1)      CK' = HMAC(CK, 2)      body key, nonce = HKDF-Expand(mk, "body" | r) -> 44 B
//! chain part  = X25519 key (32) | ML-KEM key (1184) | ciphertext (1088)
//! sealed part = nonce (24) | XChaCha(HK, nonce, aad = "chain-part" | sid, chain part)    once per chain, repeated byte for byte
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::header::HeaderKey;
use super::{MAX_SKIP, Refused};
use crate::crypto::aead::{self, OpenError};
use crate::crypto::kem::{CIPHERTEXT_LEN, KEY_LEN, KemPublic};
use crate::crypto::{kdf, labels};
use crate::ids::SessionId;
use crate::secret::Secret;

/// CK.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChainKey(Secret<32>);

impl ChainKey {
    pub(super) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// `mk, CK'`.
    pub(super) fn step(&self) -> (MessageKey, ChainKey) {
        let (message, next) = kdf::hmac_pair(&self.0);
        (MessageKey(message), ChainKey(next))
    }

    /// Message keys of the numbers `from..to`, and the chain key of number `to`.
    ///
    /// # Errors
    /// [`Refused::Protocol`] when `to` lies before `from`, [`Refused::Skip`] above [`MAX_SKIP`] keys.
    pub(super) fn skip(&self, from: u32, to: u32) -> Result<(Vec<(u32, MessageKey)>, ChainKey), Refused> {
        let count = to.checked_sub(from).ok_or(Refused::Protocol)?;
        if count > MAX_SKIP {
            return Err(Refused::Skip);
        }
        let mut keys = Vec::with_capacity(count as usize);
        let mut chain = Self(self.0.duplicate());
        for number in from..to {
            let (message, next) = chain.step();
            keys.push((number, message));
            chain = next;
        }
        Ok((keys, chain))
    }
}

/// mk: seals one message, together with its r.
#[derive(Serialize, Deserialize)]
pub(crate) struct MessageKey(Secret<32>);

impl MessageKey {
    /// Body key and nonce: r is fresh for each sealing, so a state that was rolled back never seals two texts alike.
    fn body(&self, r: &[u8; 24]) -> (Secret<32>, [u8; 12]) {
        let keys: Secret<44> = kdf::expand(&self.0, labels::BODY, &[r]);
        (keys.part::<32, 0>(), *keys.part::<12, 32>().expose())
    }

    /// Seals a padded content.
    pub(super) fn seal(&self, r: &[u8; 24], aad: &[u8], padded: Vec<u8>) -> Vec<u8> {
        let (key, nonce) = self.body(r);
        aead::seal(&key, &nonce, aad, padded)
    }

    /// Opens a body to the padded content.
    pub(super) fn open(&self, r: &[u8; 24], aad: &[u8], body: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (key, nonce) = self.body(r);
        aead::open(&key, &nonce, aad, body)
    }
}

/// Hash of a sealed chain part: the chain's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ChainHash(pub(crate) [u8; 32]);

impl ChainHash {
    pub(super) fn of(sealed: &[u8]) -> Self {
        Self(kdf::hash(labels::CHAIN_HASH, &[sealed]))
    }
}

const PART_LEN: usize = 32 + KEY_LEN + CIPHERTEXT_LEN;
const NONCE_LEN: usize = 24;

/// An opened chain part: the sender's new keys, and the ciphertext for the receiver's old one.
pub(super) struct ChainPart(Box<[u8; PART_LEN]>);

impl ChainPart {
    pub(super) fn new(x: &[u8; 32], kem: &[u8; KEY_LEN], ciphertext: &[u8; CIPHERTEXT_LEN]) -> Self {
        let mut bytes = Box::new([0; PART_LEN]);
        bytes[..32].copy_from_slice(x);
        bytes[32..32 + KEY_LEN].copy_from_slice(kem);
        bytes[32 + KEY_LEN..].copy_from_slice(ciphertext);
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    pub(super) fn x(&self) -> Option<&[u8; 32]> {
        self.0.first_chunk()
    }

    /// The sender's ML-KEM key, validated.
    pub(super) fn kem(&self) -> Option<KemPublic> {
        KemPublic::validate(&self.0[32..32 + KEY_LEN]).ok()
    }

    pub(super) fn ciphertext(&self) -> Option<&[u8; CIPHERTEXT_LEN]> {
        self.0.last_chunk()
    }

    pub(super) fn seal(&self, key: &HeaderKey, session: &SessionId, rng: &mut dyn CryptoRng) -> Box<[u8]> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        aead::seal_x_behind_nonce(key.secret(), &nonce, &part_aad(session), &self.0[..]).into_boxed_slice()
    }

    pub(super) fn open(key: &HeaderKey, session: &SessionId, sealed: &[u8]) -> Result<Self, OpenError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let part = aead::open_x(key.secret(), nonce, &part_aad(session), sealed)?;
        let part: Box<[u8; PART_LEN]> = part.into_boxed_slice().try_into().map_err(|_| OpenError)?;
        Ok(Self(part))
    }
}

/// `"chain-part" | sid`.
fn part_aad(session: &SessionId) -> Vec<u8> {
    [labels::CHAIN_PART.as_bytes(), session.as_bytes()].concat()
}
