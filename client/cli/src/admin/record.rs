//! What the administrator's folder keeps of each agent. Public, and not trusted: names, teams and keys are taken from the
//! signed invitation and certificates inside it.

use std::path::PathBuf;

use base64ct::{Base64, Encoding};
use sealdesk_native::private_file::{self, Access};
use sealdesk_protocol::crypto::certificate::{CertificateChain, DeviceCertificate, verify_issuer};
use sealdesk_protocol::enrolment::{Invitation, SignedInvitation};
use sealdesk_protocol::ids::Handle;
use sealdesk_protocol::org::VerifiedOrg;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AdminDir, LockedDir};
use crate::error::Error;

const FORMAT: u32 = 1;
const MAX_FILE: u64 = 1024 * 1024;

/// `agents/ID.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    sealdesk_agent: u32,
    /// Id.
    pub agent: Handle,
    /// Base64 of the newest [`SignedInvitation`].
    invitation: String,
    /// Base64 of the newest [`CertificateChain`] of each device, in the order of device numbers.
    devices: Vec<String>,
}

/// Base64 of postcard.
pub fn encode<T: Serialize>(value: &T) -> String {
    // Encoding into memory does not fail for types of known length.
    Base64::encode_string(&postcard::to_allocvec(value).unwrap_or_default())
}

/// Reads [`encode`]; nothing may be left over.
pub fn decode<T: DeserializeOwned>(text: &str) -> Option<T> {
    let bytes = Base64::decode_vec(text).ok()?;
    match postcard::take_from_bytes(&bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// What a chain certifies, when it carries valid signatures of this organisation. Judged at the time of its making: an
/// expired certificate still says who was certified.
pub fn certified(chain: &CertificateChain, org: &VerifiedOrg) -> Option<DeviceCertificate> {
    let claimed: DeviceCertificate = chain.device.peek(4096).ok()?;
    let issuer = verify_issuer(&chain.issuer, org.pins(), claimed.not_before).ok()?;
    let label = sealdesk_protocol::crypto::labels::AGENT_DEVICE;
    let body: DeviceCertificate = chain.device.verify(label, &issuer.key, 4096).ok()?;
    (body.root == org.root()).then_some(body)
}

/// A device of a record.
#[derive(Clone, Debug)]
pub struct Device {
    /// The stored chain.
    pub chain: CertificateChain,
    /// The certificate's body; its signature was verified.
    pub body: DeviceCertificate,
}

impl AgentRecord {
    /// Of a first invitation.
    pub fn new(agent: Handle, invitation: &SignedInvitation) -> Self {
        Self { sealdesk_agent: FORMAT, agent, invitation: encode(invitation), devices: Vec::new() }
    }

    /// A further invitation replaces the one before.
    pub fn invite(&mut self, invitation: &SignedInvitation) {
        self.invitation = encode(invitation);
    }

    /// The newest invitation, not verified.
    pub fn invitation(&self) -> Option<SignedInvitation> {
        decode(&self.invitation)
    }

    /// The newest invitation's content, for display only.
    pub fn invited(&self) -> Option<Invitation> {
        self.invitation()?.invitation.peek(4096).ok()
    }

    /// The devices whose certificates carry a valid signature of this organisation, whether expired or not.
    pub fn devices(&self, org: &VerifiedOrg) -> Vec<Device> {
        let device = |text: &String| {
            let chain: CertificateChain = decode(text)?;
            let body = certified(&chain, org)?;
            (body.agent == self.agent).then_some(Device { chain, body })
        };
        self.devices.iter().filter_map(device).collect()
    }

    /// Stores a device's new certificate.
    pub fn put(&mut self, org: &VerifiedOrg, chain: &CertificateChain, body: &DeviceCertificate) {
        let mut kept: Vec<_> = self.devices(org);
        kept.retain(|d| d.body.device != body.device);
        kept.push(Device { chain: chain.clone(), body: body.clone() });
        kept.sort_by_key(|d| d.body.device_number);
        self.devices = kept.iter().map(|d| encode(&d.chain)).collect();
    }
}

impl AdminDir {
    fn record_path(&self, agent: &Handle) -> PathBuf {
        self.agents().join(format!("{agent}.json"))
    }

    /// An agent's record.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub fn record(&self, agent: &Handle) -> Result<AgentRecord, Error> {
        self.find_record(agent)?.ok_or_else(|| {
            Error::usage(format!("no agent '{agent}' was invited"), "`sealdesk agent list` shows who was.")
        })
    }

    /// An agent's record, if there is one.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn find_record(&self, agent: &Handle) -> Result<Option<AgentRecord>, Error> {
        let path = self.record_path(agent);
        let bytes = match private_file::read(&path, MAX_FILE) {
            Err(private_file::FileError::Missing(_)) => return Ok(None),
            other => other?,
        };
        let malformed = || Error::Malformed { path: path.clone(), what: "agent's record" };
        let record: AgentRecord = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        if record.sealdesk_agent == FORMAT && record.agent == *agent {
            Ok(Some(record))
        } else {
            Err(malformed())
        }
    }

    /// All records, by agent id.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn records(&self) -> Result<Vec<AgentRecord>, Error> {
        let folder = self.agents();
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(private_file::FileError::at(&folder))?,
        };
        let mut ids: Vec<Handle> = Vec::new();
        for entry in entries {
            let name = entry.map_err(private_file::FileError::at(&folder))?.file_name();
            ids.extend(name.to_string_lossy().strip_suffix(".json").and_then(|id| id.parse().ok()));
        }
        ids.sort();
        let records = ids.iter().map(|id| self.find_record(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(records.into_iter().flatten().collect())
    }

    /// One above the highest serial of this organisation's device certificates.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn next_serial(&self, org: &VerifiedOrg) -> Result<u64, Error> {
        let records = self.records()?;
        let serials = records.iter().flat_map(|r| r.devices(org)).map(|d| d.body.serial);
        Ok(serials.max().unwrap_or(0) + 1)
    }
}

impl LockedDir {
    /// Writes a record.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_record(&self, record: &AgentRecord) -> Result<(), Error> {
        private_file::create_folder(&self.agents())?;
        let mut text = serde_json::to_vec_pretty(record).unwrap_or_default();
        text.push(b'\n');
        Ok(private_file::replace(&self.record_path(&record.agent), &text, Access::Public)?)
    }
}
