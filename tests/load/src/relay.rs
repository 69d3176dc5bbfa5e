//! A real `sealdesk-relay` process for one benchmark: its own folder, a free port, no limits in the way.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sealdesk_protocol::testing::TestOrg;
use tempfile::TempDir;

use crate::error::Error;

const READY: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    port: u16,
    // Removed with everything in it when the benchmark ends.
    folder: TempDir,
}

impl Relay {
    /// Starts the release build that stands beside this program.
    pub(crate) fn start(org: &TestOrg) -> Result<Relay, Error> {
        let folder = folder()?;
        let file = serde_json::to_vec(&org.file()).map_err(Error::ours)?;
        fs::write(folder.path().join("org.json"), file).map_err(Error::machine("write org.json"))?;
        let port = free_port()?;
        let config = folder.path().join("relay.toml");
        fs::write(&config, self::config(folder.path(), port, org))
            .map_err(Error::machine("write relay.toml"))?;
        let log =
            fs::File::create(folder.path().join("relay.log")).map_err(Error::machine("create relay.log"))?;
        let child = Command::new(program()?)
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(Error::machine("share relay.log"))?)
            .stderr(log)
            .spawn()
            .map_err(Error::machine("start sealdesk-relay"))?;
        let mut relay = Relay { child, port, folder };
        relay.wait_until_ready()?;
        Ok(relay)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let begin = Instant::now();
        while begin.elapsed() < READY {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            if self.child.try_wait().map_err(Error::machine("look after the relay"))?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.folder.path().join("relay.log")).unwrap_or_default();
        Err(Error::Ours(format!("the relay did not become ready; its log:\n{log}")))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Resident memory of the process, bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Error> {
        resident_bytes(self.child.id())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Nothing of it is kept, so the fastest end will do; an error means that it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Resident memory of a process, bytes (Linux).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::machine("read /proc"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| Error::Ours("no VmRSS in /proc: this benchmark needs Linux".to_owned()))
}

/// In the build folder, because the system's own temporary folder may be memory and not a disk.
pub(crate) fn folder() -> Result<TempDir, Error> {
    let beside = program()?.parent().map(Path::to_owned).unwrap_or_default();
    tempfile::Builder::new().prefix("bench-").tempdir_in(beside).map_err(Error::machine("create a folder"))
}

fn program() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::machine("find this program"))?;
    Ok(own.with_file_name("sealdesk-relay"))
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::machine("find a free port"))
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

fn config(folder: &Path, port: u16, org: &TestOrg) -> String {
    let folder = folder.display();
    let name = &org.settings.relay_name;
    format!(
        r#"org = "{folder}/org.json"
name = "{name}"
data = "{folder}/data"
listen = "127.0.0.1:{port}"

[limits]
connections = 20000
connections_per_prefix = 20000
handshakes = 20000
handshakes_per_prefix = 20000
connects_per_minute = 1000000
handshake_seconds = 120
idle_seconds = 600
write_seconds = 60
frames_per_second = 1000000
device_frames_per_second = 1000000
conversations_per_hour = 1000000
mailbox_items = 1000000
mailbox_mib = 4096
mailbox_share_items = 1000000
mailbox_share_mib = 4096
prekeys_per_conversation_hour = 1000
prekeys_per_device_hour = 1000000

[routing]
accept_seconds = 3600
"#
    )
}
