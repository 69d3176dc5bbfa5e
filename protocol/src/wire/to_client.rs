//! Frames from the relay to a client.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::errors::Code;
use super::frame::frames;
use super::types::{Item, Limits, Position, WaitingEntry};
use crate::crypto::certificate::{CertificateChain, SignedRevocations};
use crate::crypto::prekeys::PrekeyBundle;
use crate::generation::SignedGeneration;
use crate::ids::{BlobId, ConversationId, MailboxId, PrekeyId};

frames! {
    /// What the relay may send.
    ToClient {
        0x01 Challenge,
        0x02 Welcome,
        0x03 Goodbye,
        0x04 Error,
        0x05 Done,
        0x06 Pong,
        0x10 PrekeyCount,
        0x11 Prekeys,
        0x12 Revocations,
        0x13 Certificate,
        0x20 Queued,
        0x21 Assignment,
        0x22 Waiting,
        0x23 Unaccepted,
        0x30 Deliver,
        0x31 Ephemeral,
        0x40 BlobStatus,
        0x41 BlobBytes,
    }
}

/// First frame of the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Newest protocol version that the relay speaks.
    pub protocol: u16,
    /// The relay's name; the client compares it with org.json before it signs.
    pub relay: String,
    /// Fresh for each connection.
    pub nonce: [u8; 32],
    /// The relay's clock.
    pub time: u64,
}

/// The device is authenticated; unacknowledged items follow from the mailbox's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// This device's mailbox.
    pub mailbox: MailboxId,
    /// Of the relay's store; a change means a restore (§9.6).
    pub store_epoch: u32,
    /// Highest vault generation that this device had signed for the relay before this connection (§9.2).
    pub vault: Option<SignedGeneration>,
    /// One-time prekey pairs left.
    pub one_time_left: u16,
    /// The last-resort pair in force.
    pub last_resort: Option<PrekeyId>,
    /// Signed revocation list, when there is one.
    pub revocations: Option<SignedRevocations>,
    /// Limits of this relay.
    pub limits: Limits,
    /// The relay's clock, ms.
    pub time: u64,
}

/// Why the relay ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Another connection of the same device took over; do not reconnect by yourself.
    Replaced,
    /// The relay stops or restarts; reconnect with a pause.
    ShuttingDown,
    /// This client did not read fast enough; reconnect.
    SlowConsumer,
    /// The device was revoked.
    Revoked,
    /// The client broke the protocol; an `Error` said how.
    Violation,
    /// Nothing was heard of the client for too long.
    Idle,
}

/// Last frame of the relay on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why.
    pub reason: Reason,
}

/// A request was refused; nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The request, or none when no single one is meant.
    pub req: Option<u32>,
    /// What is wrong, whose fault it is, what to do.
    pub code: Code,
    /// Not before this many milliseconds, where waiting helps.
    pub retry_after: Option<u32>,
}

/// A request was carried out and is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The request.
    pub req: u32,
}

/// Answer to `Ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Number of the ping.
    pub nonce: u32,
}

/// How many one-time pairs the relay holds: answer to `PublishPrekeys` and, without request, a call to top up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrekeyCount {
    /// The request, if it answers one.
    pub req: Option<u32>,
    /// One-time pairs left.
    pub one_time_left: u16,
}

/// Prekeys of a device, the one-time pair handed out here and never again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prekeys {
    /// The request.
    pub req: u32,
    /// Last-resort pair and, if one was left, a one-time pair.
    pub bundle: PrekeyBundle,
}

/// A newer revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// The list with its issuer certificate.
    pub list: SignedRevocations,
}

/// The newest certificates of an agent device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The request.
    pub req: u32,
    /// Issuer and device certificate; to be verified like any.
    pub chain: CertificateChain,
}

/// Nobody accepted in time, and the automatic reassignment is used up: with the person's consent the client repeats
/// `RequestAssignment` (§7.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unaccepted {
    /// Which conversation.
    pub conversation: ConversationId,
}

/// No agent can be named yet; the conversation waits and `Assignment` follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The request, if it answers one.
    pub req: Option<u32>,
    /// Which conversation.
    pub conversation: ConversationId,
    /// True in claim mode: agents are asked, the first who claims gets it.
    pub claim: bool,
}

/// The relay names an agent device; the customer verifies it and signs the epoch statement that lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The request, if it answers one.
    pub req: Option<u32>,
    /// Which conversation.
    pub conversation: ConversationId,
    /// Epoch of the statement to sign: 1 for open, above for a reassignment.
    pub epoch: u32,
    /// The agent device's certificates.
    pub agent: CertificateChain,
    /// Its prekeys.
    pub bundle: PrekeyBundle,
    /// Whether the agent is connected now.
    pub online: bool,
}

/// Conversations that this agent may claim; replaces the list before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Oldest first, at most 200.
    pub entries: Vec<WaitingEntry>,
}

/// The next item of the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Its place.
    pub position: Position,
    /// The item.
    pub item: Item,
}

/// A forwarded envelope of class ephemeral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ephemeral {
    /// Encoded [`Envelope`](super::envelope::Envelope).
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

/// How much of an attachment is stored, durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobStatus {
    /// The request.
    pub req: u32,
    /// Which attachment.
    pub blob: BlobId,
    /// Bytes stored so far; the next write starts here.
    pub stored: u64,
    /// All bytes are stored and the attachment can be read.
    pub complete: bool,
}

/// A part of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobBytes {
    /// The request.
    pub req: u32,
    /// Which attachment.
    pub blob: BlobId,
    /// Where the bytes start.
    pub offset: u64,
    /// Total bytes of ciphertext.
    pub total: u64,
    /// The bytes; fewer than asked only at the end.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}
