//! `org renew-issuer`: a new issuer key, certified by the root key; also after the old certificate ended.

use sealdesk_native::private_file::{self, Access};
use sealdesk_native::{clock, random};
use sealdesk_protocol::crypto::certificate::{
    ISSUER_LIFE, IssuerCertificate, RevocationList, Revoked, SignedRevocations, certificate_id,
};
use sealdesk_protocol::crypto::identity::SigningSecret;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile};

use crate::admin::AdminDir;
use crate::admin::key_file::{AdminKey, KeyKind};
use crate::args::OrgRenewIssuer;
use crate::error::Error;
use crate::{revocation, terminal};

pub(super) fn run(args: &OrgRenewIssuer) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    let file = dir.read_org()?;
    let root = dir.open_root(&args.passphrases)?;
    let at = |source: OrgError| Error::Org { path: dir.org(), source };
    let old_certificate = file.issuer().map_err(at)?;
    // The old issuer may have ended: its settings are judged at the time of its certificate's beginning.
    let claimed: IssuerCertificate = old_certificate.peek(4096).map_err(|e| at(e.into()))?;
    let org = match file.verify(&root.root, &Floor::default(), claimed.not_before) {
        Err(OrgError::WrongRoot) => return Err(Error::ForeignKey(dir.root_key())),
        other => other.map_err(at)?,
    };
    let newest = u32::try_from(org.pins().pins().roots.len()).unwrap_or(u32::MAX);
    if org.pins().root_key(newest) != Some(&root.secret.verify_key()) {
        return Err(Error::ForeignKey(dir.root_key()));
    }

    let mut rng = random::system()?;
    let now = clock::wall_ms();
    let passphrase = terminal::new_passphrase(
        args.passphrases.issuer(),
        "the new issuer key",
        "--issuer-passphrase-file",
    )?;
    let secret = SigningSecret::generate(&mut rng);
    let serial = claimed.serial.saturating_add(1);
    let certificate = IssuerCertificate {
        root: root.root,
        root_version: newest,
        key: secret.verify_key(),
        serial,
        not_before: now,
        not_after: now + ISSUER_LIFE,
    }
    .sign(&root.secret);
    let mut settings = org.settings().clone();
    // What the new issuer signs is newer whatever its numbers are: they begin anew where somebody used them up.
    settings.version = settings.version.checked_add(1).unwrap_or(1);
    settings.issued = now;
    // Always a list of the new issuer, empty or not: from then on no list under the old issuer's key is a newer one.
    let mut revoked = revocation::entries(file.revocations().map_err(at)?.as_ref());
    if args.revoke_old {
        revocation::add(&mut revoked, vec![Revoked::Issuer(certificate_id(&old_certificate))])?;
    }
    let number = org.revocations().number().checked_add(1).unwrap_or(1);
    let list = RevocationList { root: root.root, number, issued: now, revoked }.sign(&secret);
    let revocations = SignedRevocations { issuer: certificate.clone(), list };
    let renewed = OrgFile::assemble(
        &root.root,
        &file.pins().map_err(at)?,
        &certificate,
        &settings.sign(&secret),
        Some(&revocations),
    );
    let key = AdminKey { kind: KeyKind::Issuer, root: root.root, serial, secret };
    let text = key.seal(&passphrase, &mut rng)?;
    // The old key is kept first, then the new one takes its place, then org.json names it. Cut off in between, the key
    // does not fit org.json, every command says so, and this one can be run again.
    if let Ok(old) = private_file::read(&dir.issuer_key(), 16 * 1024) {
        let kept = dir.old_issuer_key(claimed.serial);
        if !kept.exists() {
            private_file::create(&kept, &old, Access::Owner)?;
        }
    }
    private_file::replace(&dir.issuer_key(), &text, Access::Owner)?;
    dir.write_org(&renewed)?;
    terminal::out(&format!(
        "New issuer key, certificate {serial}, good for 90 days; org.json is now version {}.\n\
         Give org.json to the relay and to whoever serves the customer page.{}",
        settings.version,
        if args.revoke_old {
            "\nThe old issuer and all its certificates are revoked: `sealdesk agent approve --renew AGENT` for every agent, now."
        } else {
            "\nBefore the old issuer's certificate ends: `sealdesk agent approve --renew AGENT` for every agent."
        }
    ))
}
