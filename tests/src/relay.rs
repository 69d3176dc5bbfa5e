//! A relay in this process, through the library's public interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use sealdesk_relay::{Listeners, RawConfig, RunError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Site, within};

/// Where a relay can be reached.
pub trait Door {
    /// For clients.
    fn address(&self) -> SocketAddr;

    /// The WebSocket URL.
    fn url(&self) -> String {
        format!("ws://{}/", self.address())
    }
}

/// Any free loopback port.
pub const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Limits that do not get into a test's way: all tests come from one address.
pub fn roomy(raw: &mut RawConfig) {
    raw.limits.connects_per_minute = 100_000;
    raw.limits.connections_per_prefix = 10_000;
    raw.limits.conversations_per_hour = 100_000;
    raw.limits.prekeys_per_device_hour = 100_000;
    raw.limits.frames_per_second = 100_000;
    raw.limits.device_frames_per_second = 100_000;
    raw.store.min_free_mib = 1;
    raw.store.cache_mib = 8;
}

/// The configuration that a test begins with: data beside org.json, free ports.
pub fn configuration(site: &impl Site) -> RawConfig {
    let mut raw = RawConfig::minimal(site.org_json(), site.relay_name(), site.folder().join("data"), FREE);
    raw.admin_listen = Some(FREE);
    roomy(&mut raw);
    raw
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    admin: SocketAddr,
    /// Its data folder.
    pub data: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Door for Relay {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Relay {
    /// Starts with a changed configuration.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(site: &impl Site, change: impl FnOnce(&mut RawConfig)) -> Self {
        let mut raw = configuration(site);
        change(&mut raw);
        Self::try_start(raw).await.expect("the relay starts")
    }

    /// Starts with this configuration.
    ///
    /// # Errors
    /// Why it does not start.
    ///
    /// # Panics
    /// When the configuration does not check.
    pub async fn try_start(raw: RawConfig) -> Result<Self, RunError> {
        let config = raw.check().expect("a configuration that checks");
        let listeners = Listeners::bind(&config).await?;
        let address = listeners.public.local_addr().unwrap();
        let admin = listeners.admin.as_ref().map_or(FREE, |l| l.local_addr().unwrap());
        let data = config.data.clone();
        let prepared = sealdesk_relay::lifecycle::prepare(config).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(prepared.run(listeners, async move { drop(stopped.await) }));
        Ok(Self { address, admin, data, stop, task })
    }

    /// Stops as SIGTERM does; the data folder is free afterwards.
    ///
    /// # Panics
    /// When the relay failed.
    pub async fn stop(self) {
        drop(self.stop);
        within(self.task).await.expect("the relay does not panic").expect("the relay stops without an error");
    }

    /// What the relay ends with when it fails by itself.
    ///
    /// # Panics
    /// When it panics.
    pub async fn failure(self) -> Result<(), RunError> {
        let verdict = within(self.task).await.expect("the relay does not panic");
        drop(self.stop);
        verdict
    }

    /// A page of the admin port: status line and body.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn admin(&self, path: &str) -> String {
        http_get(self.admin, path).await
    }

    /// A number of `/metrics`.
    ///
    /// # Panics
    /// When there is no such number.
    pub async fn metric(&self, name: &str) -> u64 {
        let page = self.admin("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in\n{page}")).trim().parse().unwrap()
    }
}

/// One HTTP request, the whole answer as text.
///
/// # Panics
/// When it does not answer.
pub async fn http_get(address: SocketAddr, path: &str) -> String {
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}
