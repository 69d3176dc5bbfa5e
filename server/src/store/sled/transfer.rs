//! Backup and restore of the store's records.
//!
//! File: magic | format | store epoch | records (key length u32, value length u32, key, value)... | 0xFFFFFFFF |
//! SHA-256 of everything before. A restored store gets a new epoch, so that every client reads from 0 and sends again
//! what was not receipted, and its one-time prekey pairs are voided: some may have been handed out since (§9.6).

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::keys::{self, prefix};
use super::open::{FORMAT, database, lock, meta, note_made};
use super::prekeys;
use super::value::split_number;
use crate::store::StoreError;

const MAGIC: &[u8; 16] = b"sealdesk-backup\n";
const END: u32 = u32::MAX;
/// Longest key or value that is believed.
const MAX_RECORD: u32 = 4 << 20;
/// Records written between two applied batches.
const BATCH: usize = 4_096;
/// Restoring needs little cache.
const CACHE_BYTES: u64 = 64 << 20;

/// Why a backup cannot be written or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing a file failed. At fault: the machine or the operator.
    #[error("{path}: {source}; --from and --to are folders that `backup` makes, for the relay's user")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a whole, unaltered backup. At fault: whoever supplied the file.
    #[error("{0} is altered, cut short, or of another format: take another backup")]
    Damaged(PathBuf),
    /// Attachments that the backup was written with are not there. At fault: whoever copied it.
    #[error(
        "{lacking} of the backup's attachments are missing in {folder}, or cut short, {first} among them: copy the whole \
         backup again, or take another one"
    )]
    Attachments {
        /// Where they should be.
        folder: PathBuf,
        /// How many.
        lacking: usize,
        /// The first of them.
        first: String,
    },
    /// There is a store already. At fault: the operator.
    #[error("{0} holds a store already: move it away first, so that nothing is overwritten")]
    NotEmpty(PathBuf),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> BackupError + '_ {
    |source| BackupError::File { path: path.to_path_buf(), source }
}

struct Hashed<T> {
    inner: T,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Hashed<R> {
    fn take(&mut self, length: u32) -> std::io::Result<Vec<u8>> {
        let mut out = vec![0; length as usize];
        self.inner.read_exact(&mut out)?;
        self.hash.update(&out);
        Ok(out)
    }

    fn number(&mut self) -> std::io::Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().unwrap_or_default()))
    }
}

/// Writes every record to a new file, durable on return. Answers the number of records.
pub(super) fn write_backup(tree: &sled::Tree, epoch: u32, to: &Path) -> Result<u64, BackupError> {
    let file = File::options().write(true).create_new(true).open(to).map_err(at(to))?;
    let mut out = Hashed { inner: BufWriter::new(file), hash: Sha256::new() };
    out.put(MAGIC).map_err(at(to))?;
    out.put(&FORMAT.to_be_bytes()).map_err(at(to))?;
    out.put(&u64::from(epoch).to_be_bytes()).map_err(at(to))?;
    let mut records = 0;
    for entry in tree.iter() {
        let (key, value) = entry.map_err(super::layers::failed)?;
        for part in [&key, &value] {
            let length = u32::try_from(part.len()).map_err(|_| StoreError::Corrupt("a record's length"))?;
            out.put(&length.to_be_bytes()).map_err(at(to))?;
        }
        out.put(&key).and_then(|()| out.put(&value)).map_err(at(to))?;
        records += 1;
    }
    out.put(&END.to_be_bytes()).map_err(at(to))?;
    let hash = out.hash.finalize();
    out.inner.write_all(&hash).map_err(at(to))?;
    let file = out.inner.into_inner().map_err(|error| at(to)(error.into_error()))?;
    file.sync_all().map_err(at(to))?;
    Ok(records)
}

