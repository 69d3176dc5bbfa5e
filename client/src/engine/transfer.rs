//! Files on their way.

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::{BlobBytes, BlobStatus, Code};

use super::connection::Request;
use super::context::Cx;
use super::records::TransferRecord;
use super::state::Engine;
use super::{Part, problem};

pub(crate) struct Transfer {
    pub(super) record: TransferRecord,
}

impl Transfer {
    pub(super) fn from_record(record: TransferRecord) -> Self {
        Self { record }
    }
}

impl Engine {
    pub(super) fn run_transfers(&mut self, _cx: &mut Cx<'_>) {}

    pub(super) fn chunk_read(
        &mut self,
        _cx: &mut Cx<'_>,
        _transfer: BlobId,
        _part: Part,
        _offset: u64,
        _bytes: &[u8],
    ) {
    }

    pub(super) fn chunk_stored(&mut self, _cx: &mut Cx<'_>, _transfer: BlobId, _part: Part, _offset: u64) {}

    pub(super) fn chunk_failed(&mut self, _cx: &mut Cx<'_>, _transfer: BlobId, _part: Part) {}

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(super) fn send_file(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        _conversation: ConversationId,
        _name: String,
        _media_type: String,
        _length: u64,
        _transfer: BlobId,
    ) {
        cx.failed(id, problem::offline());
    }

    pub(super) fn save_file(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        _conversation: ConversationId,
        _message: MessageId,
    ) {
        cx.failed(id, problem::offline());
    }

    pub(super) fn forget_transfers(&mut self, _device: &DeviceKeyHash) {}

    pub(super) fn drop_transfers(&mut self, _cx: &mut Cx<'_>, _conversation: &ConversationId) -> Vec<BlobId> {
        Vec::new()
    }

    pub(super) fn blob_status(&mut self, _cx: &mut Cx<'_>, _request: &Request, _status: &BlobStatus) {}

    pub(super) fn blob_bytes(&mut self, _cx: &mut Cx<'_>, _blob: BlobId, _bytes: BlobBytes) {}

    pub(super) fn blob_refused(&mut self, _cx: &mut Cx<'_>, _blob: BlobId, _code: Code, _at: u64) {}
}
