//! Mailboxes: items in order under rising positions, each id once, quotas, expiry.

use sealdesk_protocol::ids::MailboxId;

use super::committer::{Txn, failed};
use super::keys::{self, prefix};
use super::long;
use super::value::{split_number, with_number};
use crate::store::{Append, Appended, Quota, StoreError};

/// What the committer knows of a mailbox without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct MailboxState {
    /// No live item is below.
    first: u64,
    /// Position of the next item.
    next: u64,
    items: u64,
    bytes: u64,
    /// Expiry bucket noted last.
    bucket: u32,
}

fn load(txn: &Txn<'_>, mailbox: &MailboxId) -> Result<MailboxState, StoreError> {
    if let Some(state) = txn.mailboxes.get(mailbox) {
        return Ok(*state);
    }
    let (first, next) = match txn.get(&keys::floor(mailbox))? {
        Some(stored) => split_number(&stored)
            .and_then(|(first, rest)| Some((first, split_number(rest)?.0)))
            .ok_or(StoreError::Corrupt("mailbox floor"))?,
        None => (1, 1),
    };
    let mut state = MailboxState { first, next, items: 0, bytes: 0, bucket: 0 };
    for entry in txn.tree.range(keys::items(mailbox, first, u64::MAX)) {
        let (key, value) = entry.map_err(failed)?;
        state.next = state.next.max(keys::item_seq(&key) + 1);
        let (items, bytes) = weight(&key, &value);
        state.items += items;
        state.bytes += bytes;
    }
    Ok(state)
}

/// What a stored piece counts: items and bytes.
fn weight(key: &[u8], value: &[u8]) -> (u64, u64) {
    let length = value.len() as u64;
    if keys::is_first_piece(key) { (1, length.saturating_sub(8)) } else { (0, length) }
}

fn store_floor(txn: &mut Txn<'_>, mailbox: &MailboxId, state: MailboxState) {
    txn.put(keys::floor(mailbox), with_number(state.first, &state.next.to_be_bytes()));
    txn.mailboxes.insert(*mailbox, state);
}

/// Appends all items or none.
pub(super) fn append(
    txn: &mut Txn<'_>,
    items: Vec<Append>,
    quota: Quota,
) -> Result<Vec<Appended>, StoreError> {
    let mut states: Vec<(MailboxId, MailboxState)> = Vec::with_capacity(items.len());
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        let known = match txn.get(&keys::item_id(&item.mailbox, &item.id))? {
            Some(stored) => Some(split_number(&stored).ok_or(StoreError::Corrupt("item id"))?.0),
            None => None,
        };
        if let Some(seq) = known {
            answers.push(Appended { seq, fresh: false });
            continue;
        }
        let index = match states.iter().position(|(mailbox, _)| *mailbox == item.mailbox) {
            Some(index) => index,
            None => {
                states.push((item.mailbox, load(txn, &item.mailbox)?));
                states.len() - 1
            }
        };
        let state = &mut states[index].1;
        state.items += 1;
        state.bytes += item.bytes.len() as u64;
        if state.items > quota.items {
            return Err(StoreError::MailboxFull { limit: "number of messages" });
        }
        if state.bytes > quota.bytes {
            return Err(StoreError::MailboxFull { limit: "bytes" });
        }
        answers.push(Appended { seq: state.next, fresh: true });
        state.next += 1;
    }
    // Nothing below can refuse.
    for (item, answer) in items.into_iter().zip(&answers).filter(|(_, answer)| answer.fresh) {
        let bucket = keys::bucket(item.expires_ms);
        if let Some((_, state)) = states.iter_mut().find(|(mailbox, _)| *mailbox == item.mailbox)
            && state.bucket != bucket
        {
            state.bucket = bucket;
            txn.put(keys::expiry(bucket, &keys::key(prefix::ITEM, &[item.mailbox.as_bytes()])), Vec::new());
        }
        txn.appears(item.mailbox, answer.seq);
        txn.put(
            keys::item_id(&item.mailbox, &item.id),
            with_number(answer.seq, &item.expires_ms.to_be_bytes()),
        );
        let value = with_number(item.expires_ms, &item.bytes);
        long::put(txn, keys::item(&item.mailbox, answer.seq), value);
    }
    txn.mailboxes.extend(states);
    Ok(answers)
}

/// Deletes up to and including `up_to`; the memory of ids stays until expiry.
pub(super) fn ack(txn: &mut Txn<'_>, mailbox: MailboxId, up_to: u64) -> Result<(), StoreError> {
    let mut state = load(txn, &mailbox)?;
    let up_to = up_to.min(state.next - 1);
    if up_to < state.first {
        return Ok(());
    }
    for entry in txn.tree.range(keys::items(&mailbox, state.first, up_to)) {
        let (key, value) = entry.map_err(failed)?;
        let (items, bytes) = weight(&key, &value);
        state.items = state.items.saturating_sub(items);
        state.bytes = state.bytes.saturating_sub(bytes);
        txn.remove(key.to_vec());
    }
    state.first = up_to + 1;
    store_floor(txn, &mailbox, state);
    Ok(())
}

/// Drops what expired, items and the memory of ids, and answers how many items that were. Bounded by the quota and by
/// what one mailbox receives within the retention time.
pub(super) fn sweep(txn: &mut Txn<'_>, mailbox: MailboxId, now_ms: u64) -> Result<u64, StoreError> {
    let mut state = load(txn, &mailbox)?;
    let mut dropped = 0;
    // A further piece shares the fate of its item, which comes before it.
    let mut expired = false;
    for (key, value) in txn.scan(&keys::key(prefix::ITEM, &[mailbox.as_bytes()]), usize::MAX)? {
        if keys::is_first_piece(&key) {
            expired = split_number(&value).ok_or(StoreError::Corrupt("item"))?.0 <= now_ms;
        }
        if expired {
            let (items, bytes) = weight(&key, &value);
            dropped += items;
            state.items = state.items.saturating_sub(items);
            state.bytes = state.bytes.saturating_sub(bytes);
            txn.remove(key);
        }
    }
    if dropped > 0 {
        store_floor(txn, &mailbox, state);
    }
    for (key, value) in txn.scan(&keys::key(prefix::ITEM_ID, &[mailbox.as_bytes()]), usize::MAX)? {
        let expires = split_number(&value).and_then(|(_, rest)| split_number(rest));
        if expires.ok_or(StoreError::Corrupt("item id"))?.0 <= now_ms {
            txn.remove(key);
        }
    }
    Ok(dropped)
}
