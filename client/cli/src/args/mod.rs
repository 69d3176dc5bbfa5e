//! The command line: flags and their checked values. docs/cli.md is the interface; a test runs its examples through here.

mod agent;
mod chat;
mod org;
mod passphrase;
mod values;

use clap::{Parser, Subcommand};

pub use agent::*;
pub use chat::*;
pub use org::*;
pub use passphrase::*;
pub use values::*;

/// End-to-end encrypted support chat: administration, agents and customers on the command line.
#[derive(Debug, Parser)]
#[command(name = "sealdesk", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  sealdesk org init --dir admin --demo
  sealdesk agent invite --dir admin --agent mira --name Mira --team support --out mira.invitation
  sealdesk agent chat --home mira
  sealdesk customer chat --org org.json

The stable interface, JSON lines and exit codes are described in docs/cli.md.";

/// The first word.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keys and org.json of an organisation
    #[command(subcommand)]
    Org(OrgCommand),
    /// Enrolment of agents, and their chat
    #[command(subcommand)]
    Agent(AgentCommand),
    /// A customer's chat
    #[command(subcommand)]
    Customer(CustomerCommand),
    /// Conversations of a vault, with the ids by which the next three name them
    List(ListArgs),
    /// Safety number of a conversation, and everyone who can read it
    Verify(VerifyArgs),
    /// Own transcript of a conversation
    Export(ExportArgs),
    /// Destroy a conversation in a vault
    Delete(DeleteArgs),
    /// Change the passphrase of a vault or of an administrator's key
    Passphrase(PassphraseArgs),
}
