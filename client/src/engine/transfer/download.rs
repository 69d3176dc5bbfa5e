//! From the relay into the spool, checked as a whole, then opened into the file.

use sealdesk_protocol::attachment::{AttachmentKey, CiphertextHash, Layout};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::{BlobBytes, BlobRead, MAX_BLOB_CHUNK};

use super::super::context::Cx;
use super::super::link::Request;
use super::super::state::Engine;
use super::super::{Event, FileBytes, Output, Part, Problem, TransferState, problem};
use super::{Downloading, MAX_TRANSFERS, Opening, PIPELINE, Stage, Transfer};

const CHUNK: u64 = MAX_BLOB_CHUNK as u64;
/// How often an attachment that the relay does not have yet is asked for.
pub(super) const PATIENCE: u32 = 5;
/// Before parts are asked for again that came out of order, ms.
const MOMENT: u64 = 1_000;

impl Engine {
    pub(in super::super) fn save_file(
        &mut self,
        cx: &mut Cx<'_>,
        command: u64,
        conversation: ConversationId,
        message: MessageId,
    ) {
        let Some(c) = self.conversations.get(&conversation) else {
            return cx.failed(command, problem::unknown_conversation());
        };
        let Some(attachment) = c.attachments.get(&message).cloned() else {
            return cx.failed(command, problem::no_attachment());
        };
        let id = attachment.attachment.blob;
        if self.transfers.contains_key(&id) || self.transfers.len() >= MAX_TRANSFERS {
            return cx.failed(command, Problem::transfer_busy());
        }
        let layout = match Layout::of(attachment.attachment.length) {
            Ok(layout) if layout.ciphertext_length() == attachment.attachment.ciphertext_length => layout,
            // The sender's own numbers do not fit together.
            _ => return cx.failed(command, problem::attachment_altered()),
        };
        let download = Downloading {
            command,
            attachment,
            layout,
            hash: CiphertextHash::new(),
            asked: 0,
            received: 0,
            stored: 0,
            under_way: 0,
            again_at: 0,
            tries: 0,
        };
        self.transfers.insert(id, Transfer { conversation, stage: Stage::Downloading(Box::new(download)) });
        self.tell_transfer(cx, id, 0, TransferState::Downloading);
    }

    /// Asks for a few parts ahead.
    pub(super) fn run_download(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        let Some(Transfer { conversation, stage: Stage::Downloading(download) }) =
            self.transfers.get_mut(&id)
        else {
            return;
        };
        if download.again_at > cx.now.mono_ms {
            return;
        }
        let Some(hash) = self.conversations.get(conversation).map(|c| c.record.device) else { return };
        let total = download.layout.ciphertext_length();
        let mut frames = Vec::new();
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        // What is not stored yet lies in the driver's memory.
        let unstored = download.received.div_ceil(CHUNK).saturating_sub(download.stored);
        while download.under_way + unstored < PIPELINE && download.asked < total {
            let length = (total - download.asked).min(CHUNK);
            frames.push(BlobRead {
                req: online.request(Request::BlobRead(id), cx.now.mono_ms),
                blob: id,
                token: download.attachment.attachment.token,
                offset: download.asked,
                length: u32::try_from(length).unwrap_or(u32::MAX),
            });
            download.asked += length;
            download.under_way += 1;
        }
        for frame in frames {
            self.send(cx, hash, frame);
        }
    }

    /// A part from the relay, in order; others are asked for again, a moment after the last answer.
    pub(in super::super) fn blob_bytes(&mut self, cx: &mut Cx<'_>, id: BlobId, part: BlobBytes) {
        let Some(Transfer { stage: Stage::Downloading(download), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        download.under_way = download.under_way.saturating_sub(1);
        let total = download.layout.ciphertext_length();
        if part.blob != id || part.total != total {
            return self.fail_transfer(cx, id, problem::attachment_altered());
        }
        if part.offset != download.received {
            if download.under_way == 0 {
                download.asked = download.received;
                download.again_at = cx.now.mono_ms + MOMENT;
            }
            return;
        }
        let expected = (total - download.received).min(CHUNK);
        if part.bytes.len() as u64 != expected {
            return self.fail_transfer(cx, id, problem::attachment_altered());
        }
        download.hash.update(&part.bytes);
        download.received += expected;
        download.tries = 0;
        let done = download.received;
        cx.out.push(Output::WriteChunk {
            transfer: id,
            part: Part::Spool,
            offset: part.offset,
            bytes: FileBytes(part.bytes),
        });
        self.tell_transfer(cx, id, done, TransferState::Downloading);
    }

    /// The spool holds everything: nothing is opened before hash and length are those that the message names.
    pub(super) fn downloaded_chunk_stored(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        let Some(Transfer { stage: Stage::Downloading(download), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        download.stored += 1;
        if download.stored < download.layout.chunks() {
            return;
        }
        let named = &download.attachment.attachment;
        let hash = core::mem::take(&mut download.hash);
        if hash.check(&named.ciphertext_hash, named.ciphertext_length).is_err() {
            return self.fail_transfer(cx, id, problem::attachment_altered());
        }
        let opening = Opening {
            command: download.command,
            key: AttachmentKey::from_bytes(&named.key),
            layout: download.layout,
            next: 0,
        };
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.stage = Stage::Opening(Box::new(opening));
        }
        self.tell_transfer(cx, id, 0, TransferState::Opening);
        self.read_spool(cx, id);
    }

    fn read_spool(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        let Some(Transfer { conversation, stage: Stage::Opening(opening) }) = self.transfers.get(&id) else {
            return;
        };
        let offset = opening.layout.offset(opening.next);
        match opening.layout.sealed_length(opening.next) {
            Ok(len) => {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                cx.out.push(Output::ReadChunk { transfer: id, part: Part::Spool, offset, len });
            }
            Err(_) => {
                let (command, conversation) = (opening.command, *conversation);
                self.tell_transfer(cx, id, opening.layout.ciphertext_length(), TransferState::Saved);
                self.transfers.remove(&id);
                cx.out.push(Output::DropSpool(id));
                cx.event(Event::Done { id: command, conversation: Some(conversation), message: None });
            }
        }
    }

    pub(super) fn open_chunk(&mut self, cx: &mut Cx<'_>, id: BlobId, offset: u64, bytes: &[u8]) {
        let Some(Transfer { stage: Stage::Opening(opening), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        if offset != opening.layout.offset(opening.next) {
            return;
        }
        match opening.key.open(&opening.layout, opening.next, bytes) {
            // A chunk that is all padding, except in an empty file, whose one write makes the file.
            Ok(text) if text.is_empty() && opening.next > 0 => {
                opening.next += 1;
                self.read_spool(cx, id);
            }
            Ok(bytes) => {
                let offset = opening.next * sealdesk_protocol::attachment::CHUNK_LEN as u64;
                cx.out.push(Output::WriteChunk {
                    transfer: id,
                    part: Part::File,
                    offset,
                    bytes: FileBytes(bytes),
                });
            }
            Err(_) => self.fail_transfer(cx, id, problem::attachment_altered()),
        }
    }

    pub(super) fn opened_chunk_stored(&mut self, cx: &mut Cx<'_>, id: BlobId, offset: u64) {
        let Some(Transfer { stage: Stage::Opening(opening), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        if offset != opening.next * sealdesk_protocol::attachment::CHUNK_LEN as u64 {
            return;
        }
        opening.next += 1;
        let done = opening.layout.offset(opening.next).min(opening.layout.ciphertext_length());
        self.tell_transfer(cx, id, done, TransferState::Opening);
        self.read_spool(cx, id);
    }
}
