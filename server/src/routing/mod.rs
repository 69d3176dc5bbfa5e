//! Which agent gets which conversation: team, presence, capacity, round robin; offline agents by their prekeys; claim
//! mode; another agent when one does not accept in time.
//!
//! This module only knows and decides; [`task`] and [`crate::relay::assign`] act. Everything here can be rebuilt from
//! the store: agents from their records, conversations from theirs.

mod agents;
mod pending;
pub mod task;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::{Code, WaitingEntry};

pub use self::agents::{AgentRecord, Availability};
pub use self::pending::{Next, Pending, Times};
use crate::clock::HOUR_MS;
use crate::config;
use crate::relay::record::Record;

/// Most entries of one `Waiting` frame.
const MAX_WAITING: usize = 200;

/// What routing knows.
#[derive(Debug)]
pub struct Routing {
    state: Mutex<State>,
    default_capacity: u16,
    idle_ms: u64,
    times: Times,
}

/// A device that has room for a conversation of its team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub device: DeviceKeyHash,
    /// Connected.
    pub online: bool,
    /// Not for this one: it has it, or let its time pass.
    pub excluded: bool,
}

/// A waiting conversation that needs something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: ConversationId,
    /// Whose work it is.
    pub team: Handle,
    /// What.
    pub next: Next,
}

#[derive(Debug, Default)]
struct State {
    agents: HashMap<DeviceKeyHash, AgentRecord>,
    pending: HashMap<ConversationId, Pending>,
    /// Open conversations of an agent, over all devices, with the time of their last message or statement.
    load: HashMap<Handle, HashMap<ConversationId, u64>>,
    holder: HashMap<ConversationId, Handle>,
    /// Counts assignments, for round robin.
    turn: u64,
}

impl State {
    fn release(&mut self, id: &ConversationId) {
        if let Some(agent) = self.holder.remove(id)
            && let Some(load) = self.load.get_mut(&agent)
        {
            load.remove(id);
        }
    }

    /// What an agent has to do: conversations in which nothing has been said for long are not counted.
    fn open(&self, agent: &Handle, active_since: u64) -> usize {
        let held = self.load.get(agent);
        held.map_or(0, |held| held.values().filter(|active_ms| **active_ms >= active_since).count())
    }
}

