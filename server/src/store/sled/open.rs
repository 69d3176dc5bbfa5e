//! Opening: sizes as measured, an exclusive lock whose holder is named, the store epoch, a first disk flush.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SledStore;
use super::committer::{Committer, Health, Writer};
use super::journal::{self, JournalError};
use super::keeper::{Disk, Keeper};
use super::keys::{self, prefix};
use super::layers::{Layers, failed};
use crate::store::{Quota, StoreError};

/// Version of the layout on disk.
pub(super) const FORMAT: u64 = 2;
/// sled's segment: the measured compromise between space and throughput.
const SEGMENT_BYTES: usize = 512 << 10;
/// sled's background flush, milliseconds; durability does not depend on it.
const FLUSH_EVERY_MS: u64 = 500;

/// Usual length of a journal. Twice as much is kept in memory and on disk at most times.
pub const JOURNAL_BYTES: u64 = 32 << 20;

/// Usual age of a journal at most: so long what was delivered may lie in it, sealed, and as long again while it rests.
pub const JOURNAL_AGE: Duration = Duration::from_secs(3_600);

/// How long sled may take to let go of a store that was closed.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; created when missing.
    pub folder: PathBuf,
    /// Page cache in bytes.
    pub cache_bytes: u64,
    /// Length at which the journal's writes are brought into sled, [`JOURNAL_BYTES`].
    pub journal_bytes: u64,
    /// Age at which it is, [`JOURNAL_AGE`].
    pub journal_age: Duration,
    /// Quota of every mailbox.
    pub quota: Quota,
}

pub(super) fn meta(name: &str) -> Vec<u8> {
    keys::key(prefix::META, &[name.as_bytes()])
}

/// Takes the exclusive lock `<folder>.lock` and writes our process number into it.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.with_extension("lock");
    let unusable = |error: std::io::Error| {
        StoreError::Open(format!(
            "cannot use the data folder, {} failed: {error}; it must exist and belong to the relay's user",
            path.display()
        ))
    };
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(unusable)?;
            return Err(StoreError::InUse { folder: folder.to_owned(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    file.set_len(0).map_err(unusable)?;
    file.rewind().map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

pub(super) fn database(folder: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let explain = |error: sled::Error| {
        StoreError::Open(format!(
            "cannot open the store {}: {error}; check the folder's owner and the free space, or restore a backup",
            folder.display()
        ))
    };
    let config = sled::Config::new()
        .path(folder)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .cache_capacity(cache_bytes);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match config.open() {
            Err(error) if is_held(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            opened => return opened.map_err(explain),
        }
    }
}

/// Our own lock says that nobody else has the store, so it is a thread of sled, in this process, that lets go a moment after
/// the store was closed.
fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Says beside the store that there was one: what sled finds unreadable it takes for empty.
fn made(folder: &Path) -> PathBuf {
    folder.with_extension("made")
}

/// Notes durably that the store exists, once.
pub(super) fn note_made(folder: &Path) -> std::io::Result<()> {
    let path = made(folder);
    if path.exists() {
        return Ok(());
    }
    File::create(&path)?.sync_all()?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

impl SledStore {
    /// Opens or creates the store.
    ///
    /// # Errors
    /// `Open`, saying what to do: folder not usable, in use by another process, another format.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        if let Some(parent) = options.folder.parent() {
            std::fs::create_dir_all(parent).map_err(|error| {
                StoreError::Open(format!("cannot create the data folder {}: {error}", parent.display()))
            })?;
        }
        let lock = lock(&options.folder)?;
        let db = database(&options.folder, options.cache_bytes)?;
        let tree: sled::Tree = (*db).clone();
        let failed = |error: sled::Error| match failed(error) {
            StoreError::Failed(text) => StoreError::Open(format!("the store cannot be read: {text}")),
            other => other,
        };
        let number = |name: &str| -> Result<Option<u64>, StoreError> {
            let Some(stored) = tree.get(meta(name)).map_err(failed)? else { return Ok(None) };
            let bytes: [u8; 8] =
                stored.as_ref().try_into().map_err(|_| StoreError::Corrupt("store header"))?;
            Ok(Some(u64::from_be_bytes(bytes)))
        };
        let epoch = match (number("format")?, number("epoch")?) {
            (Some(FORMAT), Some(epoch)) => {
                u32::try_from(epoch).map_err(|_| StoreError::Corrupt("store epoch"))?
            }
            // An empty store in its place would begin its positions anew, below what clients have seen.
            (None, None) if made(&options.folder).exists() => {
                return Err(StoreError::Open(format!(
                    "the store {} is damaged or missing: restore a backup (`sealdesk-relay restore`); only if nothing is \
                     to be kept, remove {} and begin with an empty one",
                    options.folder.display(),
                    made(&options.folder).display()
                )));
            }
            (None, None) => {
                tree.insert(meta("format"), &FORMAT.to_be_bytes()).map_err(failed)?;
                // Not 1: a store that begins anew where another was lost has to look new to every client (§9.6).
                let epoch = (crate::clock::now_ms() / 1_000).clamp(1, u64::from(u32::MAX));
                tree.insert(meta("epoch"), &epoch.to_be_bytes()).map_err(failed)?;
                u32::try_from(epoch).map_err(|_| StoreError::Corrupt("store epoch"))?
            }
            (format, _) => {
                return Err(StoreError::Open(format!(
                    "the store has format {}, this program reads {FORMAT}; use the program that wrote it",
                    format.unwrap_or_default()
                )));
            }
        };
        let file = File::open(options.folder.join("db"))
            .map_err(|error| StoreError::Open(format!("cannot open the store's file: {error}")))?;
        let (folder, disk) = (&options.folder, Disk { db: db.clone(), file });
        // Whatever was accepted and had not reached sled. The journal goes on in the older file once it has.
        let found = journal::read(folder, epoch.into()).map_err(unreadable)?;
        disk.bring_down(&found.layer)?;
        let journal = found.begin(folder, epoch.into()).map_err(unreadable)?;
        note_made(folder)
            .map_err(|error| StoreError::Open(format!("cannot write beside the store: {error}")))?;
        let last_audit = tree.scan_prefix([prefix::AUDIT]).next_back().transpose().map_err(failed)?;
        let next_audit = last_audit.map_or(0, |(key, _)| keys::trailing_number(&key)) + 1;
        let (layers, health) = (Arc::new(Layers::over(tree)), Arc::new(Health::default()));
        let watcher = Arc::default();
        let threads = |error| StoreError::Open(format!("cannot start the store's threads: {error}"));
        let keeper = Keeper::start(disk, Arc::clone(&layers), Arc::clone(&health), epoch).map_err(threads)?;
        let committer = Committer::start(Writer {
            layers: Arc::clone(&layers),
            journal,
            keeper,
            health: Arc::clone(&health),
            next_audit,
            journal_bytes: options.journal_bytes,
            journal_age: options.journal_age,
            watcher: Arc::clone(&watcher),
        })
        .map_err(threads)?;
        Ok(Self { committer, layers, db, health, watcher, epoch, quota: options.quota, _lock: lock })
    }
}

/// What to do about a journal that cannot be read.
fn unreadable(error: JournalError) -> StoreError {
    let remedy = match &error {
        JournalError::File(..) => "check the folder's owner, the disk and the free space",
        JournalError::Damaged(_) => "restore a backup (`sealdesk-relay restore`)",
        JournalError::Foreign(_) => "put back the store's own files, or restore a backup",
    };
    StoreError::Open(format!("the store's journal cannot be read: {error}; {remedy}"))
}
