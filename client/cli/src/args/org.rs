//! `sealdesk org ..`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealdesk_native::transport::RelayUrl;
use sealdesk_protocol::ids::Handle;

use super::values::{Assignment, NoticeArg, TeamArg, TopicArg, TopicNameArg, public_name};

/// Keys and org.json of an organisation.
#[derive(Debug, Subcommand)]
pub enum OrgCommand {
    /// Make root key, issuer key and org.json
    #[command(after_help = "Examples:
  sealdesk org init --dir admin
  sealdesk org init --dir admin --name \"Example Shop\" --relay-name relay.example --relay-url wss://relay.example/ --team support=Support --topic general=support:General --notice en=notice-en.txt
  sealdesk org init --dir admin --demo --passphrase-file admin.pass")]
    Init(OrgInit),
    /// Show what org.json says, after verifying it
    #[command(after_help = "Examples:
  sealdesk org show --org org.json
  sealdesk org show --dir admin --json")]
    Show(OrgShow),
    /// Change settings, raise the version, sign anew
    #[command(after_help = "Examples:
  sealdesk org set --dir admin --relay-url wss://relay.example/
  sealdesk org set --dir admin --topic billing=billing:Billing --team billing=Billing
  sealdesk org set --dir admin --remove-topic billing --notice de=notice-de.txt")]
    Set(OrgSet),
    /// Make a new issuer key, certified by the root key for 90 days
    #[command(after_help = "Examples:
  sealdesk org renew-issuer --dir admin
  sealdesk org renew-issuer --dir admin --revoke-old")]
    RenewIssuer(OrgRenewIssuer),
    /// Make the next version of the root key and sign everything below it anew
    #[command(after_help = "Examples:
  sealdesk org rotate-root --dir admin
  sealdesk org rotate-root --dir admin --passphrase-file admin.pass --new-root-passphrase-file new.pass")]
    RotateRoot(OrgRotateRoot),
}

/// Where the passphrases of both keys come from.
#[derive(Debug, Default, Args)]
pub struct AdminPassphrases {
    /// File with the passphrase of both keys (first line; readable by its owner only)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// File with the root key's passphrase
    #[arg(long, value_name = "FILE")]
    pub root_passphrase_file: Option<PathBuf>,
    /// File with the issuer key's passphrase
    #[arg(long, value_name = "FILE")]
    pub issuer_passphrase_file: Option<PathBuf>,
}

/// What the issuer signs into org.json.
#[derive(Debug, Default, Args)]
pub struct SettingsArgs {
    /// The organisation's public name
    #[arg(long, value_parser = public_name)]
    pub name: Option<String>,
    /// The relay's name, the same as in the relay's configuration
    #[arg(long)]
    pub relay_name: Option<String>,
    /// URL of the relay, first choice first; ws:// for a loopback relay only
    #[arg(long, value_name = "URL")]
    pub relay_url: Vec<RelayUrl>,
    /// A team
    #[arg(long, value_name = "ID=NAME")]
    pub team: Vec<TeamArg>,
    /// A topic that customers choose from, with its team and English name
    #[arg(long, value_name = "ID=TEAM:NAME")]
    pub topic: Vec<TopicArg>,
    /// A topic's name in a further language
    #[arg(long, value_name = "ID:LANG=NAME")]
    pub topic_name: Vec<TopicNameArg>,
    /// Privacy notice in a language: a file of UTF-8 text
    #[arg(long, value_name = "LANG=FILE")]
    pub notice: Vec<NoticeArg>,
    /// How conversations reach agents
    #[arg(long)]
    pub assignment: Option<Assignment>,
}

/// `org init`.
#[derive(Debug, Args)]
pub struct OrgInit {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// Fill everything that is not given with the values of a demonstration
    #[arg(long)]
    pub demo: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub settings: SettingsArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}

/// `org show`.
#[derive(Debug, Args)]
pub struct OrgShow {
    /// An org.json
    #[arg(long, value_name = "FILE", required_unless_present = "dir", conflicts_with = "dir")]
    pub org: Option<PathBuf>,
    /// The administrator's folder
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

/// `org set`.
#[derive(Debug, Args)]
pub struct OrgSet {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub settings: SettingsArgs,
    /// Take a topic out
    #[arg(long, value_name = "ID")]
    pub remove_topic: Vec<Handle>,
    /// Take a team out
    #[arg(long, value_name = "ID")]
    pub remove_team: Vec<Handle>,
    /// Take the notice of a language out
    #[arg(long, value_name = "LANG")]
    pub remove_notice: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}

/// `org renew-issuer`.
#[derive(Debug, Args)]
pub struct OrgRenewIssuer {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// Revoke the old issuer certificate and everything under it
    #[arg(long)]
    pub revoke_old: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}

/// `org rotate-root`.
#[derive(Debug, Args)]
pub struct OrgRotateRoot {
    /// The administrator's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// File with the new root key's passphrase; the old one's without it
    #[arg(long, value_name = "FILE")]
    pub new_root_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "described at its type")]
    pub passphrases: AdminPassphrases,
}
