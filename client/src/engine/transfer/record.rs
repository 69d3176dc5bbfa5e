//! What the vault keeps of files.

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::Attachment;
use sealdesk_protocol::ids::{BlobId, ConversationId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::vault::{Kind, Record};

/// A file that goes to the relay, and whose spool is kept until the message is receipted.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct TransferRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) transfer: BlobId,
    /// The message that refers to it: written when the relay has the whole file.
    pub(crate) message: Option<MessageId>,
    pub(crate) attachment: Attachment,
    /// When it was sealed, ms.
    pub(crate) time: u64,
    /// The relay has all of it.
    pub(crate) uploaded: bool,
}

impl Record for TransferRecord {
    const KIND: Kind = Kind::Transfer;
    const VERSION: u8 = 2;

    /// Version 1 wrote the message before the upload, so that there always was one.
    fn migrate(from: u8, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        #[derive(Deserialize)]
        struct V1 {
            conversation: ConversationId,
            transfer: BlobId,
            message: MessageId,
            attachment: Attachment,
            time: u64,
            uploaded: bool,
        }
        if from != 1 {
            return None;
        }
        let (V1 { conversation, transfer, message, attachment, time, uploaded }, rest) =
            postcard::take_from_bytes(body).ok()?;
        let now = Self { conversation, transfer, message: Some(message), attachment, time, uploaded };
        rest.is_empty().then(|| postcard::to_allocvec(&now).ok().map(Zeroizing::new))?
    }
}

/// What opens an attachment.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AttachmentRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) message: MessageId,
    pub(crate) attachment: Attachment,
}

impl Record for AttachmentRecord {
    const KIND: Kind = Kind::Attachment;
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::ids::DeviceKeyHash;

    use super::*;
    use crate::vault::{decode, encode};

    #[test]
    fn a_transfer_of_version_1_is_read_with_its_message() {
        let attachment = Attachment {
            blob: BlobId([1; 16]),
            token: [2; 32],
            key: [3; 32],
            ciphertext_hash: [4; 32],
            ciphertext_length: 5,
            length: 6,
            media_type: "text/plain".into(),
            name: "a".into(),
        };
        let message = MessageId { device: DeviceKeyHash([7; 32]), counter: 8 };
        let conversation = ConversationId([9; 32]);
        let v1 = (conversation, BlobId([1; 16]), message, attachment, 10u64, true);
        let stored = [&[1u8][..], &postcard::to_allocvec(&v1).unwrap()].concat();
        let read: TransferRecord = decode(&stored).unwrap();
        assert_eq!((read.message, read.time, read.uploaded), (Some(message), 10, true));
        assert_eq!(read.attachment, v1.3);
        let again: TransferRecord = decode(&encode(&read)).unwrap();
        assert_eq!((again.message, again.conversation), (Some(message), conversation));
        assert!(decode::<TransferRecord>(&stored[..stored.len() - 1]).is_err());
    }
}
