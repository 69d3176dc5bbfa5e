//! `agent revoke`: devices onto the signed revocation list in org.json.

use sealdesk_native::clock;
use sealdesk_protocol::crypto::certificate::{RevocationList, Revoked, SignedRevocations};
use sealdesk_protocol::org::{OrgError, OrgFile};

use crate::admin::AdminDir;
use crate::args::AgentRevoke;
use crate::error::Error;
use crate::{revocation, terminal};

pub(super) fn run(args: &AgentRevoke) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    let record = dir.record(&args.agent)?;
    let issuer = dir.open_issuer(&args.passphrases)?;
    let mut devices = record.devices(&issuer.org);
    devices.retain(|d| args.device.is_none_or(|number| number == d.body.device_number));
    if devices.is_empty() {
        return Err(Error::usage(
            format!("'{}' has no such device", args.agent),
            "`sealdesk agent list` shows the devices; an invitation without a device simply expires.",
        ));
    }
    let at = |source: OrgError| Error::Org { path: dir.org(), source };
    let before = issuer.file.revocations().map_err(at)?;
    let mut revoked = revocation::entries(before.as_ref());
    let more = devices.iter().map(|d| Revoked::Device(d.body.device.hash())).collect();
    if revocation::add(&mut revoked, more)? == 0 {
        return terminal::out("Revoked already: org.json says so.");
    }
    let number = issuer.org.revocations().number().checked_add(1).ok_or_else(|| at(OrgError::Malformed))?;
    let list = RevocationList { root: issuer.key.root, number, issued: clock::wall_ms(), revoked }
        .sign(&issuer.key.secret);
    let list = SignedRevocations { issuer: issuer.certificate.clone(), list };
    let revocations = crate::admin::record::encode(&list);
    dir.write_org(&OrgFile { revocations: Some(revocations), ..issuer.file })?;
    terminal::out(&format!(
        "{} device(s) of {} revoked, list number {number}.\n\
         It takes effect when the relay and the clients have the new org.json: copy it to the relay now.",
        devices.len(),
        args.agent
    ))
}
