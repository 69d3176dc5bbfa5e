//! `sealdesk passphrase`.

use std::path::PathBuf;

use clap::Args;

/// `passphrase`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sealdesk passphrase --home mira
  sealdesk passphrase --key admin/root.key
  sealdesk passphrase --key admin/issuer.key --passphrase-file old.pass --new-passphrase-file new.pass")]
pub struct PassphraseArgs {
    /// Folder of a vault; one without passphrase gets its first
    #[arg(long, value_name = "DIR", required_unless_present = "key", conflicts_with = "key")]
    pub home: Option<PathBuf>,
    /// A key file of an administrator
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// File with the passphrase of now (first line; readable by its owner only)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// File with the new passphrase
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
}
