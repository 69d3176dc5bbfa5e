//! Attachments: opaque files, too large for the store. Chunks are appended in order and durable before they are
//! answered; a whole file gets its final name last.
//!
//! What a part holds is believed only while this process wrote and flushed it. After an opening, and after a write that
//! failed, the last chunk may be there in name only: it is cut off, and the uploader sends it again. So an upload that was
//! cut off anywhere, also between its last byte and its final name, goes on by itself. One attachment is worked on by one at
//! a time, so that nobody cuts off what is being written.
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
use std::sync::{Arc, Condvar, Mutex, PoisonError};

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

/// How much of an attachment is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// So many bytes.
    Part(u64),
    /// All of it, durably.
    Whole,
}

/// The folder of attachments. Cheap to clone; the work runs on blocking threads.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Parts whose length is durable.
    flushed: HashSet<BlobId>,
    /// What is worked on now.
    busy: HashSet<BlobId>,
}

/// One attachment, for one at a time: a write goes on when its connection is gone, and the next connection asks for the
/// same attachment meanwhile.
struct Lock<'a> {
    blobs: &'a Blobs,
    id: BlobId,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.blobs.with(|state| state.busy.remove(&self.id));
        self.blobs.shared.freed.notify_all();
    }
}

impl Blobs {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, shared: Arc::default() })
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

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for its turn.
    fn lock(&self, id: BlobId) -> Lock<'_> {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.shared.freed.wait_while(state, |state| state.busy.contains(&id));
        free.unwrap_or_else(PoisonError::into_inner).busy.insert(id);
        Lock { blobs: self, id }
    }

    fn whole(&self, id: &BlobId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn part(&self, id: &BlobId) -> PathBuf {
        self.folder.join(format!("{id}.part"))
    }

    /// How much is stored, also after a crash between the file's final name and its record.
    pub async fn stored(&self, id: BlobId) -> io::Result<Stored> {
        let blobs = self.clone();
        blocking(move || blobs.stored_now(&blobs.lock(id))).await
    }

    fn stored_now(&self, lock: &Lock<'_>) -> io::Result<Stored> {
        if self.whole(&lock.id).try_exists()? {
            folder::sync(&self.folder)?;
            return Ok(Stored::Whole);
        }
        match File::options().write(true).open(self.part(&lock.id)) {
            Ok(file) => self.believed(&lock.id, &file).map(Stored::Part),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::Part(0)),
            Err(error) => Err(error),
        }
    }

    /// Bytes of a part that a power cut leaves, after cutting off what it might not.
    fn believed(&self, id: &BlobId, file: &File) -> io::Result<u64> {
        let found = file.metadata()?.len();
        if found == 0 || self.with(|state| state.flushed.contains(id)) {
            return Ok(found);
        }
        let chunk = MAX_BLOB_CHUNK as u64;
        let kept = (found - 1) / chunk * chunk;
        file.set_len(kept)?;
        file.sync_all()?;
        self.with(|state| state.flushed.insert(*id));
        Ok(kept)
    }

    /// Writes one chunk at `offset`; the last one of `total` bytes makes the file whole. Answers what is stored then.
    pub async fn write(&self, id: BlobId, offset: u64, bytes: Vec<u8>, total: u64) -> Result<u64, BlobError> {
        let blobs = self.clone();
        blocking(move || blobs.write_now(&blobs.lock(id), offset, &bytes, total)).await
    }

    fn write_now(
        &self,
        Lock { id, .. }: &Lock<'_>,
        offset: u64,
        bytes: &[u8],
        total: u64,
    ) -> Result<u64, BlobError> {
        if self.whole(id).try_exists()? {
            return Err(BlobError::Offset { stored: total });
        }
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
        self.with(|state| state.flushed.remove(id));
        file.write_all_at(bytes, offset)?;
        file.sync_data()?;
        if end == total {
            std::fs::rename(&path, self.whole(id))?;
        }
        if end == total || stored == 0 {
            folder::sync(&self.folder)?;
        }
        if end < total {
            self.with(|state| state.flushed.insert(*id));
        }
        Ok(end)
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
        let blobs = self.clone();
        blocking(move || {
            let _lock = blobs.lock(id);
            blobs.with(|state| state.flushed.remove(&id));
            [blobs.whole(&id), blobs.part(&id)].iter().try_for_each(|path| match std::fs::remove_file(path) {
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
    copy_files(from, to)
}

/// Copies the files of a folder into another one and flushes them.
pub fn copy_files(from: &Path, to: &Path) -> io::Result<u64> {
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
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Part(0));
        assert_eq!(blobs.write(ID, 0, chunk(1), TOTAL).await.unwrap(), CHUNK);
        let gap = blobs.write(ID, CHUNK + 20, vec![1; 5], TOTAL).await.unwrap_err();
        assert!(matches!(gap, BlobError::Offset { stored: CHUNK }));
        let short = blobs.write(ID, CHUNK, vec![1], TOTAL).await;
        assert!(matches!(short, Err(BlobError::Short)), "a flush for each byte");
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Part(CHUNK));
        assert_eq!(blobs.write(ID, CHUNK, chunk(2), TOTAL).await.unwrap(), 2 * CHUNK);
        assert!(matches!(blobs.write(ID, 2 * CHUNK, vec![2; 16], TOTAL).await, Err(BlobError::TooLong)));
        assert!(blobs.read(ID, 0, 5).await.is_err(), "not readable before it is whole");
        assert_eq!(blobs.write(ID, 2 * CHUNK, vec![3; 15], TOTAL).await.unwrap(), TOTAL);
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Whole);
        let again = blobs.write(ID, 2 * CHUNK, vec![4; 15], TOTAL).await;
        assert!(matches!(again, Err(BlobError::Offset { stored: TOTAL })), "whole: stays as it is");
        assert_eq!(blobs.read(ID, CHUNK - 2, 4).await.unwrap(), [1, 1, 2, 2]);
        assert_eq!(blobs.read(ID, TOTAL - 5, 100).await.unwrap().len(), 5);
        assert_eq!(blobs.read(ID, TOTAL + 9, 100).await.unwrap().len(), 0);
        assert_eq!(blobs.backup(folder.path().join("copy")).await.unwrap(), 1);
        assert_eq!(blobs.ids().unwrap(), HashSet::from([ID]));
        blobs.delete(ID).await.unwrap();
        blobs.delete(ID).await.unwrap();
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Part(0));
        blobs.with(|state| assert!(state.flushed.is_empty() && state.busy.is_empty()));
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
        assert_eq!(
            blobs.stored(ID).await.unwrap(),
            Stored::Part(2 * CHUNK),
            "the last chunk is not believed"
        );
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Part(2 * CHUNK), "and the rest from then on");
        assert_eq!(blobs.write(ID, 2 * CHUNK, vec![3; 15], TOTAL).await.unwrap(), TOTAL);
        assert_eq!(blobs.read(ID, 2 * CHUNK, 100).await.unwrap(), [3; 15]);

        blobs.delete(ID).await.unwrap();
        // Half a chunk: cut off, also when the uploader does not ask before.
        std::fs::write(&part, vec![9; MAX_BLOB_CHUNK + 77]).unwrap();
        let blobs = open();
        let told = blobs.write(ID, CHUNK + 77, chunk(2), TOTAL).await.unwrap_err();
        assert!(matches!(told, BlobError::Offset { stored: CHUNK }));
        assert_eq!(blobs.write(ID, CHUNK, chunk(2), TOTAL).await.unwrap(), 2 * CHUNK);
    }

    /// The last write goes on without its connection, and is not cut off by whoever asks meanwhile.
    #[tokio::test]
    async fn a_write_that_is_not_flushed_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        for (offset, fill) in [(0, 1), (CHUNK, 2)] {
            blobs.write(ID, offset, chunk(fill), TOTAL).await.unwrap();
        }
        // Half way through the last write.
        let write = blobs.lock(ID);
        blobs.with(|state| state.flushed.remove(&ID));
        File::options().write(true).open(blobs.part(&ID)).unwrap().write_all_at(&[3; 15], 2 * CHUNK).unwrap();
        let (asks, writes) = (blobs.clone(), blobs.clone());
        let asks = tokio::spawn(async move { asks.stored(ID).await.unwrap() });
        let writes = tokio::spawn(async move { writes.write(ID, 2 * CHUNK, vec![4; 15], TOTAL).await });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(!asks.is_finished() && !writes.is_finished());
        assert!(blobs.stored(BlobId([8; 16])).await.is_ok(), "others do not wait");
        std::fs::rename(blobs.part(&ID), blobs.whole(&ID)).unwrap();
        drop(write);
        assert_eq!(asks.await.unwrap(), Stored::Whole);
        assert!(matches!(writes.await.unwrap(), Err(BlobError::Offset { stored: TOTAL })));
        assert_eq!(blobs.read(ID, 2 * CHUNK, 100).await.unwrap(), [3; 15]);

        let (deletion, deletes) = (blobs.lock(ID), blobs.clone());
        let deletes = tokio::spawn(async move { deletes.delete(ID).await });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(!deletes.is_finished());
        drop(deletion);
        deletes.await.unwrap().unwrap();
        assert_eq!(blobs.stored(ID).await.unwrap(), Stored::Part(0));
    }

    #[test]
    fn tokens_are_compared_by_hash() {
        let stored: [u8; 32] = Sha256::digest([5; 32]).into();
        assert!(token_matches(&[5; 32], &stored));
        assert!(!token_matches(&[6; 32], &stored));
        assert!(!token_matches(&stored, &stored));
    }
}
