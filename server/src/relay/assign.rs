//! A customer asks for an agent; the relay names one, or lets agents claim.
//!
//! 1. `RequestAssignment`: topic known, consent receipt valid for a current notice, rates kept.
//! 2. A device is named: its certificates and one bundle of prekeys are stored with the conversation, so that asking
//!    again gives the same.
//! 3. The customer verifies both and signs; see [`super::statements`].

use sealdesk_protocol::conversation::{ConsentReceipt, is_language_tag};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Claim, Code, Queued, RequestAssignment, ToClient, Unaccepted};

use super::naming::{Found, Which};
use super::record::Record;
use super::{Relay, done};
use crate::clock::now_ms;
use crate::policy::Org;
use crate::socket::connection::Session;
use crate::store::{Keep, StoreError, Swap, Swapped};

/// A receipt may be this much ahead of the relay's clock.
const SKEW_MS: u64 = 10 * 60 * 1000;
/// Tries of a compare-and-swap that others win.
pub(super) const MAX_SWAPS: usize = 4;

impl Relay {
    /// Stores a changed record, with nothing else. `Ok(false)`: somebody else changed it first.
    pub(crate) async fn put(&self, id: ConversationId, version: u64, record: Record) -> Result<bool, Code> {
        let swapped = self.store.swap(self.change(id, version, &record)?).await;
        self.swapped(id, swapped, record)
    }

    /// A changed record, as it goes to the store.
    pub(super) fn change(&self, id: ConversationId, version: u64, record: &Record) -> Result<Swap, Code> {
        let opened = record.governance.is_some();
        Ok(Swap {
            conversation: id,
            expected: version,
            record: postcard::to_allocvec(record).map_err(|_| Code::Internal)?,
            keep: if opened { Keep::Open } else { Keep::Until(self.expiry(now_ms())) },
            appends: Vec::new(),
            if_room: Vec::new(),
            audit: None,
        })
    }

    /// What the store answered to it. `Ok(false)`: somebody else changed it first.
    pub(super) fn swapped(
        &self,
        id: ConversationId,
        answer: Result<Swapped, StoreError>,
        record: Record,
    ) -> Result<bool, Code> {
        match answer {
            Ok(swapped) => {
                self.keep(id, swapped.version, record);
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => {
                self.conversations.forget(&id);
                Ok(false)
            }
            Err(cause) => Err(self.store_code(&cause)),
        }
    }

    /// The assigned device did not accept in time.
    pub async fn lapse(&self, id: ConversationId, device: DeviceKeyHash) -> Result<(), Code> {
        let loaded = self.conversation(id).await.map_err(|cause| self.store_code(&cause))?;
        let Some(loaded) = loaded.filter(|loaded| loaded.record.is_waiting()) else { return Ok(()) };
        let mut record = loaded.record.clone();
        if !record.lapsed.contains(&device) {
            record.lapsed.push(device);
        }
        let (customer, used_up) = (record.customer.mailbox(), record.reassigned);
        if self.put(id, loaded.version, record).await? {
            if used_up && let Some(connected) = self.registry.get(&customer) {
                connected.inbox.frame(&Unaccepted { conversation: id }.into());
            }
            self.router.notify_one();
        }
        Ok(())
    }

    /// The customer did not sign: the agent's place is given back. Before the opening the customer may ask again; later
    /// it is told that nobody accepted, if that is so.
    pub async fn withdraw(&self, id: ConversationId) -> Result<(), Code> {
        let loaded = self.conversation(id).await.map_err(|cause| self.store_code(&cause))?;
        let Some(loaded) = loaded.filter(|loaded| loaded.record.is_waiting()) else { return Ok(()) };
        let record = loaded.record.give_up(now_ms());
        let (opened, customer) = (record.governance.is_some(), record.customer.mailbox());
        if self.put(id, loaded.version, record).await? {
            if !opened {
                self.routing.forget(&id);
            } else if self.routing.needs_click(&id)
                && let Some(connected) = self.registry.get(&customer)
            {
                connected.inbox.frame(&Unaccepted { conversation: id }.into());
            }
        }
        Ok(())
    }

    /// Gives up a named agent whose certificate does not hold any more: no customer can sign for it. The reassignment
    /// that it was named for was none.
    pub async fn drop_dead_nominee(&self, id: ConversationId) -> Result<(), Code> {
        let loaded = self.conversation(id).await.map_err(|cause| self.store_code(&cause))?;
        let Some(loaded) = loaded.filter(|loaded| loaded.record.is_waiting()) else { return Ok(()) };
        let Some(nominee) = &loaded.record.nominee else { return Ok(()) };
        if self.policy.org().certificate(&nominee.chain).is_ok() {
            return Ok(());
        }
        let record = Record { nominee: None, reassigned: false, ..loaded.record.clone() };
        if self.put(id, loaded.version, record).await? {
            self.router.notify_one();
        }
        Ok(())
    }
}

/// What a request has to fulfil before anything is stored for it.
fn check_request(session: &Session, frame: &RequestAssignment, org: &Org) -> Result<Record, Code> {
    let settings = org.verified.settings();
    let topic = settings.topic(&frame.topic).ok_or(Code::UnknownTopic)?;
    if !is_language_tag(&frame.language) {
        return Err(Code::UnknownTopic);
    }
    let now = now_ms();
    let receipt = ConsentReceipt::verify(&frame.consent).map_err(|_| Code::ConsentMissing)?;
    let own = receipt.root == org.verified.root()
        && receipt.conversation == frame.conversation
        && receipt.device == session.who.device
        && receipt.given <= now + SKEW_MS;
    if !own {
        return Err(Code::ConsentMissing);
    }
    if !settings.has_notice(&receipt.notice) {
        return Err(Code::ConsentOutdated);
    }
    Ok(Record {
        customer: session.who.device,
        topic: frame.topic.clone(),
        team: topic.team.clone(),
        language: frame.language.clone(),
        consent: frame.consent.clone(),
        requested_ms: now,
        nominee: None,
        governance: None,
        history: Vec::new(),
        assigned: None,
        lapsed: Vec::new(),
        reassigned: false,
        closed_ms: None,
        attachments: 0,
        unsigned: (0, 0),
    })
}

impl Session {
    /// A customer asks for an agent, for the first time or again.
    pub(super) async fn request_assignment(&self, frame: RequestAssignment) -> Result<ToClient, Code> {
        if self.who.agent.is_some() {
            return Err(Code::NotListed);
        }
        let relay = &self.relay;
        let (id, req) = (frame.conversation, frame.req);
        let org = relay.policy.org();
        let code = |cause: StoreError| relay.store_code(&cause);
        // From before it is stored: the router sees it then.
        let turn = relay.turns.wait(&id).await;
        match relay.conversation(id).await.map_err(code)? {
            Some(known) => {
                self.ask_again(id, &known, &frame, &org).await?;
                relay.drop_dead_nominee(id).await?;
            }
            None => {
                relay.check_space()?;
                let record = check_request(self, &frame, &org)?;
                relay.limits.conversation(&self.permit.prefix).map_err(|_| Code::RateLimited)?;
                if !relay.put(id, 0, record).await? {
                    return Err(Code::Conflict);
                }
            }
        }
        self.remember().await.map_err(code)?;
        let claim = org.verified.settings().assignment == AssignmentMode::Claim;
        if !claim {
            relay.name(id, Which::Anybody, &turn).await.inspect_err(|code| {
                if *code == Code::RateLimited {
                    relay.metrics.rate_limited.up();
                }
            })?;
        }
        if let Some(assignment) = relay.assignment(id, Some(req)).await.map_err(code)? {
            return Ok(assignment.into());
        }
        relay.router.notify_one();
        Ok(Queued { req: Some(req), conversation: id, claim }.into())
    }

