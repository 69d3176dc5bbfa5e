//! The store on sled: a journal in front of one tree, one committer thread, everything durable before it is answered.
//!
//! ```text
//! operation -> committer: group -> journal (durable) -> layers in memory -> answers
//!                                                           |  when the journal is long
//!                                                           +-> keeper -> sled
//! reader    -> layers: active, resting, sled
//! ```
//!
//! sled alone reached 29,000 durable appends of a message a second, since it copies whole nodes of neighbours around each
//! of them. Most messages are acknowledged within moments: in the journal they cost one sequential write, and sled never
//! sees them. What stays, stays in sled. Items above 128 KiB would not reach the disk synchronously there, so attachments
//! are files ([`crate::blobs`]).

mod committer;
mod conversations;
mod counts;
mod expiry;
mod journal;
mod keeper;
mod keys;
mod layers;
mod long;
mod mailbox;
mod open;
mod prekeys;
mod transfer;
mod value;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, MailboxId};

use self::committer::{Committer, Health, Txn};
use self::keys::prefix;
use self::layers::Layers;
use self::value::{split_number, with_number};
use super::{
    Answer, Append, Appended, AuditEntry, BlobRecord, DeviceRecord, Item, LastResort, Prekey, Quota, Room,
    Store, StoreError, StoreStats, Swap, Swapped, Swept, Versioned, Watcher,
};

pub use self::open::{JOURNAL_AGE, JOURNAL_BYTES, Options};
pub use self::transfer::{BackupError, restore};

/// See the module's text.
pub struct SledStore {
    // Dropped first: it waits for its queue to become durable.
    committer: Committer,
    layers: Arc<Layers>,
    db: sled::Db,
    health: Arc<Health>,
    watcher: Arc<OnceLock<Watcher>>,
    epoch: u32,
    quota: Quota,
    /// Exclusive use of the folder, released when the process ends or this is dropped.
    _lock: File,
}

impl core::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SledStore").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl SledStore {
    fn run<T, F>(&self, operation: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.committer.submit(0, operation)
    }

    /// The same for an operation that carries so many bytes.
    fn carry<T, F>(&self, bytes: usize, operation: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.committer.submit(bytes, operation)
    }

    fn answer<T: Send + 'static>(result: Result<T, StoreError>) -> Answer<T> {
        core::future::ready(result).boxed()
    }

    /// Reads that cost a memory access, or one disk read when the page is not cached: done in place.
    fn get<T: Send + 'static>(
        &self,
        key: &[u8],
        decode: impl FnOnce(Bytes) -> Result<T, StoreError>,
    ) -> Answer<Option<T>> {
        Self::answer(self.layers.get(key).and_then(|stored| stored.map(decode).transpose()))
    }

    fn read_now(
        &self,
        mailbox: MailboxId,
        after: u64,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Vec<Item>, StoreError> {
        let (from, before) = keys::items(&mailbox, after.saturating_add(1), u64::MAX);
        let mut pieces: Vec<(u64, Vec<Bytes>)> = Vec::new();
        let (mut bytes, mut whole) = (0, true);
        self.layers.visit(&from, &before, |key, value| {
            bytes += value.len();
            if !keys::is_first_piece(key) {
                let item = pieces.last_mut();
                whole &= item.map(|(_, pieces)| pieces.push(value)).is_some();
                return ControlFlow::Continue(());
            }
            if pieces.len() >= max_items || (bytes > max_bytes && !pieces.is_empty()) {
                return ControlFlow::Break(());
            }
            pieces.push((keys::item_seq(key), vec![value]));
            ControlFlow::Continue(())
        })?;
        if !whole {
            return Err(StoreError::Corrupt("item"));
        }
        let item = |(seq, pieces)| {
            let whole = long::join(pieces).and_then(mailbox::item_bytes);
            Ok(Item { seq, bytes: whole.ok_or(StoreError::Corrupt("item"))? })
        };
        pieces.into_iter().map(item).collect()
    }
}

fn put_blob(txn: &mut Txn<'_>, id: BlobId, record: &BlobRecord) -> Result<(), StoreError> {
    let bytes = postcard::to_allocvec(record).map_err(|_| StoreError::Corrupt("attachment record"))?;
    let key = keys::key(prefix::BLOB, &[id.as_bytes()]);
    txn.put(keys::expiry(keys::bucket(record.expires_ms), &key), Vec::new());
    txn.put(key, bytes);
    Ok(())
}

fn blob_record(stored: &[u8]) -> Result<BlobRecord, StoreError> {
    postcard::from_bytes(stored).map_err(|_| StoreError::Corrupt("attachment record"))
}