impl Routing {
    /// By the configuration.
    pub fn new(config: &config::Routing) -> Self {
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        Self {
            state: Mutex::default(),
            default_capacity: config.default_capacity,
            idle_ms: u64::from(config.idle_hours) * HOUR_MS,
            times: Times { accept_ms: ms(config.accept_seconds), sign_ms: ms(config.sign_seconds) },
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a conversation's record as it is stored now.
    pub fn note(&self, id: ConversationId, record: &Record, now: u64) {
        self.with(|state| {
            state.release(&id);
            let named = record.nominee.as_ref().map(|nominee| &nominee.agent);
            let holder = named.or_else(|| record.current_agent().map(|(agent, _)| agent));
            if record.closed_ms.is_none()
                && let Some(agent) = holder
            {
                state.load.entry(agent.clone()).or_default().insert(id, now);
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
            state.release(id);
        });
    }

    /// Something was said in a conversation.
    pub fn active(&self, id: &ConversationId, now: u64) {
        self.with(|state| {
            if let Some(agent) = state.holder.get(id)
                && let Some(active_ms) = state.load.get_mut(agent).and_then(|load| load.get_mut(id))
            {
                *active_ms = now;
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

    /// Changes what an agent's device said of itself. Answers the record, and what it said before.
    pub fn set_availability(
        &self,
        device: &DeviceKeyHash,
        availability: Option<Availability>,
    ) -> Option<(AgentRecord, Option<Availability>)> {
        self.with(|state| {
            let agent = state.agents.get_mut(device)?;
            let before = core::mem::replace(&mut agent.availability, availability);
            Some((agent.clone(), before))
        })
    }

    /// Gives an agent's device nothing any more, until it connects with a certificate that holds. It stays known as an
    /// agent's. One that came with other certificates than these meanwhile is not meant.
    pub fn retire(&self, device: &DeviceKeyHash, chain: &CertificateChain) {
        self.with(|state| {
            if let Some(agent) = state.agents.get_mut(device).filter(|agent| agent.chain == *chain) {
                agent.serves = false;
            }
        });
    }

    /// Devices of the team with room, best first: connected before not, then whose turn is longest ago. None: the
    /// conversation does not wait.
    pub fn candidates(
        &self,
        id: &ConversationId,
        now: u64,
        is_online: impl Fn(&MailboxId) -> bool,
    ) -> Option<Vec<Candidate>> {
        let active_since = now.saturating_sub(self.idle_ms);
        self.with(|state| {
            let pending = state.pending.get(id)?;
            let serves = state.agents.iter().filter(|(_, agent)| agent.serves_team(&pending.team, now));
            let free = serves.filter(|(_, agent)| {
                agent.has_room(state.open(&agent.agent, active_since), self.default_capacity)
            });
            let mut found: Vec<(bool, u64, DeviceKeyHash)> =
                free.map(|(device, agent)| (!is_online(&agent.mailbox), agent.turn, *device)).collect();
            found.sort();
            let candidate = |(offline, _, device): (bool, u64, _)| Candidate {
                device,
                online: !offline,
                excluded: pending.excludes(&device),
            };
            Some(found.into_iter().map(candidate).collect())
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
    ///
    /// # Errors
    /// Why not.
    pub fn may_claim(&self, id: &ConversationId, device: &DeviceKeyHash, now: u64) -> Result<(), Code> {
        let active_since = now.saturating_sub(self.idle_ms);
        self.with(|state| {
            let agent = state.agents.get(device).ok_or(Code::CertificateRefused)?;
            let pending = state.pending.get(id).filter(|pending| pending.claimable());
            let pending = pending.filter(|p| !p.excludes(device)).ok_or(Code::AlreadyClaimed)?;
            if !agent.serves_team(&pending.team, now) {
                return Err(Code::CertificateRefused);
            }
            let open = state.open(&agent.agent, active_since);
            if agent.has_room(open, self.default_capacity) { Ok(()) } else { Err(Code::RateLimited) }
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
    pub fn tick(&self, elapsed_ms: u64, is_online: impl Fn(&MailboxId) -> bool) -> Vec<Due> {
        self.with(|state| {
            let due = state.pending.iter_mut();
            due.filter_map(|(id, pending)| {
                let next = pending.tick(elapsed_ms, self.times, &is_online)?;
                Some(Due { id: *id, team: pending.team.clone(), next })
            })
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

    /// Conversations for which an agent is named and not signed.
    pub fn named(&self) -> Vec<ConversationId> {
        self.with(|state| {
            let named = state.pending.iter().filter(|(_, pending)| pending.is_named());
            named.map(|(id, _)| *id).collect()
        })
    }

    /// Whether whoever has a conversation has had its time: it did not accept, was away for as long, or serves the team no
    /// more. Also when nobody has it.
    pub fn is_left(&self, id: &ConversationId, now: u64) -> bool {
        self.with(|state| {
            let Some(pending) = state.pending.get(id) else { return false };
            let agent = pending.assigned().and_then(|device| state.agents.get(&device));
            pending.is_left() || agent.is_none_or(|agent| !agent.serves_team(&pending.team, now))
        })
    }

    /// Whether nobody accepted a conversation, and a click is needed to go on.
    pub fn needs_click(&self, id: &ConversationId) -> bool {
        self.with(|state| state.pending.get(id).is_some_and(Pending::needs_click))
    }

    /// Every agent's device that may be given conversations, with its certificates.
    pub fn serving(&self) -> Vec<(DeviceKeyHash, CertificateChain)> {
        self.with(|state| {
            let serving = state.agents.iter().filter(|(_, agent)| agent.serves);
            serving.map(|(device, agent)| (*device, agent.chain.clone())).collect()
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
