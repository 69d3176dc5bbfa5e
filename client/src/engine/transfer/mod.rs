//! Files on their way (§8).
//!
//! Up: file -> sealed in chunks into the spool, once -> the spool's bytes go to the relay, from where it says it stopped ->
//! the relay has all of them: the message that refers to them is written and leaves -> the spool is dropped when the message
//! is receipted. What cannot be uploaded leaves no message behind.
//! Down: relay -> spool -> hash and length checked -> opened in chunks into the file.
//!
//! Sealing and downloading live in memory: after a crash their command is given again. An upload is a row of the vault.

mod download;
pub(crate) mod record;
mod upload;

use std::collections::BTreeSet;

use sealdesk_protocol::attachment::{AttachmentKey, CiphertextHash, Layout};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::{BlobStatus, Code};

use super::context::Cx;
use super::link::Request;
use super::records::{AttachmentRecord, TransferRecord};
use super::state::Engine;
use super::{Event, Part, Problem, TransferState, problem};
use crate::vault::Key;

/// Most files under way at once.
const MAX_TRANSFERS: usize = 64;
/// Requests of one transfer under way at once.
const PIPELINE: u64 = 4;

/// What a file that is being sealed will become.
pub(crate) struct Sealing {
    command: u64,
    key: AttachmentKey,
    layout: Layout,
    hash: CiphertextHash,
    /// The chunk that is being read or written.
    next: u64,
    name: String,
    media_type: String,
}

/// How far an upload is on this connection.
#[derive(Default)]
pub(crate) struct Uploading {
    record: Option<TransferRecord>,
    /// The relay is asked where to go on.
    announcing: bool,
    /// It told.
    announced: bool,
    /// Next byte to read from the spool, and bytes the relay has.
    asked: u64,
    stored: u64,
    /// Offsets of the chunks that are being read, and the number of those that the relay has not answered.
    reading: BTreeSet<u64>,
    writing: u64,
    again_at: u64,
    /// Refusals in a row without progress.
    refusals: u32,
}

impl Uploading {
    /// Where to go on has to be asked. What the driver still reads counts for nothing: its answer may come at any time.
    fn ask_anew(&mut self, at: u64) {
        self.announced = false;
        self.reading.clear();
        self.writing = 0;
        self.again_at = at;
    }
}

/// How far a download is.
pub(crate) struct Downloading {
    command: u64,
    attachment: AttachmentRecord,
    layout: Layout,
    hash: CiphertextHash,
    asked: u64,
    received: u64,
    /// Chunks that the spool has durably.
    stored: u64,
    under_way: u64,
    again_at: u64,
    tries: u32,
}

/// A checked ciphertext that is being opened.
pub(crate) struct Opening {
    command: u64,
    key: AttachmentKey,
    layout: Layout,
    next: u64,
}

pub(crate) enum Stage {
    Sealing(Box<Sealing>),
    Uploading(Box<Uploading>),
    Downloading(Box<Downloading>),
    Opening(Box<Opening>),
}

/// A file on its way.
pub(crate) struct Transfer {
    pub(super) conversation: ConversationId,
    stage: Stage,
}

impl Transfer {
    pub(super) fn from_record(record: TransferRecord) -> Self {
        let uploading = Uploading { record: Some(record.clone()), ..Uploading::default() };
        Self { conversation: record.conversation, stage: Stage::Uploading(Box::new(uploading)) }
    }

    /// The row, for stages that survive a crash.
    pub(super) fn record(&self) -> Option<&TransferRecord> {
        match &self.stage {
            Stage::Uploading(upload) => upload.record.as_ref(),
            _ => None,
        }
    }

    /// When it has to be looked at again, mono ms.
    pub(super) fn again_at(&self) -> Option<u64> {
        match &self.stage {
            Stage::Uploading(upload) => Some(upload.again_at),
            Stage::Downloading(download) => Some(download.again_at),
            _ => None,
        }
    }

    fn command(&self) -> Option<u64> {
        match &self.stage {
            Stage::Sealing(sealing) => Some(sealing.command),
            Stage::Downloading(download) => Some(download.command),
            Stage::Opening(opening) => Some(opening.command),
            Stage::Uploading(_) => None,
        }
    }

    fn total(&self) -> u64 {
        match &self.stage {
            Stage::Sealing(s) => s.layout.ciphertext_length(),
            Stage::Downloading(d) => d.layout.ciphertext_length(),
            Stage::Opening(o) => o.layout.ciphertext_length(),
            Stage::Uploading(u) => u.record.as_ref().map_or(0, |r| r.attachment.ciphertext_length),
        }
    }
}

impl Engine {
    /// Sends and asks for what is due, for every file.
    pub(super) fn run_transfers(&mut self, cx: &mut Cx<'_>) {
        let ids: Vec<BlobId> = self.transfers.keys().copied().collect();
        for id in ids {
            match self.transfers.get(&id).map(|t| &t.stage) {
                Some(Stage::Uploading(_)) => self.run_upload(cx, id),
                Some(Stage::Downloading(_)) => self.run_download(cx, id),
                _ => {}
            }
        }
    }

    pub(super) fn tell_transfer(&self, cx: &mut Cx<'_>, id: BlobId, done: u64, state: TransferState) {
        if let Some(transfer) = self.transfers.get(&id) {
            let (conversation, total) = (transfer.conversation, transfer.total());
            cx.event(Event::Transfer { transfer: id, conversation, done, total, state });
        }
    }

