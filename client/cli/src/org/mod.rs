//! `sealdesk org ..`: keys and org.json.

mod init;
mod questions;
mod renew;
mod rotate;
mod set;
mod settings;
mod show;

use crate::args::OrgCommand;
use crate::error::Error;

/// Runs one of the commands.
///
/// # Errors
/// [`Error`].
pub fn run(command: &OrgCommand) -> Result<(), Error> {
    match command {
        OrgCommand::Init(args) => init::run(args),
        OrgCommand::Show(args) => show::run(args),
        OrgCommand::Set(args) => set::run(args),
        OrgCommand::RenewIssuer(args) => renew::run(args),
        OrgCommand::RotateRoot(args) => rotate::run(args),
    }
}
