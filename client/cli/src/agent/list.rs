//! `agent list`: who was invited, which devices are certified until when. Needs no passphrase.

use sealdesk_native::clock;
use sealdesk_protocol::crypto::certificate::{AgentRole, CertificateError};
use sealdesk_protocol::org::{Floor, VerifiedOrg};
use serde_json::{Value, json};

use crate::admin::AdminDir;
use crate::admin::record::{AgentRecord, Device};
use crate::args::{AgentList, role_name};
use crate::display::line;
use crate::error::Error;
use crate::{terminal, time};

pub(super) fn run(args: &AgentList) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone());
    let file = dir.read_org()?;
    let at = |source| Error::Org { path: dir.org(), source };
    let root = file.claimed_root().map_err(at)?;
    let now = clock::wall_ms();
    let org = file.verify(&root, &Floor::default(), now).map_err(at)?;
    let records = dir.records()?;
    if records.is_empty() && !args.json {
        return terminal::out("No agent was invited yet: `sealdesk agent invite`.");
    }
    for record in &records {
        if args.json {
            terminal::out(&as_json(record, &org, now).to_string())?;
        } else {
            terminal::out(&as_text(record, &org, now))?;
        }
    }
    Ok(())
}

/// `valid`, `expired` or `revoked`, as clients would judge it now.
fn state(device: &Device, org: &VerifiedOrg, now: u64) -> &'static str {
    // For good, whatever else its certificate lacks by now.
    if org.revocations().revokes_device(&device.body.device.hash()) {
        return "revoked";
    }
    match device.chain.verify(org.pins(), org.revocations(), now) {
        Ok(_) => "valid",
        Err(CertificateError::Expired) => "expired",
        Err(CertificateError::Revoked) => "revoked",
        Err(_) => "refused",
    }
}

/// Whether another device vouches for it that is not revoked.
fn is_endorsed(device: &Device, org: &VerifiedOrg) -> bool {
    let by = device.body.endorsement.as_ref();
    by.is_some_and(|e| !org.revocations().revokes_device(&e.by.hash()))
}

fn names(roles: &[AgentRole]) -> Vec<&'static str> {
    roles.iter().map(role_name).collect()
}

fn as_json(record: &AgentRecord, org: &VerifiedOrg, now: u64) -> Value {
    let invited = record.invited();
    let devices = record.devices(org);
    let device = |d: &Device| {
        json!({
            "number": d.body.device_number,
            "device": d.body.device.hash().to_string(),
            "state": state(d, org, now),
            "not_after": d.body.not_after,
            "serial": d.body.serial,
            "endorsed": is_endorsed(d, org),
        })
    };
    json!({
        "agent": record.agent,
        "name": invited.as_ref().map(|i| i.display_name.clone()),
        "teams": invited.as_ref().map(|i| i.teams.clone()),
        "roles": invited.as_ref().map(|i| names(&i.roles)),
        "invitation_expires": invited.as_ref().map(|i| i.expires),
        "devices": devices.iter().map(device).collect::<Vec<_>>(),
    })
}

fn as_text(record: &AgentRecord, org: &VerifiedOrg, now: u64) -> String {
    let mut out = record.agent.to_string();
    if let Some(invited) = record.invited() {
        let teams: Vec<_> = invited.teams.iter().map(|t| t.as_str()).collect();
        out += &format!(
            "  \"{}\"  teams: {}  roles: {}",
            line(&invited.display_name),
            teams.join(", "),
            names(&invited.roles).join(", ")
        );
        if record.devices(org).is_empty() {
            let word = if now < invited.expires { "invited until" } else { "invitation expired" };
            out += &format!("\n  {word} {}", time::date(invited.expires));
        }
    }
    for device in record.devices(org) {
        let hash = device.body.device.hash().to_string();
        let state = state(&device, org, now);
        let until = if state == "revoked" {
            String::new()
        } else {
            format!("  until {}", time::date(device.body.not_after))
        };
        out += &format!(
            "\n  device {}  {}  {state}{until}{}",
            device.body.device_number,
            &hash[..16],
            if is_endorsed(&device, org) { "  endorsed" } else { "" }
        );
    }
    out
}
