//! `agent invite`: who, in which teams, with which roles; signed by the issuer.

use rand_core::Rng;
use sealdesk_native::private_file::FileError;
use sealdesk_native::{clock, random};
use sealdesk_protocol::crypto::certificate::{AgentRole, DAY};
use sealdesk_protocol::enrolment::{Invitation, SignedInvitation};

use crate::admin::AdminDir;
use crate::admin::record::AgentRecord;
use crate::args::AgentInvite;
use crate::error::Error;
use crate::files::{self, InvitationFile};
use crate::{terminal, time};

pub(super) fn run(args: &AgentInvite) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    if args.out.exists() {
        return Err(FileError::Exists(args.out.clone()).into());
    }
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
    let record = match dir.find_record(&args.agent)? {
        Some(mut record) => {
            record.invite(&signed);
            record
        }
        None => AgentRecord::new(args.agent.clone(), &signed),
    };
    files::write_new(&args.out, &InvitationFile::new(args.agent.clone(), &signed, issuer.file))?;
    dir.write_record(&record)?;
    terminal::out(&format!(
        "Invitation for {} written to {}, good until {}.\nHand it over by a channel that you trust: it says which organisation {} will believe.",
        args.agent,
        args.out.display(),
        time::full(body.expires),
        args.agent,
    ))
}
