//! `cargo xtask web --check-reproducible`: whoever builds the same commit gets the same bytes, wherever it lies.
//!
//! 1. The page is built for publishing, here.
//! 2. The files that git knows are copied to another path, and built there with a target folder of their own.
//! 3. Both outputs are compared, name by name and byte by byte.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Options, build, files};
use crate::command::Program;
use crate::error::{Error, Result};
use crate::workspace::Workspace;

pub(crate) fn check(workspace: &Workspace, options: &Options) -> Result<()> {
    let place = workspace.target().join("reproducible");
    let elsewhere = place.join("a-checkout-with-another-and-longer-path");
    remove(&elsewhere)?;
    copy_sources(workspace, &elsewhere)?;
    let (here, there) = (place.join("here"), place.join("there"));
    build(workspace, &publishing(options, &here))?;
    let copy = Workspace::at(elsewhere.clone(), place.join("target-of-the-other"));
    build(&copy, &publishing(options, &there))?;
    remove(&elsewhere)?;
    let differences = compare(&here, &there)?;
    if differences.is_empty() {
        println!("reproducible: {} files, the same bytes from two folders", files(&here)?.len());
        return Ok(());
    }
    for difference in &differences {
        println!("{difference}");
    }
    Err(Error::Found(format!(
        "{} files differ between {} and {}",
        differences.len(),
        here.display(),
        there.display()
    )))
}

fn publishing(options: &Options, out: &Path) -> Options {
    Options { org: options.org.clone(), release: true, out: Some(out.to_owned()), ..Options::default() }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(Error::file("remove", folder)) } else { Ok(()) }
}

/// As they are in the folder now, also when they are not committed.
fn copy_sources(workspace: &Workspace, to: &Path) -> Result<()> {
    let listed = Program::new("git", workspace.root()).args(["ls-files", "-z"]).output()?;
    for name in listed.split_terminator('\0') {
        let (from, to) = (workspace.root().join(name), to.join(name));
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        fs::copy(&from, &to).map_err(Error::file("copy", &from))?;
    }
    Ok(())
}

/// What is different, a line for each file.
fn compare(here: &Path, there: &Path) -> Result<Vec<String>> {
    let names = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(files(folder)?
            .iter()
            .filter_map(|file| file.strip_prefix(folder).ok().map(Path::to_owned))
            .collect())
    };
    let (mine, theirs) = (names(here)?, names(there)?);
    let alone = |names: &[PathBuf], others: &[PathBuf], where_: &Path| -> Vec<String> {
        let only = names.iter().filter(|name| !others.contains(name));
        only.map(|name| format!("{} is only in {}", name.display(), where_.display())).collect()
    };
    let mut found = alone(&mine, &theirs, here);
    found.extend(alone(&theirs, &mine, there));
    for name in mine.iter().filter(|name| theirs.contains(name)) {
        let read = |folder: &Path| fs::read(folder.join(name)).map_err(Error::file("read", name));
        let (one, other) = (read(here)?, read(there)?);
        if one != other {
            let first =
                one.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
            found.push(format!("{} differs from byte {first} on", name.display()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_one_missing_file_and_one_more_are_found() {
        let place = tempfile::tempdir().expect("folder");
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        for (folder, name, bytes) in
            [(&here, "same", "abc"), (&there, "same", "abc"), (&here, "core", "abc"), (&there, "core", "abd")]
        {
            fs::create_dir_all(folder.join("inner")).expect("folder");
            fs::write(folder.join("inner").join(name), bytes).expect("file");
        }
        fs::write(here.join("mine"), "").expect("file");
        fs::write(there.join("theirs"), "").expect("file");
        let found = compare(&here, &there).expect("compared");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|line| line == "inner/core differs from byte 2 on"), "{found:?}");
        fs::remove_file(here.join("mine")).expect("removed");
        fs::remove_file(there.join("theirs")).expect("removed");
        fs::write(there.join("inner/core"), "abc").expect("file");
        assert!(compare(&here, &there).expect("compared").is_empty());
    }
}
