//! What can be wrong with a vault, whose fault it is and what to do.

use std::path::{Path, PathBuf};

use crate::passphrase::BadStretch;
use crate::private_file::FileError;

/// Why a vault is not opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// No vault there. At fault: the path.
    #[error("there is no vault at {0}")]
    Missing(PathBuf),
    /// One is there already.
    #[error("{0} exists already and is not overwritten")]
    Exists(PathBuf),
    /// Another program has it open.
    #[error("{path} is in use by {holder}")]
    Locked {
        /// The vault.
        path: PathBuf,
        /// Program and process, as far as known.
        holder: String,
    },
    /// Another program opened the vault since this one did: this one must not write any more.
    #[error("another program opened this vault since; this one stops, so that nothing is written twice")]
    Fenced,
    /// Altered, truncated or broken. At fault: the disk, or whoever altered the file.
    #[error("the vault is damaged: {0}")]
    Damaged(String),
    /// Written by a later program.
    #[error("the vault has format {0}, which is newer than this program")]
    Newer(u32),
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// It needs a passphrase and none was given.
    #[error("this vault is locked with a passphrase, and none was given")]
    PassphraseNeeded,
    /// It has a key file, and a passphrase was given.
    #[error("this vault has no passphrase: its key lies beside it")]
    NoPassphrase,
    /// The disk, or a file beside the vault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The disk, through the database.
    #[error("the vault cannot be read or written: {0}")]
    Disk(std::io::Error),
}

impl VaultError {
    /// What to do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "Check --home; agents make a vault with `sealdesk agent enroll`.",
            Self::Exists(_) => "Choose another --home; a vault is never overwritten.",
            Self::Locked { .. } | Self::Fenced => {
                "Stop the other program first; inside a running chat use /verify and /export."
            }
            Self::Damaged(_) => "Move the folder away: this device then starts anew.",
            Self::Newer(_) => "Update this program.",
            Self::WrongPassphrase => "Try again; without the right passphrase nobody can open this vault.",
            Self::PassphraseNeeded => "Run it in a terminal, or give --passphrase-file FILE.",
            Self::NoPassphrase => "Leave the passphrase out.",
            Self::File(error) => error.hint(),
            Self::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => "Free some disk space.",
            Self::Disk(_) => "Check the disk and the folder's permissions.",
        }
    }

    /// Names the holder of a locked vault.
    pub(super) fn opening(error: redb::DatabaseError, path: &Path, holder: &Path) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
                Self::Locked { path: path.into(), holder: describe_holder(holder) }
            }
            other => other.into(),
        }
    }
}

fn describe_holder(path: &Path) -> String {
    let known = std::fs::read_to_string(path).ok();
    match known.as_deref().and_then(|text| text.split_once(' ')) {
        Some((pid, program)) => format!("{program} (process {pid})"),
        None => "another program".into(),
    }
}

impl From<redb::Error> for VaultError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::from(redb::StorageError::Io(error)),
            redb::Error::UpgradeRequired(version) => Self::Damaged(format!("old file format {version}")),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::StorageError> for VaultError {
    fn from(error: redb::StorageError) -> Self {
        match error {
            // What redb says of a file that is too short or none of its own.
            redb::StorageError::Io(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData
                ) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::StorageError::Io(error) => Self::Disk(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// redb has an error type for each operation; all of them widen to its general one.
macro_rules! widen {
    ($($error:ident),+) => {
        $(impl From<redb::$error> for VaultError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        })+
    };
}

widen!(DatabaseError, TransactionError, TableError, CommitError);

impl From<BadStretch> for VaultError {
    fn from(error: BadStretch) -> Self {
        Self::Damaged(error.to_string())
    }
}
