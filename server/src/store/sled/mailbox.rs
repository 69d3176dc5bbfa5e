//! Mailboxes: items in order under rising positions, each id once, quotas, expiry.
//!
//! ```text
//! m | mailbox | position             expiry | id | bytes
//! i | mailbox | last position        expiry | (position, id)...     ids of acknowledged items
//! n | mailbox                        first live position | next position
//! ```
//!
//! An id is known while its item is here, and after the acknowledgement until it expires or [`REMEMBERED`] later ones
//! were acknowledged: a sender repeats soon or after a reconnect, and the recipient knows repetitions as well. Ids have no
//! index of their own, which would cost as much as the items.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use sealdesk_protocol::ids::MailboxId;

use super::committer::Txn;
use super::keys::{self, prefix};
use super::long;
use super::value::{split_number, with_number};
use crate::store::{Append, Appended, Quota, StoreError};

/// Acknowledged ids that a mailbox remembers.
const REMEMBERED: usize = 4_096;
/// Ids in one record: below the size of a piece.
const IDS_A_RECORD: usize = 200;
/// Expiry and id, before an item's bytes.
const ITEM_HEAD: usize = 8 + 16;
/// Position and id.
const ID_ENTRY: usize = 8 + 16;

type ItemId = [u8; 16];

/// What the committer knows of a mailbox without reading it.
#[derive(Debug)]
pub(super) struct MailboxState {
    /// No live item is below.
    first: u64,
    /// Position of the next item.
    next: u64,
    items: u64,
    bytes: u64,
    /// Expiry bucket noted last.
    bucket: u32,
    /// Position of every known id.
    ids: HashMap<ItemId, u64>,
    /// Ids of acknowledged items, oldest first.
    acknowledged: VecDeque<ItemId>,
}