fn audit(txn: &mut Txn<'_>, entry: &AuditEntry) -> u64 {
    let number = *txn.next_audit;
    *txn.next_audit += 1;
    txn.put(keys::key(prefix::AUDIT, &[&number.to_be_bytes()]), with_number(entry.at_ms, &entry.bytes));
    number
}

impl Store for SledStore {
    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn append(&self, item: Append) -> Answer<Appended> {
        let quota = self.quota;
        self.carry(item.bytes.len(), move |txn| {
            let stored = mailbox::append(txn, vec![item], quota)?;
            stored.first().copied().ok_or(StoreError::Corrupt("append"))
        })
    }

    fn read(&self, mailbox: MailboxId, after: u64, max_items: usize, max_bytes: usize) -> Answer<Vec<Item>> {
        Self::answer(self.read_now(mailbox, after, max_items, max_bytes))
    }

    fn has_room(&self, mailbox: MailboxId, room: Room) -> Answer<bool> {
        let quota = self.quota;
        self.run(move |txn| mailbox::has_room(txn, mailbox, room, quota))
    }

    fn ack(&self, mailbox: MailboxId, up_to: u64) -> Answer<()> {
        self.run(move |txn| mailbox::ack(txn, mailbox, up_to))
    }

    fn put_prekeys(
        &self,
        device: DeviceKeyHash,
        last_resort: Option<LastResort>,
        one_time: Vec<Prekey>,
        cap: usize,
    ) -> Answer<usize> {
        let bytes = last_resort.iter().map(|pair| pair.bytes.len());
        let bytes = bytes.chain(one_time.iter().map(|pair| pair.bytes.len())).sum();
        self.carry(bytes, move |txn| {
            if let Some(pair) = last_resort {
                prekeys::put_last_resort(txn, device, &pair);
            }
            prekeys::put(txn, device, one_time, cap)
        })
    }

    fn take_prekey(&self, device: DeviceKeyHash, now_ms: u64) -> Answer<Option<Vec<u8>>> {
        self.run(move |txn| prekeys::take(txn, device, now_ms))
    }

    fn count_prekeys(&self, device: DeviceKeyHash) -> Answer<usize> {
        self.run(move |txn| prekeys::count(txn, &device))
    }

    fn last_resort(&self, device: DeviceKeyHash, now_ms: u64) -> Answer<Option<Vec<u8>>> {
        let found = self.layers.get(&keys::key(prefix::LAST_RESORT, &[device.as_bytes()]));
        Self::answer(found.and_then(|stored| {
            let Some(stored) = stored else { return Ok(None) };
            let (expires_ms, pair) =
                split_number(&stored).ok_or(StoreError::Corrupt("last-resort prekey"))?;
            Ok((expires_ms > now_ms).then(|| pair.to_vec()))
        }))
    }

    fn swap(&self, change: Swap) -> Answer<Swapped> {
        let quota = self.quota;
        let items = change.appends.iter().chain(&change.if_room).map(|item| item.bytes.len());
        let bytes = change.record.len() + items.sum::<usize>();
        self.carry(bytes, move |txn| conversations::swap(txn, change, quota))
    }

    fn conversation(&self, id: ConversationId) -> Answer<Option<Versioned>> {
        Self::answer(conversations::read(&self.layers, id))
    }

    fn open_conversations(&self) -> Answer<Vec<(ConversationId, Versioned)>> {
        Self::answer(conversations::open(&self.layers))
    }

    fn device(&self, device: DeviceKeyHash) -> Answer<Option<DeviceRecord>> {
        self.get(&keys::key(prefix::DEVICE, &[device.as_bytes()]), |stored| {
            let (_, record) = split_number(&stored).ok_or(StoreError::Corrupt("device"))?;
            DeviceRecord::from_stored(record)
        })
    }

    fn put_device(&self, device: DeviceKeyHash, record: DeviceRecord, expires_ms: u64) -> Answer<()> {
        self.run(move |txn| {
            let key = keys::key(prefix::DEVICE, &[device.as_bytes()]);
            let stored = txn.get(&key)?;
            let before = stored.as_deref().and_then(split_number);
            let remembered = before.and_then(|(_, bytes)| DeviceRecord::from_stored(bytes).ok());
            let bytes = record.after(&remembered.unwrap_or_default()).to_stored()?;
            // Written with every acknowledgement: the note is there already most of the time.
            let noted = before.map(|(noted, _)| noted);
            if noted.map(keys::bucket) != Some(keys::bucket(expires_ms)) {
                txn.put(keys::expiry(keys::bucket(expires_ms), &key), Vec::new());
            }
            txn.put(key, with_number(expires_ms, &bytes));
            Ok(())
        })
    }

