//! Conversations' records: read, and swapped together with what goes into mailboxes.

use sealdesk_protocol::ids::ConversationId;

use super::committer::Txn;
use super::keys::{self, prefix};
use super::layers::Layers;
use super::value::{split_number, with_number};
use super::{audit, long, mailbox};
use crate::store::{Keep, Quota, StoreError, Swap, Swapped, Versioned};

/// A conversation's record.
pub(super) fn read(layers: &Layers, id: ConversationId) -> Result<Option<Versioned>, StoreError> {
    let key = keys::conversation(&id);
    let pieces = layers.entries(&key, &keys::after(&key), usize::MAX)?;
    long::join(pieces.into_iter().map(|(_, piece)| piece).collect())
        .map(|stored| decode_versioned(&stored))
        .transpose()
}

/// All that are not closed.
pub(super) fn open(layers: &Layers) -> Result<Vec<(ConversationId, Versioned)>, StoreError> {
    let mut ids = Vec::new();
    layers.all(&[prefix::OPEN], |(key, _)| {
        ids.push(ConversationId::try_from(key.get(1..).unwrap_or_default()));
    })?;
    let mut found = Vec::new();
    for id in ids {
        let id = id.map_err(|_| StoreError::Corrupt("open conversation"))?;
        if let Some(record) = read(layers, id)? {
            found.push((id, record));
        }
    }
    Ok(found)
}

/// `expiry (0: open) | version | record`.
fn decode_versioned(stored: &[u8]) -> Result<Versioned, StoreError> {
    let (version, bytes) = split_number(stored)
        .and_then(|(_, rest)| split_number(rest))
        .ok_or(StoreError::Corrupt("conversation"))?;
    Ok(Versioned { version, bytes: bytes.to_vec() })
}

/// Compare-and-swap, with everything that goes along.
pub(super) fn swap(txn: &mut Txn<'_>, swap: Swap, quota: Quota) -> Result<Swapped, StoreError> {
    let key = keys::conversation(&swap.conversation);
    let current = match txn.get(&key)? {
        Some(first_piece) => decode_versioned(&first_piece)?.version,
        None => 0,
    };
    if current != swap.expected {
        return Err(StoreError::Conflict { current });
    }
    let asked = swap.appends.len();
    let mut appends = swap.appends;
    for item in swap.if_room {
        if mailbox::takes(txn, &item, &appends, quota)? {
            appends.push(item);
        }
    }
    let mut positions = mailbox::append(txn, appends, quota)?;
    positions.truncate(asked);
    let version = current + 1;
    let expires_ms = match swap.keep {
        Keep::Open => {
            txn.put(keys::open(&swap.conversation), Vec::new());
            0
        }
        Keep::Until(expires_ms) => {
            txn.remove(keys::open(&swap.conversation));
            txn.put(keys::expiry(keys::bucket(expires_ms), &key), Vec::new());
            expires_ms
        }
    };
    long::replace(txn, key, with_number(expires_ms, &with_number(version, &swap.record)))?;
    if let Some(entry) = swap.audit {
        audit(txn, &entry);
    }
    Ok(Swapped { version, positions })
}