    /// Ends a transfer that cannot go on, and says so.
    pub(super) fn fail_transfer(&mut self, cx: &mut Cx<'_>, id: BlobId, problem: Problem) {
        self.tell_transfer(cx, id, 0, TransferState::Failed(problem.clone()));
        let Some(transfer) = self.transfers.remove(&id) else { return };
        if let Some(command) = transfer.command() {
            cx.failed(command, problem);
        }
        if transfer.record().is_some() {
            self.mark(Key::Transfer(transfer.conversation, id));
            self.upload_changed(&transfer.conversation);
        }
        cx.out.push(super::Output::DropSpool(id));
    }

    /// Bytes that the driver read.
    pub(super) fn chunk_read(&mut self, cx: &mut Cx<'_>, id: BlobId, part: Part, offset: u64, bytes: &[u8]) {
        match (self.transfers.get(&id).map(|t| &t.stage), part) {
            (Some(Stage::Sealing(_)), Part::File) => self.seal_chunk(cx, id, offset, bytes),
            (Some(Stage::Uploading(_)), Part::Spool) => self.upload_chunk(cx, id, offset, bytes),
            (Some(Stage::Opening(_)), Part::Spool) => self.open_chunk(cx, id, offset, bytes),
            _ => {}
        }
    }

    /// Bytes that the driver wrote durably.
    pub(super) fn chunk_stored(&mut self, cx: &mut Cx<'_>, id: BlobId, part: Part, offset: u64) {
        match (self.transfers.get(&id).map(|t| &t.stage), part) {
            (Some(Stage::Sealing(_)), Part::Spool) => self.sealed_chunk_stored(cx, id, offset),
            (Some(Stage::Opening(_)), Part::File) => self.opened_chunk_stored(cx, id, offset),
            (Some(Stage::Downloading(_)), Part::Spool) => self.downloaded_chunk_stored(cx, id),
            _ => {}
        }
    }

    pub(super) fn chunk_failed(&mut self, cx: &mut Cx<'_>, id: BlobId, part: Part) {
        self.fail_transfer(cx, id, problem::local_file(part));
    }

    /// A connection ended: uploads and downloads ask anew where they are.
    pub(super) fn forget_transfers(&mut self, device: &DeviceKeyHash) {
        for transfer in self.transfers.values_mut() {
            let ours =
                self.conversations.get(&transfer.conversation).is_some_and(|c| c.record.device == *device);
            match &mut transfer.stage {
                Stage::Uploading(upload) if ours => {
                    upload.announcing = false;
                    upload.ask_anew(0);
                }
                Stage::Downloading(download) if ours => {
                    download.under_way = 0;
                    download.asked = download.received;
                    download.again_at = 0;
                }
                _ => {}
            }
        }
    }

    /// A conversation is deleted: its files stop. Answers the rows to delete.
    pub(super) fn drop_transfers(&mut self, cx: &mut Cx<'_>, conversation: &ConversationId) -> Vec<BlobId> {
        let ids: Vec<BlobId> = self
            .transfers
            .iter()
            .filter(|(_, t)| t.conversation == *conversation)
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            self.fail_transfer(cx, *id, problem::unknown_conversation());
            self.dirty.remove(&Key::Transfer(*conversation, *id));
        }
        ids
    }

    pub(super) fn blob_status(&mut self, cx: &mut Cx<'_>, request: &Request, status: &BlobStatus) {
        match request {
            Request::BlobCreate(id) if *id == status.blob => self.upload_announced(cx, *id, status),
            Request::BlobWrite(id) if *id == status.blob => self.upload_advanced(cx, *id, status),
            _ => {}
        }
    }

    /// The relay refused a file, or a part of it.
    pub(super) fn blob_refused(
        &mut self,
        cx: &mut Cx<'_>,
        id: BlobId,
        announcement: bool,
        code: Code,
        at: u64,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let passing = super::requests::is_passing(code);
        match &mut transfer.stage {
            Stage::Uploading(upload) => {
                upload.announcing &= !announcement;
                // Out of step with the relay: ask where to go on.
                let out_of_step = matches!(code, Code::Conflict | Code::UnknownBlob | Code::Malformed);
                upload.refusals += u32::from(out_of_step);
                if passing || (out_of_step && upload.refusals <= upload::PATIENCE) {
                    return upload.ask_anew(at);
                }
            }
            Stage::Downloading(download) => {
                download.under_way = download.under_way.saturating_sub(1);
                download.tries += 1;
                // A relay that was restored gets it from the sender again.
                if passing || (code == Code::UnknownBlob && download.tries < download::PATIENCE) {
                    download.asked = download.received;
                    download.again_at = at;
                    return;
                }
            }
            _ => {}
        }
        self.fail_transfer(cx, id, Problem::from(code));
    }

    /// Remembers what opens an attachment, ours or a peer's.
    pub(super) fn keep_attachment(&mut self, record: AttachmentRecord) {
        let (id, message): (ConversationId, MessageId) = (record.conversation, record.message);
        if let Some(c) = self.conversations.get_mut(&id)
            && c.attachments.len() < super::contents::MAX_ATTACHMENTS
        {
            c.attachments.insert(message, record);
            self.mark(Key::Attachment(id, message));
        }
    }
}
