//! An agent's device as routing sees it.

use sealdesk_protocol::crypto::certificate::{AgentRole, CertificateChain};
use sealdesk_protocol::ids::{Handle, MailboxId};
use serde::{Deserialize, Serialize};

use crate::auth::{Agent, Authenticated};

/// What an agent's device said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// New conversations may be assigned.
    pub available: bool,
    /// Open conversations at once.
    pub capacity: u16,
}

/// Kept in the store, so that conversations can be assigned to agents who are offline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Agent id.
    pub agent: Handle,
    /// The device's mailbox.
    pub mailbox: MailboxId,
    /// Teams of the certificate.
    pub teams: Vec<Handle>,
    /// The certificate has the role of an agent.
    pub serves: bool,
    /// End of the certificate's validity, ms.
    pub valid_until: u64,
    /// Passed on to customers.
    pub chain: CertificateChain,
    /// None: the device never said anything, which counts as available with the default capacity.
    pub availability: Option<Availability>,
    /// When it got its last conversation, in assignments.
    #[serde(skip)]
    pub turn: u64,
}

impl AgentRecord {
    /// From an authenticated agent.
    pub fn new(who: &Authenticated, agent: &Agent) -> Self {
        let certificate = &agent.certificate;
        Self {
            agent: certificate.agent().clone(),
            mailbox: who.mailbox,
            teams: certificate.certificate().teams.clone(),
            serves: certificate.has_role(AgentRole::Agent),
            valid_until: certificate.valid_until(),
            chain: agent.chain.clone(),
            availability: None,
            turn: 0,
        }
    }

    /// Whether its certificate lets this device work for `team`.
    pub(super) fn serves_team(&self, team: &Handle, now: u64) -> bool {
        self.serves && self.teams.contains(team) && now < self.valid_until
    }

    /// Whether it takes one more conversation, given how many its agent has open.
    pub(super) fn has_room(&self, open: usize, default_capacity: u16) -> bool {
        let said = self.availability.unwrap_or(Availability { available: true, capacity: default_capacity });
        said.available && open < usize::from(said.capacity)
    }
}
