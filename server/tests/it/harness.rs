//! A relay in this process, on a free port, with its own folder; it can be stopped and started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sealdesk_protocol::crypto::certificate::DeviceCertificate;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::org::OrgFile;
use sealdesk_protocol::wire::{Assignment, PublishPrekeys, ToClient};
use sealdesk_relay::clock::now_ms;
use sealdesk_relay::config::RawConfig;
use sealdesk_relay::store::Quota;
use sealdesk_relay::store::sled::{JOURNAL_AGE, Options};
use sealdesk_relay::{Listeners, RunError};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, Party, pairs, socket_from};
use crate::organisation::{Organisation, RELAY_NAME, rng};

pub struct TestRelay {
    /// Deleted with this.
    folder: TempDir,
    pub organisation: Organisation,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub raw: RawConfig,
    running: Option<Running>,
}

/// How to stop it, and its task.
type Running = (oneshot::Sender<()>, JoinHandle<Result<(), RunError>>);

impl TestRelay {
    pub async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut RawConfig, &mut Organisation)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut organisation = Organisation::new();
        let org: PathBuf = folder.path().join("org.json");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut raw = RawConfig::minimal(org.clone(), RELAY_NAME.into(), folder.path().join("data"), nowhere);
        raw.admin_listen = Some(nowhere);
        raw.store.min_free_mib = 1;
        raw.store.cache_mib = 8;
        raw.limits.connects_per_minute = 10_000;
        raw.limits.connections_per_prefix = 10_000;
        change(&mut raw, &mut organisation);
        organisation.write(&org);
        let mut relay = Self { folder, organisation, address: nowhere, admin: nowhere, raw, running: None };
        relay.launch().await;
        relay
    }

    pub async fn launch(&mut self) {
        let config = self.raw.clone().check().unwrap();
        let listeners = Listeners::bind(&config).await.unwrap();
        self.address = listeners.public.local_addr().unwrap();
        self.admin = listeners.admin.as_ref().unwrap().local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(sealdesk_relay::run(config, listeners, async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, running));
        // Everything is opened once it answers: what a test changes from now on is changed while it runs.
        crate::http::get(self.admin, "/healthz").await;
    }

    pub async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    }

    /// How its store is opened, while it is stopped.
    pub fn store_options(&self) -> Options {
        let quota = Quota { items: 1_000, bytes: 1 << 20, share_items: 1_000, share_bytes: 1 << 20 };
        Options {
            folder: self.raw.data.join("store"),
            cache_bytes: 8 << 20,
            journal_bytes: 1 << 20,
            journal_age: JOURNAL_AGE,
            quota,
        }
    }

    pub fn rewrite_org(&self) {
        self.organisation.write(&self.raw.org);
    }

    pub async fn customer(&self) -> Client {
        Client::connect(self.address, DeviceSecret::generate(&mut rng()), Party::Customer).await
    }

    /// From one address of the loopback network.
    pub async fn customer_from(&self, address: &str) -> Client {
        let socket = socket_from(address.parse().unwrap(), self.address).await;
        let device = DeviceSecret::generate(&mut rng());
        Client::greet(socket, device, Party::Customer, 1).await.unwrap()
    }

    /// An agent of the team `sales` who is connected and has prekeys here.
    pub async fn agent(&self, name: &str) -> Client {
        let device = DeviceSecret::generate(&mut rng());
        let chain = self.organisation.chain(&self.organisation.certificate(name, &device));
        let mut agent = Client::connect(self.address, device, Party::Agent(chain)).await;
        agent.publish(3).await;
        agent
    }

    /// An agent with a bent certificate, connected, with prekeys.
    pub async fn bent_agent(&self, name: &str, bend: impl Fn(&mut DeviceCertificate)) -> Client {
        let device = DeviceSecret::generate(&mut rng());
        let mut certificate = self.organisation.certificate(name, &device);
        bend(&mut certificate);
        let chain = self.organisation.chain(&certificate);
        let mut agent = Client::connect(self.address, device, Party::Agent(chain)).await;
        agent.publish(2).await;
        agent
    }

    /// Which device is named; certificates and prekeys verify.
    pub fn device_of(&self, assignment: &Assignment) -> DeviceKeyHash {
        let path = self.folder.path().join("newest.json");
        self.organisation.write(&path);
        let file: OrgFile = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let org = file.verify(&self.organisation.root, &Default::default(), now_ms()).unwrap();
        let verified = assignment.agent.verify(org.pins(), org.revocations(), now_ms()).unwrap();
        assignment.bundle.verify(verified.device(), now_ms()).unwrap();
        verified.device().hash()
    }

    pub async fn metrics(&self) -> String {
        crate::http::get(self.admin, "/metrics").await.1
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("sealdesk_{name} ")));
        line.unwrap().parse().unwrap()
    }

    /// Waits until a counter has this value. The relay looks at changed files every two seconds.
    pub async fn until_metric(&self, name: &str, value: u64) {
        let waiting = async {
            while self.metric(name).await != value {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }
}

impl Client {
    /// Uploads a last-resort pair and some one-time pairs.
    pub async fn publish(&mut self, one_time: usize) {
        let (last_resort, one_time) = pairs(&self.device, one_time);
        let req = self.number();
        let expected = one_time.len();
        self.send(PublishPrekeys { req, last_resort: Some(last_resort), one_time }).await;
        match self.answer(req).await {
            ToClient::PrekeyCount(count) => assert!(usize::from(count.one_time_left) >= expected),
            other => panic!("{other:?}"),
        }
    }
}
