//! What can go wrong on the command line: whose fault, what to do, which exit code (docs/cli.md).

use std::path::PathBuf;

use sealdesk_client::Problem;
use sealdesk_native::passphrase::BadPassphrase;
use sealdesk_native::private_file::FileError;
use sealdesk_native::random::NoRandomness;
use sealdesk_native::vault::VaultError;
use sealdesk_protocol::crypto::certificate::CertificateError;
use sealdesk_protocol::enrolment::EnrolmentError;
use sealdesk_protocol::ids::Handle;
use sealdesk_protocol::org::OrgError;

/// Exit codes, a stable interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A fault of the program or of this machine.
    Machine = 1,
    /// Wrong usage.
    Usage = 2,
    /// A file is missing, unreadable, malformed, or would be overwritten.
    File = 3,
    /// Passphrase wrong, missing or too short.
    Passphrase = 4,
    /// The vault is held, damaged or newer.
    Vault = 5,
    /// Something does not verify.
    Untrusted = 6,
    /// The relay cannot be reached or refused this device.
    Relay = 7,
    /// Not everything was delivered before the end.
    Undelivered = 8,
    /// Interrupted.
    Interrupted = 130,
}

/// Every failure of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Flags that do not fit together, or a value that is not known. At fault: whoever typed it.
    #[error("{text}")]
    Usage {
        /// What is wrong.
        text: String,
        /// What to do.
        hint: String,
    },
    /// A file. At fault: its path or permissions.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is not what it should be. At fault: whoever made or altered it.
    #[error("{path} is no {what} of this program's format")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// Another command changes the administrator's folder. At fault: nobody; one after the other.
    #[error("{dir} is being changed by process {holder}")]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// Number of the process.
        holder: String,
    },
    /// Passphrase needed, and nobody to ask.
    #[error("a passphrase is needed for {what}, and there is no terminal to ask for it")]
    PassphraseNeeded {
        /// For what, as in "the root key".
        what: String,
        /// The flag that names its file.
        flag: &'static str,
    },
    /// The passphrase does not open a key.
    #[error("the passphrase does not open {0}")]
    PassphraseWrong(PathBuf),
    /// Too short or long.
    #[error(transparent)]
    PassphraseBad(#[from] BadPassphrase),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// org.json.
    #[error("{path}: {source}")]
    Org {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OrgError,
    },
    /// org.json belongs to other keys than the folder's. At fault: whoever mixed them.
    #[error("{0} does not belong to the org.json beside it: they are of different organisations or issuers")]
    ForeignKey(PathBuf),
    /// An invitation whose org.json does not verify.
    #[error("{path}: {source}")]
    InvitationOrg {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OrgError,
    },
    /// An endorsement that was made for another request, or altered.
    #[error("{0} does not vouch for this request: its signature does not verify")]
    Endorsement(PathBuf),
    /// The root key is kept elsewhere, as `org init` advises, and this command needs it.
    #[error("{0} is not here, and this command signs with the root key")]
    RootKeyAway(PathBuf),
    /// A folder in which no organisation was made.
    #[error("{0} is no administrator's folder: there is no org.json in it")]
    NoOrganisation(PathBuf),
    /// An invitation or request.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// A request for this organisation and agent, by an invitation that is not the newest. At fault: whoever invited again.
    #[error(
        "the request was made with another invitation than the newest of '{0}': a newer invitation replaced this one"
    )]
    NewerInvitation(Handle),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file with a certificate that does not count.
    #[error("{path}: {source}")]
    CertificateFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// No certificate helps it. At fault: nobody; it was revoked by an administrator.
    #[error("{0} is revoked: no certificate counts for it any more")]
    DeviceRevoked(String),
    /// The comparison codes differ: somebody may have changed the request on its way.
    #[error(
        "the code does not match this request: it was mistyped or misheard, or another device made the request"
    )]
    CodeMismatch,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Writing to stdout or the terminal failed.
    #[error("the terminal cannot be read or written: {0}")]
    Terminal(std::io::Error),
    /// Said by engine or driver.
    #[error("{}", .0.text)]
    Problem(Problem, Exit),
    /// It is not known which conversation is meant. At fault: whoever named none, or one that is not there.
    #[error("{}", .problem.text)]
    Which {
        /// What is wrong.
        problem: Problem,
        /// The conversations that can be meant, a line for each.
        here: Vec<String>,
    },
    /// The end came too early.
    #[error("not everything that was sent reached the other side in time")]
    Undelivered,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wrong usage.
    pub fn usage(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { text: text.into(), hint: hint.into() }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::Which { .. } => Exit::Usage,
            Self::File(error) | Self::Vault(VaultError::File(error)) if error.disk_is_full() => Exit::Machine,
            Self::File(_)
            | Self::Malformed { .. }
            | Self::Busy { .. }
            | Self::RootKeyAway(_)
            | Self::NoOrganisation(_) => Exit::File,
            Self::PassphraseNeeded { .. }
            | Self::PassphraseWrong(_)
            | Self::PassphraseBad(_)
            | Self::Vault(
                VaultError::WrongPassphrase | VaultError::PassphraseNeeded | VaultError::NoPassphrase,
            ) => Exit::Passphrase,
            Self::Vault(VaultError::File(_) | VaultError::Missing(_) | VaultError::Exists(_)) => Exit::File,
            Self::Vault(VaultError::Disk(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Exit::File
            }
            Self::Vault(VaultError::Disk(_)) => Exit::Machine,
            Self::Vault(_) => Exit::Vault,
            Self::Org { source: OrgError::Malformed, .. }
            | Self::InvitationOrg { source: OrgError::Malformed, .. } => Exit::File,
            Self::Org { .. }
            | Self::InvitationOrg { .. }
            | Self::Endorsement(_)
            | Self::ForeignKey(_)
            | Self::Enrolment(_)
            | Self::NewerInvitation(_)
            | Self::Certificate(_)
            | Self::CertificateFile { .. }
            | Self::DeviceRevoked(_)
            | Self::CodeMismatch => Exit::Untrusted,
            Self::NoRandomness(_) | Self::Terminal(_) => Exit::Machine,
            Self::Problem(_, exit) => *exit,
            Self::Undelivered => Exit::Undelivered,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Stable name of the kind of failure, for JSON.
    pub fn code(&self) -> &'static str {
        match (self, self.exit()) {
            (Self::Problem(problem, _) | Self::Which { problem, .. }, _) => problem.code,
            (_, Exit::Machine) => "machine",
            (_, Exit::Usage) => "usage",
            (_, Exit::File) => "file",
            (_, Exit::Passphrase) => "passphrase",
            (_, Exit::Vault) => "vault",
            (_, Exit::Untrusted) => "untrusted",
            (_, Exit::Relay) => "relay",
            (_, Exit::Undelivered) => "undelivered",
            (_, Exit::Interrupted) => "interrupted",
        }
    }

    /// Who has to act: `you`, `peer`, `relay`, `organisation` or `network`.
    pub fn fault(&self) -> &'static str {
        match self {
            Self::Problem(problem, _) | Self::Which { problem, .. } => problem.fault.as_str(),
            Self::Org { .. }
            | Self::InvitationOrg { .. }
            | Self::Enrolment(_)
            | Self::Certificate(_)
            | Self::CertificateFile { .. } => "organisation",
            Self::Undelivered => "network",
            _ => "you",
        }
    }

    /// What to do, one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::File(error) => error.hint().into(),
            Self::Malformed { .. } => "Check that it is the right file, whole, and not of a later version.".into(),
            Self::Busy { .. } => "Let the other command come to its end (it may be asking for a passphrase), then run this one again.".into(),
            Self::PassphraseNeeded { flag, .. } => format!("Run it in a terminal, or give {flag} FILE."),
            Self::PassphraseWrong(_) => "Try again; without its passphrase a key cannot be opened by anybody.".into(),
            Self::PassphraseBad(_) => "Choose a longer one: several unrelated words are good.".into(),
            Self::Vault(error) => error.hint().into(),
            Self::Org { source, .. } => org_hint(source).into(),
            Self::InvitationOrg { source: OrgError::Issuer(source), .. } => certificate_hint(source).into(),
            Self::InvitationOrg { source: OrgError::WrongRoot, .. } => {
                "Ask for the invitation again, by a channel that you trust; another organisation needs another --home.".into()
            }
            Self::InvitationOrg { .. } => "Ask for the invitation again, by a channel that you trust.".into(),
            Self::Endorsement(_) => {
                "Endorse this request on the earlier device, with `sealdesk agent endorse`, and take that file.".into()
            }
            Self::RootKeyAway(_) => {
                "Copy root.key back from where it was put when the organisation was made, and take it off this machine again afterwards.".into()
            }
            Self::NoOrganisation(_) => "Is --dir right? `sealdesk org init` makes one.".into(),
            Self::ForeignKey(_) => "Put back the key, or the org.json, that was here before: the folder that `sealdesk org init` made is used whole.".into(),
            Self::Enrolment(EnrolmentError::Expired) => "Ask an administrator for a new invitation.".into(),
            Self::NewerInvitation(_) => {
                "The agent enrols with the newest invitation, into the same home; if it is lost, run `sealdesk agent invite` again.".into()
            }
            Self::Enrolment(_) => "Ask for the file again, by a channel that you trust.".into(),
            Self::Certificate(source) | Self::CertificateFile { source, .. } => certificate_hint(source).into(),
            Self::DeviceRevoked(_) => {
                "Enrol it anew: `sealdesk agent invite`, then `agent enroll` with an empty home, then `agent approve`.".into()
            }
            Self::CodeMismatch => {
                "Have the code read out again; if it still differs, discard the request and invite anew by another channel.".into()
            }
            Self::NoRandomness(_) => "Run it where the system call getrandom is allowed.".into(),
            Self::Terminal(_) => "Check what stdin and stdout are connected to.".into(),
            Self::Problem(problem, _) | Self::Which { problem, .. } => problem.hint.clone(),
            Self::Undelivered => "Nothing is lost: start the chat again with the same --home.".into(),
            Self::Interrupted => "Nothing is lost: start again with the same --home.".into(),
        }
    }
}

