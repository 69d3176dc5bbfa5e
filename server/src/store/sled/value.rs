//! Values: a big-endian number, then the rest.

/// `number | rest`.
pub(super) fn with_number(number: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + rest.len());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(rest);
    out
}

/// The inverse of [`with_number`].
pub(super) fn split_number(value: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}
