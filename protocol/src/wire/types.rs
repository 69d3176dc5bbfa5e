//! Types shared by both frame tables.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::crypto::certificate::CertificateChain;
use crate::crypto::identity::{DevicePublic, SignedBytes};
use crate::ids::MailboxId;

/// Place of an item in a mailbox. A relay restored from a backup starts a new `store_epoch` (§9.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Counts restores of the relay's store.
    pub store_epoch: u32,
    /// Counts items of this mailbox from 1; 0 stands before the first.
    pub seq: u64,
}

/// One item of a mailbox; envelopes and statements share one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "items are moved once, from the frame to whoever handles them")]
pub enum Item {
    /// An encoded [`Envelope`](super::envelope::Envelope).
    Envelope(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A stored statement of §7, with what its verification needs.
    Statement(StatementItem),
}

/// A stored statement with the certificates and the consent receipt that it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementItem {
    /// Signed [`Statement`](crate::conversation::Statement).
    pub statement: SignedBytes,
    /// Certificate chain of the agent device that the statement's roster names, when the relay has it.
    pub agent: Option<CertificateChain>,
    /// Signed [`ConsentReceipt`](crate::conversation::ConsentReceipt), with an open statement.
    pub consent: Option<SignedBytes>,
}

/// An encoded envelope and the mailbox it goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed {
    /// Mailbox of one recipient device.
    pub to: MailboxId,
    /// Encoded [`Envelope`](super::envelope::Envelope).
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

/// In which capacity a device connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Party {
    /// A customer device: self-signed, fresh for each conversation.
    Customer,
    /// An agent device with its certificates.
    Agent(CertificateChain),
}

/// What a device signs to authenticate: the relay's challenge, bound to the relay's name (§12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthBody {
    /// The relay's name in org.json, never a URL.
    pub relay: String,
    /// The challenge's nonce.
    pub nonce: [u8; 32],
    /// The challenge's time.
    pub time: u64,
    /// The keys that authenticate.
    pub device: DevicePublic,
    /// Generation of the vault that this device lives in.
    pub vault_generation: u64,
}

/// A conversation that waits to be claimed: no preview, no names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingEntry {
    /// The conversation.
    pub conversation: crate::ids::ConversationId,
    /// Topic.
    pub topic: crate::ids::Handle,
    /// BCP 47 language tag.
    pub language: String,
    /// Waiting since, ms.
    pub since: u64,
}

/// Limits that the relay tells after authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest attachment in bytes of ciphertext.
    pub attachment: u64,
    /// How long unfetched items are kept, ms.
    pub mailbox_ttl: u64,
}
