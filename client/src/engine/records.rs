//! What the vault keeps of the engine, one structure for each kind of row. Versions and migrations: `vault::record`.

use sealdesk_protocol::conversation::{Governance, MessageId};
use sealdesk_protocol::crypto::certificate::{AgentRole, CertificateChain};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::ids::{
    ConversationId, DeviceKeyHash, EnvelopeId, Handle, HeadHash, PrekeyId, SessionId, StatementHash,
};
use sealdesk_protocol::wire::{Addressed, Limits, Position};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use super::meta::{Availability, Meta, StoredOwner};
pub(crate) use super::transfer::record::{AttachmentRecord, TransferRecord};
use crate::vault::{Kind, Record};

/// Secret bytes: wiped when the record is dropped.
mod wiped {
    use serde::{Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        bytes: &Zeroizing<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        serde_bytes::deserialize(deserializer).map(Zeroizing::new)
    }
}

macro_rules! record {
    ($($kind:ident: $name:ident),+ $(,)?) => { $(impl Record for $name { const KIND: Kind = Kind::$kind; })+ };
}

record! {
    Generation: Generation, Device: DeviceRecord, Cursor: StoredCursor, Prekey: PrekeyRecord,
    Conversation: ConversationRecord, Counters: Counters, Session: SessionRecord, Skipped: SkippedRecord,
    Content: OwnContent, Envelope: OutEnvelope, Seen: SeenPage, Held: Held,
    Message: MessageRecord,
}

/// How many batches were written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Generation(pub(crate) u64);

/// Keys and standing of one device.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub(crate) secret: DeviceSecret,
    /// A customer's device serves one conversation.
    pub(crate) conversation: Option<ConversationId>,
    /// An agent's certificates.
    pub(crate) chain: Option<CertificateChain>,
    /// The last-resort pair in force.
    pub(crate) last_resort: Option<PrekeyId>,
    /// The relay knows a newer copy of this vault (§9.2): nothing is sent any more.
    pub(crate) stopped: bool,
    /// Agent: marks of conversations that were deleted here; what still arrives of them is ignored.
    pub(crate) deleted: Vec<[u8; 16]>,
    /// As the relay last told.
    pub(crate) limits: Option<Limits>,
}

/// What changes with each item of the mailbox.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) position: Position,
    /// Restores of the relay's store that this device saw (§9.6).
    pub(crate) restores: u32,
    /// Number of the next item that is set aside.
    pub(crate) next_aside: u64,
    /// Number of the next quarantined item.
    pub(crate) next_quarantine: u64,
}

/// [`Cursor`] with its device.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredCursor {
    pub(crate) device: DeviceKeyHash,
    pub(crate) cursor: Cursor,
}

/// A prekey pair's secret half, in the form of the protocol crate.
#[derive(Serialize, Deserialize)]
pub(crate) struct PrekeyRecord {
    pub(crate) device: DeviceKeyHash,
    #[serde(with = "wiped")]
    pub(crate) stored: Zeroizing<Vec<u8>>,
}

/// Which side this vault is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    Customer,
    Agent,
}

/// An agent's device as its certificate showed it when it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) device: DeviceKeyHash,
    pub(crate) chain: CertificateChain,
    pub(crate) name: String,
    pub(crate) roles: Vec<AgentRole>,
    pub(crate) new_device: bool,
}

/// A named agent that was verified, with the prekeys that came along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) epoch: u32,
    pub(crate) chain: CertificateChain,
    pub(crate) bundle: PrekeyBundle,
}

/// A statement of this device that the relay has not stored yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) statement: SignedBytes,
    /// Stored with it, in one batch.
    pub(crate) envelopes: Vec<Addressed>,
    /// With open and reassignment: for the session that follows.
    pub(crate) named: Option<Named>,
}

/// A signed note that one session replaces another (§9.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResetMark {
    /// Who begins the new session.
    pub(crate) by: DeviceKeyHash,
    pub(crate) peer: DeviceKeyHash,
    /// The epoch statement that it belongs to.
    pub(crate) statement: StatementHash,
    pub(crate) new: SessionId,
    pub(crate) generation: u32,
    pub(crate) at: u64,
}

/// A handshake of a peer that named a prekey which is gone: evidence for a reset (§9.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadMark {
    pub(crate) peer: DeviceKeyHash,
    /// Of the session that it would have begun.
    pub(crate) generation: u32,
    pub(crate) session: SessionId,
}

