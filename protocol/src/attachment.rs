//! Attachments: sealed once in chunks, each of which opens by itself (§8).
//!
//! ```text
//! padded    = file | 0x00 ..           to Padmé of its length (Nikitin et al. 2019), at least 1 KiB
//! chunk i   = ChaCha20-Poly1305(key, nonce_i, aad = "attachment" | length of the file (8), padded[i * 32 KiB ..][..32 KiB])
//! nonce_i   = i (11 bytes, big-endian) | 1 in the last chunk, else 0       STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015)
//! ```
//!
//! The key is random for each attachment, so that counters are enough for nonces. A file is sealed once into a spool that
//! never changes; a resumed upload sends the spool's bytes, and never seals a file again that may have changed meanwhile.
//! Chunks cannot be exchanged, moved, repeated or cut off: index and end are in the nonce, the length in the additional data.

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;

use crate::crypto::aead::{self, TAG_LEN};
use crate::crypto::kdf::Sha256Stream;
use crate::crypto::labels;
use crate::secret::Secret;

/// Bytes of plaintext in a chunk; only the last chunk is shorter.
pub const CHUNK_LEN: usize = 32 * 1024;
/// Bytes of ciphertext in a chunk.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// Longest file, bytes (1 TiB); relays allow far less.
pub const MAX_LENGTH: u64 = 1 << 40;
/// Shortest padded length, bytes: Padmé hides next to nothing of tiny files.
const MIN_PADDED: u64 = 1024;

/// Why an attachment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// Above [`MAX_LENGTH`]. At fault: the sender.
    #[error("an attachment of {0} bytes is too long")]
    TooLong(u64),
    /// Not the bytes that belong into this chunk. At fault: the caller.
    #[error("chunk {index} of the attachment holds {expected} bytes, not {got}")]
    ChunkLength {
        /// Which chunk.
        index: u64,
        /// Its length.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// No such chunk. At fault: the caller.
    #[error("the attachment has no chunk {0}")]
    NoChunk(u64),
    /// Does not open, or its padding is not zero. At fault: the sender or the relay.
    #[error("chunk {0} of the attachment was altered")]
    Altered(u64),
    /// The ciphertext is not the one that the message names. At fault: the relay.
    #[error("the attachment is not the one that was sent")]
    WrongCiphertext,
}

/// How a file of a given length lies in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    length: u64,
    padded: u64,
}

impl Layout {
    /// Layout of a file of `length` bytes.
    ///
    /// # Errors
    /// [`AttachmentError::TooLong`].
    pub fn of(length: u64) -> Result<Self, AttachmentError> {
        if length > MAX_LENGTH {
            return Err(AttachmentError::TooLong(length));
        }
        Ok(Self { length, padded: padme(length.max(MIN_PADDED)) })
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Number of chunks, at least 1.
    pub fn chunks(&self) -> u64 {
        self.padded.div_ceil(CHUNK_LEN as u64)
    }

    /// Bytes of the whole ciphertext.
    pub fn ciphertext_length(&self) -> u64 {
        self.padded + self.chunks() * TAG_LEN as u64
    }

    /// Where a chunk begins in the ciphertext; its length is [`Layout::sealed_length`].
    pub fn offset(&self, index: u64) -> u64 {
        index * SEALED_CHUNK_LEN as u64
    }

    /// Bytes of ciphertext in a chunk.
    ///
    /// # Errors
    /// [`AttachmentError::NoChunk`].
    pub fn sealed_length(&self, index: u64) -> Result<usize, AttachmentError> {
        Ok(self.padded_length(index)? + TAG_LEN)
    }

    /// Bytes of the file in a chunk; 0 when a chunk is all padding.
    ///
    /// # Errors
    /// [`AttachmentError::NoChunk`].
    pub fn content_length(&self, index: u64) -> Result<usize, AttachmentError> {
        self.padded_length(index)?;
        Ok(part(self.length, index))
    }

    fn padded_length(&self, index: u64) -> Result<usize, AttachmentError> {
        if index < self.chunks() {
            Ok(part(self.padded, index))
        } else {
            Err(AttachmentError::NoChunk(index))
        }
    }

    fn is_last(&self, index: u64) -> bool {
        index + 1 == self.chunks()
    }
}

/// What of `total` bytes falls into chunk `index`, at most [`CHUNK_LEN`].
fn part(total: u64, index: u64) -> usize {
    total.saturating_sub(index * CHUNK_LEN as u64).min(CHUNK_LEN as u64) as usize
}

/// Padmé: rounds up so that only `log2(log2(len)) + 1` leading bits of the length stay; at most 12 % longer.
fn padme(length: u64) -> u64 {
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1 << (exponent - kept)) - 1;
    (length + mask) & !mask
}

