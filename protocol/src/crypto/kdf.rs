//! SHA-256, HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869) over labelled, length-prefixed parts (§2).
//!
//! ```text
//! lp(x)           = length of x as 4 bytes, big-endian | x
//! hash(l, p..)    = SHA-256(lp(l) | lp(p1) | lp(p2) ..)
//! info(l, p..)    = lp(l) | lp(p1) | lp(p2) ..
//! ```

use alloc::vec::Vec;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::labels::Label;
use crate::secret::Secret;

/// Length prefix of a part.
fn prefix(part: &[u8]) -> [u8; 4] {
    // Parts are keys, ids, capped frames and attachment chunks: far below 4 GiB.
    (part.len() as u32).to_be_bytes()
}

/// SHA-256 without label or prefix, for bytes that have a format of their own.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Labelled hash of length-prefixed parts.
pub fn hash(label: Label, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in core::iter::once(&label.as_bytes()).chain(parts) {
        hasher.update(prefix(part));
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 fed piece by piece.
#[derive(Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl core::fmt::Debug for Sha256Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sha256Stream(..)")
    }
}

/// Keyed HMAC state; any key length is allowed (RFC 2104).
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("any key length")
}

/// `HMAC-SHA-256(key, data)`.
pub fn hmac(key: &[u8], data: &[u8]) -> Secret<32> {
    Secret::new(keyed(key).chain_update(data).finalize().into_bytes().into())
}

/// `HMAC(key, 1), HMAC(key, 2)`: one key schedule for both steps of a symmetric chain (§5).
pub(crate) fn hmac_pair(key: &Secret<32>) -> (Secret<32>, Secret<32>) {
    let mac = keyed(key.expose());
    let step =
        |mac: Hmac<Sha256>, byte: u8| Secret::new(mac.chain_update([byte]).finalize().into_bytes().into());
    (step(mac.clone(), 1), step(mac, 2))
}

/// Label and parts as HKDF's info.
fn info(label: Label, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for part in core::iter::once(&label.as_bytes()).chain(parts) {
        out.extend_from_slice(&prefix(part));
        out.extend_from_slice(part);
    }
    out
}

/// `N <= 255 * 32` is checked when compiled, so HKDF-Expand cannot fail.
#[expect(clippy::expect_used, reason = "the output length is checked when compiled")]
fn fill<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[u8]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "HKDF-SHA-256 gives at most 8,160 bytes") };
    let mut out = Secret::new([0; N]);
    hkdf.expand(info, out.expose_mut()).expect("length checked");
    out
}

/// HKDF-Extract over the concatenation of `ikm`.
fn extract(salt: &[u8], ikm: &[&[u8]]) -> Hkdf<Sha256> {
    let mut extract = hkdf::HkdfExtract::<Sha256>::new(Some(salt));
    ikm.iter().for_each(|part| extract.input_ikm(part));
    let (mut prk, hkdf) = extract.finalize();
    prk.as_mut_slice().zeroize();
    hkdf
}

/// `HKDF(salt, ikm1 | ikm2 .., info(label, parts))`: extract, then expand to `N` bytes. An empty salt is 32 zero bytes.
pub fn derive<const N: usize>(salt: &[u8], ikm: &[&[u8]], label: Label, parts: &[&[u8]]) -> Secret<N> {
    fill(&extract(salt, ikm), &info(label, parts))
}

/// `HKDF-Expand(key, info(label, parts))` to `N` bytes; the key is uniformly random already.
pub fn expand<const N: usize>(key: &Secret<32>, label: Label, parts: &[&[u8]]) -> Secret<N> {
    #[expect(clippy::expect_used, reason = "32 bytes are the smallest allowed key")]
    let hkdf = Hkdf::<Sha256>::from_prk(key.expose()).expect("32 bytes");
    fill(&hkdf, &info(label, parts))
}

/// HKDF with an info of any form, for the published test vectors; none when the output is too long.
#[cfg(test)]
pub(crate) fn hkdf_with_info(ikm: &[u8], salt: &[u8], info: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = alloc::vec![0; len];
    extract(salt, &[ikm]).expand(info, &mut out).ok().map(|()| out)
}
