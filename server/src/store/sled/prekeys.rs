//! One-time prekey pairs: handed out at most once ever. A pair that left, or was voided by a restore, leaves its id
//! behind until it would have expired, so that the same pair is not taken a second time.

use sealdesk_protocol::ids::DeviceKeyHash;

use super::committer::Txn;
use super::keys::{self, prefix};
use super::value::{split_number, with_number};
use crate::store::{LastResort, Prekey, StoreError};

fn held(device: &DeviceKeyHash) -> Vec<u8> {
    keys::key(prefix::PREKEY, &[device.as_bytes()])
}

/// The key under which a spent pair is remembered, from the key under which it was held.
pub(super) fn spent(held: &[u8]) -> Vec<u8> {
    keys::key(prefix::SPENT, &[held.get(1..).unwrap_or_default()])
}

pub(super) fn put(
    txn: &mut Txn<'_>,
    device: DeviceKeyHash,
    pairs: Vec<Prekey>,
    cap: usize,
) -> Result<usize, StoreError> {
    let mut count = txn.scan(&held(&device), usize::MAX)?.len();
    for pair in pairs {
        let key = keys::prekey(&device, &pair.id);
        if count >= cap {
            break;
        }
        if txn.get(&key)?.is_some() || txn.get(&spent(&key))?.is_some() {
            continue;
        }
        count += 1;
        txn.put(keys::expiry(keys::bucket(pair.expires_ms), &key), Vec::new());
        txn.put(key, with_number(pair.expires_ms, &pair.bytes));
    }
    Ok(count)
}

pub(super) fn put_last_resort(txn: &mut Txn<'_>, device: DeviceKeyHash, pair: &LastResort) {
    let key = keys::key(prefix::LAST_RESORT, &[device.as_bytes()]);
    txn.put(keys::expiry(keys::bucket(pair.expires_ms), &key), Vec::new());
    txn.put(key, with_number(pair.expires_ms, &pair.bytes));
}

pub(super) fn take(
    txn: &mut Txn<'_>,
    device: DeviceKeyHash,
    now_ms: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    for (key, value) in txn.scan(&held(&device), usize::MAX)? {
        let (expires, bytes) = split_number(&value).ok_or(StoreError::Corrupt("prekey"))?;
        let fresh = expires > now_ms;
        let bytes = bytes.to_vec();
        let gone = spent(&key);
        txn.put(keys::expiry(keys::bucket(expires), &gone), Vec::new());
        txn.put(gone, expires.to_be_bytes().to_vec());
        txn.remove(key);
        if fresh {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

pub(super) fn count(txn: &Txn<'_>, device: &DeviceKeyHash) -> Result<usize, StoreError> {
    Ok(txn.scan(&held(device), usize::MAX)?.len())
}
