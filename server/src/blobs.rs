//! Attachments: opaque files, too large for the store. Chunks are appended in order and durable before they are
//! answered; a whole file gets its final name last.
//!
//! ```text
//! <folder>/<blob id>.part   growing: write, fsync, answer
//! <folder>/<blob id>        whole: rename, fsync the folder
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sealdesk_protocol::ids::BlobId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Why an attachment was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A chunk that does not follow what is stored. At fault: the uploader; go on at `stored`.
    #[error("the chunk does not start where the stored part ends")]
    Offset {
        /// Bytes stored.
        stored: u64,
    },
    /// More bytes than announced. At fault: the uploader.
    #[error("more bytes than were announced")]
    TooLong,
    /// The disk. At fault: the machine.
    #[error("an attachment's file failed: {0}")]
    Disk(#[from] io::Error),
}

/// Whether `token` is the capability whose SHA-256 is `stored`, in constant time.
pub fn token_matches(token: &[u8; 32], stored: &[u8; 32]) -> bool {
    Sha256::digest(token).as_slice().ct_eq(stored).into()
}

/// The folder of attachments. Cheap to clone; the work runs on blocking threads.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn whole(&self, id: &BlobId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn part(&self, id: &BlobId) -> PathBuf {
        self.folder.join(format!("{id}.part"))
    }

    /// Bytes stored of an attachment that is not whole yet.
    pub async fn stored(&self, id: BlobId) -> io::Result<u64> {
        let path = self.part(&id);
        blocking(move || match std::fs::metadata(path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        })
        .await
    }

    /// Writes one chunk at `offset`; the last one of `total` bytes makes the file whole. Answers what is stored then.
    pub async fn write(&self, id: BlobId, offset: u64, bytes: Vec<u8>, total: u64) -> Result<u64, BlobError> {
        let blobs = self.clone();
        blocking(move || blobs.write_now(&id, offset, &bytes, total)).await
    }

    fn write_now(&self, id: &BlobId, offset: u64, bytes: &[u8], total: u64) -> Result<u64, BlobError> {
        let path = self.part(id);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let stored = file.metadata()?.len();
        if offset != stored {
            return Err(BlobError::Offset { stored });
        }
        let end = offset + bytes.len() as u64;
        if end > total {
            return Err(BlobError::TooLong);
        }
        file.write_all_at(bytes, offset)?;
        file.sync_data()?;
        if end == total {
            std::fs::rename(&path, self.whole(id))?;
        }
        if end == total || stored == 0 {
            sync_folder(&self.folder)?;
        }
        Ok(end)
    }

    /// Whether the file is whole: also after a crash between rename and record.
    pub async fn is_whole(&self, id: BlobId) -> io::Result<bool> {
        let path = self.whole(&id);
        blocking(move || path.try_exists()).await
    }

    /// Up to `length` bytes from `offset`; fewer at the end.
    pub async fn read(&self, id: BlobId, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let path = self.whole(&id);
        blocking(move || {
            let file = File::open(path)?;
            let rest = file.metadata()?.len().saturating_sub(offset);
            let mut bytes = vec![0; length.min(usize::try_from(rest).unwrap_or(usize::MAX))];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        })
        .await
    }

    /// Deletes an attachment, whole or not; one that is not there is fine.
    pub async fn delete(&self, id: BlobId) -> io::Result<()> {
        let paths = [self.whole(&id), self.part(&id)];
        blocking(move || {
            paths.iter().try_for_each(|path| match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
        })
        .await
    }

    /// Copies every file into a new folder, durable on return. Answers how many.
    pub async fn backup(&self, to: PathBuf) -> io::Result<u64> {
        let from = self.folder.clone();
        blocking(move || copy_folder(&from, &to)).await
    }
}

/// Copies the files of a folder into a new one and flushes them.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<u64> {
    std::fs::create_dir(to)?;
    let mut copied = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match std::fs::copy(entry.path(), &target) {
            Ok(_) => File::open(&target)?.sync_all()?,
            // A part that became whole, or was swept, meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        copied += 1;
    }
    sync_folder(to)?;
    Ok(copied)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BlobId = BlobId([7; 16]);

    #[tokio::test]
    async fn chunks_in_order_resumable_then_whole() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        assert_eq!(blobs.stored(ID).await.unwrap(), 0);
        assert_eq!(blobs.write(ID, 0, vec![1; 10], 25).await.unwrap(), 10);
        let gap = blobs.write(ID, 20, vec![1; 5], 25).await.unwrap_err();
        assert!(matches!(gap, BlobError::Offset { stored: 10 }));
        let again = Blobs::open(folder.path().join("blobs")).unwrap();
        assert_eq!(again.stored(ID).await.unwrap(), 10, "resumes after a restart");
        assert!(matches!(again.write(ID, 10, vec![2; 16], 25).await, Err(BlobError::TooLong)));
        assert!(again.read(ID, 0, 5).await.is_err(), "not readable before it is whole");
        assert_eq!(again.write(ID, 10, vec![2; 15], 25).await.unwrap(), 25);
        assert!(again.is_whole(ID).await.unwrap());
        assert_eq!(again.read(ID, 8, 4).await.unwrap(), [1, 1, 2, 2]);
        assert_eq!(again.read(ID, 20, 100).await.unwrap().len(), 5);
        assert_eq!(again.read(ID, 99, 100).await.unwrap().len(), 0);
        assert_eq!(again.backup(folder.path().join("copy")).await.unwrap(), 1);
        again.delete(ID).await.unwrap();
        again.delete(ID).await.unwrap();
        assert!(!again.is_whole(ID).await.unwrap());
    }

    #[test]
    fn tokens_are_compared_by_hash() {
        let stored: [u8; 32] = Sha256::digest([5; 32]).into();
        assert!(token_matches(&[5; 32], &stored));
        assert!(!token_matches(&[6; 32], &stored));
        assert!(!token_matches(&stored, &stored));
    }
}
