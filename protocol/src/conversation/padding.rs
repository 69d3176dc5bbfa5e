//! Padding of a plaintext to one of four sizes before it is encrypted, so that the relay learns a bucket only (§6).
//!
//! ```text
//! padded = content | 0x80 | 0x00 ..      ISO/IEC 7816-4, to the smallest bucket that holds content and marker
//! ```

use alloc::vec::Vec;

/// The sizes, bytes.
pub const BUCKETS: [usize; 4] = [1024, 4 * 1024, 16 * 1024, 48 * 1024];

/// Longest content that fits, bytes.
pub const MAX_CONTENT: usize = BUCKETS[3] - 1;

/// The content is longer than [`MAX_CONTENT`]; at fault: the caller, larger content is an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is above the limit of {MAX_CONTENT}; send it as an attachment")]
pub struct TooLong(pub usize);

/// Not padded, or not to the smallest bucket. At fault: the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is padded wrongly")]
pub struct BadPadding;

/// The bucket for a content of `len` bytes.
fn bucket(len: usize) -> Option<usize> {
    BUCKETS.into_iter().find(|&size| len < size)
}

/// Pads to the smallest bucket. `spare` more bytes are reserved, for what the caller appends.
///
/// # Errors
/// [`TooLong`].
pub fn pad(content: &[u8], spare: usize) -> Result<Vec<u8>, TooLong> {
    let size = bucket(content.len()).ok_or(TooLong(content.len()))?;
    let mut padded = Vec::with_capacity(size + spare);
    padded.extend_from_slice(content);
    padded.push(0x80);
    padded.resize(size, 0);
    Ok(padded)
}

/// Removes the padding; there is one valid padding for each content.
///
/// # Errors
/// [`BadPadding`].
pub fn unpad(mut padded: Vec<u8>) -> Result<Vec<u8>, BadPadding> {
    // Whole blocks of zeros first: most of a short message's bucket is padding.
    let zeros: usize =
        padded.rchunks(64).take_while(|c| c.iter().fold(0, |a, b| a | b) == 0).map(<[u8]>::len).sum();
    let marker = padded[..padded.len() - zeros].iter().rposition(|&b| b != 0).ok_or(BadPadding)?;
    if padded[marker] != 0x80 || bucket(marker) != Some(padded.len()) {
        return Err(BadPadding);
    }
    padded.truncate(marker);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_borders() {
        for (len, size) in
            [(0, 1024), (1023, 1024), (1024, 4096), (4095, 4096), (16383, 16384), (49151, 49152)]
        {
            let content = alloc::vec![0x80; len];
            let padded = pad(&content, 16).unwrap();
            assert_eq!(padded.len(), size, "{len}");
            assert_eq!(unpad(padded).unwrap(), content);
        }
        assert_eq!(pad(&[0; 49152], 0), Err(TooLong(49152)));
    }

    #[test]
    fn bad_padding_is_refused() {
        let padded = pad(b"hello", 0).unwrap();
        let mut no_marker = padded.clone();
        no_marker[5] = 0;
        let mut other_marker = padded.clone();
        other_marker[5] = 0x81;
        let mut trailing = padded.clone();
        trailing[1023] = 1;
        let mut larger_bucket = padded.clone();
        larger_bucket.resize(4096, 0);
        let no_bucket = padded[..1000].to_vec();
        for bad in
            [no_marker, other_marker, trailing, larger_bucket, no_bucket, alloc::vec![0; 1024], Vec::new()]
        {
            assert_eq!(unpad(bad), Err(BadPadding));
        }
    }
}
