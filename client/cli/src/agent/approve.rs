//! `agent approve`: compare the code, sign the device's certificate; or sign anew for a device that was approved before.

use std::path::Path;

use sealdesk_native::clock;
use sealdesk_native::private_file::{self, Access, FileError};
use sealdesk_protocol::crypto::certificate::{
    CertificateChain, DAY, DeviceCertificate, Endorsement, EndorsementBody, certificate_id,
};
use sealdesk_protocol::enrolment::{EnrolmentError, EnrolmentRequest, same_code};
use sealdesk_protocol::ids::Handle;

use crate::admin::record::{AgentRecord, Device};
use crate::admin::{AdminDir, Issuer};
use crate::args::AgentApprove;
use crate::display::line;
use crate::error::Error;
use crate::files::{self, CertificateFile, EndorsementFile, RequestFile};
use crate::{terminal, time};

pub(super) fn run(args: &AgentApprove) -> Result<(), Error> {
    // What can be refused without a passphrase is refused before asking for one.
    check_replaceable(&args.out)?;
    let request = match &args.request {
        Some(path) => Some(EnrolmentRequest::verify(&RequestFile::read(path)?)?),
        None => None,
    };
    let dir = AdminDir(args.dir.clone()).lock()?;
    let issuer = dir.open_issuer(&args.passphrases)?;
    let now = clock::wall_ms();
    let (mut record, mut body) = match (&request, &args.renew) {
        (Some(request), _) => from_request(&dir, &issuer, request, args, now)?,
        (None, Some(agent)) => from_record(&dir, &issuer, agent, args.device)?,
        (None, None) => {
            return Err(Error::usage("nothing to approve", "Give --request FILE or --renew AGENT."));
        }
    };
    body.issuer = certificate_id(&issuer.certificate);
    body.serial = dir.next_serial(&issuer.org)?;
    body.not_before = now;
    body.not_after = now + args.days * DAY;
    let chain =
        CertificateChain { issuer: issuer.certificate.clone(), device: body.sign(&issuer.key.secret) };
    if issuer.org.revocations().revokes_device(&body.device.hash()) {
        return Err(Error::DeviceRevoked(format!("device {} of '{}'", body.device_number, body.agent)));
    }
    // What clients will check is checked here first: a name that is not allowed.
    let verified = chain.verify(issuer.org.pins(), issuer.org.revocations(), now)?;
    record.put(&issuer.org, &chain, &body);
    dir.write_record(&record)?;
    let file = CertificateFile::new(record.agent.clone(), &chain, issuer.file);
    private_file::replace(&args.out, &files::text(&file), Access::Public)?;
    terminal::out(&format!(
        "Certificate for {} ({}), device {}, good until {}, written to {}.\n\
         The agent puts it into the home under the name `certificate`, or runs `sealdesk agent install --home HOME --certificate FILE`.",
        line(&body.display_name),
        body.agent,
        body.device_number,
        time::full(verified.valid_until()),
        args.out.display(),
    ))
}

/// An older certificate may be replaced; a key, or whatever else `--out` names by mistake, may not.
fn check_replaceable(out: &Path) -> Result<(), Error> {
    match CertificateFile::read(out) {
        Ok(_) | Err(Error::File(FileError::Missing(_))) => Ok(()),
        Err(_) => Ok(private_file::demand_absent(out)?),
    }
}

