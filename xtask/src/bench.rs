//! `cargo xtask bench`: builds the relay and tests/load optimised and runs the latter. Two builds, so that the relay is
//! the one that is shipped, without what tests switch on.

use clap::Args;

use crate::command::Program;
use crate::error::Result;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Names of benchmarks, or of groups (ratchet, relay); none means all of them
    names: Vec<String>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// A short run that proves that everything works; its numbers are rough
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    for package in ["sealdesk-relay", "sealdesk-load"] {
        workspace.cargo().args(["build", "--release", "-p", package]).run()?;
    }
    let mut load = Program::new(workspace.built("release", "sealdesk-load"), workspace.root());
    if options.json {
        load = load.arg("--json");
    }
    if options.quick {
        load = load.arg("--quick");
    }
    load.args(&options.names).run_in_terminal()
}
