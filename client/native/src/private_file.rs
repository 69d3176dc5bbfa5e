//! Small files that must be whole or absent: written beside, synced, renamed, the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// 0600 (where the system has such modes).
    Owner,
    /// As the umask says.
    Public,
}

/// What failed with which file. At fault: this machine or whoever named the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Not there.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// There already.
    #[error("{0} exists already and is not overwritten")]
    Exists(PathBuf),
    /// A folder, where a file was meant.
    #[error("{0} is a folder")]
    Folder(PathBuf),
    /// Larger than such a file may be.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
    /// Readable by others.
    #[error("{0} can be read by other users of this machine")]
    Exposed(PathBuf),
    /// Anything else.
    #[error("{}", in_words(.path, .source))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    /// Names the file that an operation failed on.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.into()),
            io::ErrorKind::AlreadyExists => Self::taken(path),
            io::ErrorKind::IsADirectory => Self::Folder(path.into()),
            _ => Self::Io { path: path.into(), source },
        }
    }

    /// Something of that name is there.
    fn taken(path: &Path) -> Self {
        if path.is_dir() { Self::Folder(path.into()) } else { Self::Exists(path.into()) }
    }

    /// No space, or no more of it for this user: a fault of the machine, not of the path.
    pub fn disk_is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }

    /// What to do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "Check the path.",
            Self::Exists(_) => "Choose another name, or move the old file away.",
            Self::Folder(_) => "Give the name of a file.",
            Self::TooLarge { .. } => "Check that it is the right file.",
            Self::Exposed(_) => "Make it yours alone: chmod 600 FILE.",
            _ if self.disk_is_full() => "Free some disk space.",
            Self::Io { .. } => "Check the file's and the folder's permissions.",
        }
    }
}

/// The system's own words only where these have none.
fn in_words(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!("{path} is not open to this user"),
        io::ErrorKind::NotADirectory => format!("{path} cannot be there: a part of that path is no folder"),
        io::ErrorKind::ReadOnlyFilesystem => format!("{path} cannot be written: its disk is read-only"),
        io::ErrorKind::StorageFull => format!("{path} cannot be written: the disk is full"),
        io::ErrorKind::QuotaExceeded => format!("{path} cannot be written: this user has no more space"),
        io::ErrorKind::FileTooLarge => {
            format!("{path} cannot be written: it would be too large for that disk, or for this user")
        }
        io::ErrorKind::InvalidFilename => format!("{path} cannot be a file's name"),
        _ => format!("{path}: {source}"),
    }
}

/// Refuses a name that is taken, before anything is done for it.
///
/// # Errors
/// [`FileError::Exists`], [`FileError::Folder`].
pub fn demand_absent(path: &Path) -> Result<(), FileError> {
    if path.exists() { Err(FileError::taken(path)) } else { Ok(()) }
}

/// Writes a new file; what exists stays.
///
/// # Errors
/// [`FileError::Exists`], or what the system says; in both cases nothing is left behind.
pub fn create(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let temporary = write_beside(path, bytes, access)?;
    give_name(&temporary, path).map_err(FileError::at(path))?;
    sync_folder(path)
}

/// Gives a finished file its name, which must not exist; the temporary name is gone afterwards, whatever happens.
pub(crate) fn give_name(temporary: &Path, path: &Path) -> io::Result<()> {
    place(temporary, path, |from, to| fs::hard_link(from, to))
}

/// A hard link, unlike a rename, fails when the target exists. Sticks (FAT, exFAT) and some shares have none: there the name
/// is taken by an empty file, which only one can create, and the finished one renamed over it.
fn place(temporary: &Path, path: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let linked = match link(temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let taken = OpenOptions::new().write(true).create_new(true).open(path);
            taken.and_then(|_| fs::rename(temporary, path).inspect_err(|_| drop(fs::remove_file(path))))
        }
        other => other,
    };
    let _ = fs::remove_file(temporary);
    linked
}

/// Writes a file, replacing what is there in one step.
///
/// # Errors
/// What the system says; the old file is whole then.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let temporary = write_beside(path, bytes, access)?;
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(FileError::at(path)(error));
    }
    sync_folder(path)
}

