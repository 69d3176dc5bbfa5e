//! What the relay keeps, as a domain trait: mailboxes, prekeys, conversation records, devices, audit, attachments'
//! metadata.
//!
//! Every method is atomic on one aggregate, idempotent, and durable when its future resolves: nothing is acknowledged
//! before it would survive a power cut. The store sees sealed bytes and public ids, never content. Times are
//! milliseconds since the Unix epoch. `conformance` is the suite that every engine has to pass.

pub mod sled;

#[cfg(test)]
pub(crate) mod conformance;
mod device;
mod quota;

use core::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, MailboxId, PrekeyId};
use serde::{Deserialize, Serialize};

pub use device::DeviceRecord;
pub use quota::{Limit, Part, Quota, Room};

/// The future of one store operation. The operation is queued when the method is called, so that calls keep their order.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The recipient's mailbox holds as much as it may. At fault: nobody; the sender keeps the item and tries later.
    #[error("the mailbox is full ({limit})")]
    MailboxFull {
        /// Which quota is used up.
        limit: Limit,
    },
    /// The record changed since it was read (or exists, or is gone). At fault: nobody; read again and decide again.
    #[error("the record changed meanwhile, it is at version {current}")]
    Conflict {
        /// Version stored now; 0 when there is no record.
        current: u64,
    },
    /// More waits for the disk than memory shall hold. At fault: the machine, for now; try again later.
    #[error("too much waits for the disk")]
    Busy,
    /// A write or disk flush failed: nothing more is written until the relay is started again. At fault: the machine.
    #[error("the store failed: {0}")]
    Failed(String),
    /// Another process has the store. At fault: the operator, unless it is starting or stopping.
    #[error(
        "the store {} is in use by process {holder}; stop that relay first, or use `backup` and `stats`, which ask the \
         running relay",
        folder.display()
    )]
    InUse {
        /// The store's folder.
        folder: PathBuf,
        /// Number of that process, as it wrote it.
        holder: String,
    },
    /// The store cannot be opened. At fault: the operator; the text says what to do.
    #[error("{0}")]
    Open(String),
    /// A stored record does not decode. At fault: the disk, or an older program; restore from a backup.
    #[error("the store holds a record that does not decode ({0}); restore the last backup")]
    Corrupt(&'static str),
}

/// One item for one mailbox.
#[derive(Clone)]
pub struct Append {
    /// The recipient device's mailbox.
    pub mailbox: MailboxId,
    /// Of which part of the mailbox it takes.
    pub part: Part,
    /// Identity of the item: a second append of the same id changes nothing and answers the first position.
    pub id: [u8; 16],
    /// The item, sealed or signed, as it will be delivered.
    pub bytes: Vec<u8>,
    /// When the item and the memory of its id may be dropped.
    pub expires_ms: u64,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Append({:?}, {} bytes)", self.mailbox, self.bytes.len())
    }
}

/// Where an item stands in its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position, rising from 1, never used twice within a store epoch.
    pub seq: u64,
    /// False when the id had been stored before.
    pub fresh: bool,
}

/// One stored item.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Position.
    pub seq: u64,
    /// The bytes that were appended.
    pub bytes: Bytes,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({}, {} bytes)", self.seq, self.bytes.len())
    }
}

/// One one-time prekey pair as uploaded.
#[derive(Clone, Debug)]
pub struct Prekey {
    /// Hash of the two public keys.
    pub id: PrekeyId,
    /// The signed pair.
    pub bytes: Vec<u8>,
    /// Its own expiry.
    pub expires_ms: u64,
}

/// The last-resort pair of a device as uploaded.
#[derive(Clone, Debug)]
pub struct LastResort {
    /// Its id and the signed pair.
    pub bytes: Vec<u8>,
    /// Its own expiry.
    pub expires_ms: u64,
}

/// A conversation's record with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// 1 for the first record, rising by one with each swap.
    pub version: u64,
    /// The record.
    pub bytes: Vec<u8>,
}

/// How long a conversation's record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Open: kept, and listed by [`Store::open_conversations`].
    Open,
    /// Closed, or not opened yet: dropped after this time unless it is swapped again.
    Until(u64),
}

/// Replace a conversation's record and append to mailboxes, all or nothing.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The version that was read; 0 when there was none.
    pub expected: u64,
    /// The new record.
    pub record: Vec<u8>,
    /// Open or closed.
    pub keep: Keep,
    /// Items stored in the same batch.
    pub appends: Vec<Append>,
    /// The same, each where its mailbox has room, and otherwise not: they do not refuse the swap.
    pub if_room: Vec<Append>,
    /// An audit entry stored in the same batch.
    pub audit: Option<AuditEntry>,
}

/// What a swap stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The record's version now.
    pub version: u64,
    /// One position for each of `appends`, in their order.
    pub positions: Vec<Appended>,
}

/// One entry of the audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at_ms: u64,
    /// What, encoded by [`crate::audit`].
    pub bytes: Vec<u8>,
}

/// Metadata of one attachment; its bytes are a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// SHA-256 of the capability token: the token itself is never stored.
    pub capability: [u8; 32],
    /// The uploader: nobody else writes.
    pub uploader: DeviceKeyHash,
    /// Declared length in bytes.
    pub length: u64,
    /// True when every byte is durable.
    pub complete: bool,
    /// When the file is deleted.
    pub expires_ms: u64,
}

/// What a sweep removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Mailbox items dropped without having been acknowledged.
    pub items: u64,
    /// Attachments whose files are to be deleted, with their declared lengths.
    pub blobs: Vec<(BlobId, u64)>,
    /// True when there is more to do: sweep again.
    pub more: bool,
}

