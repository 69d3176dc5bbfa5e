//! The command line: `serve`, `check-config`, `backup`, `restore`, `stats`.
//!
//! Logs go to stderr; stdout carries results only. `serve` prints one JSON line when it accepts clients.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::backup::{self, BLOBS_FOLDER, STORE_FILE, Written};
use crate::blobs::{Blobs, copy_files};
use crate::clock::{DAY_MS, now_ms};
use crate::config::{Config, ConfigError, RawConfig};
use crate::control::{self, Answer, Request, Stats};
use crate::folder;
use crate::lifecycle::{self, Listeners, RunError};
use crate::policy::Policy;
use crate::store::sled::{BackupError, SledStore, restore};
use crate::store::{Store, StoreError};
use crate::tls::Tls;

/// How long a relay that is starting or stopping is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The Sealdesk relay: durable mailboxes, routing and limits over ciphertext.
#[derive(Debug, Parser)]
#[command(name = "sealdesk-relay", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sealdesk-relay check-config --config relay.toml
  sealdesk-relay serve --config relay.toml
  sealdesk-relay stats --config relay.toml
  sealdesk-relay backup --config relay.toml --to /backup/2026-11-22
  sealdesk-relay restore --config relay.toml --from /backup/2026-11-22

relay.example.toml explains every key; docs/operations.md explains running it.
Exit codes: 0 done, 1 failed, 2 wrong use.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay until SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Check the configuration, org.json, and the TLS files; start nothing.
    CheckConfig(Source),
    /// Copy everything into a new folder, while the relay runs or not.
    Backup {
        #[command(flatten)]
        source: Source,
        /// The new folder.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Make a data folder from a backup. The relay must not run, and the data folder must hold no store.
    Restore {
        #[command(flatten)]
        source: Source,
        /// A folder made by `backup`.
        #[arg(long, value_name = "FOLDER")]
        from: PathBuf,
    },
    /// Print numbers as one JSON object, while the relay runs or not.
    Stats(Source),
}

/// Where the configuration comes from: the file, then flags.
#[derive(Debug, Args)]
struct Source {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "SEALDESK_RELAY_CONFIG")]
    config: PathBuf,
    /// Instead of `listen` in the file; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Instead of `admin_listen` in the file.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Instead of `data` in the file.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Instead of `org` in the file.
    #[arg(long, value_name = "FILE")]
    org: Option<PathBuf>,
    /// Allow plaintext on an address that is not loopback.
    #[arg(long)]
    plaintext: bool,
    /// One more allowed web origin.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    source: Source,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// How much the relay logs: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", env = "SEALDESK_LOG", default_value = "info")]
    log_level: LevelFilter,
}

/// The level is for the relay's own events. Libraries are kept to warnings, those that print frames to nothing: their
/// talkative levels hold addresses and contents.
fn log_filter(level: LevelFilter) -> EnvFilter {
    EnvFilter::new(format!("warn,tungstenite=off,tokio_tungstenite=off,sealdesk_relay={level}"))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// What stops a command; each text says what to do.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("the running relay said: {0}")]
    Relay(String),
    #[error("the control socket of the running relay does not answer: {0}")]
    Control(std::io::Error),
    #[error(
        "process {0} has the store and does not answer: it is still starting or stopping, or it could not make its \
         control socket (its log says why); try again"
    )]
    Silent(String),
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        RunError::from(error).into()
    }
}

impl Source {
    fn load(self) -> Result<Config, CliError> {
        let mut raw = RawConfig::read(&self.config)?;
        raw.listen = self.listen.unwrap_or(raw.listen);
        raw.admin_listen = self.admin_listen.or(raw.admin_listen);
        raw.data = self.data.unwrap_or(raw.data);
        raw.org = self.org.unwrap_or(raw.org);
        raw.plaintext |= self.plaintext;
        raw.allowed_origins.extend(self.origins);
        Ok(raw.check()?)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    folder::private_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(serve) => run(serve).await,
        Command::CheckConfig(source) => check(source.load()?),
        Command::Backup { source, to } => backup(&source.load()?, to).await,
        Command::Restore { source, from } => restore_backup(&source.load()?, &from),
        Command::Stats(source) => stats(&source.load()?).await,
    }
}