impl Error {
    /// What can be chosen from, a line for each, shown below the hint.
    pub fn choices(&self) -> &[String] {
        match self {
            Self::Which { here, .. } => here,
            _ => &[],
        }
    }
}

fn certificate_hint(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::NotYetValid => {
            "Check this machine's clock; an administrator renews with `sealdesk org renew-issuer` or `agent approve --renew`."
        }
        // A device that was revoked itself is told apart before.
        CertificateError::Revoked => "An administrator renews it with `sealdesk agent approve --renew`.",
        _ => "Ask an administrator to approve this device for this organisation.",
    }
}

fn org_hint(error: &OrgError) -> &'static str {
    match error {
        OrgError::WrongRoot => "Fetch org.json from the organisation itself; do not go on with this one.",
        OrgError::Issuer(CertificateError::Expired) => {
            "The organisation's administrator runs `sealdesk org renew-issuer` and hands out the new org.json."
        }
        OrgError::Issuer(CertificateError::NotYetValid) => "Check this machine's clock.",
        OrgError::Rollback => "Fetch the current org.json.",
        _ => "Fetch org.json again from the organisation itself.",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_the_machine_s_fault_and_a_wrong_path_is_not() {
        let at = |kind: io::ErrorKind| FileError::Io { path: "x".into(), source: kind.into() };
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
            assert_eq!(Error::from(at(full)).exit(), Exit::Machine);
            assert_eq!(Error::from(VaultError::File(at(full))).exit(), Exit::Machine);
            assert!(Error::from(at(full)).hint().contains("space"));
        }
        assert_eq!(Error::from(at(io::ErrorKind::PermissionDenied)).exit(), Exit::File);
        assert_eq!(Error::from(FileError::Missing("x".into())).exit(), Exit::File);
        // Also when the database says so.
        let disk = |kind: io::ErrorKind| Error::from(VaultError::Disk(kind.into())).exit();
        assert_eq!(disk(io::ErrorKind::PermissionDenied), Exit::File);
        assert_eq!(disk(io::ErrorKind::StorageFull), Exit::Machine);
    }
}
