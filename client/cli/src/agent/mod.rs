//! `sealdesk agent ..`: enrolment. The chat is in [`crate::chat`].

mod approve;
mod endorse;
mod enroll;
mod install;
mod invite;
mod list;
mod revoke;

pub(crate) use install::{Made, is_later, made, pick_up, verify};

use crate::args::AgentCommand;
use crate::error::Error;

/// Runs one of the commands.
///
/// # Errors
/// [`Error`].
pub fn run(command: &AgentCommand) -> Result<(), Error> {
    match command {
        AgentCommand::Invite(args) => invite::run(args),
        AgentCommand::Enroll(args) => enroll::run(args),
        AgentCommand::Endorse(args) => endorse::run(args),
        AgentCommand::Approve(args) => approve::run(args),
        AgentCommand::Install(args) => install::run(args),
        AgentCommand::List(args) => list::run(args),
        AgentCommand::Revoke(args) => revoke::run(args),
        AgentCommand::Chat(args) => crate::chat::agent(args),
    }
}
