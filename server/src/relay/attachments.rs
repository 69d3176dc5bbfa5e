//! Attachments: announced by a listed device, written by it alone, read by whoever holds the capability.
//!
//! Bytes count when they are announced: against the conversation over its whole life, the device and its network by the
//! hour, and the relay in all ([`super::uploads`]). Whoever opened a conversation needs nobody's leave for it, so that
//! little may be announced before an agent accepts. A close ends what is not whole: its message could not follow any more
//! (§8.6).

use std::io;

use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::{
    BlobBytes, BlobCreate, BlobRead, BlobStatus, BlobWrite, Code, MAX_BLOB_CHUNK, ToClient,
};

use super::assign::MAX_SWAPS;
use super::record::Record;
use crate::blobs::{BlobError, Stored, token_matches};
use crate::clock::{DAY_MS, HOUR_MS, now_ms};
use crate::socket::connection::Session;
use crate::store::{BlobRecord, StoreError};

/// How long one that is not whole is kept after it was last announced.
const UNFINISHED_MS: u64 = DAY_MS;

impl Session {
    /// Announces an attachment, or tells how much of it is stored.
    pub(super) async fn blob_create(&self, frame: &BlobCreate) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let code = |cause: StoreError| relay.store_code(&cause);
        if let Some(known) = relay.store.blob(frame.blob).await.map_err(code)? {
            let same = known.capability == frame.token_hash && known.length == frame.length;
            if known.uploader != self.who.hash || !same {
                return Err(Code::BlobRefused);
            }
            return self.resume(frame, known).await;
        }
        relay.check_attachment_space()?;
        let loaded = relay.conversation(frame.conversation).await.map_err(code)?;
        let loaded = loaded.ok_or(Code::UnknownConversation)?;
        if !loaded.lists(&self.who.hash) {
            return Err(Code::NotListed);
        }
        if frame.length == 0 || frame.length > mib(relay.config.limits.attachment_mib) {
            return Err(Code::BlobTooLarge);
        }
        // Before the rates: what cannot be taken shall not use them up.
        self.count(&loaded.record, frame.length)?;
        if !relay.uploads.begin(frame.blob, frame.conversation, frame.length) {
            let twice = relay.uploads.conversation(&frame.blob).is_some();
            return Err(if twice { Code::Conflict } else { Code::AttachmentsFull });
        }
        let begun = self.begin(frame).await;
        let record = begun.inspect_err(|_| relay.uploads.gone(&frame.blob, frame.length))?;
        Ok(self.blob_status(frame.req, frame.blob, record).await?.into())
    }

    /// Counts and stores a new announcement.
    async fn begin(&self, frame: &BlobCreate) -> Result<BlobRecord, Code> {
        let relay = &self.relay;
        // A certified agent does not stand for everybody in its network.
        let prefix = self.who.agent.is_none().then_some(&self.permit.prefix);
        let counted = relay.limits.attachment(&self.who.hash, prefix, frame.length).map_err(|_| {
            relay.metrics.rate_limited.up();
            Code::RateLimited
        })?;
        self.announce(frame).await.inspect_err(|_| relay.limits.not_announced(&counted))
    }

    /// What an attachment of so many bytes adds to its conversation, if it may.
    fn count(&self, record: &Record, bytes: u64) -> Result<u64, Code> {
        let limits = &self.relay.config.limits;
        if record.closed_ms.is_some() {
            return Err(Code::Closed);
        }
        let sum = record.attachments.saturating_add(bytes);
        if sum > mib(limits.conversation_attachments_mib) {
            return Err(Code::AttachmentsFull);
        }
        // Passes by itself, with the acceptance.
        let alone = self.who.agent.is_none() && !record.is_accepted();
        if alone && sum > mib(limits.unaccepted_attachments_mib) {
            return Err(Code::RateLimited);
        }
        Ok(sum)
    }

    /// Stores it, and counts its bytes against what its conversation may have over its whole life: both, or neither.
    async fn announce(&self, frame: &BlobCreate) -> Result<BlobRecord, Code> {
        let (relay, id) = (&self.relay, frame.conversation);
        let blob = BlobRecord {
            capability: frame.token_hash,
            uploader: self.who.hash,
            length: frame.length,
            complete: false,
            expires_ms: now_ms() + UNFINISHED_MS,
        };
        for _ in 0..MAX_SWAPS {
            let loaded = relay.conversation(id).await.map_err(|cause| relay.store_code(&cause))?;
            let loaded = loaded.ok_or(Code::UnknownConversation)?;
            let attachments = self.count(&loaded.record, frame.length)?;
            let record = Record { attachments, ..loaded.record.clone() };
            let change = relay.change(id, loaded.version, &record)?;
            let swapped = relay.store.announce(change, frame.blob, blob.clone()).await;
            if relay.swapped(id, swapped, record)? {
                return Ok(blob);
            }
        }
        Err(Code::Conflict)
    }

    /// Goes on with one that was announced before, if it may still become whole.
    async fn resume(&self, frame: &BlobCreate, mut known: BlobRecord) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let status = self.blob_status(frame.req, frame.blob, known.clone()).await?;
        if status.complete {
            return Ok(status.into());
        }
        let conversation = relay.uploads.conversation(&frame.blob).unwrap_or(frame.conversation);
        self.check_open(conversation).await?;
        relay.uploads.resume(frame.blob, conversation);
        let until = now_ms() + UNFINISHED_MS;
        if known.expires_ms + HOUR_MS < until {
            known.expires_ms = until;
            relay.store.put_blob(frame.blob, known).await.map_err(|cause| relay.store_code(&cause))?;
        }
        Ok(status.into())
    }

    /// Whether this device may still add to a conversation.
    async fn check_open(&self, id: ConversationId) -> Result<(), Code> {
        let relay = &self.relay;
        let loaded = relay.conversation(id).await.map_err(|cause| relay.store_code(&cause))?;
        let loaded = loaded.ok_or(Code::UnknownConversation)?;
        if !loaded.lists(&self.who.hash) {
            return Err(Code::NotListed);
        }
        if loaded.record.closed_ms.is_some() { Err(Code::Closed) } else { Ok(()) }
    }

    async fn blob_status(&self, req: u32, blob: BlobId, mut record: BlobRecord) -> Result<BlobStatus, Code> {
        let relay = &self.relay;
        let mut stored = Stored::Whole;
        if !record.complete {
            let asked = relay.blobs.stored(blob).await;
            stored = asked.map_err(|cause| self.disk_code(&BlobError::Disk(cause)))?;
            if stored == Stored::Whole {
                // Just now, or before the relay stopped and could not note it any more.
                (record.complete, record.expires_ms) = (true, relay.expiry(now_ms()));
                let noted = relay.store.put_blob(blob, record.clone()).await;
                noted.map_err(|cause| relay.store_code(&cause))?;
                relay.uploads.whole(&blob);
            }
        }
        let stored = if let Stored::Part(bytes) = stored { bytes } else { record.length };
        Ok(BlobStatus { req, blob, stored, complete: record.complete })
    }

    fn disk_code(&self, cause: &BlobError) -> Code {
        tracing::error!(%cause, "an attachment's file failed");
        self.relay.metrics.unavailable.up();
        Code::Unavailable
    }

    /// Writes one chunk; the status answers it, also when the chunk does not fit where it is meant to go.
    pub(super) async fn blob_write(&self, frame: BlobWrite) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let code = |cause: StoreError| relay.store_code(&cause);
        relay.check_attachment_space()?;
        if frame.bytes.is_empty() || frame.bytes.len() > MAX_BLOB_CHUNK {
            return Err(Code::TooLarge);
        }
        let known = relay.store.blob(frame.blob).await.map_err(code)?.ok_or(Code::UnknownBlob)?;
        if known.uploader != self.who.hash {
            return Err(Code::BlobRefused);
        }
        if known.complete {
            return Ok(self.blob_status(frame.req, frame.blob, known).await?.into());
        }
        // Every connection announces before it writes.
        let conversation = relay.uploads.conversation(&frame.blob).ok_or(Code::UnknownBlob)?;
        self.check_open(conversation).await?;
        let bytes = frame.bytes.len() as u64;
        match relay.blobs.write(frame.blob, frame.offset, frame.bytes, known.length).await {
            Ok(_) => relay.metrics.blob_bytes.add(bytes),
            Err(BlobError::Offset { .. }) => {}
            Err(BlobError::TooLong) => return Err(Code::BlobTooLarge),
            Err(BlobError::Short) => return Err(Code::Malformed),
            Err(cause) => return Err(self.disk_code(&cause)),
        }
        Ok(self.blob_status(frame.req, frame.blob, known).await?.into())
    }

    /// Reads a part for whoever holds the capability.
    pub(super) async fn blob_read(&self, frame: &BlobRead) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let known = relay.store.blob(frame.blob).await.map_err(|cause| relay.store_code(&cause))?;
        let known = known.ok_or(Code::UnknownBlob)?;
        if !token_matches(&frame.token, &known.capability) {
            return Err(Code::BlobRefused);
        }
        if !known.complete {
            return Err(Code::UnknownBlob);
        }
        let length = usize::try_from(frame.length).unwrap_or(usize::MAX).min(MAX_BLOB_CHUNK);
        let read = relay.blobs.read(frame.blob, frame.offset, length).await;
        let bytes = match read {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                tracing::error!(
                    blob = %frame.blob,
                    "an attachment's file is gone from blobs/: put it back from a backup, or have it sent again"
                );
                return Err(Code::UnknownBlob);
            }
            read => read.map_err(|cause| self.disk_code(&BlobError::Disk(cause)))?,
        };
        let (req, blob, offset) = (frame.req, frame.blob, frame.offset);
        Ok(BlobBytes { req, blob, offset, total: known.length, bytes }.into())
    }
}

