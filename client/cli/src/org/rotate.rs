//! `org rotate-root`: the next version of the root key, signed by the one before and by itself.
//!
//! ```text
//! old root + new root -> pins      new root -> issuer certificate (same key)      issuer -> settings, revocations, devices
//! ```
//! Only the newest root certifies (§3.5), so that everything below it is signed anew. Cut off in between, the command is
//! run again: `root.key` then holds the next version already, and `root-N.key` the one that org.json still names.

use sealdesk_native::private_file::{self, Access};
use sealdesk_native::{clock, random};
use sealdesk_protocol::crypto::certificate::{
    CertificateChain, IssuerCertificate, RevocationList, SignedRevocations, certificate_id,
};
use sealdesk_protocol::crypto::identity::{SignedBytes, SigningSecret};
use sealdesk_protocol::org::{Floor, MAX_ROOTS, OrgError, OrgFile, RootVersion, VerifiedOrg};

use crate::admin::key_file::{AdminKey, KeyKind};
use crate::admin::{AdminDir, LockedDir};
use crate::args::OrgRotateRoot;
use crate::error::Error;
use crate::files::{self, CertificateFile};
use crate::{revocation, terminal};

/// The root key that org.json names, and the one that follows it.
struct Roots {
    old: AdminKey,
    new: AdminKey,
    /// The new key's file; none when it is in its place already.
    text: Option<Vec<u8>>,
}

pub(super) fn run(args: &OrgRotateRoot) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    let at = |source: OrgError| Error::Org { path: dir.org(), source };
    let file = dir.read_org()?;
    let old_certificate = file.issuer().map_err(at)?;
    // The issuer may have ended: org.json is judged at the time of its certificate's beginning.
    let claimed: IssuerCertificate = old_certificate.peek(4096).map_err(|e| at(e.into()))?;
    let org =
        file.verify(&file.claimed_root().map_err(at)?, &Floor::default(), claimed.not_before).map_err(at)?;
    let newest = org.pins().pins().roots.len();
    if newest >= MAX_ROOTS {
        return Err(Error::usage(
            format!("this organisation's root has {newest} versions, the most that clients take"),
            "Make a new organisation with `sealdesk org init`.",
        ));
    }
    let newest = u32::try_from(newest).unwrap_or(u32::MAX);
    let roots = roots(&dir, args, newest)?;
    if roots.old.root != org.root() || org.pins().root_key(newest) != Some(&roots.old.secret.verify_key()) {
        return Err(Error::ForeignKey(dir.root_key()));
    }
    let issuer = AdminKey::open(&dir.issuer_key(), KeyKind::Issuer, || {
        terminal::passphrase(args.passphrases.issuer(), "the issuer key")
    })?;
    if issuer.secret.verify_key() != claimed.key {
        return Err(Error::ForeignKey(dir.issuer_key()));
    }
    let certificate = IssuerCertificate {
        root_version: newest + 1,
        serial: claimed.serial.saturating_add(1),
        ..claimed.clone()
    }
    .sign(&roots.new.secret);
    let rotated = org_file(&org, &file, &roots, newest, &issuer.secret, &certificate).map_err(at)?;
    // What clients will check is checked before anything is written.
    let verified = rotated.verify(&org.root(), &org.floor(), claimed.not_before).map_err(at)?;

    if let Some(text) = &roots.text {
        let kept = dir.old_root_key(newest);
        if !kept.exists() {
            private_file::create(&kept, &private_file::read(&dir.root_key(), 16 * 1024)?, Access::Owner)?;
        }
        private_file::replace(&dir.root_key(), text, Access::Owner)?;
    }
    let handed_out = certify_anew(&dir, &org, &verified, &rotated, &issuer.secret, &certificate)?;
    dir.write_org(&rotated)?;
    terminal::out(&format!(
        "Root key version {}, signed by version {newest} and by itself; the old key is kept as {}.\n\
         Give org.json to the relay and to whoever serves the customer page.{}",
        newest + 1,
        dir.old_root_key(newest).display(),
        if handed_out.is_empty() {
            String::new()
        } else {
            format!(
                "\nEach agent puts org.json into the home, and then the new certificate under the name `certificate`:\n  {}",
                handed_out.join("\n  ")
            )
        }
    ))
}

