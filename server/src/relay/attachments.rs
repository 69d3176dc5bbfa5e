//! Attachments: announced by a listed device, written by it alone, read by whoever holds the capability.

use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::{
    BlobBytes, BlobCreate, BlobRead, BlobStatus, BlobWrite, Code, MAX_BLOB_CHUNK, ToClient,
};

use super::assign::MAX_SWAPS;
use super::record::Record;
use crate::blobs::{BlobError, token_matches};
use crate::clock::now_ms;
use crate::socket::connection::Session;
use crate::store::{BlobRecord, StoreError};

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
            return self.blob_status(frame.req, frame.blob, known).await;
        }
        relay.check_space()?;
        let loaded = relay.conversation(frame.conversation).await.map_err(code)?;
        let loaded = loaded.ok_or(Code::UnknownConversation)?;
        if !loaded.lists(&self.who.hash) {
            return Err(Code::NotListed);
        }
        if frame.length == 0 || frame.length > u64::from(relay.config.limits.attachment_mib) << 20 {
            return Err(Code::BlobTooLarge);
        }
        relay.limits.attachment(&self.who.hash).map_err(|_| Code::RateLimited)?;
        self.reserve(frame.conversation, frame.length).await?;
        let record = BlobRecord {
            capability: frame.token_hash,
            uploader: self.who.hash,
            length: frame.length,
            complete: false,
            expires_ms: relay.expiry(now_ms()),
        };
        relay.store.put_blob(frame.blob, record.clone()).await.map_err(code)?;
        self.blob_status(frame.req, frame.blob, record).await
    }

    /// Counts an attachment's bytes against what its conversation may have, over its whole life.
    async fn reserve(&self, id: ConversationId, bytes: u64) -> Result<(), Code> {
        let relay = &self.relay;
        let most = u64::from(relay.config.limits.conversation_attachments_mib) << 20;
        for _ in 0..MAX_SWAPS {
            let loaded = relay.conversation(id).await.map_err(|cause| relay.store_code(&cause))?;
            let loaded = loaded.ok_or(Code::UnknownConversation)?;
            if loaded.record.closed_ms.is_some() {
                return Err(Code::Closed);
            }
            let attachments = loaded.record.attachments.saturating_add(bytes);
            if attachments > most {
                return Err(Code::AttachmentsFull);
            }
            if relay.put(id, loaded.version, Record { attachments, ..loaded.record.clone() }).await? {
                return Ok(());
            }
        }
        Err(Code::Conflict)
    }

    async fn blob_status(&self, req: u32, blob: BlobId, mut record: BlobRecord) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let disk = |cause| self.disk_code(&BlobError::Disk(cause));
        // The file became whole and the relay stopped before it noted that.
        if !record.complete && relay.blobs.is_whole(blob).await.map_err(disk)? {
            record.complete = true;
            let noted = relay.store.put_blob(blob, record.clone()).await;
            noted.map_err(|cause| relay.store_code(&cause))?;
        }
        let stored =
            if record.complete { record.length } else { relay.blobs.stored(blob).await.map_err(disk)? };
        Ok(BlobStatus { req, blob, stored, complete: record.complete }.into())
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
        relay.check_space()?;
        if frame.bytes.is_empty() || frame.bytes.len() > MAX_BLOB_CHUNK {
            return Err(Code::TooLarge);
        }
        let known = relay.store.blob(frame.blob).await.map_err(code)?.ok_or(Code::UnknownBlob)?;
        if known.uploader != self.who.hash {
            return Err(Code::BlobRefused);
        }
        if known.complete {
            return self.blob_status(frame.req, frame.blob, known).await;
        }
        let bytes = frame.bytes.len() as u64;
        match relay.blobs.write(frame.blob, frame.offset, frame.bytes, known.length).await {
            Ok(_) => relay.metrics.blob_bytes.add(bytes),
            Err(BlobError::Offset { .. }) => {}
            Err(BlobError::TooLong) => return Err(Code::BlobTooLarge),
            Err(BlobError::Short) => return Err(Code::Malformed),
            Err(cause) => return Err(self.disk_code(&cause)),
        }
        self.blob_status(frame.req, frame.blob, known).await
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
        let bytes = read.map_err(|cause| self.disk_code(&BlobError::Disk(cause)))?;
        let (req, blob, offset) = (frame.req, frame.blob, frame.offset);
        Ok(BlobBytes { req, blob, offset, total: known.length, bytes }.into())
    }
}
