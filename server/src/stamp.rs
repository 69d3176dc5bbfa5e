//! Whether a file changed: by time, length and inode, since a file may be read half-written and finished within one tick of
//! the file system's clock, or replaced by one that carries an older time.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    /// Of a file as it is now; take it before reading.
    pub fn of(path: &Path) -> Self {
        let found = std::fs::metadata(path);
        Self(found.ok().and_then(|found| Some((found.modified().ok()?, found.len(), found.ino()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_time_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let time = SystemTime::UNIX_EPOCH;
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).unwrap();
            std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
            Stamp::of(path)
        };
        let half = write(&path, "ha");
        assert_eq!(Stamp::of(&path), half);
        assert_ne!(write(&path, "half"), half, "by length");
        let before = Stamp::of(&path);
        let other = folder.path().join("b");
        write(&other, "flah");
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), before, "by inode");
        std::fs::remove_file(&path).unwrap();
        assert_ne!(Stamp::of(&path), before);
    }
}
