//! The real program on a folder of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with passphrase files, and the program to run in it.
pub(crate) struct Desk {
    pub(crate) folder: TempDir,
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Succeeded, silent on stderr.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "stdout: {}", self.out);
        self
    }

    /// Failed with this exit code; stderr says what, whose fault, and what to do.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(self.err.starts_with("error: ") && self.err.contains("\nhint: "), "{}", self.err);
        assert!(self.err.contains(words), "{words:?} is not in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        for (name, text) in [
            ("admin.pass", "correct horse battery"),
            ("mira.pass", "mira's own words"),
            ("wrong.pass", "quite another one"),
        ] {
            desk.secret(name, text);
        }
        desk
    }

    /// A file for its owner alone.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealdesk"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("SEALDESK_HOME").env("TZ", "UTC").env("NO_COLOR", "1");
        command
    }

    /// Runs a command line (words without spaces) with nothing on stdin.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line, b"")
    }

    /// Runs a command line with this on stdin.
    pub(crate) fn run_with(&self, line: &str, input: &[u8]) -> Ran {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The program may end without reading it.
        let _ = child.stdin.take().unwrap().write_all(input);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// As [`Self::run_with`], and with the last input only when these words were printed.
    pub(crate) fn run_until(&self, line: &str, input: &[u8], words: &str, last: &[u8]) -> Ran {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdin.write_all(input).unwrap();
        let (mut out, mut bytes, mut waits) = (Vec::new(), [0; 4096], true);
        while let Ok(read @ 1..) = stdout.read(&mut bytes) {
            out.extend_from_slice(&bytes[..read]);
            if waits && String::from_utf8_lossy(&out).contains(words) {
                waits = false;
                stdin.write_all(last).unwrap();
            }
        }
        drop(stdin);
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// An organisation in `admin`, whose relay is not there.
    pub(crate) fn with_organisation() -> Self {
        let desk = Self::new();
        desk.run("org init --dir admin --demo --relay-url ws://127.0.0.1:9/ --passphrase-file admin.pass")
            .good();
        desk
    }

    /// And an invited agent whose device asks to be approved.
    pub(crate) fn with_request() -> Self {
        let desk = Self::with_organisation();
        desk.run("agent invite --dir admin --agent mira --name Mira --team support --out mira.invitation --passphrase-file admin.pass").good();
        desk.run("agent enroll --invitation mira.invitation --home mira --out mira.request --passphrase-file mira.pass").good();
        desk
    }

    /// And a certificate in the agent's vault.
    pub(crate) fn with_agent() -> Self {
        let desk = Self::with_request();
        desk.run("agent approve --dir admin --request mira.request --unchecked --out mira.certificate --passphrase-file admin.pass").good();
        desk.run("agent install --home mira --certificate mira.certificate --passphrase-file mira.pass")
            .good();
        desk
    }
}

/// Changes a text in a file.
#[track_caller]
pub(crate) fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "nothing was changed");
    std::fs::write(path, changed).unwrap();
}
