//! `xtask bound`: a program ends when the one that started it is killed.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a process runs; one that has ended and waits to be collected does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(PathBuf::from("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

fn becomes(pid: &str, program: &str) -> bool {
    let name = std::fs::read_to_string(PathBuf::from("/proc").join(pid).join("comm")).unwrap_or_default();
    name.trim() == program
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn kill_9_of_the_parent_ends_the_program() {
    let mut parent = Command::new("sh")
        .args(["-c", "\"$0\" bound $$ sleep 600 & echo $!; wait", XTASK])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut pid = String::new();
    BufReader::new(parent.stdout.take().expect("stdout")).read_line(&mut pid).expect("its child's id");
    let pid = pid.trim();
    until("it becomes the program", || becomes(pid, "sleep"));
    assert!(runs(pid), "as long as its parent lives, it runs");
    parent.kill().expect("SIGKILL");
    parent.wait().expect("ended");
    until("it ends with its parent", || !runs(pid));
}

#[test]
fn a_parent_that_died_before_is_noticed() {
    let refused = Command::new(XTASK).args(["bound", "1", "true"]).output().expect("starts");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("has ended"), "{said}");
}

#[test]
fn arguments_reach_the_program_unchanged() {
    let output = Command::new(XTASK)
        .arg("bound")
        .arg(std::process::id().to_string())
        .args(["printf", "%s|", "--config", "-x", "a b"])
        .output()
        .expect("starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--config|-x|a b|");
}