/// Rough size of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Undelivered items in all mailboxes.
    pub items: u64,
    /// Conversations not closed.
    pub open_conversations: u64,
    /// Unused one-time prekey pairs.
    pub prekeys: u64,
    /// Attachments.
    pub blobs: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// Told of mailboxes that have something new.
pub type Watcher = Box<dyn Fn(&MailboxId) + Send + Sync>;

/// The relay's durable memory.
pub trait Store: Send + Sync + 'static {
    /// Changes when older data came back (restore): positions of other epochs mean nothing (§9.6).
    fn epoch(&self) -> u32;
    /// Names who is told of each mailbox with something new, once it is durable, whoever still waits for the answer. A hint:
    /// what counts is what [`Store::read`] finds. The first watcher stays.
    fn watch(&self, watcher: Watcher);
    /// Appends in order; idempotent by item id, at least while the item is here and until some thousand later ones
    /// were acknowledged. Refused with `MailboxFull` above the quota.
    fn append(&self, item: Append) -> Answer<Appended>;
    /// Durable items with positions above `after`, oldest first, at most `max_items` and about `max_bytes` (at least
    /// one item if there is any).
    fn read(&self, mailbox: MailboxId, after: u64, max_items: usize, max_bytes: usize) -> Answer<Vec<Item>>;
    /// Whether a conversation may begin here: its statements fit, and a message.
    fn has_room(&self, mailbox: MailboxId, room: Room) -> Answer<bool>;
    /// Deletes items up to and including `up_to`.
    fn ack(&self, mailbox: MailboxId, up_to: u64) -> Answer<()>;
    /// Replaces the last-resort pair, if there is a new one, and adds one-time pairs up to `cap` in total, all or nothing;
    /// pairs handed out before are not taken again. Answers how many one-time pairs are held.
    fn put_prekeys(
        &self,
        device: DeviceKeyHash,
        last_resort: Option<LastResort>,
        one_time: Vec<Prekey>,
        cap: usize,
    ) -> Answer<usize>;
    /// Hands out one unexpired one-time pair, at most once ever.
    fn take_prekey(&self, device: DeviceKeyHash, now_ms: u64) -> Answer<Option<Vec<u8>>>;
    /// One-time pairs held. Answered when everything that was asked for before is done: what a device acknowledged before it
    /// came back is not delivered again.
    fn count_prekeys(&self, device: DeviceKeyHash) -> Answer<usize>;
    /// The last-resort pair, unless it has expired.
    fn last_resort(&self, device: DeviceKeyHash, now_ms: u64) -> Answer<Option<Vec<u8>>>;
    /// Compare-and-swap of a conversation, see [`Swap`]; `Conflict` when the version is another.
    fn swap(&self, swap: Swap) -> Answer<Swapped>;
    /// A conversation's record.
    fn conversation(&self, id: ConversationId) -> Answer<Option<Versioned>>;
    /// All conversations not closed.
    fn open_conversations(&self) -> Answer<Vec<(ConversationId, Versioned)>>;
    /// What is known of a device.
    fn device(&self, device: DeviceKeyHash) -> Answer<Option<DeviceRecord>>;
    /// Notes what is known of a device, until `expires_ms`; its highest generation and latest day stay.
    fn put_device(&self, device: DeviceKeyHash, record: DeviceRecord, expires_ms: u64) -> Answer<()>;
    /// Replaces what routing knows of an agent's device, until `expires_ms`.
    fn put_agent(&self, device: DeviceKeyHash, record: Vec<u8>, expires_ms: u64) -> Answer<()>;
    /// All agents' devices.
    fn agents(&self) -> Answer<Vec<(DeviceKeyHash, Vec<u8>)>>;
    /// Appends to the audit record.
    fn audit_append(&self, entry: AuditEntry) -> Answer<u64>;
    /// Audit entries numbered above `after`, oldest first.
    fn audit_read(&self, after: u64, limit: usize) -> Answer<Vec<(u64, AuditEntry)>>;
    /// Fails from now on, as by a panic in its thread.
    #[cfg(test)]
    fn fall(&self) -> Answer<()>;
    /// Announces an attachment: swaps its conversation's record and creates its metadata, all or nothing.
    fn announce(&self, swap: Swap, id: BlobId, record: BlobRecord) -> Answer<Swapped>;
    /// Creates or replaces an attachment's metadata.
    fn put_blob(&self, id: BlobId, record: BlobRecord) -> Answer<()>;
    /// An attachment's metadata.
    fn blob(&self, id: BlobId) -> Answer<Option<BlobRecord>>;
    /// The sum of all attachments' declared lengths; reads every record, for the start.
    fn blob_bytes(&self) -> Answer<u64>;
    /// Replaces what is remembered of the organisation's rules.
    fn put_organisation(&self, record: Vec<u8>) -> Answer<()>;
    /// What is remembered of the organisation's rules.
    fn organisation(&self) -> Answer<Option<Vec<u8>>>;
    /// Drops what expired by `now_ms`, and audit entries older than `audit_before_ms`; a bounded amount at a time.
    fn sweep(&self, now_ms: u64, audit_before_ms: u64) -> Answer<Swept>;
    /// Writes a consistent copy of all that was asked for before to a new file; writes go on meanwhile.
    fn backup(&self, to: &Path) -> Answer<u64>;
    /// Counts what is held; reads everything, so not for a hot path.
    fn stats(&self) -> Answer<StoreStats>;
    /// An error once a write failed: the relay is then not ready and should be started again.
    fn health(&self) -> Result<(), StoreError>;
}
