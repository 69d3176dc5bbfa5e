//! Which agent is named for a waiting conversation, one at a time for each conversation, and who is told.

use sealdesk_protocol::crypto::identity::mailbox_of;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::{Assignment, Code};
use tokio::sync::{Mutex, MutexGuard};

use super::Relay;
use super::assign::MAX_SWAPS;
use super::record::{Nominee, Record};
use crate::clock::now_ms;
use crate::limits::Prefix;
use crate::limits::issue::{Issue, Purpose};
use crate::routing::Candidate;
use crate::store::StoreError;

/// Who may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Connected agents first, then offline ones.
    Anybody,
    /// Connected agents only.
    Online,
    /// This device, which claimed.
    Device(DeviceKeyHash),
}

/// Whether there is an agent for a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// There is.
    Agent(T),
    /// Not for this one: it does not wait for any, or those who are free are none for it.
    NotForIt,
    /// Nobody of the team can be named, for whatever conversation.
    Nobody,
}

/// Turns at a conversation's agent, each shared by some conversations. The router and the customer's request would look
/// for one at the same time: the second one would spend a pair of prekeys for nothing.
#[derive(Debug)]
pub struct Turns([Mutex<()>; 64]);

impl Default for Turns {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// Waits for it.
    pub(super) async fn wait(&self, id: &ConversationId) -> Turn<'_> {
        let [first, ..] = id.0;
        Turn { _held: self.0[usize::from(first) % self.0.len()].lock().await }
    }

    /// Now, or not at all.
    pub(crate) fn free(&self, id: &ConversationId) -> Option<Turn<'_>> {
        let [first, ..] = id.0;
        self.0[usize::from(first) % self.0.len()].try_lock().ok().map(|held| Turn { _held: held })
    }
}

/// Nobody else looks for an agent for the conversation meanwhile.
pub(crate) struct Turn<'a> {
    _held: MutexGuard<'a, ()>,
}

impl Relay {
    /// Names an agent for a waiting conversation.
    pub(super) async fn name(
        &self,
        id: ConversationId,
        which: Which,
        _turn: &Turn<'_>,
    ) -> Result<Found<()>, Code> {
        for _ in 0..MAX_SWAPS {
            let loaded = self.conversation(id).await.map_err(|cause| self.store_code(&cause))?;
            let loaded = loaded.ok_or(Code::UnknownConversation)?;
            if loaded.record.nominee.is_some() || !loaded.record.is_waiting() {
                return Ok(Found::NotForIt);
            }
            // Whoever has it keeps it for its time, whatever the customer signs or asks.
            let opened = loaded.record.governance.is_some();
            if opened && which == Which::Anybody && !self.routing.is_left(&id, now_ms()) {
                return Ok(Found::NotForIt);
            }
            if !loaded.record.may_be_named(now_ms()) {
                return Err(Code::RateLimited);
            }
            // Of a customer who is there: prekeys are spent on nobody else. An agent claims for itself.
            let prefix = match which {
                Which::Device(_) => None,
                Which::Anybody | Which::Online => {
                    match self.registry.get(&loaded.record.customer.mailbox()) {
                        Some(customer) => Some(customer.prefix),
                        None => return Ok(Found::NotForIt),
                    }
                }
            };
            let nominee = match self.choose(id, which, prefix, &loaded.record).await? {
                Found::Agent(nominee) => *nominee,
                Found::NotForIt => return Ok(Found::NotForIt),
                Found::Nobody => return Ok(Found::Nobody),
            };
            let mut record = loaded.record.clone();
            let device = nominee.device;
            record.reassigned |= opened;
            record.nominee = Some(nominee);
            if self.put(id, loaded.version, record).await? {
                self.routing.took(&device);
                return Ok(Found::Agent(()));
            }
        }
        Err(Code::Conflict)
    }

    /// Names an agent and tells the customer.
    pub async fn name_and_announce(&self, id: ConversationId, which: Which) -> Result<Found<()>, Code> {
        let turn = self.turns.wait(&id).await;
        self.name_in_turn(id, which, &turn).await
    }

    /// The same for the router, which waits for nobody: whoever is at it names, or the next look does.
    pub async fn name_if_free(&self, id: ConversationId, which: Which) -> Result<Found<()>, Code> {
        match self.turns.free(&id) {
            Some(turn) => self.name_in_turn(id, which, &turn).await,
            None => Ok(Found::NotForIt),
        }
    }

