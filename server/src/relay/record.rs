//! What the relay keeps of a conversation, and the copies in memory of those in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sealdesk_protocol::conversation::Governance;
use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::crypto::identity::{DevicePublic, SignedBytes};
use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::{Code, Item, MAX_FRAME, StatementItem};
use serde::{Deserialize, Serialize};

use crate::clock::HOUR_MS;
use crate::store::{Part, Room, Store, StoreError};

/// Records in memory; beyond that they are read again.
const CACHED: usize = 20_000;

/// Routing counts in hours: it is told of what is said this often.
const ACTIVE_EVERY_MS: u64 = 5 * 60 * 1000;

/// Bytes of a statement that is to come, with certificates and consent: more than one has.
const NEXT_STATEMENT: u64 = 8 * 1024;

/// Agents named in a row without a signature; then one an hour.
const UNSIGNED: u32 = 3;

/// The agent device that the customer was told, until the customer's statement names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nominee {
    /// Agent id.
    pub agent: Handle,
    /// The device.
    pub device: DeviceKeyHash,
    /// Its certificates.
    pub chain: CertificateChain,
    /// Its prekeys, issued once: a repeated request gets the same.
    pub bundle: PrekeyBundle,
    /// When, ms.
    pub named_ms: u64,
}

/// One conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The customer's device.
    pub customer: DevicePublic,
    /// Topic.
    pub topic: Handle,
    /// The team that the topic belongs to.
    pub team: Handle,
    /// BCP 47 tag.
    pub language: String,
    /// The signed consent receipt.
    pub consent: SignedBytes,
    /// When an agent was first asked for, ms.
    pub requested_ms: u64,
    /// Named, not signed yet.
    pub nominee: Option<Nominee>,
    /// From the open statement on.
    pub governance: Option<Governance>,
    /// Every epoch statement, oldest first: a device that is listed later has to see how it came to be (§7.3).
    pub history: Vec<StatementItem>,
    /// Certificates of the agent whom the current epoch lists.
    pub assigned: Option<CertificateChain>,
    /// Devices that did not accept in time.
    pub lapsed: Vec<DeviceKeyHash>,
    /// The one automatic reassignment was made (§7.8); a further one needs the customer's click.
    pub reassigned: bool,
    /// When the relay stored the close statement, ms.
    pub closed_ms: Option<u64>,
    /// Bytes of all attachments that were announced in it.
    pub attachments: u64,
    /// How many agents were named in a row without a signature of the customer, and when the last was given up, ms.
    pub unsigned: (u32, u64),
}

impl Record {
    /// The agent's id and device in the current epoch.
    pub fn current_agent(&self) -> Option<(&Handle, DeviceKeyHash)> {
        let member = self.governance.as_ref()?.current().roster.agent();
        Some((member.agent.as_ref()?, member.hash()))
    }

    /// Opened, and accepted by its agent.
    pub fn is_accepted(&self) -> bool {
        self.governance.as_ref().is_some_and(Governance::is_accepted)
    }

    /// The part that a device has here of the mailbox of a reader: who is listed now, or was once. A customer's is small
    /// but with the agent who talks with it. An agent's device is none that anybody can make.
    pub fn part_of(&self, device: DeviceKeyHash, is_listed: bool) -> Part {
        let talks = self.is_accepted() && self.closed_ms.is_none() && is_listed;
        if !talks && device == self.customer.hash() { Part::Stranger(device) } else { Part::Of(device) }
    }

    /// What the mailbox of an agent who is named next has to take: all statements up to now, the next one, and a message.
    pub fn room(&self) -> Result<Room, Code> {
        let mut room = Self::least_room();
        room.statements += self.history.len() as u64;
        for item in &self.history {
            let bytes = postcard::to_allocvec(&Item::Statement(item.clone())).map_err(|_| Code::Internal)?;
            room.bytes += bytes.len() as u64;
        }
        Ok(room)
    }

