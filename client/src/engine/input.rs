//! What goes into the engine: people's commands, bytes, time.

use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::conversation::{Kind, MessageId};
use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::ids::{BlobId, ConversationId, Handle, NoticeHash};
use sealdesk_protocol::org::VerifiedOrg;

/// The driver's clocks, read once for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, ms since the Unix epoch: certificates and times to live.
    pub wall_ms: u64,
    /// Monotonic clock, ms since any start: timers.
    pub mono_ms: u64,
}

/// Where a transfer's bytes live at the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The file that a person sends (read) or saves to (written): plaintext.
    File,
    /// The driver's spool: ciphertext, immutable once complete.
    Spool,
}

/// Bytes of a file, or of its spool: they never show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct FileBytes(pub Vec<u8>);

impl core::fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FileBytes({})", self.0.len())
    }
}

/// One input of [`Engine::step`](crate::Engine::step).
#[derive(Debug)]
pub enum Input {
    /// A person or program wants something; `id` is echoed in the answer.
    User {
        /// Chosen by the caller, unique among commands under way.
        id: u64,
        /// What.
        command: Command,
    },
    /// Connection `.0` stands.
    Opened(u32),
    /// One WebSocket binary message on connection `.0`.
    Frame(u32, Vec<u8>),
    /// Connection `.0` ended or could not be made.
    Closed(u32),
    /// `wake_at` passed.
    Tick,
    /// The network came (true) or went (false), as far as the driver knows.
    Online(bool),
    /// Bytes that [`Output::ReadChunk`](super::Output::ReadChunk) asked for; empty bytes: the driver cannot read there.
    Chunk {
        /// Which transfer.
        transfer: BlobId,
        /// From which part.
        part: Part,
        /// Where they start.
        offset: u64,
        /// The bytes.
        bytes: FileBytes,
    },
    /// Bytes of [`Output::WriteChunk`](super::Output::WriteChunk) are durable.
    ChunkStored {
        /// Which transfer.
        transfer: BlobId,
        /// To which part.
        part: Part,
        /// Where they start.
        offset: u64,
    },
    /// Bytes of a transfer could not be read or written (disk full, file gone): the transfer fails and says so.
    ChunkFailed {
        /// Which transfer.
        transfer: BlobId,
        /// Which part.
        part: Part,
    },
}

/// What a person or program may want. Each is answered by one
/// [`Event::Done`](super::Event::Done) or [`Event::Failed`](super::Event::Failed) with its id.
#[derive(Debug)]
pub enum Command {
    /// Customer: agree to the notice and open a conversation. Done carries the conversation.
    Open {
        /// A topic of the organisation.
        topic: Handle,
        /// BCP 47 tag of the person's language.
        language: String,
        /// The notice that was shown and agreed to.
        notice: NoticeHash,
    },
    /// Send a counted content (text, rating, reaction, edit, ..). Done carries the message, once it is safe in the vault.
    Send {
        /// Where.
        conversation: ConversationId,
        /// What; attachments go by [`Command::SendFile`].
        kind: Kind,
    },
    /// Send a file. Done when its bytes are sealed into the spool and will be delivered; the message is written when the
    /// relay has all of them, see [`TransferState::Uploaded`](super::TransferState::Uploaded).
    SendFile {
        /// Where.
        conversation: ConversationId,
        /// Name shown to the recipient.
        name: Text,
        /// Media type.
        media_type: String,
        /// Bytes of the file.
        length: u64,
        /// Chosen by the driver, which knows the file by it.
        transfer: BlobId,
    },
    /// Fetch, check and open an attachment into the driver's [`Part::File`]. Done when the whole file is there.
    SaveFile {
        /// Where.
        conversation: ConversationId,
        /// The message that holds the attachment. The transfer's id is the attachment's blob id.
        message: MessageId,
    },
    /// Close the conversation.
    Close {
        /// Which.
        conversation: ConversationId,
    },
    /// Ephemeral: typing started or stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Started.
        on: bool,
    },
    /// The screen showed the peer's messages up to this counter.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// Counter of the peer's last shown message.
        counter: u64,
    },
    /// Customer: agree to a further reassignment after the automatic one.
    AllowReassignment {
        /// Which.
        conversation: ConversationId,
    },
    /// Agent: accept an assigned conversation (only with `manual`).
    Accept {
        /// Which.
        conversation: ConversationId,
    },
    /// Agent: claim a waiting conversation.
    Claim {
        /// Which.
        conversation: ConversationId,
    },
    /// Agent: availability, capacity, and whether acceptance waits for [`Command::Accept`].
    SetAvailability {
        /// New conversations may be assigned.
        available: bool,
        /// How many at once.
        capacity: u16,
        /// True: the agent accepts by hand.
        manual: bool,
    },
    /// Agent: install a certificate for this vault's device.
    InstallCertificate {
        /// Issuer and device certificate.
        chain: CertificateChain,
    },
    /// A newer org.json was verified.
    UpdateOrg {
        /// The verified file.
        org: Box<VerifiedOrg>,
    },
    /// Destroy a conversation's key and records on this device.
    Delete {
        /// Which.
        conversation: ConversationId,
    },
}
