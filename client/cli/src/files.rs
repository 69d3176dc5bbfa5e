//! The files that travel between administrator and agent: invitation, request, endorsement, certificate. JSON with text fields.

use std::path::Path;

use sealdesk_native::private_file::{self, Access};
use sealdesk_protocol::crypto::certificate::{CertificateChain, Endorsement};
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::enrolment::SignedInvitation;
use sealdesk_protocol::ids::Handle;
use sealdesk_protocol::org::OrgFile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admin::MAX_ORG;
use crate::admin::record::{decode, encode};
use crate::error::Error;

/// `*.invitation`: its root hash is what the agent's vault pins for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationFile {
    sealdesk_invitation: u32,
    /// For whom, for people; the signed part decides.
    pub agent: Handle,
    /// Root hash.
    pub root: String,
    invitation: String,
    /// org.json as of the invitation.
    pub org: OrgFile,
}

/// `*.request`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFile {
    sealdesk_request: u32,
    /// Whose, for people; the signed part decides.
    pub agent: Handle,
    request: String,
}

/// `*.endorsement`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsementFile {
    sealdesk_endorsement: u32,
    /// Whose, for people; the signed part decides.
    pub agent: Handle,
    endorsement: String,
}

/// `*.certificate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFile {
    sealdesk_certificate: u32,
    /// Whose, for people; the signed part decides.
    pub agent: Handle,
    chain: String,
    /// org.json as of the approval.
    pub org: OrgFile,
}

impl InvitationFile {
    /// To write.
    pub fn new(agent: Handle, invitation: &SignedInvitation, org: OrgFile) -> Self {
        Self { sealdesk_invitation: 1, agent, root: org.root.clone(), invitation: encode(invitation), org }
    }

    /// Reads a file; the signed part is not verified yet.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn read(path: &Path) -> Result<(Self, SignedInvitation), Error> {
        let file: Self = read(path, "invitation", |f: &Self| f.sealdesk_invitation)?;
        let signed = decode(&file.invitation).ok_or_else(|| malformed(path, "invitation"))?;
        Ok((file, signed))
    }
}

impl RequestFile {
    /// To write.
    pub fn new(agent: Handle, request: &SignedBytes) -> Self {
        Self { sealdesk_request: 1, agent, request: encode(request) }
    }

    /// Reads a file; the signed part is not verified yet.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn read(path: &Path) -> Result<SignedBytes, Error> {
        let file: Self = read(path, "enrolment request", |f: &Self| f.sealdesk_request)?;
        decode(&file.request).ok_or_else(|| malformed(path, "enrolment request"))
    }
}

impl EndorsementFile {
    /// To write.
    pub fn new(agent: Handle, endorsement: &Endorsement) -> Self {
        Self { sealdesk_endorsement: 1, agent, endorsement: encode(endorsement) }
    }

    /// Reads a file; the signature is not verified yet.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn read(path: &Path) -> Result<Endorsement, Error> {
        let file: Self = read(path, "endorsement", |f: &Self| f.sealdesk_endorsement)?;
        decode(&file.endorsement).ok_or_else(|| malformed(path, "endorsement"))
    }
}

impl CertificateFile {
    /// To write.
    pub fn new(agent: Handle, chain: &CertificateChain, org: OrgFile) -> Self {
        Self { sealdesk_certificate: 1, agent, chain: encode(chain), org }
    }

    /// Reads a file; the chain is not verified yet.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn read(path: &Path) -> Result<(Self, CertificateChain), Error> {
        let file: Self = read(path, "certificate", |f: &Self| f.sealdesk_certificate)?;
        let chain = decode(&file.chain).ok_or_else(|| malformed(path, "certificate"))?;
        Ok((file, chain))
    }
}

fn malformed(path: &Path, what: &'static str) -> Error {
    Error::Malformed { path: path.into(), what }
}

fn read<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
    format: impl Fn(&T) -> u32,
) -> Result<T, Error> {
    let bytes = private_file::read(path, MAX_ORG)?;
    let file: T = serde_json::from_slice(&bytes).map_err(|_| malformed(path, what))?;
    if format(&file) == 1 { Ok(file) } else { Err(malformed(path, what)) }
}

/// The text of one of these files.
pub fn text<T: Serialize>(file: &T) -> Vec<u8> {
    // Text fields only: serialising cannot fail.
    let mut text = serde_json::to_vec_pretty(file).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Writes a new file; an existing one is never overwritten.
///
/// # Errors
/// [`Error::File`].
pub fn write_new<T: Serialize>(path: &Path, file: &T) -> Result<(), Error> {
    Ok(private_file::create(path, &text(file), Access::Public)?)
}