    /// What it has to take of a conversation without any statement.
    pub const fn least_room() -> Room {
        Room { statements: 1, bytes: NEXT_STATEMENT, message: MAX_FRAME as u64 }
    }

    /// Whether one more agent may be named: a place is held and a pair is spent for whoever is named, so that after a few
    /// without a signature the next one has to wait.
    pub fn may_be_named(&self, now: u64) -> bool {
        let (count, last_ms) = self.unsigned;
        count < UNSIGNED || now >= last_ms + HOUR_MS
    }

    /// Gives up the agent who was named: the customer did not sign.
    pub fn give_up(&self, now: u64) -> Self {
        let unsigned = if self.nominee.is_some() { (self.unsigned.0 + 1, now) } else { self.unsigned };
        Self { nominee: None, unsigned, ..self.clone() }
    }

    /// Still to be accepted by somebody.
    pub fn is_waiting(&self) -> bool {
        self.closed_ms.is_none() && !self.is_accepted()
    }
}

/// A record with its version and what is asked of it most.
#[derive(Debug)]
pub struct Loaded {
    /// For the compare-and-swap.
    pub version: u64,
    /// The record.
    pub record: Record,
    /// Every device ever listed, with its mailbox.
    pub listed: Vec<(DeviceKeyHash, MailboxId)>,
    /// Mailboxes of those who are listed now.
    readers: Vec<MailboxId>,
    /// When routing was last told that something is said here.
    active_ms: AtomicU64,
}

impl Loaded {
    fn new(version: u64, record: Record) -> Self {
        let members = record.governance.iter().flat_map(Governance::could_have_read);
        let listed = members.map(|member| (member.hash(), member.device.mailbox())).collect();
        let current = record.governance.iter().flat_map(|governance| governance.current().roster.members());
        let readers = current.map(|member| member.device.mailbox()).collect();
        Self { version, record, listed, readers, active_ms: AtomicU64::new(0) }
    }

    /// Something is said: true now and then, when routing is to be told.
    pub fn becomes_active(&self, now: u64) -> bool {
        let before = self.active_ms.load(Ordering::Relaxed);
        let due = now >= before + ACTIVE_EVERY_MS;
        if due {
            self.active_ms.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Whether the device was ever listed.
    pub fn lists(&self, device: &DeviceKeyHash) -> bool {
        self.listed.iter().any(|(hash, _)| hash == device)
    }

    /// Whether the device is listed now.
    pub fn lists_now(&self, device: &DeviceKeyHash) -> bool {
        let governance = self.record.governance.as_ref();
        governance.is_some_and(|governance| governance.current().roster.get(device).is_some())
    }

    /// The part that a device has of the mailbox `to`.
    pub fn part_of(&self, from: DeviceKeyHash, to: &MailboxId) -> Part {
        self.record.part_of(from, self.readers.contains(to))
    }

    /// Whether `from` may write to `to`: both were listed, and they are not the same.
    pub fn may_write(&self, from: &DeviceKeyHash, to: &MailboxId) -> bool {
        self.lists(from) && self.listed.iter().any(|(hash, mailbox)| mailbox == to && hash != from)
    }
}

/// The conversations in memory. The relay is the store's only writer, so that they stay true.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<HashMap<ConversationId, Arc<Loaded>>>);

impl Conversations {
    /// Reads a record.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(
        &self,
        store: &dyn Store,
        id: ConversationId,
    ) -> Result<Option<Arc<Loaded>>, StoreError> {
        if let Some(found) = self.cached(&id) {
            return Ok(Some(found));
        }
        let Some(stored) = store.conversation(id).await? else { return Ok(None) };
        let record = decode(&stored.bytes)?;
        Ok(Some(self.keep(id, stored.version, record)))
    }

    /// The copy in memory.
    pub fn cached(&self, id: &ConversationId) -> Option<Arc<Loaded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Notes what was read. A copy with a higher version stays.
    pub fn keep(&self, id: ConversationId, version: u64, record: Record) -> Arc<Loaded> {
        self.keep_and(id, version, record, |_| {})
    }

    /// Notes what was stored, and tells it to `tell`, unless a higher version was told before: swaps are answered in any
    /// order, and the older record must not come last.
    pub fn keep_and(
        &self,
        id: ConversationId,
        version: u64,
        record: Record,
        tell: impl FnOnce(&Record),
    ) -> Arc<Loaded> {
        // Hashes every device that was ever listed: not while others wait.
        let loaded = Arc::new(Loaded::new(version, record));
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = map.get(&id).filter(|held| held.version > version) {
            return Arc::clone(newer);
        }
        if map.len() >= CACHED {
            map.clear();
        }
        tell(&loaded.record);
        map.insert(id, Arc::clone(&loaded));
        loaded
    }

    /// Forgets a copy, after a lost compare-and-swap or a sweep.
    pub fn forget(&self, id: &ConversationId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Forgets closed conversations, which a sweep may have dropped.
    pub fn forget_closed(&self) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, loaded| loaded.record.governance.is_some() && loaded.record.closed_ms.is_none());
    }
}

