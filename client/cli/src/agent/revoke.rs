//! `agent revoke`: devices onto the signed revocation list in org.json.

use sealdesk_native::clock;
use sealdesk_protocol::crypto::certificate::{CertificateChain, RevocationList, Revoked, SignedRevocations};
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::org::{OrgError, OrgFile};

use crate::admin::record::{AgentRecord, Device, certified};
use crate::admin::{AdminDir, Issuer};
use crate::args::AgentRevoke;
use crate::error::Error;
use crate::files::CertificateFile;
use crate::{revocation, terminal};

pub(super) fn run(args: &AgentRevoke) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    let named = Named::read(&dir, args)?;
    let issuer = dir.open_issuer(&args.passphrases)?;
    let devices = named.devices(&issuer, args)?;
    let at = |source: OrgError| Error::Org { path: dir.org(), source };
    let before = issuer.file.revocations().map_err(at)?;
    let mut revoked = revocation::entries(before.as_ref());
    let more = devices.iter().copied().map(Revoked::Device).collect();
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
        "{} device(s) revoked, list number {number}.\n\
         It takes effect when the relay and the clients have the new org.json: copy it to the relay and to the page's folder now.",
        devices.len(),
    ))
}

/// Which devices are meant. The folder's record of an agent is a convenience: a stolen device can be revoked without it.
enum Named {
    Record(AgentRecord),
    Certificate(CertificateChain),
    Hash(DeviceKeyHash),
}

impl Named {
    fn read(dir: &AdminDir, args: &AgentRevoke) -> Result<Self, Error> {
        match (&args.agent, &args.certificate, args.hash) {
            (Some(agent), _, _) => Ok(Self::Record(dir.record(agent)?)),
            (None, Some(path), _) => Ok(Self::Certificate(CertificateFile::read(path)?.1)),
            (None, None, Some(hash)) => Ok(Self::Hash(hash)),
            (None, None, None) => {
                Err(Error::usage("nobody to revoke", "Give --agent ID, --certificate FILE or --hash HASH."))
            }
        }
    }

    fn devices(&self, issuer: &Issuer, args: &AgentRevoke) -> Result<Vec<DeviceKeyHash>, Error> {
        let (what, hint, found) = match self {
            Self::Record(record) => {
                let meant = |d: &Device| args.device.is_none_or(|number| number == d.body.device_number);
                let all = record.devices(&issuer.org);
                (
                    format!("'{}' has no such device", record.agent),
                    "`sealdesk agent list` shows the devices; an invitation without a device simply expires.",
                    all.iter().filter(|d| meant(d)).map(|d| d.body.device.hash()).collect(),
                )
            }
            Self::Certificate(chain) => (
                "this certificate was not signed by the organisation of this folder".to_owned(),
                "Take the file that `agent approve` wrote with this folder, or name the device by --hash.",
                certified(chain, &issuer.org).map(|body| body.device.hash()).into_iter().collect(),
            ),
            Self::Hash(hash) => (String::new(), "", vec![*hash]),
        };
        let found: Vec<DeviceKeyHash> = found;
        if found.is_empty() { Err(Error::usage(what, hint)) } else { Ok(found) }
    }
}
