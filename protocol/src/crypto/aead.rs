//! ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): `ciphertext | 16-byte tag`.

use alloc::vec::Vec;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};

use crate::secret::Secret;

/// Bytes that the tag adds.
pub const TAG_LEN: usize = 16;

/// The ciphertext, its additional data, key or nonce is not what was sealed. Says no more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open under this key")]
pub struct OpenError;

/// Seals `buffer` in place and appends the tag. `nonce` is used once for each key.
pub fn seal(key: &Secret<32>, nonce: &[u8; 12], aad: &[u8], buffer: Vec<u8>) -> Vec<u8> {
    seal_with(&ChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, buffer)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`OpenError`]; at fault: whoever altered the bytes.
pub fn open(key: &Secret<32>, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_with(&ChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, sealed)
}

/// Seals with a 24-byte nonce, which may be random.
pub fn seal_x(key: &Secret<32>, nonce: &[u8; 24], aad: &[u8], buffer: Vec<u8>) -> Vec<u8> {
    seal_with(&XChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, buffer)
}

/// Opens what [`seal_x`] made.
///
/// # Errors
/// [`OpenError`]; at fault: whoever altered the bytes.
pub fn open_x(key: &Secret<32>, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_with(&XChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, sealed)
}

type Nonce<C> = chacha20poly1305::aead::Nonce<C>;

#[expect(clippy::expect_used, reason = "sealing fails above 256 GiB only; texts and chunks are below 64 KiB")]
fn seal_with<C: AeadInOut>(cipher: &C, nonce: &Nonce<C>, aad: &[u8], mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.reserve_exact(TAG_LEN);
    let tag = cipher.encrypt_inout_detached(nonce, aad, buffer.as_mut_slice().into()).expect("short text");
    buffer.extend_from_slice(&tag);
    buffer
}

fn open_with<C: AeadInOut>(
    cipher: &C,
    nonce: &Nonce<C>,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let (text, tag) = sealed.len().checked_sub(TAG_LEN).map(|n| sealed.split_at(n)).ok_or(OpenError)?;
    let tag = tag.try_into().map_err(|_| OpenError)?;
    let mut text = text.to_vec();
    // The tag is checked before anything is decrypted.
    cipher.decrypt_inout_detached(nonce, aad, text.as_mut_slice().into(), tag).map_err(|_| OpenError)?;
    Ok(text)
}
