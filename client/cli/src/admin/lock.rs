//! One command at a time changes the administrator's folder: each reads org.json and the records, and writes what follows from
//! them. Two at once would lose what one of them wrote: a revocation, or a device under its serial.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::ops::Deref;
use std::time::{Duration, Instant};

use sealdesk_native::private_file::FileError;

use super::AdminDir;
use crate::error::Error;

/// How long another command is waited for: two that derive a key each are done by then on a slow machine; one that asks for
/// a passphrase takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The folder, held by this command until it ends. Only through it anything in the folder is changed.
#[derive(Debug)]
pub struct LockedDir {
    dir: AdminDir,
    _lock: File,
}

impl Deref for LockedDir {
    type Target = AdminDir;

    fn deref(&self) -> &AdminDir {
        &self.dir
    }
}

impl AdminDir {
    /// Holds the folder before anything in it is read that is to be changed.
    ///
    /// # Errors
    /// [`Error::Busy`] with the process that holds it, [`Error::File`].
    pub fn lock(self) -> Result<LockedDir, Error> {
        let path = self.0.join("lock");
        let at = |error| Error::from(FileError::at(&path)(error));
        if !self.0.is_dir() {
            return Err(FileError::Missing(self.0.clone()).into());
        }
        // Nothing is left in a folder that is none of an administrator.
        if !self.org().exists() {
            return Err(Error::NoOrganisation(self.0));
        }
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(at)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).map_err(at)?;
                    return Err(Error::Busy { dir: self.0.clone(), holder: holder.trim().into() });
                }
                Err(TryLockError::Error(error)) => return Err(at(error)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(at)?;
        writeln!(file, "{}", std::process::id()).map_err(at)?;
        Ok(LockedDir { dir: self, _lock: file })
    }
}