/// Everything of a conversation that changes with statements.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConversationRecord {
    pub(crate) id: ConversationId,
    /// Our device in it.
    pub(crate) device: DeviceKeyHash,
    pub(crate) side: Side,
    pub(crate) topic: Handle,
    pub(crate) language: String,
    pub(crate) opened: u64,
    /// Customer: the random part of the id.
    pub(crate) nonce: [u8; 16],
    pub(crate) consent: Option<SignedBytes>,
    pub(crate) governance: Option<Governance>,
    pub(crate) known: Vec<Known>,
    pub(crate) pending: Vec<Pending>,
    /// Customer: a named agent that waits for [`Command::AllowReassignment`](super::Command::AllowReassignment).
    pub(crate) offered: Option<Named>,
    /// Reassignments signed so far.
    pub(crate) reassignments: u32,
    /// Customer: one more reassignment is agreed to.
    pub(crate) allowed: bool,
    /// Customer: the relay says that nobody accepted in time, and the automatic reassignment is used up.
    pub(crate) unaccepted: bool,
    /// Closed on this device alone: before anybody was named, because the vault is an old copy, or because the relay does
    /// not know the conversation.
    pub(crate) closed_here: Option<u64>,
    /// Asked to close: the close statement follows when what was written has left.
    pub(crate) closing: bool,
    /// Agent: it went to somebody else.
    pub(crate) lost: bool,
    /// Agent: accepted by hand.
    pub(crate) accept_wanted: bool,
    /// Agent: the customer's verified profile key.
    pub(crate) profile: Option<[u8; 32]>,
    /// The peer device, and the number to compare with it.
    pub(crate) safety_number: Option<(DeviceKeyHash, String)>,
    /// In which session we send to a peer.
    pub(crate) sending: Vec<(DeviceKeyHash, SessionId)>,
    pub(crate) resets: Vec<ResetMark>,
    pub(crate) dead: Vec<DeadMark>,
}

/// How far a peer's contents are contiguous here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerHead {
    pub(crate) device: DeviceKeyHash,
    pub(crate) counter: u64,
    pub(crate) hash: HeadHash,
    /// Up to here a receipt was sealed.
    pub(crate) receipted: u64,
}

/// Everything of a conversation that changes with messages: small, since it is written with each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) conversation: ConversationId,
    /// Places given in the transcript.
    pub(crate) places: u64,
    /// Own counters given.
    pub(crate) counter: u64,
    /// Own running head.
    pub(crate) head: HeadHash,
    /// Own contents stored at the relay, receipted, read: up to this counter.
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    /// Own contents that were given up: inclusive ranges.
    pub(crate) undelivered: Vec<(u64, u64)>,
    pub(crate) peers: Vec<PeerHead>,
    /// Number of the next envelope.
    pub(crate) order: u64,
    /// The peer's contents marked as read here.
    pub(crate) marked: u64,
    pub(crate) unread: u32,
    pub(crate) updated: u64,
}

/// A ratchet, in the form of the protocol crate.
#[derive(Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) conversation: ConversationId,
    pub(crate) created: u64,
    #[serde(with = "wiped")]
    pub(crate) stored: Zeroizing<Vec<u8>>,
}

/// A skipped key, in the form of the protocol crate.
#[derive(Serialize, Deserialize)]
pub(crate) struct SkippedRecord {
    pub(crate) session: SessionId,
    #[serde(with = "wiped")]
    pub(crate) stored: Zeroizing<Vec<u8>>,
}

/// An own content whose bytes are frozen, until it is receipted (§9.5).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OwnContent {
    pub(crate) conversation: ConversationId,
    pub(crate) counter: u64,
    /// Place in the transcript; 0 for what is not shown there.
    pub(crate) place: u64,
    pub(crate) time: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
    /// Running head including this content.
    pub(crate) head: HeadHash,
    pub(crate) weak: bool,
}

/// A sealed envelope; retries send these very bytes (§9.3).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OutEnvelope {
    pub(crate) conversation: ConversationId,
    pub(crate) id: EnvelopeId,
    /// Envelopes leave in this order.
    pub(crate) order: u64,
    pub(crate) to: DeviceKeyHash,
    pub(crate) session: SessionId,
    /// Counter of the content inside; 0 for contents without.
    pub(crate) counter: u64,
    pub(crate) time: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// One remembered hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenEntry {
    /// When, ms.
    pub(crate) time: u64,
    /// Half of the envelope's hash, or of the initiation's mark.
    pub(crate) hash: [u8; 16],
    /// For a counted content: halves of the hashes of its identity and of its bytes.
    pub(crate) content: Option<([u8; 16], [u8; 16])>,
}

/// Hashes that were seen, a few dozen in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SeenPage {
    pub(crate) device: DeviceKeyHash,
    pub(crate) number: u64,
    pub(crate) entries: Vec<SeenEntry>,
}

/// A decrypted content that may not be shown yet: an earlier one or a statement is missing.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) conversation: ConversationId,
    pub(crate) id: MessageId,
    pub(crate) time: u64,
    pub(crate) epoch: u32,
    pub(crate) roster: sealdesk_protocol::ids::RosterHash,
    pub(crate) weak: bool,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// One entry of the transcript. What became of an own message is not in it: that follows from [`Counters`].
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct MessageRecord {
    pub(crate) id: MessageId,
    pub(crate) place: u64,
    pub(crate) mine: bool,
    pub(crate) author: Option<String>,
    pub(crate) time: u64,
    pub(crate) kind: u16,
    #[serde(with = "serde_bytes")]
    pub(crate) body: Vec<u8>,
    pub(crate) after_close: bool,
    pub(crate) weak: bool,
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Ratchets and prekey secrets are wiped when their records are dropped.
    #[test]
    fn secret_bytes_of_records_are_wiped() {
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        let stored = || Zeroizing::new(vec![7u8; 3]);
        wiped(&PrekeyRecord { device: DeviceKeyHash([1; 32]), stored: stored() }.stored);
        let conversation = ConversationId([1; 32]);
        wiped(&SessionRecord { conversation, created: 0, stored: stored() }.stored);
        wiped(&SkippedRecord { session: SessionId([1; 16]), stored: stored() }.stored);
    }
}
