//! What only the system's package manager can give: installed where we may, else the caller names the command.
//!
//! We may where `apt-get` is and we are root: a fresh container or virtual machine. Nobody is asked for a password, and
//! nobody's own machine is changed by a demo.

use crate::command::Program;
use crate::workspace::Workspace;

/// Installs Debian packages; whether all of them are there now.
pub(crate) fn install(workspace: &Workspace, packages: &[&str]) -> bool {
    let apt = || Program::new("apt-get", workspace.root()).env("DEBIAN_FRONTEND", "noninteractive");
    if !rustix::process::geteuid().is_root() || apt().arg("--version").first_line().is_none() {
        return false;
    }
    let install = || {
        let install = apt().args(["install", "--yes", "--no-install-recommends"]).args(packages);
        eprintln!("{}", install.shown());
        install.run().is_ok()
    };
    // A fresh machine has no lists of packages yet.
    install() || (apt().arg("update").run().is_ok() && install())
}