fn write_beside(path: &Path, bytes: &[u8], access: Access) -> Result<PathBuf, FileError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = fs::remove_file(&temporary);
    let written = open_new(&temporary, access).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(making(path)(error));
    }
    Ok(temporary)
}

/// Names the file that could not be made; when its folder is missing, what people have to make.
pub(crate) fn making(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing(folder_of(path).into()),
        _ => FileError::at(path)(error),
    }
}

/// Creates a file for writing; it must not exist.
///
/// # Errors
/// What the system says.
pub fn open_new(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename or creation in the file's folder durable.
///
/// # Errors
/// What the system says.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_of(path);
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(FileError::at(folder))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Makes a folder for this user alone, if it is not there.
///
/// # Errors
/// What the system says.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(FileError::at(path))
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::at(path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::at(path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.into(), limit });
    }
    Ok(bytes)
}

/// Refuses a secret that other users can read.
///
/// # Errors
/// [`FileError::Exposed`], or what the system says.
pub fn demand_owner_only(path: &Path) -> Result<(), FileError> {
    let metadata = fs::metadata(path).map_err(FileError::at(path))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(FileError::Exposed(path.into()));
        }
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_never_overwrites_and_replace_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, b"one", Access::Owner).unwrap();
        assert!(matches!(create(&path, b"two", Access::Owner), Err(FileError::Exists(_))));
        assert_eq!(read(&path, 10).unwrap(), b"one");
        replace(&path, b"two", Access::Owner).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn where_there_are_no_hard_links_files_are_made_all_the_same_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("a"), dir.path().join("a.new"));
        let unsupported = |_: &Path, _: &Path| Err(io::ErrorKind::PermissionDenied.into());
        fs::write(&temporary, "one").unwrap();
        place(&temporary, &path, unsupported).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"one");
        fs::write(&temporary, "two").unwrap();
        let taken = place(&temporary, &path, unsupported).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path, 10).unwrap(), b"one");
        let lost = place(&dir.path().join("none"), &dir.path().join("b"), unsupported).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn limits_missing_files_and_folders_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(matches!(read(&path, 10), Err(FileError::Missing(p)) if p == path));
        create(&path, b"0123456789", Access::Public).unwrap();
        assert!(matches!(read(&path, 9), Err(FileError::TooLarge { limit: 9, .. })));
        let lost = dir.path().join("no/such");
        assert!(matches!(create(&lost, b"", Access::Owner), Err(FileError::Missing(p)) if p.ends_with("no")));
    }

    #[test]
    fn what_is_in_the_way_is_said_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        demand_absent(&path).unwrap();
        create(&path, b"x", Access::Owner).unwrap();
        let said = |refused: FileError| {
            let text = refused.to_string();
            assert!(text.contains(dir.path().to_str().unwrap()) && !text.contains("os error"), "{text}");
            format!("{text}. {}", refused.hint())
        };
        for taken in [demand_absent(&path), create(&path, b"y", Access::Owner)] {
            let text = said(taken.unwrap_err());
            assert!(text.contains("exists already") && text.contains("another name"), "{text}");
        }
        for folder in [
            demand_absent(dir.path()),
            create(dir.path(), b"y", Access::Owner),
            read(dir.path(), 9).map(drop),
        ] {
            let text = said(folder.unwrap_err());
            assert!(text.contains("is a folder") && text.contains("name of a file"), "{text}");
        }
        let below = said(create(&path.join("b"), b"y", Access::Owner).unwrap_err());
        assert!(below.contains("no folder"), "{below}");
        let long = said(create(&dir.path().join("x".repeat(300)), b"y", Access::Owner).unwrap_err());
        assert!(long.contains("name"), "{long}");
        for kind in
            [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::StorageFull]
        {
            let text = said(FileError::at(&path)(kind.into()));
            assert!(!text.contains(&io::Error::from(kind).to_string()), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, b"x", Access::Owner).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        demand_owner_only(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(demand_owner_only(&path), Err(FileError::Exposed(_))));
    }
}