/// Reads a stored record.
///
/// # Errors
/// `Corrupt`.
pub fn decode(bytes: &[u8]) -> Result<Record, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Corrupt("conversation"))
}

#[cfg(test)]
pub(crate) mod tests {
    use sealdesk_protocol::crypto::identity::{DeviceSecret, SigningSecret};

    use super::*;

    pub(crate) fn record() -> Record {
        let rng = &mut rand_core::UnwrapErr(getrandom::SysRng);
        Record {
            customer: DeviceSecret::generate(rng).public(),
            topic: "sales".parse().unwrap(),
            team: "sales".parse().unwrap(),
            language: "en".into(),
            consent: SignedBytes::sign(
                sealdesk_protocol::crypto::labels::CONSENT,
                &1u8,
                &SigningSecret::generate(rng),
            ),
            requested_ms: 0,
            nominee: None,
            governance: None,
            history: Vec::new(),
            assigned: None,
            lapsed: Vec::new(),
            reassigned: false,
            closed_ms: None,
            attachments: 0,
            unsigned: (0, 0),
        }
    }

    #[test]
    fn before_an_acceptance_only_the_customers_part_is_small() {
        let record = record();
        let (customer, agent) = (record.customer.hash(), DeviceKeyHash([1; 32]));
        assert_eq!(record.part_of(customer, true), Part::Stranger(customer));
        assert_eq!(record.part_of(agent, true), Part::Of(agent), "what comes with its acceptance has room");
    }

    #[test]
    fn an_older_record_that_is_answered_later_is_not_told() {
        let (conversations, id) = (Conversations::default(), ConversationId([1; 32]));
        let mut told = Vec::new();
        conversations.keep_and(id, 3, record(), |_| told.push(3));
        let held = conversations.keep_and(id, 2, record(), |_| told.push(2));
        assert_eq!((held.version, told), (3, vec![3]));
    }

    #[test]
    fn three_names_without_a_signature_then_one_an_hour() {
        let with = |unsigned| Record { unsigned, ..record() };
        assert!(with((2, 5)).may_be_named(5));
        assert!(!with((3, 5)).may_be_named(4 + HOUR_MS));
        assert!(with((3, 5)).may_be_named(5 + HOUR_MS));
        assert_eq!(with((2, 5)).give_up(9).unsigned, (2, 5), "nobody was named");
    }

    #[test]
    fn routing_is_told_of_activity_now_and_then() {
        let loaded = Loaded::new(1, record());
        assert!(loaded.becomes_active(1_000_000));
        assert!(!loaded.becomes_active(1_000_001));
        assert!(loaded.becomes_active(1_000_000 + ACTIVE_EVERY_MS));
    }
}
