//! Running other programs: what they print goes to stderr (stdout belongs to our own answers), and
//! a failure names the command line.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
}

impl Program {
    pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Program {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        Program { command }
    }

    /// The cargo that runs us, so that all builds use one toolchain.
    pub(crate) fn cargo(folder: &Path) -> Program {
        Program::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")), folder)
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Program {
        self.command.env_remove(name);
        self
    }

    /// The command line as a person would type it.
    pub(crate) fn shown(&self) -> String {
        let mut shown = short(self.command.get_program());
        for argument in self.command.get_args() {
            shown.push(' ');
            shown.push_str(&argument.to_string_lossy());
        }
        shown
    }

    /// Runs to the end; stdout goes to our stderr.
    pub(crate) fn run(mut self) -> Result<()> {
        self.command.stdout(io::stderr());
        self.finish()
    }

    /// Runs to the end; what it says on stdout is for somebody else.
    pub(crate) fn run_quietly(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs to the end with the terminal's own stdin and stdout.
    pub(crate) fn run_in_terminal(mut self) -> Result<()> {
        self.command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        self.finish()
    }

    fn finish(mut self) -> Result<()> {
        let shown = self.shown();
        let status =
            self.command.status().map_err(|source| Error::Start { command: shown.clone(), source })?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Failed { command: shown, status: status.to_string() })
        }
    }

    /// Runs to the end and returns stdout; stderr is shown.
    pub(crate) fn output(mut self) -> Result<String> {
        let shown = self.shown();
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| Error::Start { command: shown.clone(), source })?;
        if !output.status.success() {
            return Err(Error::Failed { command: shown, status: output.status.to_string() });
        }
        String::from_utf8(output.stdout)
            .map_err(|_| Error::Answer { program: shown, said: "bytes that are no UTF-8".to_owned() })
    }

    /// Runs to the end and reads stdout as one JSON document.
    pub(crate) fn json(self) -> Result<Value> {
        let shown = self.shown();
        serde_json::from_str(&self.output()?)
            .map_err(|error| Error::Answer { program: shown, said: error.to_string() })
    }

    /// The first line that the program prints, if it can be started and ends well; silent otherwise.
    pub(crate) fn first_line(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

fn short(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}
