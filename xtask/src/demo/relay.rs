//! The demo's relay: its configuration, its process, and how to end a process of ours.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::data::{Folder, Ports};
use crate::error::{Error, Result};

/// The relay's name, to which devices bind their authentication.
pub(crate) const NAME: &str = "demo";
const LOG: &str = "relay.log";
const READY: Duration = Duration::from_secs(30);
/// A process of ours that has not ended this long after SIGTERM is killed.
const STOP: Duration = Duration::from_secs(10);

/// What this demo's relay is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) ports: Ports,
    pub(crate) org: &'a Path,
    pub(crate) accept_seconds: u32,
}

pub(crate) fn url(port: u16) -> String {
    format!("ws://127.0.0.1:{port}/")
}

/// Starts it and waits until it says that it accepts connections. It has a process group of its own, so that Ctrl-C reaches us alone
/// and everything stops in order.
pub(crate) async fn start(program: &Path, folder: &Folder, settings: &Settings<'_>) -> Result<Child> {
    let config = folder.join("relay.toml");
    fs::write(&config, configuration(folder, settings)?).map_err(Error::file("write", &config))?;
    let log_path = folder.join(LOG);
    let log = File::create(&log_path).map_err(Error::file("create", &log_path))?;
    let out = log.try_clone().map_err(Error::file("share", &log_path))?;
    let mut command = super::bound::command(program)?;
    command.args(["serve", "--config"]).arg(&config).stdin(Stdio::null()).stdout(out).stderr(log);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut command = tokio::process::Command::from(command);
    let mut relay = command
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Start { command: program.display().to_string(), source })?;
    let ready = async {
        loop {
            if fs::read_to_string(&log_path).is_ok_and(|said| says_ready(&said, settings.ports.relay)) {
                return true;
            }
            if matches!(relay.try_wait(), Ok(Some(_)) | Err(_)) {
                return false;
            }
            sleep(Duration::from_millis(30)).await;
        }
    };
    if timeout(READY, ready).await == Ok(true) {
        return Ok(relay);
    }
    Err(broken("the relay did not start", folder))
}

/// Whether the relay's own line says that it listens; another program on the port does not count.
fn says_ready(said: &str, port: u16) -> bool {
    let address = format!("127.0.0.1:{port}");
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .any(|line| line.get("listening").and_then(|at| at.as_str()) == Some(address.as_str()))
}

/// With what the relay said last.
pub(crate) fn broken(what: &str, folder: &Folder) -> Error {
    let log = folder.join(LOG);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Error::Broken { what: format!("{what}: {}", last.join("\n  ")), log }
}

/// It ended although nobody here told it to.
pub(crate) fn ended(status: Option<ExitStatus>, folder: &Folder) -> Error {
    match status.and_then(|status| status.signal()) {
        // Its log has nothing to say of that.
        Some(signal) => Error::Input {
            what: format!("the relay was ended from outside, by signal {signal}"),
            hint: "start the demo again: it goes on with the same data".to_owned(),
        },
        None => broken("the relay ended", folder),
    }
}

/// SIGTERM, time to finish, SIGKILL.
pub(crate) async fn stop(child: &mut Child) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
    // An error means that it has ended by itself.
    kill_process(pid, Signal::TERM).ok();
    if timeout(STOP, child.wait()).await.is_err() {
        child.kill().await.ok();
    }
}

fn configuration(folder: &Folder, settings: &Settings<'_>) -> Result<String> {
    let Settings { ports: Ports { page, relay }, org, accept_seconds } = *settings;
    let (data, org) = (quoted(&folder.join("relay"))?, quoted(org)?);
    Ok(format!(
        r#"# Written by `cargo xtask demo` at every start.
org = {org}
name = "{NAME}"
data = {data}
listen = "127.0.0.1:{relay}"
allowed_origins = ["http://127.0.0.1:{page}", "http://localhost:{page}"]

# One visitor tries many things from one address.
[limits]
connects_per_minute = 600
conversations_per_hour = 600
prekeys_per_device_hour = 4800

[routing]
accept_seconds = {accept_seconds}
"#
    ))
}

/// A TOML string.
fn quoted(path: &Path) -> Result<String> {
    path.to_str().map(|text| toml::Value::from(text).to_string()).ok_or_else(|| Error::Input {
        what: format!("{} is no UTF-8", path.display()),
        hint: "name another folder with --data DIR".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_relay_s_own_line_says_that_it_is_ready() {
        let line = r#"{"admin":null,"listening":"127.0.0.1:7443","name":"demo","tls":false}"#;
        assert!(says_ready(&format!("INFO an org.json is in force\n{line}\n"), 7443));
        assert!(!says_ready(line, 7444));
        assert!(!says_ready("INFO listening 127.0.0.1:7443\n{\"listening\":", 7443));
        assert!(!says_ready("", 7443));
    }
}
