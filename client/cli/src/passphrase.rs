//! `passphrase`: what opens a vault or an administrator's key is wrapped under a new passphrase, in one step.

use std::path::Path;

use sealdesk_native::passphrase::Passphrase;
use sealdesk_native::private_file::{self, Access};
use sealdesk_native::random;
use sealdesk_native::vault::{self, KeyKept};

use crate::admin::key_file::AdminKey;
use crate::args::PassphraseArgs;
use crate::error::Error;
use crate::terminal;

/// `sealdesk passphrase`.
///
/// # Errors
/// [`Error`]; the old passphrase opens as before then.
pub fn run(args: &PassphraseArgs) -> Result<(), Error> {
    match (&args.home, &args.key) {
        (Some(home), _) => of_vault(home, args),
        (None, Some(key)) => of_key(key, args),
        (None, None) => Err(Error::usage("nothing to change", "Give --home DIR or --key FILE.")),
    }?;
    terminal::out(
        "Changed. Copies and backups that were made before still open with the old passphrase: destroy them if it is known.",
    )
}

fn of_vault(home: &Path, args: &PassphraseArgs) -> Result<(), Error> {
    let what = format!("the vault in {}", home.display());
    let old = match (vault::key_kept(home)?, args.passphrase_file.as_deref()) {
        (KeyKept::KeyFile, None) => None,
        (_, file) => Some(terminal::passphrase(file, &what)?),
    };
    let new = || new_passphrase(args, &what);
    vault::change_passphrase(home, old.as_ref(), new, &mut random::system()?)
}

fn new_passphrase(args: &PassphraseArgs, what: &str) -> Result<Passphrase, Error> {
    terminal::new_passphrase(args.new_passphrase_file.as_deref(), what, "--new-passphrase-file")
}

fn of_key(path: &Path, args: &PassphraseArgs) -> Result<(), Error> {
    let what = path.display().to_string();
    let kind = AdminKey::kind_of(path)?;
    let key = AdminKey::open(path, kind, || terminal::passphrase(args.passphrase_file.as_deref(), &what))?;
    let new = new_passphrase(args, &what)?;
    let text = key.seal(&new, &mut random::system()?)?;
    Ok(private_file::replace(path, &text, Access::Owner)?)
}
