//! Every fuzz target's corpus through its body, on stable Rust.
//!
//! `SEALDESK_WRITE_CORPUS=1 cargo test -p sealdesk-tests corpus` writes the seeds anew from the golden vectors and from real
//! runs; what fuzzing found beyond them stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sealdesk_protocol::testing::fuzz::{TARGETS, seeds};

const GOLDEN_FRAMES: &str = include_str!("../../../protocol/tests/vectors/frames.hex");

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of that name");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{target}: the corpus is there, {} files", files.len());
    for file in files {
        let data = fs::read(&file).unwrap();
        let verdict = std::panic::catch_unwind(|| body(&data));
        assert!(verdict.is_ok(), "{} breaks the property of {target}", file.display());
    }
}

#[test]
fn frame() {
    replay("frame");
}

#[test]
fn envelope() {
    replay("envelope");
}

#[test]
fn certificate() {
    replay("certificate");
}

#[test]
fn handshake() {
    replay("handshake");
}

#[test]
fn attachment() {
    replay("attachment");
}

#[test]
fn stored_state() {
    replay("stored_state");
}

/// A seed that is not in the corpus, or no longer as it is generated, tests less than it says.
#[test]
fn the_corpus_holds_every_seed() {
    let seeds = seeds(GOLDEN_FRAMES);
    let write = std::env::var_os("SEALDESK_WRITE_CORPUS").is_some();
    let mut names = BTreeSet::new();
    for (target, name, bytes) in seeds {
        assert!(names.insert((target, name.clone())), "{target}/{name} exists twice");
        let path = folder(target).join(&name);
        if write {
            fs::create_dir_all(folder(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|stored| stored == bytes),
            "{} is stale or missing; SEALDESK_WRITE_CORPUS=1 writes it",
            path.display()
        );
    }
    assert_eq!(TARGETS.len(), names.iter().map(|(target, _)| target).collect::<BTreeSet<_>>().len());
}

/// The targets of cargo-fuzz are exactly the bodies.
#[test]
fn every_body_has_its_fuzz_target() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{target}.rs"));
        assert!(fs::read_to_string(file).unwrap().contains(&format!("fuzz::{target}(data)")), "{target}");
    }
}