fn mib(count: u32) -> u64 {
    u64::from(count) << 20
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::crypto::identity::DeviceSecret;
    use sealdesk_protocol::wire::Party;

    use super::*;
    use crate::testing::Running;
    use crate::testing::organisation::rng;

    /// On the connection that broke and on the next one.
    #[tokio::test]
    async fn what_is_announced_twice_at_once_counts_once() {
        let running =
            Running::with(|raw| (raw.limits.attachment_mib, raw.limits.attachments_mib_per_hour) = (10, 10))
                .await;
        let (customer, agent) = (DeviceSecret::generate(&mut rng()), DeviceSecret::generate(&mut rng()));
        let opened = running.opened(&customer, &agent).await;
        running.relay.put(opened.id, 0, opened.record).await.unwrap();
        let (old, new) =
            (running.session(&customer, Party::Customer), running.session(&customer, Party::Customer));
        let announced = |n: u8| BlobCreate {
            req: 1,
            blob: BlobId([n; 16]),
            conversation: opened.id,
            length: 4 << 20,
            token_hash: [n; 32],
        };
        let frame = announced(1);
        let (one, other) = tokio::join!(old.blob_create(&frame), new.blob_create(&frame));
        assert!(one.is_ok() && other == Err(Code::Conflict), "{one:?} {other:?}");
        let loaded = running.relay.conversation(opened.id).await.unwrap().unwrap();
        assert_eq!(loaded.record.attachments, 4 << 20);
        assert_eq!(running.relay.uploads.held(), 4 << 20);
        // Within what is left of the hour; and what is refused takes nothing.
        new.blob_create(&announced(2)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(new.blob_create(&announced(3)).await, Err(Code::RateLimited));
        }
        let loaded = running.relay.conversation(opened.id).await.unwrap().unwrap();
        assert_eq!((loaded.record.attachments, running.relay.uploads.held()), (8 << 20, 8 << 20));
    }
    /// It was closed meanwhile: what was counted for the hour is given back.
    #[tokio::test]
    async fn what_is_not_announced_takes_nothing_of_the_hour() {
        let running =
            Running::with(|raw| (raw.limits.attachment_mib, raw.limits.attachments_mib_per_hour) = (4, 4))
                .await;
        let (customer, agent) = (DeviceSecret::generate(&mut rng()), DeviceSecret::generate(&mut rng()));
        let opened = running.opened(&customer, &agent).await;
        let session = running.session(&customer, Party::Customer);
        let frame = BlobCreate {
            req: 1,
            blob: BlobId([1; 16]),
            conversation: opened.id,
            length: 4 << 20,
            token_hash: [1; 32],
        };
        let closed = Record { closed_ms: Some(1), ..opened.record.clone() };
        assert!(running.relay.put(opened.id, 1, closed).await.unwrap());
        assert_eq!(session.begin(&frame).await, Err(Code::Closed));
        assert_eq!(running.relay.store.blob(frame.blob).await.unwrap(), None);
        assert!(running.relay.put(opened.id, 2, opened.record).await.unwrap());
        session.blob_create(&frame).await.unwrap();
    }
}
