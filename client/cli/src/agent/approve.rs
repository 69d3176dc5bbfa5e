//! `agent approve`: compare the code, sign the device's certificate; or sign anew for a device that was approved before.

use sealdesk_native::clock;
use sealdesk_native::private_file::{self, Access};
use sealdesk_protocol::crypto::certificate::{CertificateChain, DAY, DeviceCertificate, certificate_id};
use sealdesk_protocol::enrolment::{EnrolmentError, EnrolmentRequest, same_code};
use sealdesk_protocol::ids::Handle;

use crate::admin::record::AgentRecord;
use crate::admin::{AdminDir, Issuer};
use crate::args::AgentApprove;
use crate::display::line;
use crate::error::Error;
use crate::files::{self, CertificateFile, RequestFile};
use crate::{terminal, time};

pub(super) fn run(args: &AgentApprove) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone());
    // What can be refused without a passphrase is refused before asking for one.
    let request = match &args.request {
        Some(path) => Some(EnrolmentRequest::verify(&RequestFile::read(path)?)?),
        None => None,
    };
    let issuer = dir.open_issuer(&args.passphrases)?;
    let now = clock::wall_ms();
    let (mut record, mut body) = match (&request, &args.renew) {
        (Some(request), _) => from_request(&dir, &issuer, request, args, now)?,
        (None, Some(agent)) => from_record(&dir, &issuer, agent)?,
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
    // What clients will check is checked here first: a revoked device, a name that is not allowed.
    let verified = chain.verify(issuer.org.pins(), issuer.org.revocations(), now)?;
    record.put(&issuer.org, &chain, &body);
    dir.write_record(&record)?;
    let file = CertificateFile::new(record.agent.clone(), &chain, issuer.file);
    private_file::replace(&args.out, &files::text(&file), Access::Public)?;
    terminal::out(&format!(
        "Certificate for {} ({}), device {}, good until {}, written to {}.\n\
         The agent installs it with `sealdesk agent install --certificate FILE`, or puts it into the home as `certificate`.",
        line(&body.display_name),
        body.agent,
        body.device_number,
        time::full(verified.valid_until()),
        args.out.display(),
    ))
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
    let invitation = signed.verify(issuer.org.pins(), now)?;
    let belongs = request.root == issuer.key.root
        && request.agent == invitation.agent
        && request.invitation == signed.hash();
    if !belongs {
        return Err(EnrolmentError::Foreign.into());
    }
    compare(request, args)?;
    let devices = record.devices(&issuer.org);
    let known = devices.iter().find(|d| d.body.device == request.device).map(|d| d.body.device_number);
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
        endorsement: None,
    };
    Ok((record, body))
}

fn from_record(
    dir: &AdminDir,
    issuer: &Issuer,
    agent: &Handle,
) -> Result<(AgentRecord, DeviceCertificate), Error> {
    let record = dir.record(agent)?;
    let newest = record.devices(&issuer.org).into_iter().next_back().ok_or_else(|| {
        Error::usage(
            format!("'{agent}' has no approved device yet"),
            "Approve a request first: --request FILE.",
        )
    })?;
    Ok((record, newest.body))
}

fn compare(request: &EnrolmentRequest, args: &AgentApprove) -> Result<(), Error> {
    if args.unchecked {
        return Ok(());
    }
    let typed = match &args.code {
        Some(code) => code.clone(),
        None if terminal::is_interactive() => {
            eprintln!("Ask {} in person or by telephone for the code on the agent's screen.", request.agent);
            terminal::ask("Code", None)?
        }
        None => {
            return Err(Error::usage(
                "the comparison code is missing",
                "Give --code CODE as the agent reads it out; --unchecked only when both sides are one machine.",
            ));
        }
    };
    if same_code(&typed, &request.code()) { Ok(()) } else { Err(Error::CodeMismatch) }
}
