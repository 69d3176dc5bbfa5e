//! The roster: every device that may read, displayed on both screens and bound into every message (§7).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::crypto::identity::DevicePublic;
use crate::crypto::kdf;
use crate::crypto::labels;
use crate::ids::{ConversationId, DeviceKeyHash, Handle, RootHash, RosterHash, StatementHash};

/// Most members of one roster.
pub const MAX_MEMBERS: usize = 16;

/// What a member is in the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Role {
    /// The customer device that opened the conversation.
    Customer,
    /// The one device of the assigned agent.
    Agent,
    /// A supervisor who joined visibly.
    Supervisor,
}

/// One device that may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Role in this conversation.
    pub role: Role,
    /// Agent id; none for the customer.
    pub agent: Option<Handle>,
    /// The device's public keys.
    pub device: DevicePublic,
}

impl Member {
    /// Hash of the device's keys.
    pub fn hash(&self) -> DeviceKeyHash {
        self.device.hash()
    }
}

/// Why a list of members is no roster. At fault: its signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Not exactly one customer device.
    #[error("a roster lists exactly one customer device")]
    Customer,
    /// Not exactly one device of the assigned agent.
    #[error("a roster lists exactly one device of the assigned agent")]
    Agent,
    /// A device twice, or members out of order.
    #[error("a roster's members are sorted and each device stands once")]
    Order,
    /// An agent without id, or a customer with one.
    #[error("agents and supervisors have an agent id, customers have none")]
    Id,
    /// More than [`MAX_MEMBERS`].
    #[error("a roster has at most {MAX_MEMBERS} members")]
    Size,
}

/// Customer device, exactly one agent device, and supervisors who joined: checked on construction and on decoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Member>", into = "Vec<Member>")]
pub struct Roster(Vec<Member>);

impl TryFrom<Vec<Member>> for Roster {
    type Error = RosterError;

    fn try_from(members: Vec<Member>) -> Result<Self, RosterError> {
        if members.len() > MAX_MEMBERS {
            return Err(RosterError::Size);
        }
        let count = |role| members.iter().filter(|m| m.role == role).count();
        if count(Role::Customer) != 1 {
            return Err(RosterError::Customer);
        }
        if count(Role::Agent) != 1 {
            return Err(RosterError::Agent);
        }
        if members.iter().any(|m| m.agent.is_none() != (m.role == Role::Customer)) {
            return Err(RosterError::Id);
        }
        if !members.windows(2).all(|pair| sort_key(&pair[0]) < sort_key(&pair[1])) {
            return Err(RosterError::Order);
        }
        let repeated = |m: &Member| members.iter().filter(|o| o.hash() == m.hash()).count() > 1;
        if members.iter().any(repeated) {
            return Err(RosterError::Order);
        }
        Ok(Self(members))
    }
}

impl From<Roster> for Vec<Member> {
    fn from(roster: Roster) -> Self {
        roster.0
    }
}

fn sort_key(member: &Member) -> (Role, Option<&Handle>, DeviceKeyHash) {
    (member.role, member.agent.as_ref(), member.hash())
}

impl Roster {
    /// The two-party roster of a new conversation or a reassignment.
    ///
    /// # Errors
    /// [`RosterError::Order`] when both are the same device.
    pub fn of(customer: DevicePublic, agent: Handle, device: DevicePublic) -> Result<Self, RosterError> {
        let customer = Member { role: Role::Customer, agent: None, device: customer };
        let agent = Member { role: Role::Agent, agent: Some(agent), device };
        Self::try_from(alloc::vec![customer, agent])
    }

    /// Adds a supervisor.
    ///
    /// # Errors
    /// [`RosterError`] when the device is listed already or the roster is full.
    pub fn with_supervisor(&self, agent: Handle, device: DevicePublic) -> Result<Self, RosterError> {
        let mut members = self.0.clone();
        members.push(Member { role: Role::Supervisor, agent: Some(agent), device });
        members.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        Self::try_from(members)
    }

    /// All members, sorted by role, agent id, device.
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// The customer device.
    pub fn customer(&self) -> &Member {
        self.single(Role::Customer)
    }

    /// The assigned agent's device.
    pub fn agent(&self) -> &Member {
        self.single(Role::Agent)
    }

    fn single(&self, role: Role) -> &Member {
        // Construction guarantees one of each; the first member is the fallback that is never reached.
        self.0.iter().find(|m| m.role == role).unwrap_or(&self.0[0])
    }

    /// The member with this device, if listed.
    pub fn get(&self, device: &DeviceKeyHash) -> Option<&Member> {
        self.0.iter().find(|m| m.hash() == *device)
    }

    /// `H(root | conversation | epoch | previous epoch statement or "" | (role | agent id or "" | device key hash)*)`,
    /// every part length-prefixed (§7).
    pub fn hash(
        &self,
        root: &RootHash,
        conversation: &ConversationId,
        epoch: u32,
        previous: Option<&StatementHash>,
    ) -> RosterHash {
        let epoch = epoch.to_be_bytes();
        let members: Vec<(u8, &str, DeviceKeyHash)> = self
            .0
            .iter()
            .map(|m| (m.role as u8, m.agent.as_ref().map_or("", Handle::as_str), m.hash()))
            .collect();
        let mut parts: Vec<&[u8]> = alloc::vec![
            root.as_ref(),
            conversation.as_ref(),
            &epoch,
            previous.map_or(&[][..], |p| p.as_ref()),
        ];
        for (role, agent, device) in &members {
            parts.extend([core::slice::from_ref(role), agent.as_bytes(), device.as_ref()]);
        }
        RosterHash(kdf::hash(labels::ROSTER, &parts))
    }
}
