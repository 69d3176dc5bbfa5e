//! Attachments: opaque files, too large for the store. Chunks are appended in order and durable before they are
//! answered; a whole file gets its final name last.
//!
//! What a part holds is believed only while this process wrote and flushed it. After an opening, and after a write that
//! failed, the last chunk may be there in name only: it is cut off, and the uploader sends it again. So an upload that was
//! cut off anywhere, also between its last byte and its final name, goes on by itself.
//!
//! ```text
//! <folder>/<blob id>.part   growing: write, fsync, answer
//! <folder>/<blob id>        whole: rename, fsync the folder
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::MAX_BLOB_CHUNK;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::folder;

/// Why an attachment was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A chunk that does not follow what is stored. At fault: the uploader; go on at `stored`.
    #[error("the chunk does not start where the stored part ends")]
    Offset {
        /// Bytes stored.
        stored: u64,
    },
    /// A chunk that is neither full nor the last. At fault: the uploader; each chunk is a flush of the disk.
    #[error("a chunk in the middle is not full")]
    Short,
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
    /// Parts whose length is durable.
    flushed: Arc<Mutex<HashSet<BlobId>>>,
}

impl Blobs {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, flushed: Arc::default() })
    }

    /// Every attachment that a file is here of.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn ids(&self) -> io::Result<HashSet<BlobId>> {
        let mut found = HashSet::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_str().unwrap_or_default();
            found.extend(name.strip_suffix(".part").unwrap_or(name).parse::<BlobId>());
        }
        Ok(found)
    }

    fn flushed<T>(&self, change: impl FnOnce(&mut HashSet<BlobId>) -> T) -> T {
        change(&mut self.flushed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn whole(&self, id: &BlobId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn part(&self, id: &BlobId) -> PathBuf {
        self.folder.join(format!("{id}.part"))
    }

    /// Bytes stored of an attachment that is not whole yet.
    pub async fn stored(&self, id: BlobId) -> io::Result<u64> {
        let blobs = self.clone();
        blocking(move || match File::options().write(true).open(blobs.part(&id)) {
            Ok(file) => blobs.believed(&id, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        })
        .await
    }

    /// Bytes of a part that a power cut leaves, after cutting off what it might not.
    fn believed(&self, id: &BlobId, file: &File) -> io::Result<u64> {
        let found = file.metadata()?.len();
        if found == 0 || self.flushed(|flushed| flushed.contains(id)) {
            return Ok(found);
        }
        let chunk = MAX_BLOB_CHUNK as u64;
        let kept = (found - 1) / chunk * chunk;
        file.set_len(kept)?;
        file.sync_all()?;
        self.flushed(|flushed| flushed.insert(*id));
        Ok(kept)
    }

    /// Writes one chunk at `offset`; the last one of `total` bytes makes the file whole. Answers what is stored then.
    pub async fn write(&self, id: BlobId, offset: u64, bytes: Vec<u8>, total: u64) -> Result<u64, BlobError> {
        let blobs = self.clone();
        blocking(move || blobs.write_now(&id, offset, &bytes, total)).await
    }

    fn write_now(&self, id: &BlobId, offset: u64, bytes: &[u8], total: u64) -> Result<u64, BlobError> {
        let path = self.part(id);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let stored = self.believed(id, &file)?;
        if offset != stored {
            return Err(BlobError::Offset { stored });
        }
        let end = offset + bytes.len() as u64;
        if end > total {
            return Err(BlobError::TooLong);
        }
        if end < total && bytes.len() != MAX_BLOB_CHUNK {
            return Err(BlobError::Short);
        }
        // Believed again when all of it has succeeded: the system reports a failed flush only once.
        self.flushed(|flushed| flushed.remove(id));
        file.write_all_at(bytes, offset)?;
        file.sync_data()?;
        if end == total {
            std::fs::rename(&path, self.whole(id))?;
        }
        if end == total || stored == 0 {
            folder::sync(&self.folder)?;
        }
        if end < total {
            self.flushed(|flushed| flushed.insert(*id));
        }
        Ok(end)
    }

    /// Whether the file is whole, durably: also after a crash between rename and record.
    pub async fn is_whole(&self, id: BlobId) -> io::Result<bool> {
        let blobs = self.clone();
        blocking(move || {
            let found = blobs.whole(&id).try_exists()?;
            if found {
                folder::sync(&blobs.folder)?;
            }
            Ok(found)
        })
        .await
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
        self.flushed(|flushed| flushed.remove(&id));
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
    folder::sync(to)?;
    Ok(copied)
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

    const CHUNK: u64 = MAX_BLOB_CHUNK as u64;
    const TOTAL: u64 = 2 * CHUNK + 15;

    fn chunk(fill: u8) -> Vec<u8> {
        vec![fill; MAX_BLOB_CHUNK]
    }

    #[tokio::test]
    async fn full_chunks_in_order_then_whole() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        assert_eq!(blobs.stored(ID).await.unwrap(), 0);
        assert_eq!(blobs.write(ID, 0, chunk(1), TOTAL).await.unwrap(), CHUNK);
        let gap = blobs.write(ID, CHUNK + 20, vec![1; 5], TOTAL).await.unwrap_err();
        assert!(matches!(gap, BlobError::Offset { stored: CHUNK }));
        let short = blobs.write(ID, CHUNK, vec![1], TOTAL).await;
        assert!(matches!(short, Err(BlobError::Short)), "a flush for each byte");
        assert_eq!(blobs.stored(ID).await.unwrap(), CHUNK);
        assert_eq!(blobs.write(ID, CHUNK, chunk(2), TOTAL).await.unwrap(), 2 * CHUNK);
        assert!(matches!(blobs.write(ID, 2 * CHUNK, vec![2; 16], TOTAL).await, Err(BlobError::TooLong)));
        assert!(blobs.read(ID, 0, 5).await.is_err(), "not readable before it is whole");
        assert_eq!(blobs.write(ID, 2 * CHUNK, vec![3; 15], TOTAL).await.unwrap(), TOTAL);
        assert!(blobs.is_whole(ID).await.unwrap());
        assert_eq!(blobs.read(ID, CHUNK - 2, 4).await.unwrap(), [1, 1, 2, 2]);
        assert_eq!(blobs.read(ID, TOTAL - 5, 100).await.unwrap().len(), 5);
        assert_eq!(blobs.read(ID, TOTAL + 9, 100).await.unwrap().len(), 0);
        assert_eq!(blobs.backup(folder.path().join("copy")).await.unwrap(), 1);
        assert_eq!(blobs.ids().unwrap(), HashSet::from([ID]));
        blobs.delete(ID).await.unwrap();
        blobs.delete(ID).await.unwrap();
        assert!(!blobs.is_whole(ID).await.unwrap());
        assert!(blobs.flushed.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_crash_may_have_left_in_name_only_is_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blobs");
        let part = path.join(format!("{ID}.part"));
        let open = || Blobs::open(path.clone()).unwrap();
        let blobs = open();
        blobs.write(ID, 0, chunk(1), TOTAL).await.unwrap();
        // All bytes are there, and perhaps not on the disk; the final name is missing.
        std::fs::write(&part, vec![9; TOTAL as usize]).unwrap();
        let blobs = open();
        assert_eq!(blobs.stored(ID).await.unwrap(), 2 * CHUNK, "the last chunk is not believed");
        assert_eq!(blobs.stored(ID).await.unwrap(), 2 * CHUNK, "and the rest from then on");
        assert_eq!(blobs.write(ID, 2 * CHUNK, vec![3; 15], TOTAL).await.unwrap(), TOTAL);
        assert_eq!(blobs.read(ID, 2 * CHUNK, 100).await.unwrap(), [3; 15]);

        // Half a chunk: cut off, also when the uploader does not ask before.
        std::fs::write(&part, vec![9; MAX_BLOB_CHUNK + 77]).unwrap();
        let blobs = open();
        let told = blobs.write(ID, CHUNK + 77, chunk(2), TOTAL).await.unwrap_err();
        assert!(matches!(told, BlobError::Offset { stored: CHUNK }));
        assert_eq!(blobs.write(ID, CHUNK, chunk(2), TOTAL).await.unwrap(), 2 * CHUNK);
    }

    #[test]
    fn tokens_are_compared_by_hash() {
        let stored: [u8; 32] = Sha256::digest([5; 32]).into();
        assert!(token_matches(&[5; 32], &stored));
        assert!(!token_matches(&[6; 32], &stored));
        assert!(!token_matches(&stored, &stored));
    }
}
