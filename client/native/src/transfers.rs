//! Bytes of files on their way, on a thread of their own: the file that is sent, the spool of ciphertext, the file that is
//! saved.
//!
//! ```text
//! HOME/spool/BLOB       ciphertext; written once, read again after a restart
//! DIR/.sealdesk-*.part  a file being saved, beside its target; gets its name when whole, never over an existing file
//! ```
//!
//! Writes are answered when they are durable: all that wait are written, each file is synced once, then all are answered.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use sealdesk_client::{FileBytes, Input, Part};
use sealdesk_protocol::ids::BlobId;

use crate::private_file::{self, Access, FileError};

/// What the driver wants done, in order.
pub(crate) enum Job {
    /// This file is sent under this transfer.
    Source {
        transfer: BlobId,
        file: File,
    },
    /// This transfer is saved to this path.
    Target {
        transfer: BlobId,
        target: Target,
    },
    Read {
        transfer: BlobId,
        part: Part,
        offset: u64,
        len: u32,
    },
    Write {
        transfer: BlobId,
        part: Part,
        offset: u64,
        bytes: Vec<u8>,
    },
    DropSpool(BlobId),
    /// The transfer's file is whole: give it its name.
    Finish {
        transfer: BlobId,
        done: Box<dyn FnOnce(Result<(), FileError>) + Send>,
    },
    /// The command that sends failed.
    ForgetSource(BlobId),
    /// The command that saves failed: leave nothing behind.
    ForgetTarget(BlobId),
}

/// A file being saved. What did not get its name is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Target {
    /// Starts a file beside `path`, which must not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, FileError> {
        private_file::demand_absent(path)?;
        // Of no other save to the same path, now or before a crash.
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| FileError::at(path)(io::Error::other(error)))?;
        let temporary = path.with_file_name(format!(".sealdesk-{:016x}.part", u64::from_ne_bytes(random)));
        let file = private_file::open_new(&temporary, Access::Owner).map_err(private_file::making(path))?;
        Ok(Self { file, temporary, path: path.into() })
    }

    fn finish(self) -> Result<(), FileError> {
        let named = self.file.sync_all().and_then(|()| private_file::give_name(&self.temporary, &self.path));
        named.map_err(FileError::at(&self.path))?;
        private_file::sync_folder(&self.path)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // There is none any more when it got its name.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// The thread's state.
struct Files {
    spool: PathBuf,
    sources: HashMap<BlobId, File>,
    targets: HashMap<BlobId, Target>,
    spools: HashMap<BlobId, File>,
}

/// Removes every file of the spool but those of these transfers.
pub(crate) fn clean(home: &Path, needed: &BTreeSet<BlobId>) -> Result<(), FileError> {
    let spool = home.join("spool");
    let entries = match std::fs::read_dir(&spool) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(FileError::at(&spool))?,
    };
    for entry in entries {
        let path = entry.map_err(FileError::at(&spool))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Other people's files are left alone.
        if name.parse().is_ok_and(|transfer: BlobId| !needed.contains(&transfer)) {
            std::fs::remove_file(&path).map_err(FileError::at(&path))?;
        }
    }
    Ok(())
}

/// Starts the thread; it ends when the sender of jobs is dropped, and leaves no file that is not whole.
pub(crate) fn start(
    home: &Path,
    answer: impl Fn(Input) + Send + 'static,
) -> Result<(mpsc::Sender<Job>, JoinHandle<()>), FileError> {
    let spool = home.join("spool");
    private_file::create_folder(&spool)?;
    let (jobs, queue) = mpsc::channel::<Job>();
    let mut files = Files {
        spool: spool.clone(),
        sources: HashMap::new(),
        targets: HashMap::new(),
        spools: HashMap::new(),
    };
    let thread = std::thread::Builder::new()
        .name("sealdesk-files".into())
        .spawn(move || {
            while let Ok(first) = queue.recv() {
                let mut stored = Vec::new();
                for job in std::iter::once(first).chain(queue.try_iter().take(64)) {
                    files.perform(job, &mut stored, &answer);
                }
                files.sync(stored, &answer);
            }
        })
        .map_err(FileError::at(&spool))?;
    Ok((jobs, thread))
}

