//! A conversation that nobody has accepted yet.
//!
//! ```text
//! waiting --name--> named --customer signs--> assigned --agent accepts--> (not pending any more)
//!    ^                |                           |
//!    +--- not signed in time (before opening) ----+--- not accepted in time, or offline and another agent is there
//! ```

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::WaitingEntry;

use crate::relay::record::Record;

/// How long a customer may take to sign before the agent's place is given back.
const SIGN_MS: u64 = 120_000;

/// How long somebody who asked and left is waited for before the conversation is opened.
const AWAY_MS: u64 = 600_000;

/// What has to happen with a waiting conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Name an agent, if there is one.
    Name,
    /// Name another agent if one is connected: the assigned one is offline.
    NameIfOnline,
    /// The assigned device did not accept in time: note that, and name another agent if there is one.
    Lapse(DeviceKeyHash),
    /// The customer did not open, or left before: give the agent's place back and forget.
    Withdraw,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Who asked.
    pub customer: MailboxId,
    /// Whose work it is.
    pub team: Handle,
    topic: Handle,
    language: String,
    since: u64,
    named: Option<(DeviceKeyHash, u64)>,
    assigned: Option<(DeviceKeyHash, MailboxId)>,
    lapsed: Vec<DeviceKeyHash>,
    reassigned: bool,
    /// How long the assigned agent was connected since the assignment.
    online_ms: u64,
    /// How long the customer has been gone.
    away_ms: u64,
}

impl Pending {
    pub(super) fn new(record: &Record) -> Self {
        Self {
            customer: record.customer.mailbox(),
            team: record.team.clone(),
            topic: record.topic.clone(),
            language: record.language.clone(),
            since: record.requested_ms,
            named: None,
            assigned: None,
            lapsed: Vec::new(),
            reassigned: false,
            online_ms: 0,
            away_ms: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(
        customer: MailboxId,
        named: Option<(DeviceKeyHash, u64)>,
        assigned: Option<(DeviceKeyHash, MailboxId)>,
    ) -> Self {
        Self {
            customer,
            team: "team".parse().unwrap(),
            topic: "topic".parse().unwrap(),
            language: "en".into(),
            since: 0,
            named,
            assigned,
            lapsed: Vec::new(),
            reassigned: false,
            online_ms: 0,
            away_ms: 0,
        }
    }

    pub(super) fn update(&mut self, record: &Record) {
        self.named = record.nominee.as_ref().map(|nominee| (nominee.device, nominee.named_ms));
        let member = record.governance.as_ref().map(|governance| governance.current().roster.agent());
        let assigned = member.map(|member| (member.hash(), member.device.mailbox()));
        if assigned != self.assigned {
            self.assigned = assigned;
            self.online_ms = 0;
        }
        self.lapsed.clone_from(&record.lapsed);
        self.reassigned = record.reassigned;
    }

    /// Devices that do not get it: the one that has it, and those that did not accept.
    pub(super) fn excludes(&self, device: &DeviceKeyHash) -> bool {
        self.lapsed.contains(device) || self.assigned.is_some_and(|(assigned, _)| assigned == *device)
    }

    pub(super) fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// Its agent let the time pass, and the automatic reassignment is used up.
    pub(super) fn needs_click(&self) -> bool {
        self.named.is_none()
            && self.reassigned
            && self.assigned.is_some_and(|(device, _)| self.lapsed.contains(&device))
    }

    /// Nobody has it, or whoever had it let its time pass.
    pub(super) fn claimable(&self) -> bool {
        let lapsed = self.assigned.is_some_and(|(device, _)| self.lapsed.contains(&device));
        self.named.is_none() && (self.assigned.is_none() || (lapsed && !self.reassigned))
    }

    pub(super) fn entry(&self, conversation: ConversationId) -> WaitingEntry {
        let (topic, language) = (self.topic.clone(), self.language.clone());
        WaitingEntry { conversation, topic, language, since: self.since }
    }

    /// Lets time pass. The acceptance timer runs only while the assigned agent is connected.
    pub(super) fn tick(
        &mut self,
        now: u64,
        elapsed_ms: u64,
        accept_ms: u64,
        is_online: impl Fn(&MailboxId) -> bool,
    ) -> Option<Next> {
        match (&self.named, &self.assigned) {
            (Some((_, named_ms)), None) if now > named_ms + SIGN_MS => Some(Next::Withdraw),
            // The customer's turn to sign.
            (Some(_), _) => None,
            (None, None) if is_online(&self.customer) => {
                self.away_ms = 0;
                Some(Next::Name)
            }
            (None, None) => {
                self.away_ms += elapsed_ms;
                (self.away_ms >= AWAY_MS).then_some(Next::Withdraw)
            }
            (None, Some((device, _))) if self.lapsed.contains(device) => {
                (!self.reassigned).then_some(Next::Name)
            }
            (None, Some((device, mailbox))) => {
                if is_online(mailbox) {
                    self.online_ms += elapsed_ms;
                    (self.online_ms >= accept_ms).then_some(Next::Lapse(*device))
                } else {
                    (!self.reassigned).then_some(Next::NameIfOnline)
                }
            }
        }
    }
}
