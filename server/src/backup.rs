//! Backups: a folder that is filled under another name beside it, and gets its own when it is whole and durable.
//!
//! ```text
//! <backup>/store.backup       the store's records, with their hash
//! <backup>/blobs/<name>       the attachments
//! <backup>/attachments.list   name and bytes of each, then `end`, one a line: whether a copy of the backup has them all
//! ```

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::blobs::Blobs;
use crate::folder;
use crate::store::Store;
use crate::store::sled::BackupError;

/// The file with the store's records in a backup folder.
pub const STORE_FILE: &str = "store.backup";
/// The folder with the attachments in a backup folder.
pub const BLOBS_FOLDER: &str = "blobs";

/// The file that lists the attachments in a backup folder.
pub const LIST_FILE: &str = "attachments.list";
/// Its last line.
const END: &str = "end\n";

/// A backup that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Records of the store.
    pub records: u64,
    /// Attachments.
    pub attachments: u64,
}

/// What to do about a backup that cannot be written.
fn explain(to: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AlreadyExists => "give a new folder: nothing is overwritten",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "a running relay writes its backup itself: let its user write there (with systemd: ReadWritePaths=)"
        }
        io::ErrorKind::StorageFull => "free some space there",
        _ => "give a new folder that the relay's user can make",
    };
    let what = match error.kind() {
        io::ErrorKind::AlreadyExists => "exists already".into(),
        _ => format!("cannot be written: {error}"),
    };
    format!("{} {what}; {remedy}", to.display())
}

/// Writes a backup into a new folder, durable on return. What a failed attempt made is removed.
///
/// # Errors
/// As text, saying what failed.
pub async fn write(store: &dyn Store, blobs: &Blobs, to: &Path) -> Result<Written, String> {
    let partial = Partial::beside(to).map_err(|error| explain(to, &error))?;
    // Records first: an attachment that appears between is not yet missed by anybody.
    let records = store.backup(&partial.0.join(STORE_FILE)).await.map_err(|error| error.to_string())?;
    let attachments = blobs.backup(partial.0.join(BLOBS_FOLDER)).await;
    let attachments = attachments.map_err(|error| explain(to, &error))?;
    write_list(&partial.0).map_err(|error| explain(to, &error))?;
    partial.become_whole(to).map_err(|error| explain(to, &error))?;
    Ok(Written { records, attachments })
}

fn write_list(backup: &Path) -> io::Result<()> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(backup.join(BLOBS_FOLDER))? {
        let entry = entry?;
        lines.push(format!("{} {}\n", entry.file_name().display(), entry.metadata()?.len()));
    }
    lines.sort();
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(backup.join(LIST_FILE))?;
    file.write_all(lines.concat().as_bytes())?;
    file.write_all(END.as_bytes())?;
    file.sync_all()
}

/// Whether a backup has all the attachments that it was written with.
///
/// # Errors
/// [`BackupError::File`], [`BackupError::Damaged`] for the list, [`BackupError::Attachments`].
pub fn check_attachments(backup: &Path) -> Result<(), BackupError> {
    let (list, folder) = (backup.join(LIST_FILE), backup.join(BLOBS_FOLDER));
    let unread = |path: &Path| {
        let path = path.to_path_buf();
        move |source| BackupError::File { path, source }
    };
    std::fs::read_dir(&folder).map_err(unread(&folder))?;
    let text = std::fs::read_to_string(&list).map_err(unread(&list))?;
    let damaged = || BackupError::Damaged(list.clone());
    let mut lacking = Vec::new();
    for line in text.strip_suffix(END).ok_or_else(damaged)?.lines() {
        let (name, bytes) = line.rsplit_once(' ').ok_or_else(damaged)?;
        let bytes: u64 = bytes.parse().map_err(|_| damaged())?;
        let whole = |found: std::fs::Metadata| found.is_file() && found.len() == bytes;
        if !std::fs::metadata(folder.join(name)).is_ok_and(whole) {
            lacking.push(name);
        }
    }
    match lacking.first() {
        None => Ok(()),
        Some(first) => {
            Err(BackupError::Attachments { folder, lacking: lacking.len(), first: (*first).to_owned() })
        }
    }
}

/// A backup that is being written, under a name that no other has: what still writes into one that was given up writes into
/// no later one. Removed when it fails, or when its relay stops meanwhile.
struct Partial(PathBuf);

impl Partial {
    fn beside(to: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if to.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".partial-{}-{count}", std::process::id()));
        let path = to.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn become_whole(self, to: &Path) -> io::Result<()> {
        folder::sync(&self.0)?;
        std::fs::rename(&self.0, to)?;
        to.parent().map_or(Ok(()), folder::sync)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "what a failed backup wrote is still there");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_backup_that_is_given_up_is_none_and_stands_in_no_others_way() {
        let running = crate::testing::Running::start().await;
        let (relay, to) = (&running.relay, running.relay.config.data.join("copy"));
        let backup = write(relay.store.as_ref(), &relay.blobs, &to);
        tokio::time::timeout(Duration::ZERO, backup).await.unwrap_err();
        assert!(!to.exists());
        write(relay.store.as_ref(), &relay.blobs, &to).await.unwrap();
        assert!(to.join(STORE_FILE).exists());
        let again = write(relay.store.as_ref(), &relay.blobs, &to).await.unwrap_err();
        assert!(again.contains("new folder"), "{again}");
    }

    #[test]
    fn a_backup_that_cannot_be_written_says_what_to_do() {
        let text = |kind: io::ErrorKind| explain(Path::new("/backup/a"), &kind.into());
        assert!(
            text(io::ErrorKind::AlreadyExists).starts_with("/backup/a exists already; give a new folder")
        );
        assert!(text(io::ErrorKind::ReadOnlyFilesystem).contains("ReadWritePaths="));
        assert!(text(io::ErrorKind::StorageFull).contains("space"));
    }
}