/// Ciphertext length of a file of `length` bytes.
///
/// # Errors
/// [`AttachmentError::TooLong`].
pub fn ciphertext_length(length: u64) -> Result<u64, AttachmentError> {
    Ok(Layout::of(length)?.ciphertext_length())
}

/// The key of one attachment; travels in the message that refers to it.
pub struct AttachmentKey(Secret<32>);

impl AttachmentKey {
    /// A fresh key. One for each file, never used for a second one.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The key of a received message.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::new(*bytes))
    }

    /// The bytes that the message carries.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Seals chunk `index`; `content` is what [`Layout::content_length`] says, padding is added here.
    ///
    /// # Errors
    /// [`AttachmentError::ChunkLength`], [`AttachmentError::NoChunk`].
    pub fn seal(&self, layout: &Layout, index: u64, content: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        check_length(index, layout.content_length(index)?, content.len())?;
        let padded = layout.padded_length(index)?;
        let mut text = Vec::with_capacity(padded + TAG_LEN);
        text.extend_from_slice(content);
        text.resize(padded, 0);
        Ok(aead::seal(&self.0, &nonce(layout, index), &aad(layout), text))
    }

    /// Opens chunk `index` to the bytes of the file in it.
    ///
    /// # Errors
    /// [`AttachmentError`].
    pub fn open(&self, layout: &Layout, index: u64, sealed: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        check_length(index, layout.sealed_length(index)?, sealed.len())?;
        let altered = AttachmentError::Altered(index);
        let mut text =
            aead::open(&self.0, &nonce(layout, index), &aad(layout), sealed).map_err(|_| altered)?;
        let content = layout.content_length(index)?;
        if text[content..].iter().any(|&byte| byte != 0) {
            return Err(altered);
        }
        text.truncate(content);
        Ok(text)
    }
}

impl fmt::Debug for AttachmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttachmentKey(..)")
    }
}

fn check_length(index: u64, expected: usize, got: usize) -> Result<(), AttachmentError> {
    if expected == got { Ok(()) } else { Err(AttachmentError::ChunkLength { index, expected, got }) }
}

fn nonce(layout: &Layout, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(layout.is_last(index));
    nonce
}

fn aad(layout: &Layout) -> Vec<u8> {
    [labels::ATTACHMENT.as_bytes(), &layout.length.to_be_bytes()].concat()
}

/// Hashes a ciphertext piece by piece, in order: for sealing, and for checking a whole download before it is opened.
#[derive(Clone, Debug, Default)]
pub struct CiphertextHash {
    hash: Sha256Stream,
    length: u64,
}

impl CiphertextHash {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes of ciphertext.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// SHA-256 and length.
    pub fn finish(self) -> ([u8; 32], u64) {
        (self.hash.finish(), self.length)
    }

    /// Checks what was hashed against what the message names.
    ///
    /// # Errors
    /// [`AttachmentError::WrongCiphertext`].
    pub fn check(self, hash: &[u8; 32], length: u64) -> Result<(), AttachmentError> {
        if self.finish() == (*hash, length) { Ok(()) } else { Err(AttachmentError::WrongCiphertext) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
    use proptest::prelude::*;

    fn key() -> AttachmentKey {
        AttachmentKey::generate(&mut ChaCha20Rng::from_seed([5; 32]))
    }

    fn file(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 % 251) as u8).collect()
    }

    fn seal_all(key: &AttachmentKey, layout: &Layout, file: &[u8]) -> Vec<Vec<u8>> {
        (0..layout.chunks())
            .map(|i| {
                let at = (i as usize * CHUNK_LEN).min(file.len());
                let content = &file[at..at + layout.content_length(i).unwrap()];
                key.seal(layout, i, content).unwrap()
            })
            .collect()
    }

