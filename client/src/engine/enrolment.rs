//! An agent's device before it is certified (§3): the request that an administrator approves.

use sealdesk_protocol::crypto::certificate::{Endorsement, EndorsementBody, endorse};
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret, SignedBytes};
use sealdesk_protocol::enrolment::EnrolmentRequest;
use sealdesk_protocol::ids::{DeviceKeyHash, Handle};

use super::context::Cx;
use super::records::StoredOwner;
use super::state::{Device, Engine};
use super::{Problem, problem};
use crate::vault::Key;

/// An agent device's enrolment request; its keys stay in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// What was signed.
    pub request: EnrolmentRequest,
    /// For the administrator.
    pub signed: SignedBytes,
}

impl Engine {
    /// The agent device's public keys; none in a customer's vault.
    pub fn agent_public(&self) -> Option<DevicePublic> {
        self.agent_device().map(|d| d.public)
    }

    /// Signs the request for an invitation ([`SignedInvitation::hash`](sealdesk_protocol::enrolment::SignedInvitation::hash))
    /// to `agent`, at `now` (wall clock, ms). None in a customer's vault.
    pub fn enrolment(&self, agent: &Handle, invitation: [u8; 32], now: u64) -> Option<Enrolment> {
        let device = self.agent_device()?;
        let request = EnrolmentRequest {
            root: self.meta.root,
            agent: agent.clone(),
            invitation,
            device: device.public,
            created: now,
        };
        let signed = request.sign(&device.record.secret);
        Some(Enrolment { request, signed })
    }

    /// Vouches for a further device of the same agent, whose request verified and whose code was compared (§3.6).
    ///
    /// # Errors
    /// [`Problem`]: a customer's vault, a device that is not certified now, or a request that is not for it to sign.
    pub fn endorse(&self, request: &EnrolmentRequest) -> Result<Endorsement, Problem> {
        let device = self.agent_device().ok_or_else(|| problem::wrong_party("an agent"))?;
        let certificate = device.certificate.as_ref().ok_or_else(problem::not_certified)?;
        let ours = request.root == self.meta.root && request.agent == *certificate.agent();
        if !ours || request.device == device.public {
            return Err(problem::not_ours_to_endorse());
        }
        let body = EndorsementBody {
            root: self.meta.root,
            agent: request.agent.clone(),
            device: request.device.hash(),
        };
        Ok(endorse(&device.record.secret, &body))
    }

    /// This vault turned out to be an old copy (§9.2): fresh keys, which have to be enrolled anew. Conversations of the device
    /// before stay readable here.
    pub(super) fn renew_agent_device(&mut self, cx: &mut Cx<'_>, old: DeviceKeyHash) {
        if !matches!(&self.meta.owner, StoredOwner::Agent { device } if *device == old) {
            return;
        }
        let secret = DeviceSecret::generate(cx.rng);
        let hash = secret.hash();
        let mut device = Device::new(secret, None);
        // What was deleted here stays deleted.
        device.record.deleted = self.devices.get(&old).map(|d| d.record.deleted.clone()).unwrap_or_default();
        self.devices.insert(hash, device);
        self.meta.owner = StoredOwner::Agent { device: hash };
        for key in [Key::Meta, Key::Device(hash), Key::Cursor(hash)] {
            self.mark(key);
        }
        cx.problem(None, problem::enrol_anew());
    }
}
