//! Mailboxes: items in order under rising positions, each id once, quotas, expiry.
//!
//! ```text
//! m | mailbox | position             expiry | id | part | bytes
//! i | mailbox | last position        expiry | (position, id)...     ids of acknowledged items
//! n | mailbox                        first live position | next position
//! ```
//!
//! A mailbox is shared by all who may write to it: each has a part, so that one cannot fill it for the others, see
//! [`Quota`].
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
use crate::store::quota::Tag;
use crate::store::{Append, Appended, Limit, Part, Quota, Room, StoreError};

/// Acknowledged ids that a mailbox remembers.
const REMEMBERED: usize = 4_096;
/// Ids in one record: below the size of a piece.
const IDS_A_RECORD: usize = 200;
/// Expiry, id and part, before an item's bytes.
const ITEM_HEAD: usize = 8 + 16 + 16;
/// Position and id.
const ID_ENTRY: usize = 8 + 16;

type ItemId = [u8; 16];

/// Items and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    items: u64,
    bytes: u64,
}

impl Amount {
    /// What a stored piece counts.
    fn of(key: &[u8], value: &[u8]) -> Self {
        let bytes = value.len() as u64;
        if keys::is_first_piece(key) {
            Self { items: 1, bytes: bytes.saturating_sub(ITEM_HEAD as u64) }
        } else {
            Self { items: 0, bytes }
        }
    }

    fn one(bytes: usize) -> Self {
        Self { items: 1, bytes: bytes as u64 }
    }