    #[test]
    fn padme_of_known_lengths() {
        // Computed by the paper's formula; the second pair shows that 1.x MB tells three leading bits more only.
        for (length, padded) in [
            (1024, 1024),
            (1025, 1088),
            (9, 10),
            (100_000, 100_352),
            (1_000_000, 1_015_808),
            (1 << 40, 1 << 40),
        ] {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    #[test]
    fn files_of_border_lengths_come_back() {
        let key = key();
        let lengths = [0, 1, 1023, 1024, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN, 200_000];
        for len in lengths {
            let (layout, file) = (Layout::of(len as u64).unwrap(), file(len));
            let sealed = seal_all(&key, &layout, &file);
            assert_eq!(sealed.iter().map(|c| c.len() as u64).sum::<u64>(), layout.ciphertext_length());
            // Opened backwards: each chunk by itself.
            let mut chunks: Vec<Vec<u8>> = (0..layout.chunks())
                .rev()
                .map(|i| key.open(&layout, i, &sealed[i as usize]).unwrap())
                .collect();
            chunks.reverse();
            assert_eq!(chunks.concat(), file, "{len}");
        }
    }

    #[test]
    fn a_chunk_all_of_padding_is_possible() {
        let layout = Layout::of(1 << 30 | 1).unwrap();
        let last = layout.chunks() - 1;
        assert_eq!(layout.content_length(last), Ok(0));
        let sealed = key().seal(&layout, last, &[]).unwrap();
        assert_eq!(key().open(&layout, last, &sealed), Ok(Vec::new()));
    }

    #[test]
    fn moved_cut_altered_and_foreign_chunks_are_refused() {
        let key = key();
        let (layout, file) = (Layout::of(200_000).unwrap(), file(200_000));
        let sealed = seal_all(&key, &layout, &file);
        assert_eq!(key.open(&layout, 1, &sealed[0]), Err(AttachmentError::Altered(1)), "moved");
        // A shorter file whose last chunk would be an inner one of this file: the last flag differs.
        let short = Layout { length: layout.length, padded: 2 * CHUNK_LEN as u64 };
        assert_eq!(key.open(&short, 1, &sealed[1]), Err(AttachmentError::Altered(1)), "cut off");
        let relabelled = Layout { length: layout.length - 1, padded: layout.padded };
        assert_eq!(key.open(&relabelled, 0, &sealed[0]), Err(AttachmentError::Altered(0)), "other length");
        let other = AttachmentKey::from_bytes(&[1; 32]);
        assert_eq!(other.open(&layout, 0, &sealed[0]), Err(AttachmentError::Altered(0)), "other key");
        assert_eq!(
            key.open(&layout, 0, &sealed[0][1..]),
            Err(AttachmentError::ChunkLength {
                index: 0,
                expected: SEALED_CHUNK_LEN,
                got: SEALED_CHUNK_LEN - 1
            })
        );
        assert_eq!(key.open(&layout, 99, &sealed[0]), Err(AttachmentError::NoChunk(99)));
        let small = Layout::of(10).unwrap();
        let good = key.seal(&small, 0, &[3; 10]).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bent = good.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&small, 0, &bent), Err(AttachmentError::Altered(0)), "bit {bit}");
        }
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let (key, layout) = (key(), Layout::of(10).unwrap());
        let mut text = alloc::vec![0; 1024];
        text[1000] = 1;
        let sealed = aead::seal(&key.0, &nonce(&layout, 0), &aad(&layout), text);
        assert_eq!(key.open(&layout, 0, &sealed), Err(AttachmentError::Altered(0)));
    }

    #[test]
    fn wrong_ciphertexts_and_lengths_are_refused() {
        let mut hash = CiphertextHash::new();
        hash.update(b"abc");
        let (digest, length) = hash.clone().finish();
        assert_eq!(hash.clone().check(&digest, length), Ok(()));
        assert_eq!(hash.clone().check(&digest, 4), Err(AttachmentError::WrongCiphertext));
        assert_eq!(hash.check(&[0; 32], 3), Err(AttachmentError::WrongCiphertext));
        assert_eq!(Layout::of(MAX_LENGTH + 1), Err(AttachmentError::TooLong(MAX_LENGTH + 1)));
        assert_eq!(
            key().seal(&Layout::of(10).unwrap(), 0, &[0; 9]),
            Err(AttachmentError::ChunkLength { index: 0, expected: 10, got: 9 })
        );
        assert_eq!(alloc::format!("{:?}", key()), "AttachmentKey(..)");
    }

    proptest! {
        #[test]
        fn layouts_add_up(length in 0..=MAX_LENGTH) {
            let layout = Layout::of(length).unwrap();
            prop_assert!(layout.padded >= length);
            prop_assert!(layout.padded <= (length + length / 8).max(MIN_PADDED));
            let last = layout.chunks() - 1;
            let end = layout.offset(last) + layout.sealed_length(last).unwrap() as u64;
            prop_assert_eq!(end, layout.ciphertext_length());
            prop_assert!(layout.sealed_length(last + 1).is_err());
        }
    }
}
