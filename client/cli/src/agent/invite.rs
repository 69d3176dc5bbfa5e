//! `agent invite`: who, in which teams, with which roles; signed by the issuer.

use rand_core::Rng;
use sealdesk_native::private_file;
use sealdesk_native::{clock, random};
use sealdesk_protocol::crypto::certificate::{AgentRole, CertificateError, DAY};
use sealdesk_protocol::enrolment::{Invitation, SignedInvitation};
use sealdesk_protocol::org::VerifiedOrg;

use crate::admin::AdminDir;
use crate::admin::record::{AgentRecord, Device};
use crate::args::AgentInvite;
use crate::display::line;
use crate::error::Error;
use crate::files::{self, InvitationFile};
use crate::{terminal, time};

pub(super) fn run(args: &AgentInvite) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    private_file::demand_absent(&args.out)?;
    let issuer = dir.open_issuer(&args.passphrases)?;
    let known = &issuer.org.settings().teams;
    let mut teams = args.team.clone();
    teams.sort();
    teams.dedup();
    if let Some(team) = teams.iter().find(|id| !known.iter().any(|t| t.id == **id)) {
        let ids: Vec<_> = known.iter().map(|t| t.id.as_str()).collect();
        return Err(Error::usage(
            format!("org.json knows no team '{team}'"),
            format!("Its teams are: {}. `sealdesk org set --team ID=NAME` adds one.", ids.join(", ")),
        ));
    }
    let mut roles: Vec<AgentRole> = args.role.iter().map(|r| (*r).into()).collect();
    roles.sort();
    roles.dedup();
    let now = clock::wall_ms();
    let mut nonce = [0; 16];
    random::system()?.fill_bytes(&mut nonce);
    let body = Invitation {
        root: issuer.key.root,
        agent: args.agent.clone(),
        display_name: args.name.clone(),
        roles,
        teams,
        issued: now,
        expires: now + args.days * DAY,
        nonce,
    };
    let signed =
        SignedInvitation { issuer: issuer.certificate.clone(), invitation: body.sign(&issuer.key.secret) };
    let known = dir.find_record(&args.agent)?;
    let standing = known.as_ref().map(|record| standing(record, &issuer.org, &body)).unwrap_or_default();
    let record = match known {
        Some(mut record) => {
            record.invite(&signed);
            record
        }
        None => AgentRecord::new(args.agent.clone(), &signed),
    };
    files::write_new(&args.out, &InvitationFile::new(args.agent.clone(), &signed, issuer.file))?;
    dir.write_record(&record)?;
    terminal::out(&format!(
        "Invitation for {} written to {}, good until {}.\nHand it over by a channel that you trust: it says which organisation {} will believe.{standing}",
        args.agent,
        args.out.display(),
        time::full(body.expires),
        args.agent,
    ))
}

/// What this folder holds of the agent already, and what becomes of it: nobody takes another's id, or makes an invitation
/// void, without being told.
fn standing(record: &AgentRecord, org: &VerifiedOrg, new: &Invitation) -> String {
    let mut out = String::new();
    if let Some(before) = record.invited().filter(|before| new.issued < before.expires) {
        out += &format!(
            "\n  The invitation as \"{}\", good until {}, is void: a request that was made with it is refused.",
            line(&before.display_name),
            time::date(before.expires),
        );
    }
    for Device { chain, body } in record.devices(org) {
        let state = match chain.verify(org.pins(), org.revocations(), new.issued) {
            Ok(_) => "is",
            Err(CertificateError::Revoked) => "was (revoked)",
            Err(_) => "was",
        };
        out += &format!(
            "\n  Device {} {state} certified as \"{}\" until {}; this invitation changes nothing of it.",
            body.device_number,
            line(&body.display_name),
            time::date(body.not_after),
        );
        if body.display_name != new.display_name {
            out += &format!(" A device that is approved by it is shown as \"{}\".", line(&new.display_name));
        }
    }
    if out.is_empty() { out } else { format!("\n\n{} is known in this folder:{out}", record.agent) }
}
