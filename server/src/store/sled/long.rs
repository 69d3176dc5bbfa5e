//! Long values, in pieces under consecutive keys.
//!
//! sled keeps up to 17 neighbours in one leaf and writes the leaf as a whole from time to time. A leaf above a quarter of a
//! segment (128 KiB) goes to a file of its own, which sled does not flush to disk: a power cut would take all of it.
//! Pieces of 6 KiB keep every leaf below that.
//!
//! ```text
//! key       first piece
//! key | n   piece n, from 1
//! ```

use bytes::{Bytes, BytesMut};

use super::committer::Txn;
use crate::store::StoreError;

/// Largest stored value, bytes: 17 of them and their keys fit into 128 KiB.
pub(super) const PIECE: usize = 6 * 1024;

/// Stores a value in pieces; one that was longer before leaves nothing behind.
pub(super) fn replace(txn: &mut Txn<'_>, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
    for (old, _) in txn.scan(&key, usize::MAX)? {
        if piece_number(&key, &old) >= value.len().div_ceil(PIECE).max(1) {
            txn.remove(old);
        }
    }
    put(txn, key, value);
    Ok(())
}

/// Stores a value in pieces where none was.
pub(super) fn put(txn: &mut Txn<'_>, key: Vec<u8>, mut value: Vec<u8>) {
    for (piece, number) in value.get(PIECE..).unwrap_or_default().chunks(PIECE).zip(1u8..=u8::MAX) {
        let mut piece_key = key.clone();
        piece_key.push(number);
        txn.put(piece_key, piece.to_vec());
    }
    value.truncate(PIECE);
    txn.put(key, value);
}

/// Removes a value with all its pieces.
pub(super) fn remove(txn: &mut Txn<'_>, key: &[u8]) -> Result<(), StoreError> {
    for (piece, _) in txn.scan(key, usize::MAX)? {
        txn.remove(piece);
    }
    Ok(())
}

/// Puts the pieces together; none if there is no value.
pub(super) fn join(pieces: Vec<Bytes>) -> Option<Bytes> {
    let mut pieces = pieces.into_iter();
    let first = pieces.next()?;
    if pieces.len() == 0 {
        return Some(first);
    }
    let mut whole = BytesMut::from(first);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    Some(whole.freeze())
}

fn piece_number(key: &[u8], piece: &[u8]) -> usize {
    piece.get(key.len()).copied().map_or(0, usize::from)
}
