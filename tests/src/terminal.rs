//! A client at a pseudo-terminal: what a person types, and what stands on the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::ioctl_fionread;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, InputModes, tcflow, tcgetattr};
use tokio::process::{Child, Command};

use crate::office::Office;
use crate::process::program;
use crate::{PATIENCE, until, within};

/// A program at a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The program's side of the terminal.
    path: PathBuf,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Up to here the screen was looked at.
    from: usize,
}

impl Terminal {
    /// The agent of this id, for people.
    pub fn agent(office: &Office, url: &str, id: &str) -> Self {
        let (home, pass) = (office.text(id), office.text("agent.pass"));
        Self::start(&["agent", "chat", "--relay", url, "--home", &home, "--passphrase-file", &pass])
    }

    /// Starts the program with these arguments.
    ///
    /// # Panics
    /// When there is no pseudo-terminal.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(Path::new("."), arguments)
    }

    /// Starts it in this folder.
    ///
    /// # Panics
    /// When there is no pseudo-terminal.
    pub fn start_in(folder: &Path, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = PathBuf::from(name.to_str().unwrap());
        let slave = || Stdio::from(open(&path));
        // A session of its own, whose terminal this is: passphrases are asked for at /dev/tty.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program("client-under-test"))
            .args(arguments)
            .current_dir(folder)
            .kill_on_drop(true)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let (mut output, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let shown = Arc::clone(&screen);
        // Ends when the program has closed the terminal.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Self { child, path, keyboard, screen, from: 0 }
    }

    /// Presses keys, once the program has an editor to take them: what is typed before a prompt may be discarded.
    ///
    /// # Panics
    /// When the terminal is gone, or the program does not read.
    pub async fn types(&mut self, keys: &str) {
        let terminal = open(&self.path);
        until(async || edits(&terminal).then_some(())).await;
        self.answers(keys);
    }

    /// Presses keys for a program without an editor.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn answers(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Ends a line that is typed already, and presses other keys before the program asks for the next: its screen stands
    /// still meanwhile.
    ///
    /// # Panics
    /// When the terminal is gone, or the program does not read.
    pub async fn types_ahead(&mut self, ahead: &str) {
        let terminal = open(&self.path);
        tcflow(&terminal, Action::OOff).unwrap();
        self.answers("\r");
        until(async || (!edits(&terminal)).then_some(())).await;
        self.answers(ahead);
        until(async || (ioctl_fionread(&terminal).unwrap() == ahead.len() as u64).then_some(())).await;
        tcflow(&terminal, Action::OOn).unwrap();
    }

    /// Waits until this stands on the screen, below what was awaited before.
    ///
    /// # Panics
    /// When it does not come, with what stands there.
    pub async fn shows(&mut self, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let drawn = self.drawn();
            if let Some(at) = drawn.get(self.from..).and_then(|below| below.find(text)) {
                self.from += at + text.len();
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{text:?} does not stand on the screen:\n{drawn:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that was drawn, with the terminal's own sequences.
    ///
    /// # Panics
    /// Never.
    pub fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// The exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        within(self.child.wait()).await.unwrap().code()
    }
}

/// An editor takes lines without this, and gives it back when the line has ended.
fn edits(terminal: &File) -> bool {
    !tcgetattr(terminal).unwrap().input_modes.contains(InputModes::ICRNL)
}

/// Not as this test's own controlling terminal.
fn open(path: &Path) -> File {
    let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    File::options().read(true).write(true).custom_flags(flags).open(path).unwrap()
}
