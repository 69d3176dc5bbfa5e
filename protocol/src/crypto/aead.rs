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

/// `nonce | ciphertext | tag` in one buffer of exactly that size.
pub fn seal_x_behind_nonce(key: &Secret<32>, nonce: &[u8; 24], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(nonce.len() + text.len() + TAG_LEN);
    buffer.extend_from_slice(nonce);
    buffer.extend_from_slice(text);
    seal_from(&XChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, buffer, nonce.len())
}

/// Opens what [`seal_x`] made.
///
/// # Errors
/// [`OpenError`]; at fault: whoever altered the bytes.
pub fn open_x(key: &Secret<32>, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_with(&XChaCha20Poly1305::new(key.expose().into()), nonce.into(), aad, sealed)
}

type Nonce<C> = chacha20poly1305::aead::Nonce<C>;

fn seal_with<C: AeadInOut>(cipher: &C, nonce: &Nonce<C>, aad: &[u8], buffer: Vec<u8>) -> Vec<u8> {
    seal_from(cipher, nonce, aad, buffer, 0)
}

/// Seals what stands at `from` and behind it.
#[expect(clippy::expect_used, reason = "sealing fails above 256 GiB only; texts and chunks are below 64 KiB")]
fn seal_from<C: AeadInOut>(
    cipher: &C,
    nonce: &Nonce<C>,
    aad: &[u8],
    mut buffer: Vec<u8>,
    from: usize,
) -> Vec<u8> {
    buffer.reserve_exact(TAG_LEN);
    let text = &mut buffer[from..];
    let tag = cipher.encrypt_inout_detached(nonce, aad, text.into()).expect("short text");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_sealed_behind_its_nonce_in_one_buffer() {
        let (key, nonce) = (Secret::new([1; 32]), [2; 24]);
        for length in [0, 1, 2_304] {
            let text = alloc::vec![3; length];
            let sealed = seal_x_behind_nonce(&key, &nonce, b"aad", &text);
            assert_eq!(sealed, [&nonce[..], &seal_x(&key, &nonce, b"aad", text)].concat());
        }
    }
}