/// One line of JSON on stdout. A closed stdout is not the relay's problem.
fn print(value: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

async fn run(serve: Serve) -> Result<(), CliError> {
    let log =
        tracing_subscriber::fmt().with_env_filter(log_filter(serve.log_level)).with_writer(std::io::stderr);
    match serve.log {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    let config = serve.source.load()?;
    raise_file_limit();
    let failed = |error: std::io::Error| CliError::Failed(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let listeners = Listeners::bind(&config).await?;
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().ok().map(|a| a.to_string());
    let ready = json!({
        "listening": address(&listeners.public),
        "admin": listeners.admin.as_ref().and_then(address),
        "tls": config.tls.is_some(),
        "name": config.name,
    });
    let prepared = lifecycle::prepare(config).await?;
    print(&ready);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(prepared.run(listeners, shutdown).await?)
}

/// Each connection needs a file descriptor: use what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn check(config: Config) -> Result<(), CliError> {
    let policy = Policy::open(&config, None).map_err(RunError::from)?;
    let tls = config.tls.clone().map(Tls::open).transpose().map_err(RunError::from)?;
    let tls_ends_ms = tls.as_ref().map(Tls::ends_ms);
    let now = now_ms();
    if tls_ends_ms.is_some_and(|end| end <= now) {
        let text = "the TLS certificate has ended: nobody could connect; put a renewed one in its place";
        return Err(CliError::Failed(text.into()));
    }
    folder::usable(&config.data).map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    let org = policy.org();
    let settings = org.verified.settings();
    print(&json!({
        "ok": true,
        "name": config.name,
        "organisation": settings.name,
        "root": org.verified.root().to_string(),
        "listen": config.listen.to_string(),
        "tls": tls.is_some(),
        "tls_days_left": tls_ends_ms.map(|end| (end - now) / DAY_MS),
        "topics": settings.topics.len(),
        "data": config.data,
    }));
    Ok(())
}

fn answer(answer: Answer) -> Result<Answer, CliError> {
    match answer {
        Answer::Error(reason) => Err(CliError::Relay(reason)),
        other => Ok(other),
    }
}

/// Who answers a command: the running relay, or its store when none runs.
enum Reached {
    Relay(Answer),
    Store(SledStore),
}

/// Asks the running relay, or opens the store. A relay that is starting or stopping holds the store and does not answer:
/// it is waited for.
async fn reach(config: &Config, request: &Request) -> Result<Reached, CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = control::ask(&config.data, request).await.map_err(CliError::Control)?;
        if let Some(answered) = asked {
            return Ok(Reached::Relay(answer(answered)?));
        }
        match existing_store(config) {
            Ok(store) => return Ok(Reached::Store(store)),
            Err(CliError::Run(RunError::Store(StoreError::InUse { holder, .. }))) => {
                if Instant::now() >= deadline {
                    return Err(CliError::Silent(holder));
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn backup(config: &Config, to: PathBuf) -> Result<(), CliError> {
    let to = std::path::absolute(&to).map_err(|error| CliError::Failed(error.to_string()))?;
    let written = match reach(config, &Request::Backup { to: to.clone() }).await? {
        Reached::Relay(Answer::Backup(written)) => written,
        Reached::Relay(other) => return Err(CliError::Failed(format!("an unexpected answer: {other:?}"))),
        Reached::Store(store) => offline_backup(config, &store, &to).await?,
    };
    print(&json!({"backup": to, "records": written.records, "attachments": written.attachments}));
    Ok(())
}

async fn offline_backup(config: &Config, store: &SledStore, to: &Path) -> Result<Written, CliError> {
    let blobs = Blobs::open(config.data.join("blobs")).map_err(|e| CliError::Failed(e.to_string()))?;
    backup::write(store, &blobs, to).await.map_err(CliError::Failed)
}

/// Opens the store, but makes none.
fn existing_store(config: &Config) -> Result<SledStore, CliError> {
    let folder = config.data.join("store");
    if !folder.exists() {
        let text = format!("there is no store at {}; is `data` right?", folder.display());
        return Err(CliError::Failed(text));
    }
    Ok(lifecycle::open_store(config)?)
}

/// Store and attachments, or nothing that a relay would take for a store: what an earlier restore left half done is
/// begun anew. Nothing is touched before the backup is known to be whole.
fn restore_backup(config: &Config, from: &Path) -> Result<(), CliError> {
    let data = &config.data;
    let failed = |source| CliError::from(RunError::Data { path: data.clone(), source });
    let (store, blobs) = (data.join("store"), data.join("blobs"));
    let attached = from.join(BLOBS_FOLDER);
    backup::check_attachments(from)?;
    let make_room = || {
        folder::make_private(data).map_err(failed)?;
        for path in [&store, &blobs] {
            if !folder::remove_unfinished(data, path).map_err(failed)? {
                return Err(BackupError::NotEmpty(path.clone()).into());
            }
        }
        folder::begin_restoring(data).map_err(failed)
    };
    let mark = |filled: &Path| folder::mark_unfinished(filled).map_err(failed);
    let (records, store_epoch) = restore(&from.join(STORE_FILE), &store, make_room, mark)?;
    folder::make_private(&blobs).and_then(|()| folder::mark_unfinished(&blobs)).map_err(failed)?;
    let attachments = copy_files(&attached, &blobs)
        .map_err(|error| CliError::Failed(format!("{}: {error}", attached.display())))?;
    folder::end_restoring(data, [&store, &blobs]).map_err(failed)?;
    print(&json!({
        "restored": data, "records": records, "attachments": attachments, "store_epoch": store_epoch,
    }));
    Ok(())
}

async fn stats(config: &Config) -> Result<(), CliError> {
    let stats = match reach(config, &Request::Stats).await? {
        Reached::Relay(Answer::Stats(stats)) => stats,
        Reached::Relay(other) => return Err(CliError::Failed(format!("an unexpected answer: {other:?}"))),
        Reached::Store(store) => {
            Stats { devices: None, store_epoch: store.epoch(), store: store.stats().await? }
        }
    };
    print(&serde_json::to_value(stats).map_err(|error| CliError::Failed(error.to_string()))?);
    Ok(())
}