    fn plus(self, other: Self) -> Self {
        Self { items: self.items + other.items, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { items: self.items.saturating_sub(other.items), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// What the committer knows of a mailbox without reading it.
#[derive(Debug)]
pub(super) struct MailboxState {
    /// No live item is below.
    first: u64,
    /// Position of the next item.
    next: u64,
    held: Amount,
    /// What each part has of it.
    parts: HashMap<Tag, Amount>,
    /// Expiry bucket noted last.
    bucket: u32,
    /// Position of every known id.
    ids: HashMap<ItemId, u64>,
    /// Ids of acknowledged items, oldest first.
    acknowledged: VecDeque<Acknowledged>,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    id: ItemId,
    /// The record that ends with it.
    record: Option<u64>,
}

impl MailboxState {
    fn add(&mut self, part: Tag, amount: Amount) {
        self.held = self.held.plus(amount);
        let own = self.parts.entry(part).or_default();
        *own = own.plus(amount);
    }

    fn take_away(&mut self, part: Tag, amount: Amount) {
        self.held = self.held.minus(amount);
        if let Some(own) = self.parts.get_mut(&part) {
            *own = own.minus(amount);
            if own.items == 0 {
                self.parts.remove(&part);
            }
        }
    }

    /// Whether `amount` fits on top of what is held and `added` in the same call.
    fn check(&self, part: Part, amount: Amount, added: Added, quota: Quota) -> Result<(), StoreError> {
        let most = quota.of(part);
        let in_all = self.held.plus(added.in_all).plus(amount);
        let own = self.parts.get(&part.tag()).copied().unwrap_or_default().plus(added.by_part).plus(amount);
        let checks = [
            (in_all.items, most.items, Limit::Items),
            (in_all.bytes, most.bytes, Limit::Bytes),
            (own.items, most.share_items, Limit::ShareItems),
            (own.bytes, most.share_bytes, Limit::ShareBytes),
        ];
        match checks.into_iter().find(|(held, most, _)| held > most) {
            Some((_, _, limit)) => Err(StoreError::MailboxFull { limit }),
            None => Ok(()),
        }
    }

    /// Keeps a record's ids, and forgets the oldest beyond the limit: answers which records nobody needs any more.
    fn remember(&mut self, last: u64, ids: impl Iterator<Item = (u64, ItemId)>) -> Vec<u64> {
        self.acknowledged
            .extend(ids.map(|(seq, id)| Acknowledged { id, record: (seq == last).then_some(seq) }));
        let beyond = self.acknowledged.len().saturating_sub(REMEMBERED);
        let forgotten: Vec<Acknowledged> = self.acknowledged.drain(..beyond).collect();
        for oldest in &forgotten {
            self.ids.remove(&oldest.id);
        }
        forgotten.iter().filter_map(|oldest| oldest.record).collect()
    }
}

/// What one call adds to a mailbox before an item.
#[derive(Clone, Copy, Default)]
struct Added {
    in_all: Amount,
    by_part: Amount,
}

impl Added {
    /// By these items.
    fn before<'a>(item: &Append, earlier: impl Iterator<Item = &'a Append>) -> Self {
        let mut added = Self::default();
        for other in earlier.filter(|other| other.mailbox == item.mailbox) {
            let amount = Amount::one(other.bytes.len());
            added.in_all = added.in_all.plus(amount);
            if other.part.tag() == item.part.tag() {
                added.by_part = added.by_part.plus(amount);
            }
        }
        added
    }
}

/// An item's bytes, behind expiry, id and part.
pub(super) fn item_bytes(mut value: Bytes) -> Option<Bytes> {
    (value.len() >= ITEM_HEAD).then(|| value.split_off(ITEM_HEAD))
}

/// Expiry, id, part and bytes of an item's first piece.
fn split_item(value: &[u8]) -> Option<(u64, ItemId, Tag, &[u8])> {
    let (expires_ms, rest) = split_number(value)?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (part, bytes) = rest.split_first_chunk::<16>()?;
    Some((expires_ms, *id, *part, bytes))
}

fn item_of(value: &[u8]) -> Result<(u64, ItemId, Tag, &[u8]), StoreError> {
    split_item(value).ok_or(StoreError::Corrupt("item"))
}

fn id_entries(record: &[u8]) -> Result<impl Iterator<Item = (u64, ItemId)>, StoreError> {
    let (_, entries) = split_number(record).ok_or(StoreError::Corrupt("acknowledged ids"))?;
    Ok(entries.chunks_exact(ID_ENTRY).filter_map(|entry| {
        let (seq, id) = split_number(entry)?;
        Some((seq, id.try_into().ok()?))
    }))
}

fn load(txn: &mut Txn<'_>, mailbox: &MailboxId) -> Result<MailboxState, StoreError> {
    let (first, next) = match txn.get(&keys::floor(mailbox))? {
        Some(stored) => split_number(&stored)
            .and_then(|(first, rest)| Some((first, split_number(rest)?.0)))
            .ok_or(StoreError::Corrupt("mailbox floor"))?,
        None => (1, 1),
    };
    let (ids, acknowledged) = (HashMap::new(), VecDeque::new());
    let (held, parts) = (Amount::default(), HashMap::new());
    let mut state = MailboxState { first, next, held, parts, bucket: 0, ids, acknowledged };
    // A further piece is of its item's part.
    let mut part = Tag::default();
    for (key, value) in txn.range(keys::items(mailbox, first, u64::MAX))? {
        if keys::is_first_piece(&key) {
            let seq = keys::item_seq(&key);
            state.next = state.next.max(seq + 1);
            let (_, id, of, _) = item_of(&value)?;
            state.ids.insert(id, seq);
            part = of;
        }
        state.add(part, Amount::of(&key, &value));
    }
    for (_, record) in txn.scan(&keys::acknowledged_ids(mailbox), usize::MAX)? {
        let entries: Vec<(u64, ItemId)> = id_entries(&record)?.collect();
        state.ids.extend(entries.iter().map(|(seq, id)| (*id, *seq)));
        let last = entries.last().map_or(0, |(seq, _)| *seq);
        for old in state.remember(last, entries.into_iter()) {
            txn.remove(keys::acknowledged_ids_until(mailbox, old));
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
        let fresh = items.iter().zip(&answers).filter(|(_, answer)| answer.fresh);
        let added = Added::before(item, fresh.map(|(other, _)| other));
        let twin =
            items.iter().take(index).position(|other| other.mailbox == item.mailbox && other.id == item.id);
        let state = state(txn, &item.mailbox)?;
        let known = twin.map(|twin| answers[twin].seq).or_else(|| state.ids.get(&item.id).copied());
        if let Some(seq) = known {
            answers.push(Appended { seq, fresh: false });
            continue;
        }
        state.check(item.part, Amount::one(item.bytes.len()), added, quota)?;
        answers.push(Appended { seq: state.next + added.in_all.items, fresh: true });
    }
    // Nothing below can refuse.
    for (item, answer) in items.into_iter().zip(&answers).filter(|(_, answer)| answer.fresh) {
        let bucket = keys::bucket(item.expires_ms);
        let part = item.part.tag();
        let state = state(txn, &item.mailbox)?;
        state.next = answer.seq + 1;
        state.add(part, Amount::one(item.bytes.len()));
        state.ids.insert(item.id, answer.seq);
        if core::mem::replace(&mut state.bucket, bucket) != bucket {
            txn.put(keys::expiry(bucket, &keys::key(prefix::ITEM, &[item.mailbox.as_bytes()])), Vec::new());
        }
        txn.appears(item.mailbox, answer.seq);
        let mut value = Vec::with_capacity(ITEM_HEAD + item.bytes.len());
        value.extend_from_slice(&item.expires_ms.to_be_bytes());
        value.extend_from_slice(&item.id);
        value.extend_from_slice(&part);
        value.extend_from_slice(&item.bytes);
        long::put(txn, keys::item(&item.mailbox, answer.seq), value);
    }
    Ok(answers)
}

/// Whether an item would be taken after others: it fits, or is known.
pub(super) fn takes(
    txn: &mut Txn<'_>,
    item: &Append,
    earlier: &[Append],
    quota: Quota,
) -> Result<bool, StoreError> {
    let state = state(txn, &item.mailbox)?;
    let (amount, added) = (Amount::one(item.bytes.len()), Added::before(item, earlier.iter()));
    Ok(state.ids.contains_key(&item.id) || state.check(item.part, amount, added, quota).is_ok())
}

/// Whether a conversation may begin here: its statements fit, and a message.
pub(super) fn has_room(
    txn: &mut Txn<'_>,
    mailbox: MailboxId,
    room: Room,
    quota: Quota,
) -> Result<bool, StoreError> {
    let state = state(txn, &mailbox)?;
    let statements = Amount { items: room.statements, bytes: room.bytes };
    let begins = state.check(Part::Beginning, statements, Added::default(), quota).is_ok();
    Ok(begins && state.held.bytes + room.message <= quota.bytes)
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
    let mut part = Tag::default();
    for (key, value) in txn.range(keys::items(&mailbox, first, up_to))? {
        if keys::is_first_piece(&key) {
            let (expires_ms, id, of, _) = item_of(&value)?;
            gone.push((keys::item_seq(&key), id, expires_ms));
            part = of;
        }
        state(txn, &mailbox)?.take_away(part, Amount::of(&key, &value));
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
        for old in state(txn, &mailbox)?.remember(last, record.iter().map(|(seq, id, _)| (*seq, *id))) {
            txn.remove(keys::acknowledged_ids_until(&mailbox, old));
        }
    }
    state(txn, &mailbox)?.first = up_to + 1;
    store_floor(txn, &mailbox)
}

/// Drops what expired, items and the memory of ids, and answers how many items that were. Bounded by the quota and by
/// [`REMEMBERED`].
pub(super) fn sweep(txn: &mut Txn<'_>, mailbox: MailboxId, now_ms: u64) -> Result<u64, StoreError> {
    let mut dropped = 0;
    // A further piece shares the fate of its item, which comes before it.
    let (mut expired, mut part) = (false, Tag::default());
    for (key, value) in txn.scan(&keys::key(prefix::ITEM, &[mailbox.as_bytes()]), usize::MAX)? {
        let state = state(txn, &mailbox)?;
        if keys::is_first_piece(&key) {
            let (expires_ms, id, of, _) = item_of(&value)?;
            (expired, part) = (expires_ms <= now_ms, of);
            if expired {
                state.ids.remove(&id);
            }
        }
        if expired {
            let amount = Amount::of(&key, &value);
            dropped += amount.items;
            state.take_away(part, amount);
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
                state.acknowledged.retain(|other| other.id != id);
            }
            txn.remove(key);
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests;