    fn put_agent(&self, device: DeviceKeyHash, record: Vec<u8>, expires_ms: u64) -> Answer<()> {
        self.run(move |txn| {
            let key = keys::key(prefix::AGENT, &[device.as_bytes()]);
            txn.put(keys::expiry(keys::bucket(expires_ms), &key), Vec::new());
            txn.put(key, with_number(expires_ms, &record));
            Ok(())
        })
    }

    fn agents(&self) -> Answer<Vec<(DeviceKeyHash, Vec<u8>)>> {
        let mut entries = Vec::new();
        let read = self.layers.all(&[prefix::AGENT], |entry| entries.push(entry));
        let found = entries.into_iter().map(|(key, value)| {
            let id = DeviceKeyHash::try_from(key.get(1..).unwrap_or_default());
            let (_, record) = split_number(&value).ok_or(StoreError::Corrupt("agent"))?;
            Ok((id.map_err(|_| StoreError::Corrupt("agent"))?, record.to_vec()))
        });
        Self::answer(read.and_then(|()| found.collect()))
    }

    fn audit_append(&self, entry: AuditEntry) -> Answer<u64> {
        self.run(move |txn| Ok(audit(txn, &entry)))
    }

    fn audit_read(&self, after: u64, limit: usize) -> Answer<Vec<(u64, AuditEntry)>> {
        let from = keys::key(prefix::AUDIT, &[&after.saturating_add(1).to_be_bytes()]);
        let entries = self.layers.entries(&from, &keys::after(&[prefix::AUDIT]), limit);
        let decode = |(key, value): layers::Entry| {
            let (at_ms, bytes) = split_number(&value).ok_or(StoreError::Corrupt("audit entry"))?;
            Ok((keys::trailing_number(&key), AuditEntry { at_ms, bytes: bytes.to_vec() }))
        };
        Self::answer(entries.and_then(|entries| entries.into_iter().map(decode).collect()))
    }

    #[cfg(test)]
    fn fall(&self) -> Answer<()> {
        self.run(|_| panic!("as sled does when it finds what it did not expect"))
    }

    fn announce(&self, swap: Swap, id: BlobId, record: BlobRecord) -> Answer<Swapped> {
        let quota = self.quota;
        self.carry(swap.record.len(), move |txn| {
            let swapped = conversations::swap(txn, swap, quota)?;
            put_blob(txn, id, &record)?;
            Ok(swapped)
        })
    }

    fn put_blob(&self, id: BlobId, record: BlobRecord) -> Answer<()> {
        self.run(move |txn| put_blob(txn, id, &record))
    }

    fn blob(&self, id: BlobId) -> Answer<Option<BlobRecord>> {
        self.get(&keys::key(prefix::BLOB, &[id.as_bytes()]), |stored| blob_record(&stored))
    }

    fn blob_bytes(&self) -> Answer<u64> {
        let mut sum = Ok(0u64);
        let read = self.layers.all(&[prefix::BLOB], |(_, stored)| {
            let length = blob_record(&stored).map(|record| record.length);
            sum = sum.clone().and_then(|sum| Ok(sum.saturating_add(length?)));
        });
        Self::answer(read.and(sum))
    }

    fn put_organisation(&self, record: Vec<u8>) -> Answer<()> {
        self.run(move |txn| long::replace(txn, open::meta("organisation"), record))
    }

    fn organisation(&self) -> Answer<Option<Vec<u8>>> {
        self.run(|txn| {
            let pieces = txn.scan(&open::meta("organisation"), usize::MAX)?;
            let record = long::join(pieces.into_iter().map(|(_, piece)| piece).collect());
            Ok(record.map(|record| record.to_vec()))
        })
    }

    fn sweep(&self, now_ms: u64, audit_before_ms: u64) -> Answer<Swept> {
        self.run(move |txn| expiry::sweep(txn, now_ms, audit_before_ms))
    }

    fn backup(&self, to: &Path) -> Answer<u64> {
        self.committer.backup(to.to_path_buf())
    }

    fn stats(&self) -> Answer<StoreStats> {
        let (layers, db) = (Arc::clone(&self.layers), self.db.clone());
        // Long: not on a thread that connections wait for.
        let counting = tokio::task::spawn_blocking(move || counts::all(&layers, &db));
        async move { counting.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()))) }
            .boxed()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.health.check()
    }
}
