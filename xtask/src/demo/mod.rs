//! demo
mod pages;

use clap::Args;

use crate::error::Result;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {}

pub(crate) fn run(_workspace: &Workspace, _options: &Options) -> Result<()> {
    Ok(())
}
