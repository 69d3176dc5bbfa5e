//! Programs that do not outlive the demo, even when it is killed with SIGKILL and cannot stop them.
//!
//! 1. The demo starts `xtask bound PARENT PROGRAM ARGUMENTS...` in the program's place.
//! 2. That asks the kernel for a SIGTERM at the death of its parent, and then looks whether that still lives.
//! 3. It becomes the program (exec), which keeps the request.
//!
//! Linux only; elsewhere the program is started as it is.

use std::process::Command;

use crate::error::{Error, Result};

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{Options, run};

/// A command that runs `program`; arguments may be added. The kernel watches the thread that starts it, which must be
/// one that lives as long as the demo.
pub(crate) fn command(program: &std::path::Path) -> Result<Command> {
    if !cfg!(target_os = "linux") {
        return Ok(Command::new(program));
    }
    let xtask = std::env::current_exe()
        .map_err(|source| Error::Start { command: "xtask bound".to_owned(), source })?;
    let mut command = Command::new(xtask);
    command.arg("bound").arg(std::process::id().to_string()).arg(program);
    Ok(command)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use clap::Args;
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    use crate::error::{Error, Result};

    #[derive(Debug, Args)]
    pub(crate) struct Options {
        /// Process id of the demo
        parent: i32,
        /// What to become
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    }

    /// Returns only when something went wrong.
    pub(crate) fn run(options: &Options) -> Result<()> {
        let failed =
            |source| Error::Start { command: options.program.to_string_lossy().into_owned(), source };
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| failed(error.into()))?;
        // A death before the request gives no signal.
        if getppid().map(Pid::as_raw_pid) != Some(options.parent) {
            return Err(Error::Found("the program that started this one has ended".to_owned()));
        }
        Err(failed(Command::new(&options.program).args(&options.arguments).exec()))
    }
}
