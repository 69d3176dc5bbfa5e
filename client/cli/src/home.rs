//! A home: the folder with a vault, its org.json and, for agents, a certificate to pick up.

use std::path::{Path, PathBuf};

use sealdesk_client::{Owner, VaultKey};
use sealdesk_native::private_file::{self, Access};
use sealdesk_native::vault::{self, KeyKept, Vault, VaultError};
use sealdesk_native::{Desk, DeskError, clock};
use sealdesk_protocol::crypto::certificate::IssuerCertificate;
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile, VerifiedOrg};

use crate::admin::{org_text, read_org};
use crate::args::HomeArgs;
use crate::error::{Error, Exit};
use crate::terminal;

/// An open vault and the organisation that it is bound to.
#[derive(Debug)]
pub struct OpenVault {
    /// The file.
    pub vault: Vault,
    /// Its key.
    pub key: VaultKey,
    /// The organisation.
    pub root: RootHash,
}

/// The folder that the flags mean.
///
/// # Errors
/// [`Error::Usage`] when there is neither flag nor a user's home.
pub fn path(args: &HomeArgs, owner: Owner) -> Result<PathBuf, Error> {
    if let Some(home) = &args.home {
        return Ok(home.clone());
    }
    let user = std::env::home_dir().filter(|p| !p.as_os_str().is_empty());
    let user = user.ok_or_else(|| Error::usage("this user has no home folder", "Give --home DIR."))?;
    Ok(user.join(".sealdesk").join(match owner {
        Owner::Customer => "customer",
        Owner::Agent => "agent",
    }))
}

/// Opens the vault of a home, asking for its passphrase when it has one.
///
/// # Errors
/// [`Error::Vault`], passphrases.
pub fn open(home: &Path, passphrase_file: Option<&Path>) -> Result<OpenVault, Error> {
    let kept = vault::key_kept(home)?;
    let passphrase = match (kept, passphrase_file) {
        (KeyKept::KeyFile, None) => None,
        (_, file) => Some(terminal::passphrase(file, &format!("the vault in {}", home.display()))?),
    };
    let (vault, key, root) = match vault::open(home, passphrase.as_ref()) {
        // A passphrase was set a moment before a crash, and the key's file is still there.
        Err(VaultError::PassphraseNeeded) => vault::open(
            home,
            Some(&terminal::passphrase(None, &format!("the vault in {}", home.display()))?),
        )?,
        opened => opened?,
    };
    Ok(OpenVault { vault, key, root })
}

/// Where a home keeps the newest org.json that it accepted.
pub fn org_path(home: &Path) -> PathBuf {
    home.join("org.json")
}

/// When org.json has to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now: for everything that trusts somebody.
    Now,
    /// When it was issued: for reading one's own vault, which does not end with a certificate.
    AtIssue,
}

/// Verifies an org.json under a root hash.
///
/// # Errors
/// [`Error::Org`].
pub fn verify(
    file: &OrgFile,
    root: &RootHash,
    floor: &Floor,
    when: When,
    path: &Path,
) -> Result<VerifiedOrg, Error> {
    let at = |source: OrgError| Error::Org { path: path.into(), source };
    let now = match when {
        When::Now => clock::wall_ms(),
        When::AtIssue => {
            let claimed: IssuerCertificate =
                file.issuer().map_err(at)?.peek(4096).map_err(|e| at(e.into()))?;
            claimed.not_before
        }
    };
    file.verify(root, floor, now).map_err(at)
}

/// The organisation for an open vault: the newer one of the home's own copy and the file that was given. A newer one is
/// kept in the home; an older one is refused.
///
/// # Errors
/// [`Error::Org`], [`Error::File`].
pub fn org(home: &Path, root: &RootHash, given: Option<&Path>, when: When) -> Result<VerifiedOrg, Error> {
    let own = org_path(home);
    let known = match read_org(&own) {
        // An expired copy still says which version was seen.
        Ok(file) => Some((verify(&file, root, &Floor::default(), When::AtIssue, &own)?, file)),
        Err(_) if given.is_some() && !own.exists() => None,
        Err(error) => return Err(error),
    };
    let floor = known.as_ref().map(|(org, _)| org.floor()).unwrap_or_default();
    match (given, known) {
        (Some(path), _) => {
            let file = read_org(path)?;
            let org = verify(&file, root, &floor, when, path)?;
            keep(home, &file)?;
            Ok(org)
        }
        (None, Some((_, file))) => verify(&file, root, &floor, when, &own),
        (None, None) => Err(private_file::FileError::Missing(own).into()),
    }
}

/// Keeps an org.json that was accepted.
///
/// # Errors
/// [`Error::File`].
pub fn keep(home: &Path, file: &OrgFile) -> Result<(), Error> {
    let text = org_text(file);
    let path = org_path(home);
    if std::fs::read(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    Ok(private_file::replace(&path, &text, Access::Public)?)
}

/// Engine on an open vault.
///
/// # Errors
/// What is damaged, as [`Exit::Vault`]; an org.json that the vault refuses, as [`Exit::Untrusted`].
pub fn desk(open: OpenVault, org: VerifiedOrg, owner: Owner) -> Result<Desk, Error> {
    let desk = Desk::open(open.vault, open.key, org, owner).map_err(desk_error)?;
    let found = if desk.engine().agent_public().is_some() { Owner::Agent } else { Owner::Customer };
    if found == owner {
        return Ok(desk);
    }
    let (is, use_) = match found {
        Owner::Agent => ("an agent's", "`sealdesk agent chat`"),
        Owner::Customer => ("a customer's", "`sealdesk customer chat`"),
    };
    Err(Error::usage(format!("this home is {is}"), format!("Use {use_}, or another --home.")))
}

/// Whose vault it is, whatever the command: for `verify` and `export`.
///
/// # Errors
/// As [`desk`].
pub fn any_desk(args: &HomeArgs) -> Result<Desk, Error> {
    let home = path(args, Owner::Customer)?;
    let open = open(&home, args.passphrase_file.as_deref())?;
    let org = org(&home, &open.root, None, When::AtIssue)?;
    let mut desk = Desk::open(open.vault, open.key, org, Owner::Customer).map_err(desk_error)?;
    desk.look_through()?;
    Ok(desk)
}

/// Says whose fault it is.
pub fn desk_error(error: DeskError) -> Error {
    use sealdesk_client::{Corrupt, Problem};
    use sealdesk_protocol::wire::Fault;
    match error {
        DeskError::Vault(error) => Error::Vault(error),
        DeskError::NoRandomness(error) => Error::NoRandomness(error),
        DeskError::Corrupt(corrupt) => {
            let untrusted = matches!(corrupt, Corrupt::ForeignOrganisation | Corrupt::OrganisationRollback);
            let (code, fault, exit) = if untrusted {
                ("untrusted", Fault::Organisation, Exit::Untrusted)
            } else {
                ("vault", Fault::You, Exit::Vault)
            };
            let hint = if untrusted {
                "Fetch the current org.json from the organisation itself."
            } else {
                "Move the folder away: this device then starts anew."
            };
            Error::Problem(Problem { code, fault, text: corrupt.to_string(), hint: hint.into() }, exit)
        }
        other => Error::Problem(
            Problem {
                code: "machine",
                fault: Fault::You,
                text: other.to_string(),
                hint: "Update this program.".into(),
            },
            Exit::Machine,
        ),
    }
}
