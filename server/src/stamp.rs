//! Whether a file changed: by time, length and inode, since a file may be read half-written and finished within one tick of
//! the file system's clock, or replaced by one that carries an older time.

use core::fmt::Display;
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

/// Files that are read again when they change, and while they could not be used: what was wrong may lie in who may read
/// them, in the clock, in this process, and be mended without a change of the files.
#[derive(Debug)]
pub struct Watch<S> {
    /// As they were when they were taken.
    taken: S,
    /// As they were when they were refused last, and why.
    refused: Option<(S, String)>,
}

impl<S: PartialEq> Watch<S> {
    /// Files that were taken so.
    pub fn new(taken: S) -> Self {
        Self { taken, refused: None }
    }

    /// Takes the files if they are not those that were taken last. None: they are, or what is wrong with them was told.
    ///
    /// # Errors
    /// `take`'s, once for each reason and each change.
    pub fn refresh<T, E: Display>(
        &mut self,
        found: S,
        take: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if self.taken == found {
            self.refused = None;
            return Ok(None);
        }
        match take() {
            Ok(taken) => {
                *self = Self::new(found);
                Ok(Some(taken))
            }
            Err(error) => {
                let refused = Some((found, error.to_string()));
                let told = core::mem::replace(&mut self.refused, refused);
                if told == self.refused { Ok(None) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_tried_again_and_told_once() {
        let mut watch = Watch::new(1);
        let good = || Ok::<_, &str>("new");
        assert_eq!(watch.refresh(1, good), Ok(None), "no change");
        let unreadable = || Err::<&str, _>("unreadable");
        assert_eq!(watch.refresh(2, unreadable), Err("unreadable"));
        assert_eq!(watch.refresh(2, unreadable), Ok(None), "told");
        let early = || Err::<&str, _>("not yet valid");
        assert_eq!(watch.refresh(2, early), Err("not yet valid"), "something else");
        assert_eq!(watch.refresh(3, early), Err("not yet valid"), "another change");
        assert_eq!(watch.refresh(3, good), Ok(Some("new")), "mended without a change");
        assert_eq!(watch.refresh(3, good), Ok(None));
        assert_eq!(watch.refresh(4, unreadable), Err("unreadable"));
        assert_eq!(watch.refresh(3, good), Ok(None), "back");
        assert_eq!(watch.refresh(4, unreadable), Err("unreadable"));
    }

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
