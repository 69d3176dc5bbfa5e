//! `org init`: root key, issuer key, org.json.

use sealdesk_native::private_file::{self, Access};
use sealdesk_native::{clock, random};
use sealdesk_protocol::crypto::certificate::{ISSUER_LIFE, IssuerCertificate};
use sealdesk_protocol::crypto::identity::SigningSecret;
use sealdesk_protocol::org::{OrgFile, Pins, RootVersion, root_hash};

use super::{questions, settings};
use crate::admin::key_file::{AdminKey, KeyKind};
use crate::admin::{AdminDir, org_text};
use crate::args::OrgInit;
use crate::error::Error;
use crate::terminal;

pub(super) fn run(args: &OrgInit) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone());
    for path in [dir.org(), dir.root_key(), dir.issuer_key()] {
        private_file::demand_absent(&path)?;
    }
    let mut rng = random::system()?;
    let now = clock::wall_ms();
    let root = SigningSecret::generate(&mut rng);
    let hash = root_hash(&root.verify_key());
    let mut settings = settings::empty(hash);
    settings::merge(&mut settings, &args.settings)?;
    if args.demo {
        settings::fill_demo(&mut settings)?;
    } else if terminal::is_interactive() {
        questions::fill(&mut settings)?;
    }
    settings::check(&settings, settings::OR_DEMO)?;
    settings.version = 1;
    settings.issued = now;

    let root_passphrase =
        terminal::new_passphrase(args.passphrases.root(), "the root key", "--root-passphrase-file")?;
    let issuer_passphrase =
        terminal::new_passphrase(args.passphrases.issuer(), "the issuer key", "--issuer-passphrase-file")?;
    let issuer = SigningSecret::generate(&mut rng);
    let certificate = IssuerCertificate {
        root: hash,
        root_version: 1,
        key: issuer.verify_key(),
        serial: 1,
        not_before: now,
        not_after: now + ISSUER_LIFE,
    }
    .sign(&root);
    let first = RootVersion { version: 1, key: root.verify_key(), since: now }.sign(&root, None);
    let pins = Pins { version: 1, issued: now, roots: vec![first], log: None }.sign(&root);
    let file = OrgFile::assemble(&hash, &pins, &certificate, &settings.sign(&issuer), None);

    private_file::create_folder(&dir.0)?;
    let root = AdminKey { kind: KeyKind::Root, root: hash, serial: 1, secret: root };
    root.write_new(&dir.root_key(), &root_passphrase, &mut rng)?;
    let issuer = AdminKey { kind: KeyKind::Issuer, root: hash, serial: 1, secret: issuer };
    issuer.write_new(&dir.issuer_key(), &issuer_passphrase, &mut rng)?;
    private_file::create(&dir.org(), &org_text(&file), Access::Public)?;

    terminal::out(&format!(
        "Organisation \"{}\" made in {}.\nRoot hash: {hash}\n\n\
         Copy root.key to a safe place and take it off this machine: only `org renew-issuer` and `org rotate-root` need it.\n\
         Give org.json to the relay and to customers' clients; invite agents with `sealdesk agent invite`.",
        settings.name,
        dir.0.display()
    ))
}
