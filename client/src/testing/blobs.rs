//! The relay's attachments.

use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::{BlobBytes, BlobCreate, BlobRead, BlobStatus, BlobWrite, Code};

use super::relay::{Blob, Connection, Relay};

impl Relay {
    pub(super) fn create_blob(&mut self, connection: Connection, frame: &BlobCreate) {
        self.blobs.entry(frame.blob).or_insert(Blob {
            length: frame.length,
            token_hash: frame.token_hash,
            bytes: Vec::new(),
        });
        self.tell_blob(connection, frame.req, frame.blob);
    }

    pub(super) fn write_blob(&mut self, connection: Connection, frame: &BlobWrite) {
        if let Some(code) = self.refuse_writes {
            return self.refuse(connection, frame.req, code);
        }
        if let Some(blob) = self.blobs.get_mut(&frame.blob)
            && blob.bytes.len() as u64 == frame.offset
        {
            blob.bytes.extend_from_slice(&frame.bytes);
        }
        self.tell_blob(connection, frame.req, frame.blob);
    }

    fn tell_blob(&mut self, connection: Connection, req: u32, id: BlobId) {
        let Some(blob) = self.blobs.get(&id) else {
            return self.refuse(connection, req, Code::UnknownBlob);
        };
        let stored = blob.bytes.len() as u64;
        let complete = stored == blob.length;
        self.say(connection, BlobStatus { req, blob: id, stored, complete });
    }

    pub(super) fn read_blob(&mut self, connection: Connection, frame: &BlobRead) {
        let Some(blob) = self.blobs.get(&frame.blob).filter(|b| b.bytes.len() as u64 == b.length) else {
            return self.refuse(connection, frame.req, Code::UnknownBlob);
        };
        if sha256(&frame.token) != blob.token_hash {
            return self.refuse(connection, frame.req, Code::BlobRefused);
        }
        let start = usize::try_from(frame.offset).unwrap_or(usize::MAX).min(blob.bytes.len());
        let end = start.saturating_add(frame.length as usize).min(blob.bytes.len());
        let mut answer = BlobBytes {
            req: frame.req,
            blob: frame.blob,
            offset: frame.offset,
            total: blob.length,
            bytes: blob.bytes[start..end].to_vec(),
        };
        if let Some(lie) = self.lie_of_parts {
            lie(&mut answer);
        }
        self.say(connection, answer);
    }

    /// Drops every attachment, as after the TTL.
    pub fn forget_blobs(&mut self) {
        self.blobs.clear();
    }

    /// Flips the last bit of a stored attachment.
    pub fn damage_blob(&mut self, blob: &BlobId) {
        if let Some(byte) = self.blobs.get_mut(blob).and_then(|b| b.bytes.last_mut()) {
            *byte ^= 1;
        }
    }
}
