//! The relay's program as a child process: to be killed, stopped, started again, and asked by its commands.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use sealdesk_relay::RawConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use crate::relay::{Door, configuration, http_get};
use crate::{Site, within};

/// A program that cargo built beside the tests.
///
/// # Panics
/// When it is not there.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} stands beside the tests; cargo builds it with them"))
}

/// A port of this test's own, as long as it is held: bound and never listened on, so that the system gives it to nobody
/// else, and a relay may listen on it, again and again.
#[derive(Debug)]
pub struct Port {
    held: TcpSocket,
}

impl Port {
    /// Takes one that is free.
    ///
    /// # Panics
    /// When there is none.
    pub fn take() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { held }
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: it is bound.
    pub fn address(&self) -> SocketAddr {
        self.held.local_addr().unwrap()
    }
}

/// A relay in its own process, always at the same address.
#[derive(Debug)]
pub struct RelayProcess {
    child: Option<Child>,
    address: SocketAddr,
    admin: SocketAddr,
    _ports: [Port; 2],
    config: PathBuf,
    log: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    /// Words before the program: a shell that sets limits, for instance.
    wrapper: Vec<String>,
}

impl Door for RelayProcess {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl RelayProcess {
    /// Writes the configuration and starts.
    ///
    /// # Panics
    /// When the relay does not start.
    pub async fn start(site: &impl Site, change: impl FnOnce(&mut RawConfig)) -> Self {
        Self::start_under(site, &[], change).await
    }

    /// Starts under other words, such as a shell that limits it.
    ///
    /// # Panics
    /// When the relay does not start.
    pub async fn start_under(
        site: &impl Site,
        wrapper: &[&str],
        change: impl FnOnce(&mut RawConfig),
    ) -> Self {
        let mut relay = Self::prepare(site, change);
        relay.wrapper = wrapper.iter().map(ToString::to_string).collect();
        relay.restart().await;
        relay
    }

    /// Writes the configuration and starts nothing.
    pub fn prepare(site: &impl Site, change: impl FnOnce(&mut RawConfig)) -> Self {
        let mut raw = configuration(site);
        let ports = [Port::take(), Port::take()];
        raw.listen = ports[0].address();
        raw.admin_listen = Some(ports[1].address());
        change(&mut raw);
        let (address, admin) = (raw.listen, raw.admin_listen.unwrap_or(raw.listen));
        let config = site.folder().join("relay.toml");
        fs::write(&config, toml::to_string(&raw).unwrap()).unwrap();
        let log = site.folder().join("relay.log");
        Self { child: None, address, admin, _ports: ports, config, log, data: raw.data, wrapper: Vec::new() }
    }

    fn command(&self) -> Command {
        let program = program("relay-under-test");
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .env("SEALDESK_LOG", "trace")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Starts again with the same data at the same address.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "it is stopped before it is started again");
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(&self.config).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        within(out.read_line(&mut line)).await.unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the relay is not ready; its log:\n{}", self.log()));
        assert_eq!(ready["listening"], self.address.to_string());
        self.child = Some(child);
    }

    /// SIGKILL, as when the machine's power goes; returns when the process is gone.
    ///
    /// # Panics
    /// When it was not running.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("a running relay");
        within(child.kill()).await.unwrap();
    }

    /// SIGTERM; the exit code.
    ///
    /// # Panics
    /// When it was not running, or does not end.
    pub async fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a running relay");
        let pid = child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        within(child.wait()).await.unwrap().code()
    }

    /// Waits until it ends by itself; the exit code.
    ///
    /// # Panics
    /// When it was not running, or does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a running relay");
        within(child.wait()).await.unwrap().code()
    }

    /// Runs another command of the relay's program with the same configuration.
    ///
    /// # Panics
    /// When it cannot be started or does not end.
    pub async fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut program = self.command();
        program.arg(command).arg("--config").arg(&self.config).args(arguments);
        within(program.output()).await.unwrap()
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where the log is.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// A page of the admin port.
    pub async fn admin(&self, path: &str) -> String {
        http_get(self.admin, path).await
    }
}

/// What a finished command printed, for messages of assertions.
pub fn printed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
