//! A conversation that nobody has accepted yet.
//!
//! ```text
//! waiting --name--> named --customer signs--> assigned --agent accepts--> (not pending any more)
//!    ^                |                           |
//!    +--- not signed in time ---------------------+--- not accepted in time, or offline and another agent is there
//! ```
//!
//! One reassignment is automatic and goes to a connected agent only: it is not spent on somebody who is away, nor for a
//! customer who is. When that one does not accept either, or stays away while the customer waits, the customer is told and
//! decides.

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::WaitingEntry;

use crate::relay::record::Record;

/// How long somebody who asked and left is waited for before the conversation is opened.
const AWAY_MS: u64 = 600_000;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For an agent who is connected to accept, and for one who is not to come back.
    pub accept_ms: u64,
    /// For a customer to sign for the agent who is named, before the agent's place is given back.
    pub sign_ms: u64,
}

/// What has to happen with a waiting conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Name an agent, if there is one.
    Name,
    /// Name another agent if one is connected: the assigned one is offline, or did not accept.
    NameIfOnline,
    /// The assigned device did not accept in time, or stays away: note that.
    Lapse(DeviceKeyHash),
    /// The customer did not sign, or left before: give the agent's place back.
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
    /// How long it has been away while the customer waited.
    offline_ms: u64,
    /// It has been away for too long.
    left_alone: bool,
    /// How long the customer has had to sign: for the first agent in all, for a further one while it is there.
    signing_ms: u64,
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
            offline_ms: 0,
            left_alone: false,
            signing_ms: 0,
            away_ms: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(
        customer: MailboxId,
        named: Option<(DeviceKeyHash, u64)>,
        assigned: Option<(DeviceKeyHash, MailboxId)>,
    ) -> Self {
        let record = crate::relay::record::tests::record();
        Self { customer, named, assigned, ..Self::new(&record) }
    }

    #[cfg(test)]
    pub(super) fn reassigned_for_tests(&mut self) {
        self.reassigned = true;
    }

    #[cfg(test)]
    pub(super) fn lapsed_for_tests(&mut self) {
        self.lapsed = self.assigned().into_iter().collect();
    }

    pub(super) fn update(&mut self, record: &Record) {
        let named = record.nominee.as_ref().map(|nominee| (nominee.device, nominee.named_ms));
        if named != self.named {
            self.named = named;
            self.signing_ms = 0;
        }
        let member = record.governance.as_ref().map(|governance| governance.current().roster.agent());
        let assigned = member.map(|member| (member.hash(), member.device.mailbox()));
        if assigned != self.assigned {
            self.assigned = assigned;
            self.online_ms = 0;
            self.offline_ms = 0;
            self.left_alone = false;
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

    /// Who has it.
    pub(super) fn assigned(&self) -> Option<DeviceKeyHash> {
        self.assigned.map(|(device, _)| device)
    }

    /// Whoever has it let its time pass, or has been away for as long.
    pub(super) fn is_left(&self) -> bool {
        self.left_alone || self.assigned().is_some_and(|device| self.lapsed.contains(&device))
    }

    /// Nobody has it, or whoever had it let its time pass or went away.
    pub(super) fn claimable(&self) -> bool {
        self.named.is_none() && (self.assigned.is_none() || (!self.reassigned && self.is_left()))
    }

    pub(super) fn entry(&self, conversation: ConversationId) -> WaitingEntry {
        let (topic, language) = (self.topic.clone(), self.language.clone());
        WaitingEntry { conversation, topic, language, since: self.since }
    }

    /// Lets time pass. The acceptance timer runs only while the assigned agent is connected; the one of an agent who is
    /// away, and the one for a further signature, only while the customer is there to wait.
    pub(super) fn tick(
        &mut self,
        elapsed_ms: u64,
        times: Times,
        is_online: impl Fn(&MailboxId) -> bool,
    ) -> Option<Next> {
        let present = is_online(&self.customer);
        let waited = if present { elapsed_ms } else { 0 };
        match (&self.named, &self.assigned) {
            (Some(_), assigned) => {
                self.signing_ms += if assigned.is_some() { waited } else { elapsed_ms };
                (self.signing_ms > times.sign_ms).then_some(Next::Withdraw)
            }
            (None, None) if present => {
                self.away_ms = 0;
                Some(Next::Name)
            }
            (None, None) => {
                self.away_ms += elapsed_ms;
                (self.away_ms >= AWAY_MS).then_some(Next::Withdraw)
            }
            (None, Some((device, _))) if self.lapsed.contains(device) => {
                (present && !self.reassigned).then_some(Next::NameIfOnline)
            }
            (None, Some((device, mailbox))) if is_online(mailbox) => {
                (self.offline_ms, self.left_alone) = (0, false);
                self.online_ms += elapsed_ms;
                (self.online_ms >= times.accept_ms).then_some(Next::Lapse(*device))
            }
            (None, Some((device, _))) => {
                self.offline_ms += waited;
                self.left_alone = self.offline_ms >= times.accept_ms;
                match (self.reassigned, self.left_alone) {
                    (false, _) => present.then_some(Next::NameIfOnline),
                    (true, true) => Some(Next::Lapse(*device)),
                    (true, false) => None,
                }
            }
        }
    }
}