fn roots(dir: &AdminDir, args: &OrgRotateRoot, newest: u32) -> Result<Roots, Error> {
    let old_pass = || terminal::passphrase(args.passphrases.root(), "the root key");
    let new_file = args.new_root_passphrase_file.as_deref().or(args.passphrases.root());
    if AdminKey::serial_of(&dir.here(dir.root_key())?, KeyKind::Root)? == u64::from(newest) + 1 {
        let old = AdminKey::open(&dir.here(dir.old_root_key(newest))?, KeyKind::Root, old_pass)?;
        let new = AdminKey::open(&dir.root_key(), KeyKind::Root, || {
            terminal::passphrase(new_file, "the new root key")
        })?;
        return Ok(Roots { old, new, text: None });
    }
    let old = AdminKey::open(&dir.root_key(), KeyKind::Root, old_pass)?;
    let passphrase = terminal::new_passphrase(new_file, "the new root key", "--new-root-passphrase-file")?;
    let mut rng = random::system()?;
    let secret = SigningSecret::generate(&mut rng);
    let new = AdminKey { kind: KeyKind::Root, root: old.root, serial: u64::from(newest) + 1, secret };
    let text = Some(new.seal(&passphrase, &mut rng)?);
    Ok(Roots { old, new, text })
}

/// org.json under the new root.
fn org_file(
    org: &VerifiedOrg,
    file: &OrgFile,
    roots: &Roots,
    newest: u32,
    issuer: &SigningSecret,
    certificate: &SignedBytes,
) -> Result<OrgFile, OrgError> {
    let now = clock::wall_ms();
    let mut pins = org.pins().pins().clone();
    pins.version = pins.version.checked_add(1).ok_or(OrgError::Malformed)?;
    pins.issued = now;
    let version = RootVersion { version: newest + 1, key: roots.new.secret.verify_key(), since: now };
    pins.roots.push(version.sign(&roots.new.secret, Some(&roots.old.secret)));
    let mut settings = org.settings().clone();
    // What the certificate of a higher serial signs is newer, whatever its numbers.
    settings.version = settings.version.checked_add(1).unwrap_or(1);
    settings.issued = now;
    // Always a list, empty or not: from then on no list under an earlier certificate is a newer one.
    let number = org.revocations().number().checked_add(1).unwrap_or(1);
    let revoked = revocation::entries(file.revocations()?.as_ref());
    // Signed within the issuer's validity, which may have ended.
    let issued = now.min(org.issuer().not_after.saturating_sub(1));
    let list = RevocationList { root: org.root(), number, issued, revoked }.sign(issuer);
    let revocations = SignedRevocations { issuer: certificate.clone(), list };
    let (pins, settings) = (pins.sign(&roots.new.secret), settings.sign(issuer));
    Ok(OrgFile::assemble(&org.root(), &pins, certificate, &settings, Some(&revocations)))
}

/// Every device of every record under the new chain: what was valid stays valid as long as before, and nothing else.
fn certify_anew(
    dir: &LockedDir,
    before: &VerifiedOrg,
    after: &VerifiedOrg,
    file: &OrgFile,
    issuer: &SigningSecret,
    certificate: &SignedBytes,
) -> Result<Vec<String>, Error> {
    let now = clock::wall_ms();
    let mut serial = dir.next_serial(before)?;
    let mut handed_out = Vec::new();
    for mut record in dir.records()? {
        for device in record.devices(before) {
            let valid = device.chain.verify(before.pins(), before.revocations(), now).is_ok();
            let mut body = device.body;
            body.issuer = certificate_id(certificate);
            body.serial = serial;
            serial += 1;
            body.not_before = body.not_before.max(after.issuer().not_before);
            if !valid {
                // Its number stays taken.
                body.not_after = body.not_before + 1;
            }
            let chain = CertificateChain { issuer: certificate.clone(), device: body.sign(issuer) };
            record.put(after, &chain, &body);
            if valid {
                let path = dir.agents().join(format!("{}-{}.certificate", body.agent, body.device_number));
                let handed = CertificateFile::new(record.agent.clone(), &chain, file.clone());
                private_file::replace(&path, &files::text(&handed), Access::Public)?;
                handed_out.push(path.display().to_string());
            }
        }
        dir.write_record(&record)?;
    }
    Ok(handed_out)
}