    /// The same request again: a repetition, or the click that allows one more reassignment, now or when its time has come.
    async fn ask_again(
        &self,
        id: ConversationId,
        known: &super::record::Loaded,
        frame: &RequestAssignment,
        org: &Org,
    ) -> Result<(), Code> {
        let record = &known.record;
        if record.customer != self.who.device {
            return Err(Code::UnknownConversation);
        }
        if record.closed_ms.is_some() {
            return Err(Code::Closed);
        }
        if record.is_accepted() {
            return Err(Code::Conflict);
        }
        let changed = if record.governance.is_none() && record.nominee.is_none() {
            // Not opened yet: the receipt of this request counts, since the notice may have changed meanwhile.
            let fresh = check_request(self, frame, org)?;
            let (lapsed, unsigned) = (record.lapsed.clone(), record.unsigned);
            Record { requested_ms: record.requested_ms, lapsed, unsigned, ..fresh }
        } else if record.governance.is_some() && record.nominee.is_none() && record.reassigned {
            // Those who did not accept before get another chance, and the one who has it now keeps it for its time.
            let mut lapsed = record.lapsed.clone();
            lapsed.retain(|device| record.current_agent().is_some_and(|(_, current)| current == *device));
            Record { reassigned: false, lapsed, ..record.clone() }
        } else {
            return Ok(());
        };
        if changed == *record {
            // Nothing to store; routing may have given it up meanwhile.
            self.relay.keep(id, known.version, changed);
        } else {
            // What the rate of names refuses next is not stored.
            let now = now_ms();
            let automatic = org.verified.settings().assignment == AssignmentMode::Automatic;
            let names = automatic && (record.governance.is_none() || self.relay.routing.is_left(&id, now));
            if names && !record.may_be_named(now) {
                self.relay.metrics.rate_limited.up();
                return Err(Code::RateLimited);
            }
            self.relay.check_space()?;
            self.relay.put(id, known.version, changed).await?;
        }
        Ok(())
    }

    /// An agent claims a waiting conversation: the first compare-and-swap wins.
    pub(super) async fn claim(&self, frame: &Claim) -> Result<ToClient, Code> {
        if self.who.agent.is_none() {
            return Err(Code::CertificateRefused);
        }
        if self.relay.policy.org().verified.settings().assignment != AssignmentMode::Claim {
            return Err(Code::Unsupported);
        }
        self.relay.routing.may_claim(&frame.conversation, &self.who.hash, now_ms())?;
        let own = self.relay.last_resort(self.who.hash).await;
        if own.map_err(|cause| self.relay.store_code(&cause))?.is_none() {
            return Err(Code::NoPrekeys);
        }
        let claimed = self.relay.name_and_announce(frame.conversation, Which::Device(self.who.hash)).await?;
        if claimed != Found::Agent(()) {
            // Somebody was faster; else it was given to enough agents for now, or its statements do not fit.
            self.relay.routing.may_claim(&frame.conversation, &self.who.hash, now_ms())?;
            return Err(if claimed == Found::Nobody { Code::MailboxFull } else { Code::RateLimited });
        }
        self.relay.router.notify_one();
        Ok(done(frame.req))
    }
}

#[cfg(test)]
mod tests;
