//! The engine's state in memory: what the vault holds, and what lives between two commits only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::crypto::certificate::{Revocations, SignedRevocations, VerifiedCertificate};
use sealdesk_protocol::crypto::identity::DevicePublic;
use sealdesk_protocol::crypto::prekeys::PrekeySecret;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, PrekeyId, SessionId};
use sealdesk_protocol::org::VerifiedOrg;
use sealdesk_protocol::session::Session;
use zeroize::Zeroizing;

use super::aside::SetAside;
use super::link::Link;
use super::records::{
    AttachmentRecord, ConversationRecord, Counters, Cursor, DeviceRecord, Held, MessageRecord, Meta,
    OutEnvelope, OwnContent, Side, StoredOwner,
};
use super::seen::Seen;
use super::transfer::Transfer;
use crate::vault::{Key, Vault};

/// The engine of one vault. See [`crate::engine`].
pub struct Engine {
    pub(crate) vault: Vault,
    pub(crate) org: VerifiedOrg,
    pub(crate) meta: Meta,
    pub(crate) revocations: Revocations,
    pub(crate) devices: BTreeMap<DeviceKeyHash, Device>,
    pub(crate) conversations: BTreeMap<ConversationId, Conversation>,
    pub(crate) transfers: BTreeMap<BlobId, Transfer>,
    /// Rows to write or delete with this step's batch.
    pub(crate) dirty: BTreeSet<Key>,
    /// Rows that are written once and not kept in memory.
    pub(crate) cold: Vec<(Key, Option<ConversationId>, Zeroizing<Vec<u8>>)>,
    /// Names to delete besides.
    pub(crate) deleted: Vec<super::Name>,
    /// Conversations in which something that waited is tried again.
    pub(super) retries: BTreeSet<ConversationId>,
    pub(super) retrying: bool,
    /// The relay's list of revoked certificates that was refused, of which people were told. Judged anew when there is
    /// another org.json or list.
    pub(super) refused_list: Option<SignedRevocations>,
    /// What the driver says of the network.
    pub(crate) network: bool,
    pub(crate) next_connection: u32,
    /// How often each problem was told since the time given, mono ms.
    pub(super) told: (u64, BTreeMap<(Option<ConversationId>, &'static str), u32>),
    /// Next hourly upkeep, mono ms.
    pub(crate) upkeep_at: u64,
    /// When timers were last looked at: mono and wall, ms.
    pub(crate) last_run: u64,
    pub(crate) last_wall: u64,
}

impl core::fmt::Debug for Engine {
    /// Never shows keys or what was written.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (devices, conversations) = (self.devices.len(), self.conversations.len());
        write!(f, "Engine({:?}, {devices} devices, {conversations} conversations)", self.vault)
    }
}

/// One device of this vault.
pub(crate) struct Device {
    pub(crate) record: DeviceRecord,
    pub(crate) public: DevicePublic,
    pub(crate) cursor: Cursor,
    pub(crate) prekeys: BTreeMap<PrekeyId, PrekeySecret>,
    pub(crate) seen: Seen,
    pub(crate) aside: BTreeMap<u64, SetAside>,
    pub(crate) link: Link,
    /// An agent's certificate, verified at start and hourly.
    pub(crate) certificate: Option<VerifiedCertificate>,
    /// Something was refused for this reason; told once.
    pub(crate) warned: Option<&'static str>,
}

/// A session with its row's other fields.
pub(crate) struct SessionEntry {
    pub(crate) session: Session,
    pub(crate) peer: DeviceKeyHash,
    pub(crate) created: u64,
}

/// What lives between commits.
#[derive(Default)]
pub(crate) struct Waits {
    /// Look whether something is to be sent.
    pub(crate) attention: bool,
    /// Tell people the new view at the end of the step.
    pub(crate) changed: bool,
    /// A pure receipt is due to these devices at this mono time.
    pub(crate) receipts: BTreeMap<DeviceKeyHash, u64>,
    /// When the last pure receipt for repetitions left.
    pub(crate) repeated: BTreeMap<DeviceKeyHash, u64>,
    /// When the last pure receipt left.
    pub(crate) receipted: BTreeMap<DeviceKeyHash, u64>,
    /// Agent: accept without a receipt from then on.
    pub(crate) accept_at: Option<u64>,
    /// Statements, assignment requests and envelopes are not repeated before this mono time.
    pub(crate) statement_at: u64,
    pub(crate) assignment_at: u64,
    pub(crate) send_at: u64,
    /// Since when a close waits for what was written before it, mono ms.
    pub(crate) closing_since: Option<u64>,
    /// Statement in flight.
    pub(crate) posting: bool,
    /// Assignment asked for on this connection.
    pub(crate) assigning: bool,
    /// The relay took a request for an assignment.
    pub(crate) known: bool,
    /// The peer's newest certificates are not asked for before this mono time.
    pub(crate) renew_at: u64,
    /// And how long to wait after that, mono ms.
    pub(crate) renew_pause: u64,
    /// Prekeys asked for on this connection.
    pub(crate) fetching: BTreeSet<DeviceKeyHash>,
    /// Since when a counter gap of a device stands, mono ms.
    pub(crate) gaps: BTreeMap<DeviceKeyHash, u64>,
    /// A read mark is due.
    pub(crate) read_due: bool,
    /// Last own typing state sent.
    pub(crate) typing: Option<bool>,
    /// Newest own messages that are delivered and not read, to tell when they are read.
    pub(crate) recent: VecDeque<MessageRecord>,
    /// Own contents that were given up since the start: the relay that said that they do not arrive may have lied.
    pub(crate) given_up: BTreeMap<u64, OwnContent>,
    /// Told once: why the relay does not take what is sent.
    pub(crate) told: Option<&'static str>,
    /// Told once: why the named agent is none here. It holds until one is named who is, whatever else is told.
    pub(crate) misnamed: Option<&'static str>,
    /// Why the peer is not trusted at the moment.
    pub(crate) distrust: Option<&'static str>,
}

/// One conversation.
pub(crate) struct Conversation {
    pub(crate) record: ConversationRecord,
    pub(crate) counters: Counters,
    pub(crate) sessions: BTreeMap<SessionId, SessionEntry>,
    /// Own contents without receipt, by counter.
    pub(crate) contents: BTreeMap<u64, OwnContent>,
    /// Sealed envelopes, by order.
    pub(crate) envelopes: BTreeMap<u64, OutEnvelope>,
    /// Orders of envelopes that are on their way or stored at the relay, on this connection.
    pub(crate) flying: BTreeSet<u64>,
    /// Counters that the relay has, above the first that it does not have, on this connection.
    pub(crate) stored: BTreeSet<u64>,
    pub(crate) held: BTreeMap<MessageId, Held>,
    pub(crate) attachments: BTreeMap<MessageId, AttachmentRecord>,
    pub(crate) waits: Waits,
}

impl core::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Conversation({:?}, {} unreceipted)", self.record.id, self.contents.len())
    }
}

