//! Sealing into the spool, and the spool's way to the relay.

use sealdesk_protocol::attachment::{AttachmentKey, CiphertextHash, Layout};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::{Attachment, Kind, MAX_NAME};
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::{BlobCreate, BlobStatus, BlobWrite, Code, MAX_BLOB_CHUNK};

use super::super::context::Cx;
use super::super::link::Request;
use super::super::records::{AttachmentRecord, TransferRecord};
use super::super::state::Engine;
use super::super::{FileBytes, Output, Part, Problem, TransferState, Upload, problem};
use super::{MAX_TRANSFERS, PIPELINE, Sealing, Stage, Transfer, Uploading};
use crate::vault::Key;

const CHUNK: u64 = MAX_BLOB_CHUNK as u64;
/// How often in a row the relay may be out of step with an upload.
pub(super) const PATIENCE: u32 = 8;

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(in super::super) fn send_file(
        &mut self,
        cx: &mut Cx<'_>,
        command: u64,
        conversation: ConversationId,
        name: String,
        media_type: String,
        length: u64,
        transfer: BlobId,
    ) {
        let layout = self.check_file(&conversation, &name, &media_type, length, transfer);
        let layout = match layout {
            Ok(layout) => layout,
            Err(problem) => return cx.failed(command, problem),
        };
        let sealing = Sealing {
            command,
            key: AttachmentKey::generate(cx.rng),
            layout,
            hash: CiphertextHash::new(),
            next: 0,
            name,
            media_type,
        };
        self.transfers.insert(transfer, Transfer { conversation, stage: Stage::Sealing(Box::new(sealing)) });
        self.read_file(cx, transfer);
    }

    fn check_file(
        &self,
        conversation: &ConversationId,
        name: &str,
        media_type: &str,
        length: u64,
        transfer: BlobId,
    ) -> Result<Layout, Problem> {
        self.check_writable(conversation)?;
        if name.is_empty() || name.len() > MAX_NAME || media_type.len() > MAX_NAME {
            return Err(problem::file_name());
        }
        if self.transfers.contains_key(&transfer) || self.transfers.len() >= MAX_TRANSFERS {
            return Err(Problem::transfer_busy());
        }
        let layout = Layout::of(length).map_err(|_| Problem::from(Code::BlobTooLarge))?;
        let limit = self.device_of(conversation).and_then(|d| d.record.limits).map(|l| l.attachment);
        if limit.is_some_and(|most| layout.ciphertext_length() > most) {
            return Err(Problem::from(Code::BlobTooLarge));
        }
        Ok(layout)
    }

    /// Asks for the next chunk of the file; a chunk that is all padding needs no reading.
    fn read_file(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        let Some(Transfer { stage: Stage::Sealing(sealing), .. }) = self.transfers.get(&id) else { return };
        let offset = sealing.next * sealdesk_protocol::attachment::CHUNK_LEN as u64;
        match sealing.layout.content_length(sealing.next) {
            Ok(0) => self.seal_chunk(cx, id, offset, &[]),
            Ok(len) => {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                cx.out.push(Output::ReadChunk { transfer: id, part: Part::File, offset, len });
            }
            Err(_) => self.sealed_whole(cx, id),
        }
    }

    pub(super) fn seal_chunk(&mut self, cx: &mut Cx<'_>, id: BlobId, offset: u64, bytes: &[u8]) {
        let Some(Transfer { stage: Stage::Sealing(sealing), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        if offset != sealing.next * sealdesk_protocol::attachment::CHUNK_LEN as u64 {
            return;
        }
        match sealing.key.seal(&sealing.layout, sealing.next, bytes) {
            Ok(sealed) => {
                sealing.hash.update(&sealed);
                let offset = sealing.layout.offset(sealing.next);
                cx.out.push(Output::WriteChunk {
                    transfer: id,
                    part: Part::Spool,
                    offset,
                    bytes: FileBytes(sealed),
                });
            }
            // Fewer bytes than announced: the file changed meanwhile.
            Err(_) => self.fail_transfer(cx, id, problem::file_changed()),
        }
    }

    pub(super) fn sealed_chunk_stored(&mut self, cx: &mut Cx<'_>, id: BlobId, offset: u64) {
        let Some(Transfer { stage: Stage::Sealing(sealing), .. }) = self.transfers.get_mut(&id) else {
            return;
        };
        if offset != sealing.layout.offset(sealing.next) {
            return;
        }
        sealing.next += 1;
        let (done, chunks) = (sealing.layout.offset(sealing.next), sealing.layout.chunks());
        let total = sealing.layout.ciphertext_length();
        let whole = sealing.next == chunks;
        self.tell_transfer(cx, id, done.min(total), TransferState::Sealing);
        if whole { self.sealed_whole(cx, id) } else { self.read_file(cx, id) }
    }

    /// The spool is complete: the file is safe in the vault, the upload begins.
    fn sealed_whole(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        if let Some(problem) =
            self.transfers.get(&id).and_then(|t| self.check_standing(&t.conversation).err())
        {
            return self.fail_transfer(cx, id, problem);
        }
        let Some(Transfer { conversation, stage: Stage::Sealing(sealing) }) = self.transfers.remove(&id)
        else {
            return;
        };
        let Sealing { command, key, layout, hash, name, media_type, .. } = *sealing;
        let (ciphertext_hash, ciphertext_length) = hash.finish();
        let mut token = [0; 32];
        cx.rng.fill_bytes(&mut token);
        let attachment = Attachment {
            blob: id,
            token,
            key: *key.expose(),
            ciphertext_hash,
            ciphertext_length,
            length: layout.length(),
            media_type,
            name,
        };
        let record = TransferRecord {
            conversation,
            transfer: id,
            message: None,
            attachment,
            time: cx.now.wall_ms,
            uploaded: false,
        };
        self.transfers.insert(id, Transfer::from_record(record));
        self.mark(Key::Transfer(conversation, id));
        self.upload_changed(&conversation);
        cx.done(command, Some(conversation));
        self.tell_transfer(cx, id, 0, TransferState::Uploading);
    }

    /// Announces, then reads and sends a few chunks ahead of the relay's answers.
    pub(super) fn run_upload(&mut self, cx: &mut Cx<'_>, id: BlobId) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        let standing = self.check_standing(&transfer.conversation).map(drop);
        let Some(Transfer { conversation, stage: Stage::Uploading(upload) }) = self.transfers.get_mut(&id)
        else {
            return;
        };
        let Some(record) = upload.record.as_ref().filter(|r| !r.uploaded) else { return };
        if record.message.is_none()
            && let Err(problem) = standing
        {
            return self.fail_transfer(cx, id, problem);
        }
        if upload.again_at > cx.now.mono_ms {
            return;
        }
        let Some(c) = self.conversations.get(conversation).filter(|c| c.record.governance.is_some()) else {
            return;
        };
        let hash = c.record.device;
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let total = record.attachment.ciphertext_length;
        if !upload.announced {
            if !upload.announcing {
                upload.announcing = true;
                let req = online.request(Request::BlobCreate(id), cx.now.mono_ms);
                let token_hash = sha256(&record.attachment.token);
                let frame =
                    BlobCreate { req, conversation: *conversation, blob: id, length: total, token_hash };
                self.send(cx, hash, frame);
            }
            return;
        }
        while upload.reading.len() as u64 + upload.writing < PIPELINE && upload.asked < total {
            let len = (total - upload.asked).min(CHUNK);
            cx.out.push(Output::ReadChunk {
                transfer: id,
                part: Part::Spool,
                offset: upload.asked,
                len: u32::try_from(len).unwrap_or(u32::MAX),
            });
            upload.reading.insert(upload.asked);
            upload.asked += len;
        }
    }

    pub(super) fn upload_announced(&mut self, cx: &mut Cx<'_>, id: BlobId, status: &BlobStatus) {
        if let Some(Transfer { stage: Stage::Uploading(upload), .. }) = self.transfers.get_mut(&id) {
            upload.ask_anew(0);
            (upload.announcing, upload.announced) = (false, true);
            upload.asked = status.stored;
            upload.stored = status.stored;
        }
        self.upload_told(cx, id, status);
    }

    /// A chunk of the spool was read: it goes to the relay.
    pub(super) fn upload_chunk(&mut self, cx: &mut Cx<'_>, id: BlobId, offset: u64, bytes: &[u8]) {
        let Some(Transfer { conversation, stage: Stage::Uploading(upload) }) = self.transfers.get_mut(&id)
        else {
            return;
        };
        let total = upload.record.as_ref().map_or(0, |r| r.attachment.ciphertext_length);
        let expected = total.saturating_sub(offset).min(CHUNK);
        // Otherwise it was read for a connection that ended or before a refusal, or is not what was asked for.
        let current = upload.reading.remove(&offset);
        upload.writing += u64::from(current);
        if bytes.len() as u64 != expected {
            return self.fail_transfer(cx, id, problem::local_file(Part::Spool));
        }
        let Some(hash) = self.conversations.get(conversation).map(|c| c.record.device).filter(|_| current)
        else {
            return;
        };
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let req = online.request(Request::BlobWrite(id), cx.now.mono_ms);
        self.send(cx, hash, BlobWrite { req, blob: id, offset, bytes: bytes.to_vec() });
    }

    pub(super) fn upload_advanced(&mut self, cx: &mut Cx<'_>, id: BlobId, status: &BlobStatus) {
        if let Some(Transfer { conversation, stage: Stage::Uploading(upload) }) = self.transfers.get_mut(&id)
        {
            upload.writing = upload.writing.saturating_sub(1);
            if status.stored > upload.stored {
                upload.refusals = 0;
                // A close waits as long as the file moves.
                if let Some(c) = self.conversations.get_mut(conversation).filter(|c| c.record.closing) {
                    c.waits.closing_since = Some(cx.now.mono_ms);
                }
            }
            upload.stored = upload.stored.max(status.stored);
            if upload.reading.is_empty() && upload.writing == 0 {
                // Also when the relay and this device were out of step.
                upload.asked = status.stored;
            }
        }
        self.upload_told(cx, id, status);
    }

    fn upload_told(&mut self, cx: &mut Cx<'_>, id: BlobId, status: &BlobStatus) {
        let Some(Transfer { conversation, stage: Stage::Uploading(upload) }) = self.transfers.get_mut(&id)
        else {
            return;
        };
        let conversation = *conversation;
        if !status.complete {
            return self.tell_transfer(cx, id, status.stored, TransferState::Uploading);
        }
        let Some(record) = &mut upload.record else { return };
        record.uploaded = true;
        let (written, attachment) = (record.message, record.attachment.clone());
        let message = match written.map_or_else(|| self.write_attachment(cx, conversation, attachment), Ok) {
            Ok(message) => message,
            Err(problem) => return self.fail_transfer(cx, id, problem),
        };
        if let Some(Transfer { stage: Stage::Uploading(upload), .. }) = self.transfers.get_mut(&id)
            && let Some(record) = &mut upload.record
        {
            record.message = Some(message);
        }
        self.mark(Key::Transfer(conversation, id));
        self.upload_changed(&conversation);
        self.tell_transfer(cx, id, status.stored, TransferState::Uploaded(message));
        self.drop_receipted_spools(cx, &conversation);
    }

    /// The message that refers to a file which the relay has.
    fn write_attachment(
        &mut self,
        cx: &mut Cx<'_>,
        conversation: ConversationId,
        attachment: Attachment,
    ) -> Result<MessageId, Problem> {
        self.check_writable(&conversation)?;
        let message = self.write_content(cx, conversation, &Kind::Attachment(attachment.clone()))?;
        self.keep_attachment(AttachmentRecord { conversation, message, attachment });
        Ok(message)
    }

    /// Files of a conversation whose message waits for them, oldest first.
    pub(in super::super) fn uploads(&self, conversation: &ConversationId) -> Vec<Upload> {
        let ours = self.transfers.values().filter(|t| t.conversation == *conversation);
        let waiting = ours.filter_map(Transfer::record).filter(|r| r.message.is_none());
        let mut uploads: Vec<Upload> = waiting
            .map(|r| Upload {
                transfer: r.transfer,
                name: r.attachment.name.clone(),
                media_type: r.attachment.media_type.clone(),
                length: r.attachment.length,
                time: r.time,
            })
            .collect();
        uploads.sort_by_key(|u| u.time);
        uploads
    }

    /// Transfers whose spool is still needed after a restart.
    pub fn spools(&self) -> std::collections::BTreeSet<BlobId> {
        self.transfers.values().filter_map(Transfer::record).map(|r| r.transfer).collect()
    }

    /// Whether a file has not reached the relay yet.
    pub(in super::super) fn is_uploading(&self, conversation: &ConversationId) -> bool {
        self.transfers.values().filter(|t| t.conversation == *conversation).any(|t| match &t.stage {
            Stage::Sealing(_) => true,
            Stage::Uploading(upload) => upload.record.as_ref().is_some_and(|r| !r.uploaded),
            _ => false,
        })
    }

    /// The view shows uploads; a close waits for them.
    pub(super) fn upload_changed(&mut self, conversation: &ConversationId) {
        if let Some(c) = self.conversations.get_mut(conversation) {
            c.waits.changed = true;
            c.waits.attention = true;
        }
    }

    /// Uploads whose message is receipted are done: the spool goes.
    pub(in super::super) fn drop_receipted_spools(&mut self, cx: &mut Cx<'_>, conversation: &ConversationId) {
        let Some(c) = self.conversations.get(conversation) else { return };
        let delivered = c.counters.delivered;
        let done: Vec<BlobId> = self
            .transfers
            .iter()
            .filter(|(_, t)| t.conversation == *conversation)
            .filter(|(_, t)| {
                t.record().is_some_and(|r| r.uploaded && r.message.is_some_and(|m| m.counter <= delivered))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            self.transfers.remove(&id);
            self.mark(Key::Transfer(*conversation, id));
            cx.out.push(Output::DropSpool(id));
        }
    }

    /// The relay was restored: what nobody has confirmed goes up again.
    pub(in super::super) fn upload_again(&mut self, conversations: &[ConversationId]) {
        let mut touched = Vec::new();
        for (id, transfer) in
            self.transfers.iter_mut().filter(|(_, t)| conversations.contains(&t.conversation))
        {
            if let Stage::Uploading(upload) = &mut transfer.stage {
                let record = upload.record.take().map(|r| TransferRecord { uploaded: false, ..r });
                **upload = Uploading { record, ..Uploading::default() };
                touched.push(Key::Transfer(transfer.conversation, *id));
            }
        }
        touched.into_iter().for_each(|key| self.mark(key));
    }
}