impl MailboxState {
    /// Keeps an acknowledged id, and forgets the oldest beyond the limit.
    fn remember(&mut self, id: ItemId) {
        self.acknowledged.push_back(id);
        if self.acknowledged.len() > REMEMBERED
            && let Some(oldest) = self.acknowledged.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// An item's bytes, behind expiry and id.
pub(super) fn item_bytes(mut value: Bytes) -> Option<Bytes> {
    (value.len() >= ITEM_HEAD).then(|| value.split_off(ITEM_HEAD))
}

/// Expiry, id and bytes of an item's first piece.
fn split_item(value: &[u8]) -> Option<(u64, ItemId, &[u8])> {
    let (expires_ms, rest) = split_number(value)?;
    let (id, bytes) = rest.split_first_chunk::<16>()?;
    Some((expires_ms, *id, bytes))
}

/// What a stored piece counts: items and bytes.
fn weight(key: &[u8], value: &[u8]) -> (u64, u64) {
    let length = value.len() as u64;
    if keys::is_first_piece(key) { (1, length.saturating_sub(ITEM_HEAD as u64)) } else { (0, length) }
}

fn item_of(value: &[u8]) -> Result<(u64, ItemId, &[u8]), StoreError> {
    split_item(value).ok_or(StoreError::Corrupt("item"))
}

fn id_entries(record: &[u8]) -> Result<impl Iterator<Item = (u64, ItemId)>, StoreError> {
    let (_, entries) = split_number(record).ok_or(StoreError::Corrupt("acknowledged ids"))?;
    Ok(entries.chunks_exact(ID_ENTRY).filter_map(|entry| {
        let (seq, id) = split_number(entry)?;
        Some((seq, id.try_into().ok()?))
    }))
}

fn load(txn: &Txn<'_>, mailbox: &MailboxId) -> Result<MailboxState, StoreError> {
    let (first, next) = match txn.get(&keys::floor(mailbox))? {
        Some(stored) => split_number(&stored)
            .and_then(|(first, rest)| Some((first, split_number(rest)?.0)))
            .ok_or(StoreError::Corrupt("mailbox floor"))?,
        None => (1, 1),
    };
    let (ids, acknowledged) = (HashMap::new(), VecDeque::new());
    let mut state = MailboxState { first, next, items: 0, bytes: 0, bucket: 0, ids, acknowledged };
    for (key, value) in txn.range(keys::items(mailbox, first, u64::MAX))? {
        if keys::is_first_piece(&key) {
            let seq = keys::item_seq(&key);
            state.next = state.next.max(seq + 1);
            state.ids.insert(item_of(&value)?.1, seq);
        }
        let (items, bytes) = weight(&key, &value);
        state.items += items;
        state.bytes += bytes;
    }
    for (_, record) in txn.scan(&keys::acknowledged_ids(mailbox), usize::MAX)? {
        for (seq, id) in id_entries(&record)? {
            state.ids.insert(id, seq);
            state.remember(id);
        }
    }
    Ok(state)
}

fn state<'t>(txn: &'t mut Txn<'_>, mailbox: &MailboxId) -> Result<&'t mut MailboxState, StoreError> {
    if !txn.mailboxes.contains_key(mailbox) {
        let loaded = load(txn, mailbox)?;
        txn.mailboxes.insert(*mailbox, loaded);
    }
    txn.mailboxes.get_mut(mailbox).ok_or(StoreError::Corrupt("mailbox"))
}

fn store_floor(txn: &mut Txn<'_>, mailbox: &MailboxId) -> Result<(), StoreError> {
    let (first, next) = state(txn, mailbox).map(|state| (state.first, state.next))?;
    txn.put(keys::floor(mailbox), with_number(first, &next.to_be_bytes()));
    Ok(())
}

/// Appends all items or none.
pub(super) fn append(
    txn: &mut Txn<'_>,
    items: Vec<Append>,
    quota: Quota,
) -> Result<Vec<Appended>, StoreError> {
    let mut answers: Vec<Appended> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        // What this call adds to the same mailbox before this item.
        let mut added = (0, 0);
        let fresh = items
            .iter()
            .zip(&answers)
            .filter(|(other, answer)| answer.fresh && other.mailbox == item.mailbox);
        fresh.for_each(|(other, _)| added = (added.0 + 1, added.1 + other.bytes.len() as u64));
        let twin =
            items.iter().take(index).position(|other| other.mailbox == item.mailbox && other.id == item.id);
        let state = state(txn, &item.mailbox)?;
        let known = twin.map(|twin| answers[twin].seq).or_else(|| state.ids.get(&item.id).copied());
        if let Some(seq) = known {
            answers.push(Appended { seq, fresh: false });
            continue;
        }
        if state.items + added.0 >= quota.items {
            return Err(StoreError::MailboxFull { limit: "number of messages" });
        }
        if state.bytes + added.1 + item.bytes.len() as u64 > quota.bytes {
            return Err(StoreError::MailboxFull { limit: "bytes" });
        }
        answers.push(Appended { seq: state.next + added.0, fresh: true });
    }
    // Nothing below can refuse.
    for (item, answer) in items.into_iter().zip(&answers).filter(|(_, answer)| answer.fresh) {
        let bucket = keys::bucket(item.expires_ms);
        let state = state(txn, &item.mailbox)?;
        state.next = answer.seq + 1;
        state.items += 1;
        state.bytes += item.bytes.len() as u64;
        state.ids.insert(item.id, answer.seq);
        if core::mem::replace(&mut state.bucket, bucket) != bucket {
            txn.put(keys::expiry(bucket, &keys::key(prefix::ITEM, &[item.mailbox.as_bytes()])), Vec::new());
        }
        txn.appears(item.mailbox, answer.seq);
        let mut value = Vec::with_capacity(ITEM_HEAD + item.bytes.len());
        value.extend_from_slice(&item.expires_ms.to_be_bytes());
        value.extend_from_slice(&item.id);
        value.extend_from_slice(&item.bytes);
        long::put(txn, keys::item(&item.mailbox, answer.seq), value);
    }
    Ok(answers)
}

/// Deletes up to and including `up_to`; ids are remembered.
pub(super) fn ack(txn: &mut Txn<'_>, mailbox: MailboxId, up_to: u64) -> Result<(), StoreError> {
    let (first, next) = state(txn, &mailbox).map(|state| (state.first, state.next))?;
    // What this very group appends cannot have been received yet.
    let up_to = up_to.min(txn.first_appearing(&mailbox).unwrap_or(next) - 1);
    if up_to < first {
        return Ok(());
    }
    let mut gone: Vec<(u64, ItemId, u64)> = Vec::new();
    for (key, value) in txn.range(keys::items(&mailbox, first, up_to))? {
        if keys::is_first_piece(&key) {
            let (expires_ms, id, _) = item_of(&value)?;
            gone.push((keys::item_seq(&key), id, expires_ms));
        }
        let (items, bytes) = weight(&key, &value);
        let state = state(txn, &mailbox)?;
        state.items = state.items.saturating_sub(items);
        state.bytes = state.bytes.saturating_sub(bytes);
        txn.remove(key);
    }
    for record in gone.chunks(IDS_A_RECORD) {
        let expires_ms = record.iter().map(|(_, _, expires_ms)| *expires_ms).max().unwrap_or_default();
        let last = record.last().map_or(up_to, |(seq, _, _)| *seq);
        let mut value = expires_ms.to_be_bytes().to_vec();
        for (seq, id, _) in record {
            value.extend_from_slice(&seq.to_be_bytes());
            value.extend_from_slice(id);
        }
        txn.put(keys::acknowledged_ids_until(&mailbox, last), value);
    }
    let state = state(txn, &mailbox)?;
    gone.into_iter().for_each(|(_, id, _)| state.remember(id));
    state.first = up_to + 1;
    store_floor(txn, &mailbox)
}

/// Drops what expired, items and the memory of ids, and answers how many items that were. Bounded by the quota and by
/// what one mailbox receives within the retention time.
pub(super) fn sweep(txn: &mut Txn<'_>, mailbox: MailboxId, now_ms: u64) -> Result<u64, StoreError> {
    let mut dropped = 0;
    // A further piece shares the fate of its item, which comes before it.
    let mut expired = false;
    for (key, value) in txn.scan(&keys::key(prefix::ITEM, &[mailbox.as_bytes()]), usize::MAX)? {
        let state = state(txn, &mailbox)?;
        if keys::is_first_piece(&key) {
            let (expires_ms, id, _) = item_of(&value)?;
            expired = expires_ms <= now_ms;
            if expired {
                state.ids.remove(&id);
            }
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
        store_floor(txn, &mailbox)?;
    }
    for (key, record) in txn.scan(&keys::acknowledged_ids(&mailbox), usize::MAX)? {
        if split_number(&record).ok_or(StoreError::Corrupt("acknowledged ids"))?.0 <= now_ms {
            let state = state(txn, &mailbox)?;
            for (_, id) in id_entries(&record)? {
                state.ids.remove(&id);
                state.acknowledged.retain(|other| *other != id);
            }
            txn.remove(key);
        }
    }
    Ok(dropped)
}
