//! postcard with a cap before decoding and no bytes left over (§2); stored state with a leading version byte.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// The bytes are no such value: too long, malformed, or followed by more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Encodes a value of this crate.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_onto(value, Vec::new())
}

/// Encodes a value of this crate behind what `out` holds.
#[expect(
    clippy::expect_used,
    reason = "a vector grows, and no type of this crate has a fallible Serialize or a sequence of unknown length"
)]
pub(crate) fn encode_onto<T: Serialize>(value: &T, out: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, out).expect("encoding into memory")
}

/// Decodes a whole value of at most `max` bytes.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], max: usize) -> Result<T, Malformed> {
    if bytes.len() > max {
        return Err(Malformed);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Malformed),
    }
}

/// Why stored state does not load. At fault: the vault, or an older program reading a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Written by a newer version.
    #[error("stored state of version {0} was written by a newer Sealdesk")]
    Version(u8),
    /// Damaged.
    #[error("stored state is damaged")]
    Damaged,
}

impl From<Malformed> for StoredError {
    fn from(_: Malformed) -> Self {
        Self::Damaged
    }
}

/// Largest stored value; far above any that this crate writes.
const MAX_STORED: usize = 64 * 1024;

/// `version | postcard`, secret: seal it before it is written.
#[expect(clippy::expect_used, reason = "as encode_onto")]
pub(crate) fn encode_versioned<T: Serialize>(version: u8, value: &T) -> Zeroizing<Vec<u8>> {
    // Into a buffer of exactly the size: one that grows leaves half-filled ones with secrets behind, and every byte is wiped.
    let size = postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default());
    let mut out = Vec::with_capacity(1 + size.expect("encoding into memory"));
    out.push(version);
    Zeroizing::new(encode_onto(value, out))
}

/// Reads what [`encode_versioned`] wrote. A later version of the format adds its migration here, by the first byte.
pub(crate) fn decode_versioned<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, StoredError> {
    match bytes.split_first() {
        Some((&found, body)) if found == version => Ok(decode(body, MAX_STORED)?),
        Some((&found, _)) if found > version => Err(StoredError::Version(found)),
        _ => Err(StoredError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_takes_exactly_its_bytes() {
        for length in [0, 1, 127, 128, 8_191, 20_000] {
            let stored = encode_versioned(1, &alloc::vec![7u8; length]);
            assert_eq!(stored.capacity(), stored.len(), "{length}");
            assert_eq!(decode_versioned::<Vec<u8>>(1, &stored), Ok(alloc::vec![7; length]));
        }
    }
}