type Stored = (BlobId, Part, u64);

impl Files {
    fn perform(&mut self, job: Job, stored: &mut Vec<Stored>, answer: &impl Fn(Input)) {
        match job {
            Job::Source { transfer, file } => drop(self.sources.insert(transfer, file)),
            Job::Target { transfer, target } => drop(self.targets.insert(transfer, target)),
            Job::Read { transfer, part, offset, len } => match self.read(transfer, part, offset, len) {
                Ok(bytes) => answer(Input::Chunk { transfer, part, offset, bytes: FileBytes(bytes) }),
                Err(error) => self.failed(transfer, part, &error, answer),
            },
            Job::Write { transfer, part, offset, bytes } => {
                match self.write(transfer, part, offset, &bytes) {
                    Ok(()) => stored.push((transfer, part, offset)),
                    Err(error) => self.failed(transfer, part, &error, answer),
                }
            }
            Job::DropSpool(transfer) => {
                self.sources.remove(&transfer);
                self.spools.remove(&transfer);
                let _ = std::fs::remove_file(self.spool_path(transfer));
            }
            Job::Finish { transfer, done } => {
                self.sync(std::mem::take(stored), answer);
                done(match self.targets.remove(&transfer) {
                    Some(target) => target.finish(),
                    None => Err(FileError::Missing(transfer.to_string().into())),
                });
            }
            Job::ForgetSource(transfer) => drop(self.sources.remove(&transfer)),
            Job::ForgetTarget(transfer) => drop(self.targets.remove(&transfer)),
        }
    }

    fn failed(&self, transfer: BlobId, part: Part, error: &io::Error, answer: &impl Fn(Input)) {
        tracing::warn!(?transfer, ?part, %error, "bytes of a transfer cannot be read or written");
        answer(Input::ChunkFailed { transfer, part });
    }

    fn spool_path(&self, transfer: BlobId) -> PathBuf {
        self.spool.join(transfer.to_string())
    }

    fn file(&mut self, transfer: BlobId, part: Part, writing: bool) -> io::Result<&mut File> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        match part {
            Part::File if writing => self.targets.get_mut(&transfer).map(|t| &mut t.file).ok_or_else(gone),
            Part::File => self.sources.get_mut(&transfer).ok_or_else(gone),
            Part::Spool => {
                if !self.spools.contains_key(&transfer) {
                    let path = self.spool_path(transfer);
                    let file = if writing && !path.exists() {
                        private_file::open_new(&path, Access::Owner)?
                    } else {
                        File::options().read(true).write(true).open(&path)?
                    };
                    // Few transfers run at once; what is closed is opened again when it is asked for.
                    if self.spools.len() >= 16 {
                        self.spools.clear();
                    }
                    self.spools.insert(transfer, file);
                }
                self.spools.get_mut(&transfer).ok_or_else(gone)
            }
        }
    }

    fn read(&mut self, transfer: BlobId, part: Part, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let file = self.file(transfer, part, false)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
        file.take(u64::from(len)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, transfer: BlobId, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(transfer, part, true)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn sync(&mut self, stored: Vec<Stored>, answer: &impl Fn(Input)) {
        let mut failed = BTreeSet::new();
        let touched: BTreeSet<(BlobId, Part)> = stored.iter().map(|(t, p, _)| (*t, *p)).collect();
        for (transfer, part) in touched {
            let synced = self.file(transfer, part, true).and_then(|file| file.sync_data());
            let synced = synced.and_then(|()| match part {
                // The spool's own name has to outlive a crash as well.
                Part::Spool => File::open(&self.spool).and_then(|folder| folder.sync_all()),
                Part::File => Ok(()),
            });
            if let Err(error) = synced {
                self.failed(transfer, part, &error, answer);
                failed.insert((transfer, part));
            }
        }
        for (transfer, part, offset) in stored {
            if !failed.contains(&(transfer, part)) {
                answer(Input::ChunkStored { transfer, part, offset });
            }
        }
    }
}

#[cfg(test)]
mod tests;
