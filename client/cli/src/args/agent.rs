//! `sealdesk agent ..`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealdesk_protocol::ids::{DeviceKeyHash, Handle};

use super::chat::{AgentChat, HomeArgs};
use super::org::AdminPassphrases;
use super::values::{Role, public_name};

/// Enrolment of agents, and their chat.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Administrator: write an invitation
    #[command(after_help = "Examples:
  sealdesk agent invite --dir admin --agent mira --name \"Mira K.\" --team support --out mira.invitation
  sealdesk agent invite --dir admin --agent sam --name Sam --team support --role agent --role supervisor --out sam.invitation")]
    Invite(AgentInvite),
    /// Agent: make a vault and keys on this machine, and a request
    #[command(after_help = "Examples:
  sealdesk agent enroll --invitation mira.invitation --home mira --out mira.request")]
    Enroll(AgentEnroll),
    /// Agent: a device in use signs for a further one, so that customers are shown no new device
    #[command(after_help = "Examples:
  sealdesk agent endorse --home mira --request laptop.request --out laptop.endorsement
  sealdesk agent endorse --home mira --request laptop.request --code 7Q4M-2KXP-9DTW-0HBN --out laptop.endorsement --passphrase-file mira.pass")]
    Endorse(AgentEndorse),
    /// Administrator: compare the code and sign the device's certificate
    #[command(after_help = "Examples:
  sealdesk agent approve --dir admin --request mira.request --out mira.certificate
  sealdesk agent approve --dir admin --request laptop.request --endorsement laptop.endorsement --out laptop.certificate
  sealdesk agent approve --dir admin --renew mira --out mira.certificate")]
    Approve(AgentApprove),
    /// Agent: put a certificate into the vault
    #[command(after_help = "Examples:
  sealdesk agent install --home mira --certificate mira.certificate")]
    Install(AgentInstall),
    /// Administrator: agents, devices and until when they are certified
    #[command(after_help = "Examples:
  sealdesk agent list --dir admin")]
    List(AgentList),
    /// Administrator: revoke an agent's devices
    #[command(after_help = "Examples:
  sealdesk agent revoke --dir admin --agent mira
  sealdesk agent revoke --dir admin --agent mira --device 1")]
    Revoke(AgentRevoke),
    /// Answer customers
    #[command(after_help = "Examples:
  sealdesk agent chat --home mira
  sealdesk agent chat --home mira --manual
  sealdesk agent chat --json --home mira --passphrase-file mira.pass --capacity 20")]
    Chat(Box<AgentChat>),
}

/// `agent invite`.
#[derive(Debug, Args)]
pub struct AgentInvite {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// The agent's id
    #[arg(long)]
    pub agent: Handle,
    /// The name shown to customers
    #[arg(long, value_parser = public_name)]
    pub name: String,
    /// A team of org.json
    #[arg(long, value_name = "ID", required = true)]
    pub team: Vec<Handle>,
    /// Roles in the certificate; only `agent` has an effect in this version
    #[arg(long, default_value = "agent")]
    pub role: Vec<Role>,
    /// How long the invitation is good for
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub days: u64,
    /// The invitation's file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}

/// `agent enroll`.
#[derive(Debug, Args)]
pub struct AgentEnroll {
    /// The invitation's file
    #[arg(long, value_name = "FILE")]
    pub invitation: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// The request's file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `agent endorse`.
#[derive(Debug, Args)]
pub struct AgentEndorse {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// The new device's request
    #[arg(long, value_name = "FILE")]
    pub request: PathBuf,
    /// The comparison code that the new device shows
    #[arg(long)]
    pub code: Option<String>,
    /// Skip the comparison: only when both homes are on one machine
    #[arg(long, conflicts_with = "code")]
    pub unchecked: bool,
    /// The endorsement's file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `agent approve`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
pub struct AgentApprove {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// The request's file
    #[arg(long, value_name = "FILE", group = "what")]
    pub request: Option<PathBuf>,
    /// Sign anew for a device of this agent
    #[arg(long, value_name = "AGENT", group = "what")]
    pub renew: Option<Handle>,
    /// Which device to renew, by its number; without it, the newest that is not revoked
    #[arg(long, value_name = "N", requires = "renew")]
    pub device: Option<u32>,
    /// What `agent endorse` of an earlier device wrote
    #[arg(long, value_name = "FILE", requires = "request")]
    pub endorsement: Option<PathBuf>,
    /// The comparison code that the agent reads out
    #[arg(long, conflicts_with = "renew")]
    pub code: Option<String>,
    /// Skip the comparison: only when both sides are one machine
    #[arg(long, conflicts_with_all = ["code", "renew"])]
    pub unchecked: bool,
    /// How long the certificate is good for
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=30))]
    pub days: u64,
    /// The certificate's file; an older certificate is replaced, nothing else is
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}

/// `agent install`.
#[derive(Debug, Args)]
pub struct AgentInstall {
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub home: HomeArgs,
    /// The certificate's file
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
}

/// `agent list`.
#[derive(Debug, Args)]
pub struct AgentList {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
}

/// `agent revoke`.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false)]
pub struct AgentRevoke {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// The agent's id
    #[arg(long, group = "whom")]
    pub agent: Option<Handle>,
    /// Only this device, by its number
    #[arg(long, value_name = "N", requires = "agent")]
    pub device: Option<u32>,
    /// The device of this certificate, when the folder's record of the agent is lost
    #[arg(long, value_name = "FILE", group = "whom")]
    pub certificate: Option<PathBuf>,
    /// The device with this hash, as `agent list --json` and `verify --json` show it
    #[arg(long, value_name = "HASH", group = "whom")]
    pub hash: Option<DeviceKeyHash>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}
