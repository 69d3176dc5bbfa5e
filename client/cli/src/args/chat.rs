//! `.. chat`, `list`, `verify`, `export`, `delete`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealdesk_native::transport::RelayUrl;
use sealdesk_protocol::ids::{Handle, RootHash};

use super::values::{Format, language};

/// A vault and how it is opened.
#[derive(Clone, Debug, Default, Args)]
pub struct HomeArgs {
    /// Folder of the vault
    #[arg(long, env = "SEALDESK_HOME")]
    pub home: Option<PathBuf>,
    /// File with the vault's passphrase (first line; readable by its owner only)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// How the relay is reached.
#[derive(Clone, Debug, Default, Args)]
pub struct RelayArgs {
    /// URL of the relay instead of those of org.json
    #[arg(long, value_name = "URL")]
    pub relay: Option<RelayUrl>,
    /// Trust the certificate authorities of this PEM file as well
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Allow ws:// to other machines: metadata travels unprotected
    #[arg(long)]
    pub insecure_plaintext: bool,
}

/// How long leaving takes.
#[derive(Clone, Debug, Args)]
pub struct LeaveArgs {
    /// Seconds to wait at the end until the relay has everything
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain: u64,
}

/// A customer's commands.
#[derive(Debug, Subcommand)]
pub enum CustomerCommand {
    /// Talk to an organisation's support
    #[command(after_help = "Examples:
  sealdesk customer chat --org org.json
  sealdesk customer chat --org org.json --relay wss://relay.example/ --home customer --topic general --language en
  sealdesk customer chat --json --org org.json --home customer")]
    Chat(Box<CustomerChat>),
}

/// `customer chat`.
#[derive(Debug, Args)]
pub struct CustomerChat {
    /// The organisation's org.json; without it the one that this home saw last
    #[arg(long, value_name = "FILE")]
    pub org: Option<PathBuf>,
    /// Root hash that org.json has to have
    #[arg(long, value_name = "HASH")]
    pub root: Option<RootHash>,
    /// JSON lines on stdin and stdout, see docs/cli.md
    #[arg(long)]
    pub json: bool,
    /// Topic of a new conversation
    #[arg(long, conflicts_with = "json")]
    pub topic: Option<Handle>,
    /// Your language
    #[arg(long, default_value = "en", value_parser = language)]
    pub language: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub relay: RelayArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub leave: LeaveArgs,
}

/// `agent chat`.
#[derive(Debug, Args)]
pub struct AgentChat {
    /// A newer org.json than the one in the home
    #[arg(long, value_name = "FILE")]
    pub org: Option<PathBuf>,
    /// JSON lines on stdin and stdout, see docs/cli.md
    #[arg(long)]
    pub json: bool,
    /// Accept assigned conversations by hand: with /accept, or with `accept` when it is --json
    #[arg(long)]
    pub manual: bool,
    /// Start without taking part in assignment
    #[arg(long)]
    pub away: bool,
    /// Conversations at once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub capacity: u16,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub relay: RelayArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub leave: LeaveArgs,
}

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sealdesk list --home customer
  sealdesk list --home mira --passphrase-file mira.pass --json")]
pub struct ListArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sealdesk verify --home customer
  sealdesk verify --home mira --conversation 1f00 --json")]
pub struct VerifyArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// Beginning of a conversation's id, as `list` shows it; the newest without it
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sealdesk export --home customer --out transcript.txt
  sealdesk export --home mira --conversation 1f00 --format json --out transcript.json
  sealdesk export --home customer --out transcript.txt --attachments")]
pub struct ExportArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// Beginning of a conversation's id, as `list` shows it; the newest without it
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// Form of the transcript
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// The transcript's file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Fetch the attachments from the relay into NAME.files beside it
    #[arg(long)]
    pub attachments: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub relay: RelayArgs,
}

/// `delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sealdesk delete --home customer --conversation 1f00
  sealdesk delete --home mira --conversation 1f00a2 --yes --passphrase-file mira.pass")]
pub struct DeleteArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// Beginning of a conversation's id, as `list` shows it
    #[arg(long, value_name = "ID")]
    pub conversation: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
