//! The audit record: who was given what, when, by ids that are public in certificates or pseudonyms. No address, no
//! name, no text.

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle};
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::store::AuditEntry;

/// What is recorded. Append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A statement changed a conversation.
    Statement {
        /// Which conversation.
        conversation: ConversationId,
        /// Its action's name.
        action: String,
        /// Who signed.
        signer: DeviceKeyHash,
        /// The agent whom the conversation is with now.
        agent: Option<Handle>,
    },
    /// An agent's device was seen for the first time, or with another certificate.
    AgentDevice {
        /// The agent.
        agent: Handle,
        /// The device.
        device: DeviceKeyHash,
    },
    /// Another org.json is in force.
    Organisation {
        /// Version of its pins.
        pins: u32,
        /// Version of its settings.
        settings: u32,
        /// Number of its revocation list.
        revocations: u64,
    },
    /// A copy of everything was written.
    Backup,
    /// A connection was ended because its certificate is not valid any more.
    Expelled {
        /// The device.
        device: DeviceKeyHash,
    },
}

impl Event {
    /// The entry to store, with the time of now.
    pub fn entry(&self) -> AuditEntry {
        AuditEntry { at_ms: now_ms(), bytes: postcard::to_allocvec(self).unwrap_or_default() }
    }

    /// Reads an entry.
    pub fn decode(entry: &AuditEntry) -> Option<Self> {
        postcard::from_bytes(&entry.bytes).ok()
    }
}