/// Makes a store at `folder` from the backup file `from`. Answers (records, new store epoch): the epoch is the
/// restore's time in seconds, so that restoring one backup twice makes two epochs.
///
/// `make_room` runs once the backup is known to be whole and no relay has the store; `prepare` gets the folder of the
/// filled store before it has its name.
///
/// # Errors
/// The file is damaged, or there is a store at `folder` already; then nothing was changed there.
pub fn restore<E: From<BackupError>>(
    from: &Path,
    folder: &Path,
    make_room: impl FnOnce() -> Result<(), E>,
    prepare: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(u64, u64), E> {
    verify(from)?;
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let _lock = lock(folder).map_err(BackupError::from)?;
    make_room()?;
    if folder.exists() {
        return Err(BackupError::NotEmpty(folder.to_path_buf()).into());
    }
    // Filled under another name, so that a restore that was cut short is not taken for a store.
    let unfinished = folder.with_extension("restoring");
    let restored = fill(from, &unfinished)?;
    prepare(&unfinished)?;
    std::fs::rename(&unfinished, folder).map_err(at(folder))?;
    // From now on an empty folder in its place is a loss, and no new store.
    note_made(folder).map_err(at(folder))?;
    Ok(restored)
}

fn fill(from: &Path, unfinished: &Path) -> Result<(u64, u64), BackupError> {
    let mut input = open_backup(from)?;
    if unfinished.exists() {
        std::fs::remove_dir_all(unfinished).map_err(at(unfinished))?;
    }
    let db = database(unfinished, CACHE_BYTES)?;
    let fail = |error| BackupError::Store(super::layers::failed(error));
    let mut batch = sled::Batch::default();
    let mut records = 0;
    while let Some((key, value)) = next_record(&mut input).map_err(at(from))? {
        match key.first() {
            // Voided: the id is remembered until the pair would have expired, the pair is gone.
            Some(&prefix::PREKEY) => {
                let expires_ms = split_number(&value).map_or(0, |(expires_ms, _)| expires_ms);
                let spent = prekeys::spent(&key);
                batch.insert(keys::expiry(keys::bucket(expires_ms), &spent), &[]);
                batch.insert(spent, &expires_ms.to_be_bytes());
            }
            _ => batch.insert(key, value),
        }
        records += 1;
        if records % BATCH as u64 == 0 {
            db.apply_batch(core::mem::take(&mut batch)).map_err(fail)?;
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let epoch = now.max(input.epoch + 1);
    batch.insert(meta("epoch"), &epoch.to_be_bytes());
    db.apply_batch(batch).map_err(fail)?;
    db.flush().map_err(fail)?;
    drop(db);
    let data = unfinished.join("db");
    File::open(&data).and_then(|file| file.sync_all()).map_err(at(&data))?;
    Ok((records, epoch))
}

struct Input {
    reader: Hashed<BufReader<File>>,
    epoch: u64,
}

fn open_backup(from: &Path) -> Result<Input, BackupError> {
    let file = File::open(from).map_err(at(from))?;
    let mut reader = Hashed { inner: BufReader::new(file), hash: Sha256::new() };
    let damaged = |_| BackupError::Damaged(from.to_path_buf());
    let magic = reader.take(16).map_err(damaged)?;
    let format = reader.take(8).map_err(damaged)?;
    let epoch = reader.take(8).map_err(damaged)?;
    if magic != MAGIC || format != FORMAT.to_be_bytes() {
        return Err(BackupError::Damaged(from.to_path_buf()));
    }
    Ok(Input { reader, epoch: u64::from_be_bytes(epoch.try_into().unwrap_or_default()) })
}

/// One record; `None` at the end.
fn next_record(input: &mut Input) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let key = input.reader.number()?;
    if key == END {
        return Ok(None);
    }
    let value = input.reader.number()?;
    if key > MAX_RECORD || value > MAX_RECORD {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    Ok(Some((input.reader.take(key)?, input.reader.take(value)?)))
}

/// Reads the whole file once and compares its hash.
fn verify(from: &Path) -> Result<(), BackupError> {
    let damaged = || BackupError::Damaged(from.to_path_buf());
    let mut input = open_backup(from)?;
    while next_record(&mut input).map_err(|_| damaged())?.is_some() {}
    let mut stored = [0; 32];
    input.reader.inner.read_exact(&mut stored).map_err(|_| damaged())?;
    let ends = input.reader.inner.fill_buf().map_err(at(from))?.is_empty();
    if ends && input.reader.hash.finalize().as_slice() == stored { Ok(()) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::ids::{DeviceKeyHash, PrekeyId};

    use super::super::tests::open;
    use super::*;
    use crate::store::conformance::QUOTA;
    use crate::store::{Prekey, Store};

    #[tokio::test]
    async fn the_mark_of_a_voided_pair_goes_when_the_pair_would_have() {
        const HOUR: u64 = 3_600_000;
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
        let device = DeviceKeyHash([2; 32]);
        let pair = |expires_ms| Prekey { id: PrekeyId([3; 32]), bytes: vec![4], expires_ms };
        let store = open(&path, QUOTA);
        store.put_prekeys(device, None, vec![pair(HOUR)], 5).await.unwrap();
        store.backup(&copy).await.unwrap();
        let restored = folder.path().join("restored");
        restore::<BackupError>(&copy, &restored, || Ok(()), |_| Ok(())).unwrap();
        let store = open(&restored, QUOTA);
        let taken = async || store.put_prekeys(device, None, vec![pair(9 * HOUR)], 5).await.unwrap();
        store.sweep(HOUR, 0).await.unwrap();
        assert_eq!(taken().await, 0);
        store.sweep(3 * HOUR, 0).await.unwrap();
        assert_eq!(taken().await, 1);
    }
}
