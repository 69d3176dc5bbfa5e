//! The data folder: for the relay's user alone, whoever made it; and whether a restore into it came to its end.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode};

/// What others may not.
const OTHERS: u32 = 0o077;

/// Lets this process make files and folders for its own user only.
pub fn private_files() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Makes a folder for the relay's user alone. One that is there, made by systemd or by hand, becomes private.
///
/// # Errors
/// What the system says: it belongs to somebody else.
pub fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    keep_private(path)
}

/// Whether this process could make and use the folder, as far as that can be told without making anything.
///
/// # Errors
/// What is not a folder, or may not be written.
pub fn usable(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(&path);
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", there.display()));
    if !std::fs::metadata(there).map_err(explain)?.is_dir() {
        return Err(explain(io::ErrorKind::NotADirectory.into()));
    }
    rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| explain(error.into()))
}

/// Takes away what others may do in a folder, if it is there.
///
/// # Errors
/// What the system says: it belongs to somebody else.
pub fn keep_private(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & OTHERS == 0 => Ok(()),
        Ok(_) => std::fs::set_permissions(path, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes what was created, renamed or removed in a folder durable.
///
/// # Errors
/// What the system says.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn restoring(data: &Path) -> PathBuf {
    data.join("restoring")
}

/// Whether a restore began here and did not end.
pub fn is_restoring(data: &Path) -> bool {
    restoring(data).exists()
}

/// Marks a new folder, durably, as what a restore makes. The mark goes where the folder goes, so that one which was put back
/// by hand is never taken for it.
///
/// # Errors
/// What the system says.
pub fn mark_unfinished(path: &Path) -> io::Result<()> {
    File::create(restoring(path))?.sync_all()?;
    sync(path)
}

/// Removes what a restore that did not end made at `path`. Answers false if there is something else: it stays.
///
/// # Errors
/// What the system says.
pub fn remove_unfinished(data: &Path, path: &Path) -> io::Result<bool> {
    // An empty folder may lack the mark: it was made in the moment of the end.
    let is_empty = || Ok::<_, io::Error>(std::fs::read_dir(path)?.next().is_none());
    if !path.exists() {
        return Ok(true);
    }
    if !is_restoring(data) || !(is_restoring(path) || is_empty()?) {
        return Ok(false);
    }
    std::fs::remove_dir_all(path).map(|()| true)
}

/// Notes durably that a restore begins: until it ended, what is in the folder is no store.
///
/// # Errors
/// What the system says.
pub fn begin_restoring(data: &Path) -> io::Result<()> {
    File::create(restoring(data))?.sync_all()?;
    sync(data)
}

/// The restore is whole, with what it `made`. From the moment when the folder's own mark is gone that counts, and before it
/// the restore can be repeated.
///
/// # Errors
/// What the system says.
pub fn end_restoring(data: &Path, made: [&Path; 2]) -> io::Result<()> {
    for path in made {
        sync(path)?;
    }
    sync(data)?;
    std::fs::remove_file(restoring(data))?;
    sync(data)?;
    forget_restoring(made)
}

/// Takes the marks off what a restore `made` that has ended.
///
/// # Errors
/// What the system says.
pub fn forget_restoring(made: [&Path; 2]) -> io::Result<()> {
    for path in made {
        match std::fs::remove_file(restoring(path)) {
            Ok(()) => sync(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_that_is_cut_short_at_its_end_is_repeated_or_whole() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let (store, blobs) = (data.join("store"), data.join("blobs"));
        begin_restoring(data).unwrap();
        for made in [&store, &blobs] {
            std::fs::create_dir(made).unwrap();
            mark_unfinished(made).unwrap();
        }
        // It comes no further than to the first of the two.
        std::fs::remove_file(restoring(&store)).unwrap();
        std::fs::create_dir(restoring(&store)).unwrap();
        end_restoring(data, [&store, &blobs]).unwrap_err();
        assert!(!is_restoring(data), "the relay takes it");
        std::fs::remove_dir(restoring(&store)).unwrap();
        assert!(!remove_unfinished(data, &blobs).unwrap(), "and no other restore removes it");
        forget_restoring([&store, &blobs]).unwrap();
        assert!(!is_restoring(&blobs));
        forget_restoring([&store, &blobs]).unwrap();
    }
}
