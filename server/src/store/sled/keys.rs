//! Keys of the one tree: a prefix byte, then ids and big-endian numbers, so that ranges come in order.

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, MailboxId, PrekeyId};

/// Prefix bytes. Append only: they are on disk.
pub(super) mod prefix {
    /// `epoch` and `format`.
    pub(crate) const META: u8 = b'0';
    /// mailbox | seq -> expiry | id | sender | bytes
    pub(crate) const ITEM: u8 = b'm';
    /// mailbox | last seq -> expiry | (seq, id)...
    pub(crate) const ACKNOWLEDGED: u8 = b'i';
    /// mailbox -> first live seq | next seq
    pub(crate) const FLOOR: u8 = b'n';
    /// device | prekey id -> expiry | bytes
    pub(crate) const PREKEY: u8 = b'p';
    /// device | prekey id -> expiry: handed out or voided
    pub(crate) const SPENT: u8 = b'q';
    /// device -> expiry | bytes
    pub(crate) const LAST_RESORT: u8 = b'l';
    /// conversation -> expiry (0: open) | version | bytes
    pub(crate) const CONVERSATION: u8 = b'c';
    /// conversation -> nothing, while open
    pub(crate) const OPEN: u8 = b'w';
    /// device -> expiry | record
    pub(crate) const DEVICE: u8 = b'd';
    /// device -> expiry | record
    pub(crate) const AGENT: u8 = b'g';
    /// number -> time | bytes
    pub(crate) const AUDIT: u8 = b'a';
    /// blob -> record
    pub(crate) const BLOB: u8 = b'f';
    /// hour | key that may have expired -> nothing
    pub(crate) const EXPIRY: u8 = b'x';
}

/// Milliseconds of one expiry bucket.
const HOUR_MS: u64 = 3_600_000;

/// `prefix | parts`.
pub(super) fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    out.push(prefix);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

pub(super) fn item(mailbox: &MailboxId, seq: u64) -> Vec<u8> {
    key(prefix::ITEM, &[mailbox.as_bytes(), &seq.to_be_bytes()])
}

/// Before all records of acknowledged ids of a mailbox.
pub(super) fn acknowledged_ids(mailbox: &MailboxId) -> Vec<u8> {
    key(prefix::ACKNOWLEDGED, &[mailbox.as_bytes()])
}

/// The record of acknowledged ids that ends with a position.
pub(super) fn acknowledged_ids_until(mailbox: &MailboxId, seq: u64) -> Vec<u8> {
    key(prefix::ACKNOWLEDGED, &[mailbox.as_bytes(), &seq.to_be_bytes()])
}

pub(super) fn floor(mailbox: &MailboxId) -> Vec<u8> {
    key(prefix::FLOOR, &[mailbox.as_bytes()])
}

pub(super) fn prekey(device: &DeviceKeyHash, id: &PrekeyId) -> Vec<u8> {
    key(prefix::PREKEY, &[device.as_bytes(), id.as_bytes()])
}

pub(super) fn conversation(id: &ConversationId) -> Vec<u8> {
    key(prefix::CONVERSATION, &[id.as_bytes()])
}

pub(super) fn open(id: &ConversationId) -> Vec<u8> {
    key(prefix::OPEN, &[id.as_bytes()])
}

/// The bucket in which something that expires at `expires_ms` is looked at: the first full hour after it.
pub(super) fn bucket(expires_ms: u64) -> u32 {
    u32::try_from(expires_ms / HOUR_MS + 1).unwrap_or(u32::MAX)
}

/// `x | hour | target`, where `target` is a key, or the prefix of keys, to look at.
pub(super) fn expiry(bucket: u32, target: &[u8]) -> Vec<u8> {
    key(prefix::EXPIRY, &[&bucket.to_be_bytes(), target])
}

/// Length of a key made by [`item`]; the pieces of a long item have longer ones.
const ITEM_LEN: usize = 1 + MailboxId::LEN + 8;

/// The position in a key made by [`item`], or of a piece of it.
pub(super) fn item_seq(key: &[u8]) -> u64 {
    key.get(..ITEM_LEN).map_or(0, trailing_number)
}

/// Whether the key is an item's own, and not that of a further piece.
pub(super) fn is_first_piece(key: &[u8]) -> bool {
    key.len() == ITEM_LEN
}

/// Everything of a mailbox from one position to another, both included, with all pieces: first key, and the key behind
/// the last.
pub(super) fn items(mailbox: &MailboxId, from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    let behind = match to.checked_add(1) {
        Some(next) => item(mailbox, next),
        None => after(&key(prefix::ITEM, &[mailbox.as_bytes()])),
    };
    (item(mailbox, from), behind)
}

/// The first key behind all that start with `prefix`.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut behind = prefix.to_vec();
    while let Some(last) = behind.pop() {
        // Keys start with a letter, so there is always a byte left to raise.
        if last < u8::MAX {
            behind.push(last + 1);
            break;
        }
    }
    behind
}

/// The number at the end of a key.
pub(super) fn trailing_number(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
