//! The demo's folder: who uses it, which ports it had, its passphrases.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Marks a folder as a demo's.
const STATE: &str = "demo.json";
const LOCK: &str = "demo.lock";
/// All that a demo leaves; nothing else is ever wiped, whoever put it there.
const OURS: [&str; 13] = [
    STATE,
    "admin",
    "admin.pass",
    "agent",
    "agent.certificate",
    "agent.invitation",
    "agent.log",
    "agent.pass",
    "agent.request",
    "page",
    "relay",
    "relay.log",
    "relay.toml",
];

/// What a second start needs to be the same demo again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) page: u16,
    pub(crate) relay: u16,
}

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    // Held for as long as the demo runs.
    _lock: File,
}

impl Folder {
    /// Opens the folder for this demo alone; creates it when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Folder> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::file("create", path))?;
        let path = fs::canonicalize(path).map_err(Error::file("open", path))?;
        let lock_path = path.join(LOCK);
        let ours = path.join(STATE).exists() || lock_path.exists();
        if !ours && fs::read_dir(&path).map_err(Error::file("read", &path))?.next().is_some() {
            return Err(Error::Input {
                what: format!("{} holds files that are no demo's", path.display()),
                hint: "name an empty or a new folder with --data DIR".to_owned(),
            });
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(Error::file("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Input {
                what: format!("another demo is running in {}", path.display()),
                hint: "stop it with Ctrl-C, or name another folder with --data DIR".to_owned(),
            }),
            Err(fs::TryLockError::Error(source)) => {
                Err(Error::File { action: "lock", path: lock_path, source })
            }
        }
    }

    /// Removes all that an earlier demo left.
    pub(crate) fn wipe(&self) -> Result<()> {
        for path in OURS.map(|name| self.join(name)) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::File { action: "remove", path, source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Of the last start, when there was one.
    pub(crate) fn ports(&self) -> Result<Option<Ports>> {
        let path = self.join(STATE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::Input {
                what: format!("{} is damaged: {error}", path.display()),
                hint: "start anew with --fresh".to_owned(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { action: "read", path, source }),
        }
    }

    pub(crate) fn remember(&self, ports: Ports) -> Result<()> {
        let path = self.join(STATE);
        let json = serde_json::to_string(&ports)
            .map_err(|error| Error::Answer { program: "serde_json".to_owned(), said: error.to_string() })?;
        fs::write(&path, json).map_err(Error::file("write", &path))
    }

    /// The file with the passphrase of that name, readable by its owner only; made at random when it is missing. It is
    /// whole or absent, so that a demo that is killed here starts again.
    pub(crate) fn passphrase(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(&format!("{name}.pass"));
        // An earlier version could leave an empty one.
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            return Ok(path);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Answer {
            program: "the system's random number generator".to_owned(),
            said: error.to_string(),
        })?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let beside = self.join(&format!("{name}.pass.new"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&beside).map_err(Error::file("create", &beside))?;
        writeln!(file, "{text}").map_err(Error::file("write", &beside))?;
        fs::rename(&beside, &path).map_err(Error::file("move", &beside))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_has_one_demo_at_a_time() {
        let place = tempfile::tempdir().expect("folder");
        let first = Folder::open(&place.path().join("demo")).expect("first");
        let second = Folder::open(&place.path().join("demo"));
        assert!(
            matches!(second, Err(Error::Input { ref what, .. }) if what.contains("another demo")),
            "{second:?}"
        );
        drop(first);
        Folder::open(&place.path().join("demo")).expect("free again");
    }

    #[test]
    fn a_stranger_s_folder_is_refused_and_so_never_wiped() {
        let place = tempfile::tempdir().expect("folder");
        fs::write(place.path().join("thesis.txt"), "years of work").expect("file");
        assert!(Folder::open(place.path()).is_err());
        assert!(place.path().join("thesis.txt").exists());
    }

    #[test]
    fn passphrases_are_private_and_stay_and_a_wipe_makes_new_ones() {
        let place = tempfile::tempdir().expect("folder");
        let folder = Folder::open(place.path()).expect("open");
        let path = folder.passphrase("admin").expect("made");
        let first = fs::read_to_string(&path).expect("read");
        assert!(first.trim().len() >= 8);
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        folder.passphrase("admin").expect("kept");
        assert_eq!(fs::read_to_string(&path).expect("read"), first);
        fs::write(place.path().join("thesis.txt"), "put here since").expect("file");
        folder.wipe().expect("wiped");
        assert!(!path.exists());
        assert!(place.path().join("thesis.txt").exists(), "no demo left it");
        // What a demo that was killed in the middle of writing would have left.
        fs::write(&path, "").expect("empty");
        folder.passphrase("admin").expect("made anew");
        let second = fs::read_to_string(&path).expect("read");
        assert!(second.trim().len() >= 8);
        assert_ne!(second, first);
    }

    #[test]
    fn ports_are_remembered_and_a_damaged_file_says_so() {
        let place = tempfile::tempdir().expect("folder");
        let folder = Folder::open(place.path()).expect("open");
        assert_eq!(folder.ports().expect("none"), None);
        let ports = Ports { page: 1, relay: 2 };
        folder.remember(ports).expect("written");
        assert_eq!(folder.ports().expect("some"), Some(ports));
        fs::write(folder.join(STATE), "{").expect("damage");
        assert!(folder.ports().is_err());
    }
}