fn from_request(
    dir: &AdminDir,
    issuer: &Issuer,
    request: &EnrolmentRequest,
    args: &AgentApprove,
    now: u64,
) -> Result<(AgentRecord, DeviceCertificate), Error> {
    let record = dir.record(&request.agent)?;
    let signed = record.invitation().ok_or(EnrolmentError::Foreign)?;
    let invitation = signed.verify(issuer.org.pins(), issuer.org.revocations(), now)?;
    if request.root != issuer.key.root || request.agent != invitation.agent {
        return Err(EnrolmentError::Foreign.into());
    }
    // The record keeps the newest invitation only.
    if request.invitation != signed.hash() {
        return Err(Error::NewerInvitation(request.agent.clone()));
    }
    let ask = "Ask the agent in person or by telephone for the code on the new device's screen.";
    compare(request, &Compared { code: args.code.as_deref(), unchecked: args.unchecked, ask })?;
    let devices = record.devices(&issuer.org);
    let known = devices.iter().find(|d| d.body.device == request.device);
    let endorsement = match &args.endorsement {
        Some(path) => Some(endorsement(path, issuer, &record, request)?),
        None => known.and_then(|d| d.body.endorsement.clone()),
    };
    let known = known.map(|d| d.body.device_number);
    let highest = devices.iter().map(|d| d.body.device_number).max().unwrap_or(0);
    let body = DeviceCertificate {
        root: issuer.key.root,
        issuer: certificate_id(&issuer.certificate),
        agent: invitation.agent,
        display_name: invitation.display_name,
        roles: invitation.roles,
        teams: invitation.teams,
        device: request.device,
        device_number: known.unwrap_or(highest + 1),
        serial: 0,
        not_before: 0,
        not_after: 0,
        endorsement,
    };
    Ok((record, body))
}

fn from_record(
    dir: &AdminDir,
    issuer: &Issuer,
    agent: &Handle,
    number: Option<u32>,
) -> Result<(AgentRecord, DeviceCertificate), Error> {
    let record = dir.record(agent)?;
    let revoked = |d: &Device| issuer.org.revocations().revokes_device(&d.body.device.hash());
    let devices = record.devices(&issuer.org);
    // The newest that is still good; when none is, the refusal names the newest.
    let newest = devices.iter().rfind(|d| !revoked(d)).or(devices.last());
    let found = match number {
        Some(number) => devices.iter().find(|d| d.body.device_number == number),
        None => newest,
    };
    let found = found.ok_or_else(|| {
        Error::usage(
            match number {
                Some(number) => format!("'{agent}' has no approved device {number}"),
                None => format!("'{agent}' has no approved device yet"),
            },
            "`sealdesk agent list` shows the devices; approve a request first: --request FILE.",
        )
    })?;
    let body = found.body.clone();
    Ok((record, body))
}

/// The word of another device of the agent that is certified, and not revoked.
fn endorsement(
    path: &Path,
    issuer: &Issuer,
    record: &AgentRecord,
    request: &EnrolmentRequest,
) -> Result<Endorsement, Error> {
    let endorsement = EndorsementFile::read(path)?;
    let devices = record.devices(&issuer.org);
    let by = devices.iter().find(|d| d.body.device == endorsement.by && d.body.device != request.device);
    let good = by.is_some_and(|d| !issuer.org.revocations().revokes_device(&d.body.device.hash()));
    if !good {
        return Err(Error::usage(
            "the endorsement is of no device of this agent that may vouch",
            "`sealdesk agent list` shows the agent's devices; endorse on one of them, or leave --endorsement out.",
        ));
    }
    let body = EndorsementBody {
        root: issuer.key.root,
        agent: request.agent.clone(),
        device: request.device.hash(),
    };
    endorsement.verify(&body).map_err(|_| Error::Endorsement(path.into()))?;
    Ok(endorsement)
}

/// How a comparison code is got.
pub(super) struct Compared<'a> {
    pub(super) code: Option<&'a str>,
    pub(super) unchecked: bool,
    /// What a person is told before typing it.
    pub(super) ask: &'a str,
}

pub(super) fn compare(request: &EnrolmentRequest, how: &Compared<'_>) -> Result<(), Error> {
    if how.unchecked {
        return Ok(());
    }
    let typed = match how.code {
        Some(code) => code.to_owned(),
        None if terminal::is_interactive() => {
            eprintln!("{}", how.ask);
            terminal::ask("Code", None)?
        }
        None => {
            return Err(Error::usage(
                "the comparison code is missing",
                "Give --code CODE as the new device shows it; --unchecked only when both sides are one machine.",
            ));
        }
    };
    if same_code(&typed, &request.code()) { Ok(()) } else { Err(Error::CodeMismatch) }
}
