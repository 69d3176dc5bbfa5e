//! Which agent gets which conversation: team, presence, capacity, round robin; offline agents by their prekeys; claim
//! mode; another agent when one does not accept in time.
//!
//! This module only knows and decides; [`task`] and [`crate::relay::assign`] act. Everything here can be rebuilt from
//! the store: agents from their records, conversations from theirs.

mod agents;
mod pending;
pub mod task;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::WaitingEntry;

pub use self::agents::{AgentRecord, Availability};
pub use self::pending::{Next, Pending};
use crate::relay::record::Record;

/// Most entries of one `Waiting` frame.
const MAX_WAITING: usize = 200;

/// What routing knows.
#[derive(Debug, Default)]
pub struct Routing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    agents: HashMap<DeviceKeyHash, AgentRecord>,
    pending: HashMap<ConversationId, Pending>,
    /// Open conversations of an agent, over all devices.
    load: HashMap<Handle, HashSet<ConversationId>>,
    holder: HashMap<ConversationId, Handle>,
    /// Counts assignments, for round robin.
    turn: u64,
}

impl Routing {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a conversation's record as it is stored now.
    pub fn note(&self, id: ConversationId, record: &Record) {
        self.with(|state| {
            if let Some(before) = state.holder.remove(&id)
                && let Some(load) = state.load.get_mut(&before)
            {
                load.remove(&id);
            }
            let named = record.nominee.as_ref().map(|nominee| &nominee.agent);
            let holder = named.or_else(|| record.current_agent().map(|(agent, _)| agent));
            if record.closed_ms.is_none()
                && let Some(agent) = holder
            {
                state.load.entry(agent.clone()).or_default().insert(id);
                state.holder.insert(id, agent.clone());
            }
            if record.is_waiting() {
                state.pending.entry(id).or_insert_with(|| Pending::new(record)).update(record);
            } else {
                state.pending.remove(&id);
            }
        });
    }

    /// Forgets a conversation that its customer left before it was opened.
    pub fn forget(&self, id: &ConversationId) {
        self.with(|state| {
            state.pending.remove(id);
            if let Some(agent) = state.holder.remove(id)
                && let Some(load) = state.load.get_mut(&agent)
            {
                load.remove(id);
            }
        });
    }

    /// Takes an agent's device; availability that was set before stays.
    pub fn upsert(&self, device: DeviceKeyHash, mut record: AgentRecord) -> AgentRecord {
        self.with(|state| {
            if let Some(known) = state.agents.get(&device) {
                record.availability = known.availability;
                record.turn = known.turn;
            }
            state.agents.insert(device, record.clone());
            record
        })
    }

    /// Takes an agent's device from the store, with what it said before.
    pub fn restore(&self, device: DeviceKeyHash, record: AgentRecord) {
        self.with(|state| state.agents.insert(device, record));
    }

    /// Changes what an agent's device said of itself.
    pub fn set_availability(
        &self,
        device: &DeviceKeyHash,
        availability: Availability,
    ) -> Option<AgentRecord> {
        self.with(|state| {
            let agent = state.agents.get_mut(device)?;
            agent.availability = Some(availability);
            Some(agent.clone())
        })
    }

    /// Gives an agent's device nothing any more, until it connects with a certificate that holds. It stays known as an
    /// agent's.
    pub fn retire(&self, device: &DeviceKeyHash) {
        self.with(|state| {
            if let Some(agent) = state.agents.get_mut(device) {
                agent.serves = false;
            }
        });
    }

    /// Devices that may get the conversation, best first: connected before not, then whose turn is longest ago.
    pub fn candidates(
        &self,
        id: &ConversationId,
        now: u64,
        default_capacity: u16,
        is_online: impl Fn(&MailboxId) -> bool,
    ) -> Vec<(DeviceKeyHash, bool)> {
        self.with(|state| {
            let Some(pending) = state.pending.get(id) else { return Vec::new() };
            let mut found: Vec<(bool, u64, DeviceKeyHash)> = Vec::new();
            for (device, agent) in &state.agents {
                let open = state.load.get(&agent.agent).map_or(0, HashSet::len);
                if pending.excludes(device) || !agent.may_take(&pending.team, now, open, default_capacity) {
                    continue;
                }
                found.push((!is_online(&agent.mailbox), agent.turn, *device));
            }
            found.sort();
            found.into_iter().map(|(offline, _, device)| (device, !offline)).collect()
        })
    }

    /// An agent's device as it is known.
    pub fn agent(&self, device: &DeviceKeyHash) -> Option<AgentRecord> {
        self.with(|state| state.agents.get(device).cloned())
    }

    /// The device was given a conversation: its turn is over.
    pub fn took(&self, device: &DeviceKeyHash) {
        self.with(|state| {
            state.turn += 1;
            let turn = state.turn;
            if let Some(agent) = state.agents.get_mut(device) {
                agent.turn = turn;
            }
        });
    }

    /// Whether an agent's device may claim the conversation.
    pub fn may_claim(
        &self,
        id: &ConversationId,
        device: &DeviceKeyHash,
        now: u64,
        default_capacity: u16,
    ) -> bool {
        self.with(|state| {
            let (Some(pending), Some(agent)) = (state.pending.get(id), state.agents.get(device)) else {
                return false;
            };
            let open = state.load.get(&agent.agent).map_or(0, HashSet::len);
            pending.claimable()
                && !pending.excludes(device)
                && agent.may_take(&pending.team, now, open, default_capacity)
        })
    }

    /// What an agent's device sees in claim mode, oldest first.
    pub fn claimable(&self, device: &DeviceKeyHash) -> Vec<WaitingEntry> {
        self.with(|state| {
            let Some(agent) = state.agents.get(device) else { return Vec::new() };
            let open = state.pending.iter().filter(|(_, p)| p.claimable() && agent.teams.contains(&p.team));
            let open = open.filter(|(_, pending)| !pending.excludes(device));
            let mut entries: Vec<WaitingEntry> = open.map(|(id, pending)| pending.entry(*id)).collect();
            entries.sort_by_key(|entry| (entry.since, entry.conversation));
            entries.truncate(MAX_WAITING);
            entries
        })
    }

    /// Lets `elapsed_ms` pass: what each waiting conversation needs now.
    pub fn tick(
        &self,
        now: u64,
        elapsed_ms: u64,
        accept_ms: u64,
        is_online: impl Fn(&MailboxId) -> bool,
    ) -> Vec<(ConversationId, Next)> {
        self.with(|state| {
            let due = state.pending.iter_mut();
            due.filter_map(|(id, pending)| Some((*id, pending.tick(now, elapsed_ms, accept_ms, &is_online)?)))
                .collect()
        })
    }

    /// Conversations of a customer's mailbox for which an agent is named and not signed.
    pub fn named_for(&self, customer: &MailboxId) -> Vec<ConversationId> {
        self.with(|state| {
            let named = state.pending.iter().filter(|(_, p)| p.customer == *customer && p.is_named());
            named.map(|(id, _)| *id).collect()
        })
    }

    /// Conversations of a customer's mailbox that nobody accepted and that need a click to go on.
    pub fn unaccepted_for(&self, customer: &MailboxId) -> Vec<ConversationId> {
        self.with(|state| {
            let stuck = state.pending.iter().filter(|(_, p)| p.customer == *customer && p.needs_click());
            stuck.map(|(id, _)| *id).collect()
        })
    }

    /// How many conversations wait.
    pub fn waiting(&self) -> usize {
        self.with(|state| state.pending.len())
    }
}

#[cfg(test)]
mod tests;