impl Engine {
    pub(crate) fn mark(&mut self, key: Key) {
        self.dirty.insert(key);
    }

    pub(crate) fn is_agent(&self) -> bool {
        matches!(self.meta.owner, StoredOwner::Agent { .. })
    }

    /// The agent's one device.
    pub(crate) fn agent_device(&self) -> Option<&Device> {
        match &self.meta.owner {
            StoredOwner::Agent { device } => self.devices.get(device),
            StoredOwner::Customer { .. } => None,
        }
    }

    /// The device that serves a conversation.
    pub(crate) fn device_of(&self, conversation: &ConversationId) -> Option<&Device> {
        self.conversations.get(conversation).and_then(|c| self.devices.get(&c.record.device))
    }

    /// Marks a conversation for a look at the end of the step.
    pub(crate) fn attend(&mut self, conversation: &ConversationId) {
        if let Some(c) = self.conversations.get_mut(conversation) {
            c.waits.attention = true;
        }
    }

    /// The name under which an agent of this vault writes.
    pub(crate) fn own_name(&self, side: Side) -> Option<String> {
        match side {
            Side::Customer => None,
            Side::Agent => {
                self.agent_device().and_then(|d| d.certificate.as_ref()).map(|c| c.display_name().to_owned())
            }
        }
    }
}

impl Conversation {
    pub(crate) fn new(record: ConversationRecord, counters: Counters) -> Self {
        Self {
            record,
            counters,
            sessions: BTreeMap::new(),
            contents: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            flying: BTreeSet::new(),
            stored: BTreeSet::new(),
            held: BTreeMap::new(),
            attachments: BTreeMap::new(),
            waits: Waits { attention: true, ..Waits::default() },
        }
    }

    pub(crate) fn id(&self) -> ConversationId {
        self.record.id
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.record.closed_here.is_some()
            || self.record.governance.as_ref().is_some_and(|g| g.closed().is_some())
    }

    /// The device at the other end: the current roster's agent for a customer, its customer for an agent.
    pub(crate) fn peer(&self) -> Option<&DevicePublic> {
        let roster = &self.record.governance.as_ref()?.current().roster;
        Some(match self.record.side {
            Side::Customer => &roster.agent().device,
            Side::Agent => &roster.customer().device,
        })
    }

    /// Whether our device is in the current roster.
    pub(crate) fn lists_us(&self) -> bool {
        self.record.governance.as_ref().is_some_and(|g| g.current().roster.get(&self.record.device).is_some())
    }

    /// Whether our device may seal contents now: the customer from the stored open statement on, the agent from the
    /// stored acceptance on (§7).
    pub(crate) fn may_send(&self) -> bool {
        let Some(governance) = &self.record.governance else { return false };
        !self.record.lost
            && self.lists_us()
            && (self.record.side == Side::Customer || governance.is_accepted())
    }

    /// The session in which we send to a device.
    pub(crate) fn sending(&self, peer: &DeviceKeyHash) -> Option<SessionId> {
        self.record.sending.iter().find(|(device, _)| device == peer).map(|(_, session)| *session)
    }

    pub(crate) fn set_sending(&mut self, peer: DeviceKeyHash, session: SessionId) {
        self.record.sending.retain(|(device, _)| *device != peer);
        self.record.sending.push((peer, session));
    }
}
