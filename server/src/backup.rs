//! Backups: a folder with the store's records and the attachments. It is filled under another name beside it, and gets its
//! own when it is whole and durable.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::blobs::Blobs;
use crate::folder;
use crate::store::Store;

/// The file with the store's records in a backup folder.
pub const STORE_FILE: &str = "store.backup";
/// The folder with the attachments in a backup folder.
pub const BLOBS_FOLDER: &str = "blobs";

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
    partial.become_whole(to).map_err(|error| explain(to, &error))?;
    Ok(Written { records, attachments })
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
