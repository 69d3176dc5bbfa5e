//! `agent install`: a certificate into the vault; and its pick-up at the start of a chat.

use std::path::Path;

use sealdesk_client::{Command, Event, Owner};
use sealdesk_native::{Desk, clock};
use sealdesk_protocol::crypto::certificate::{
    CertificateChain, CertificateError, DeviceCertificate, VerifiedCertificate,
};
use sealdesk_protocol::crypto::identity::DevicePublic;
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::org::{Floor, VerifiedOrg};

use crate::admin::read_org;
use crate::args::AgentInstall;
use crate::display::line;
use crate::error::{Error, Exit};
use crate::files::CertificateFile;
use crate::home::{self, When};
use crate::{terminal, time};

pub(super) fn run(args: &AgentInstall) -> Result<(), Error> {
    let (file, chain) = CertificateFile::read(&args.certificate)?;
    let folder = home::path(&args.home, Owner::Agent)?;
    let open = home::open(&folder, args.home.passphrase_file.as_deref())?;
    let org = newest_org(&folder, &open.root, &file, &args.certificate)?;
    let mut desk = home::desk(open, org, Owner::Agent)?;
    install(&mut desk, chain, &args.certificate)?;
    let Some(certificate) = desk.engine().certificate() else {
        return terminal::out(
            "Certificate installed; it is not valid at this time, check this machine's clock.",
        );
    };
    terminal::out(&format!(
        "Certificate of {} ({}) installed, good until {}. Answer customers with: sealdesk agent chat --home {}",
        line(certificate.display_name()),
        certificate.agent(),
        time::full(certificate.valid_until()),
        folder.display()
    ))
}

/// The newer one of the home's org.json and the certificate's; kept in the home.
fn newest_org(
    home: &Path,
    root: &RootHash,
    file: &CertificateFile,
    path: &Path,
) -> Result<VerifiedOrg, Error> {
    let own = home::org_path(home);
    let floor = match read_org(&own) {
        Ok(known) => home::verify(&known, root, &Floor::default(), When::AtIssue, &own)?.floor(),
        Err(_) => Floor::default(),
    };
    match home::verify(&file.org, root, &floor, When::Now, path) {
        Ok(org) => {
            home::keep(home, &file.org)?;
            Ok(org)
        }
        // The home has seen a newer one since the approval: that one decides.
        Err(Error::Org { source: sealdesk_protocol::org::OrgError::Rollback, .. }) => {
            home::org(home, root, None, When::Now)
        }
        Err(error) => Err(error),
    }
}

fn install(desk: &mut Desk, chain: CertificateChain, path: &Path) -> Result<(), Error> {
    // Said here, with the reason, before the engine is asked.
    verify(&chain, desk.engine().org(), desk.engine().agent_public().as_ref(), path)?;
    match desk.command(Command::InstallCertificate { chain })? {
        Some(Event::Failed { problem, .. }) => Err(Error::Problem(problem, Exit::Untrusted)),
        _ => Ok(()),
    }
}

/// Verifies the certificate in a file for the device of a home. Whose it is comes first: another device's certificate is of no
/// use here, whether it counts or not.
///
/// # Errors
/// [`Error::Usage`] for another device, [`Error::DeviceRevoked`], [`Error::CertificateFile`].
pub(crate) fn verify(
    chain: &CertificateChain,
    org: &VerifiedOrg,
    device: Option<&DevicePublic>,
    path: &Path,
) -> Result<VerifiedCertificate, Error> {
    let at = |source| Error::CertificateFile { path: path.into(), source };
    let claimed: DeviceCertificate = chain.device.peek(4096).map_err(|e| at(e.into()))?;
    if Some(&claimed.device) != device {
        return Err(Error::usage(
            format!("{} is the certificate of another device than this home's", path.display()),
            "Install it on the machine that made the enrolment request.",
        ));
    }
    chain.verify(org.pins(), org.revocations(), clock::wall_ms()).map_err(|source| match source {
        CertificateError::Revoked if org.revocations().revokes_device(&claimed.device.hash()) => {
            Error::DeviceRevoked("this device".into())
        }
        source => at(source),
    })
}

/// By what certificates of a device follow each other: serial, and beginning.
pub(crate) type Made = (u64, u64);

pub(crate) fn made(certificate: &VerifiedCertificate) -> Made {
    let body = certificate.certificate();
    (body.serial, body.not_before)
}

/// The later one counts, not the longer one: it may have other teams, or a nearer end.
pub(crate) fn is_later(new: Made, known: Option<Made>) -> bool {
    known.is_none_or(|known| new != known && (new.0 >= known.0 || new.1 > known.1))
}

/// Installs the file `certificate` of a home when it is newer than what the vault has. A file that does not verify is
/// said and left alone: the chat may still run under the certificate before.
///
/// # Errors
/// Only the vault's.
pub(crate) fn pick_up(desk: &mut Desk) -> Result<(), Error> {
    let path = desk.home().join("certificate");
    if !path.exists() {
        return Ok(());
    }
    let installed = CertificateFile::read(&path).and_then(|(_, chain)| {
        let verified = verify(&chain, desk.engine().org(), desk.engine().agent_public().as_ref(), &path)?;
        let known = desk.engine().certificate().map(made);
        if is_later(made(&verified), known) {
            return install(desk, chain, &path);
        }
        if known != Some(made(&verified)) {
            eprintln!("warning: {} is not installed: this home has a later certificate", path.display());
        }
        Ok(())
    });
    match installed {
        Err(error @ Error::Vault(_)) => Err(error),
        Err(error) => {
            let said = match error {
                Error::CertificateFile { source, .. } => {
                    format!("{} is not installed: {source}", path.display())
                }
                error => format!("{} is not installed: {error}", path.display()),
            };
            eprintln!("warning: {}", line(&said));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_certificate_is_the_one_of_the_higher_serial_or_the_later_beginning() {
        assert!(is_later((3, 10), None));
        assert!(!is_later((3, 10), Some((3, 10))), "the same one");
        assert!(!is_later((2, 10), Some((3, 10))) && !is_later((2, 9), Some((3, 10))));
        assert!(is_later((4, 10), Some((3, 10))) && is_later((4, 5), Some((3, 10))));
        assert!(is_later((1, 11), Some((3, 10))), "under an issuer that counts anew");
    }
}