    async fn name_in_turn(
        &self,
        id: ConversationId,
        which: Which,
        turn: &Turn<'_>,
    ) -> Result<Found<()>, Code> {
        let named = self.name(id, which, turn).await?;
        if named == Found::Agent(()) {
            self.announce(id).await.map_err(|cause| self.store_code(&cause))?;
        }
        Ok(named)
    }

    /// The best candidate whose certificate holds and whose prekeys are there. Whoever has none is passed over, however
    /// many there are; a device whose certificate does not hold any more is no candidate from then on.
    async fn choose(
        &self,
        id: ConversationId,
        which: Which,
        prefix: Option<Prefix>,
        record: &Record,
    ) -> Result<Found<Box<Nominee>>, Code> {
        let now = now_ms();
        let room = record.room()?;
        let online = |mailbox: &_| self.registry.is_online(mailbox);
        let candidates = match which {
            Which::Device(device) if self.routing.may_claim(&id, &device, now).is_ok() => {
                Some(vec![Candidate { device, online: true, excluded: false }])
            }
            Which::Device(_) => None,
            Which::Anybody | Which::Online => self.routing.candidates(&id, now, online),
        };
        let Some(candidates) = candidates else { return Ok(Found::NotForIt) };
        let org = self.policy.org();
        let mut none = Found::Nobody;
        for candidate in candidates.into_iter().filter(|one| one.online || which == Which::Anybody) {
            let device = candidate.device;
            let Some(agent) = self.routing.agent(&device) else { continue };
            let issue = self.assignment_issue(id, device, prefix, record.history.len() as u64);
            // What is known without the store comes first: many conversations may wait for whom they cannot have.
            if candidate.excluded || !self.limits.has_prekeys(&issue) {
                none = Found::NotForIt;
                continue;
            }
            if self.last_resort(device).await.map_err(|cause| self.store_code(&cause))?.is_none() {
                continue;
            }
            // What the customer writes would be refused.
            let fits = async |room| {
                let room = self.store.has_room(agent.mailbox, room).await;
                room.map_err(|cause| self.store_code(&cause))
            };
            if !fits(room).await? {
                // A shorter conversation may fit.
                if !record.history.is_empty() && fits(Record::least_room()).await? {
                    none = Found::NotForIt;
                }
                continue;
            }
            if org.certificate(&agent.chain).is_err() {
                self.routing.retire(&device, &agent.chain);
                continue;
            }
            match self.issue(issue).await {
                Ok(bundle) => {
                    let (agent, chain) = (agent.agent, agent.chain);
                    return Ok(Found::Agent(Box::new(Nominee {
                        agent,
                        device,
                        chain,
                        bundle,
                        named_ms: now,
                    })));
                }
                Err(Code::NoPrekeys) => {}
                // Used up since it was looked at.
                Err(Code::RateLimited) => none = Found::NotForIt,
                Err(code) => return Err(code),
            }
        }
        Ok(none)
    }

    fn assignment_issue(
        &self,
        conversation: ConversationId,
        device: DeviceKeyHash,
        prefix: Option<Prefix>,
        earlier: u64,
    ) -> Issue {
        let connected = self.registry.is_online(&mailbox_of(&device));
        Issue { conversation, device, purpose: Purpose::Assignment, prefix, connected, earlier }
    }

    /// The frame for the agent who is named, if one is.
    pub(crate) async fn assignment(
        &self,
        id: ConversationId,
        req: Option<u32>,
    ) -> Result<Option<Assignment>, StoreError> {
        let Some(loaded) = self.conversation(id).await? else { return Ok(None) };
        let Some(nominee) = &loaded.record.nominee else { return Ok(None) };
        let epoch = loaded.record.governance.as_ref().map_or(0, |governance| governance.current().number) + 1;
        let mailbox = mailbox_of(&nominee.device);
        Ok(Some(Assignment {
            req,
            conversation: id,
            epoch,
            agent: nominee.chain.clone(),
            bundle: nominee.bundle.clone(),
            online: self.registry.is_online(&mailbox),
        }))
    }

    /// Tells a connected customer which agent is named.
    pub(crate) async fn announce(&self, id: ConversationId) -> Result<(), StoreError> {
        if let Some(assignment) = self.assignment(id, None).await?
            && let Some(loaded) = self.conversation(id).await?
            && let Some(connected) = self.registry.get(&loaded.record.customer.mailbox())
        {
            connected.inbox.frame(&assignment.into());
        }
        Ok(())
    }
}
