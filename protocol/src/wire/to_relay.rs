//! Frames from a client to the relay.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::frame::frames;
use super::types::{Addressed, Party, Position};
use crate::crypto::identity::{DevicePublic, SignedBytes};
use crate::crypto::prekeys::SignedPrekey;
use crate::generation::SignedGeneration;
use crate::ids::{BlobId, ConversationId, DeviceKeyHash, Handle};

/// Most prekey pairs in one [`PublishPrekeys`].
pub const MAX_PREKEYS: usize = 40;
/// Most envelopes that ride with one [`PostStatement`].
pub const MAX_STATEMENT_ENVELOPES: usize = 3;
/// Bytes of ciphertext in one [`BlobWrite`]: one STREAM chunk with its tag.
pub const MAX_BLOB_CHUNK: usize = 32 * 1024 + 16;

frames! {
    /// What a client may send. Each request carries a number of the client's choice (`req`), which the answer repeats.
    #[expect(clippy::large_enum_variant, reason = "the largest comes once in a connection")]
    ToRelay {
        0x01 Authenticate,
        0x02 Ping,
        0x10 PublishPrekeys,
        0x11 FetchPrekeys,
        0x12 FetchCertificate,
        0x20 RequestAssignment,
        0x21 PostStatement,
        0x22 SetAvailability,
        0x23 Claim,
        0x30 Send,
        0x31 SendEphemeral,
        0x32 Ack,
        0x40 BlobCreate,
        0x41 BlobWrite,
        0x42 BlobRead,
    }
}

/// First frame of a client: answers the relay's challenge. Answer: `Welcome`, or `Error` and the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticate {
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of the client.
    pub protocol: u16,
    /// Customer, or agent with certificates.
    pub party: Party,
    /// The device's public keys.
    pub device: DevicePublic,
    /// Generation of the client's vault; the relay keeps the highest, to show it (§9.2).
    pub vault: SignedGeneration,
    /// Signature over [`AuthBody`](super::AuthBody).
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// Liveness. Answer: `Pong` with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Any number.
    pub nonce: u32,
}

/// Uploads prekeys of this device. Answer: `PrekeyCount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishPrekeys {
    /// Request number.
    pub req: u32,
    /// A new last-resort pair, if it rotates.
    pub last_resort: Option<SignedPrekey>,
    /// At most [`MAX_PREKEYS`] one-time pairs.
    pub one_time: Vec<SignedPrekey>,
}

/// Asks for prekeys of another device of the same conversation, for a reset (§9.8). Answer: `Prekeys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPrekeys {
    /// Request number.
    pub req: u32,
    /// A conversation that lists both devices.
    pub conversation: ConversationId,
    /// Whose prekeys.
    pub device: DeviceKeyHash,
}

/// Asks for the newest certificates of an agent device of the same conversation, when those known here end. Answer:
/// `Certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchCertificate {
    /// Request number.
    pub req: u32,
    /// A conversation that lists both devices.
    pub conversation: ConversationId,
    /// Whose certificates.
    pub device: DeviceKeyHash,
}

/// A customer asks for an agent. Idempotent; answer: `Assignment` now or later, preceded by `Queued` when nobody can be
/// named yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAssignment {
    /// Request number.
    pub req: u32,
    /// The new conversation.
    pub conversation: ConversationId,
    /// A topic of org.json.
    pub topic: Handle,
    /// BCP 47 language tag, at most 35 bytes.
    pub language: String,
    /// Signed [`ConsentReceipt`](crate::conversation::ConsentReceipt).
    pub consent: SignedBytes,
}

/// Posts a signed statement with the envelopes that must be stored with it. Answer: `Done`, or `Error` and nothing stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostStatement {
    /// Request number.
    pub req: u32,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Signed [`Statement`](crate::conversation::Statement).
    pub statement: SignedBytes,
    /// At most [`MAX_STATEMENT_ENVELOPES`], stored in the same batch, after the statement.
    pub envelopes: Vec<Addressed>,
}

/// An agent's availability. Answer: `Done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAvailability {
    /// Request number.
    pub req: u32,
    /// Whether new conversations may be assigned.
    pub available: bool,
    /// How many open conversations at once.
    pub capacity: u16,
}

/// An agent claims a waiting conversation. Answer: `Done` or `Error` `already_claimed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Request number.
    pub req: u32,
    /// Which one.
    pub conversation: ConversationId,
}

/// Appends an envelope to a mailbox. Answer: `Done` once it is durable; the same envelope id again is `Done` as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Request number.
    pub req: u32,
    /// A conversation that ever listed both devices.
    pub conversation: ConversationId,
    /// Envelope and recipient.
    pub message: Addressed,
}

/// Forwards an envelope of class ephemeral if the recipient is connected. No answer, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendEphemeral {
    /// A conversation that lists both devices.
    pub conversation: ConversationId,
    /// Envelope and recipient.
    pub message: Addressed,
}

/// Everything up to the position is durable at the client; the relay deletes it. No answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Last item stored by the client.
    pub up_to: Position,
    /// Generation of the vault that holds it, when it rose since it was told last.
    pub vault: Option<SignedGeneration>,
}

/// Announces an attachment. Idempotent. Answer: `BlobStatus`, which tells how much is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobCreate {
    /// Request number.
    pub req: u32,
    /// A conversation that lists this device.
    pub conversation: ConversationId,
    /// Chosen by the uploader at random.
    pub blob: BlobId,
    /// Total bytes of ciphertext.
    pub length: u64,
    /// SHA-256 of the capability token.
    pub token_hash: [u8; 32],
}

/// One chunk, in order. Answer: `BlobStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobWrite {
    /// Request number.
    pub req: u32,
    /// Which attachment.
    pub blob: BlobId,
    /// Where the bytes go; must equal what is stored.
    pub offset: u64,
    /// At most [`MAX_BLOB_CHUNK`] bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Reads a part. Answer: `BlobBytes`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRead {
    /// Request number.
    pub req: u32,
    /// Which attachment.
    pub blob: BlobId,
    /// The capability: whoever knows it may read.
    pub token: [u8; 32],
    /// From where.
    pub offset: u64,
    /// At most [`MAX_BLOB_CHUNK`].
    pub length: u32,
}

impl core::fmt::Debug for BlobRead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BlobRead({}, {:?}, {} from {})", self.req, self.blob, self.length, self.offset)
    }
}
