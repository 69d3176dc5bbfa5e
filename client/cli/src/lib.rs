//! `sealdesk`: administration, agents and customers on the command line (docs/cli.md).
//!
//! ```text
//! args       the command line
//! admin      the administrator's folder: encrypted keys, org.json, records of agents
//! org        org init, show, set, renew-issuer, rotate-root
//! agent      agent invite, enroll, endorse, approve, install, list, revoke
//! files      invitation, request, endorsement, certificate
//! home       a vault's folder: open it, find its org.json
//! chat       customer chat, agent chat: for people, and as JSON lines
//! own        list, verify, export, delete
//! passphrase change the passphrase of a vault or key
//! display    other people's text on a terminal
//! terminal   questions and passphrases
//! error      whose fault, what to do, exit code
//! ```

#![warn(missing_docs)]

pub mod admin;
pub mod agent;
pub mod args;
pub mod chat;
pub mod display;
pub mod error;
pub mod files;
pub mod home;
pub mod org;
pub mod own;
pub mod passphrase;
mod revocation;
pub mod terminal;
pub mod time;

use std::io;
use std::process::ExitCode;

use args::{Cli, Command, CustomerCommand};
use clap::Parser;
use error::Error;

/// What a shell says of a program that SIGPIPE ended.
const PIPE: u8 = 141;

/// Runs the program.
pub fn main() -> ExitCode {
    // A wrong command line ends here, with clap's own text and exit code 2.
    let cli = Cli::parse();
    logs();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it, `head` for example, has enough.
        Err(Error::Terminal(gone)) if gone.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(PIPE),
        Err(error) => {
            // Paths, names and a relay's words may stand in it.
            eprintln!("error: {} ({})", display::line(&error.to_string()), fault(&error));
            eprintln!("hint: {}", display::line(&error.hint()));
            for choice in error.choices() {
                eprintln!("    {}", display::line(choice));
            }
            ExitCode::from(error.exit() as u8)
        }
    }
}

fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Org(command) => org::run(command),
        Command::Agent(command) => agent::run(command),
        Command::Customer(CustomerCommand::Chat(args)) => chat::customer(args),
        Command::List(args) => own::list(args),
        Command::Verify(args) => own::verify(args),
        Command::Export(args) => own::export(args),
        Command::Delete(args) => own::delete(args),
        Command::Passphrase(args) => passphrase::run(args),
    }
}

fn fault(error: &Error) -> &'static str {
    match error.fault() {
        "you" => "on this side",
        "peer" => "the other side's fault",
        "relay" => "the relay's fault",
        "organisation" => "the organisation's fault",
        _ => "the network's fault",
    }
}

/// Logs go to stderr, when `SEALDESK_LOG` asks for them.
fn logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEALDESK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
