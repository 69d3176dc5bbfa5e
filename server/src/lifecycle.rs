//! A relay's life: open everything, run, stop without losing anything.
//!
//! 1. Configuration, org.json, TLS, store, attachments: whatever is wrong is said before a client is accepted.
//! 2. Accept loop, admin loop, router, upkeep, control socket.
//! 3. On shutdown: no new connections, every client is told, the committer finishes, the store is closed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sealdesk_protocol::wire::Reason;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::blobs::Blobs;
use crate::clock::now_ms;
use crate::config::Config;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::policy::{Policy, PolicyError, Remembered};
use crate::registry::Registry;
use crate::relay::Relay;
use crate::relay::naming::Turns;
use crate::relay::record::{self, Conversations};
use crate::relay::uploads::Uploads;
use crate::routing::{AgentRecord, Routing};
use crate::store::sled::{JOURNAL_AGE, Options, SledStore};
use crate::store::{Quota, Store, StoreError};
use crate::tls::{Tls, TlsError};
use crate::{control, folder, listen, routing, upkeep};

/// How long clients have to take their leave.
const FAREWELL: Duration = Duration::from_secs(10);

/// Between two looks at the store's health.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Why a relay does not start, or stopped. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// org.json.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the relay ended while the rest ran. At fault: this program.
    #[error(
        "the relay's {0} ended unexpectedly; start the relay again, and report what the log says above this line"
    )]
    Task(&'static str),
    /// The data folder.
    #[error("the data folder {path} cannot be used: {source}; it has to belong to the relay's user")]
    Data {
        /// Which path.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has this port: stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one",
        _ => "",
    }
}

/// Bound sockets.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// For health and metrics.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// `Listen`.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        let bind = async |key, address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|source| RunError::Listen { key, address, source })
        };
        let public = bind("listen", config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind("admin_listen", address).await?),
            None => None,
        };
        Ok(Self { public, admin })
    }
}

/// Opens the store that the configuration names.
///
/// # Errors
/// `Open`: in use, unreadable, of another format, or not wholly restored.
pub fn open_store(config: &Config) -> Result<SledStore, StoreError> {
    if folder::is_restoring(&config.data) {
        let text = "a restore into this data folder was cut short: run `sealdesk-relay restore` again";
        return Err(StoreError::Open(text.into()));
    }
    let folder = config.data.join("store");
    // A restore that ended may have been killed before it took its marks off.
    folder::forget_restoring([&folder, &config.data.join("blobs")])
        .map_err(|error| StoreError::Open(format!("{}: {error}", config.data.display())))?;
    let quota = Quota {
        items: u64::from(config.limits.mailbox_items),
        bytes: u64::from(config.limits.mailbox_mib) << 20,
        share_items: u64::from(config.limits.mailbox_share_items),
        share_bytes: u64::from(config.limits.mailbox_share_mib) << 20,
    };
    SledStore::open(&Options {
        folder,
        cache_bytes: u64::from(config.store.cache_mib) << 20,
        journal_bytes: u64::from(config.store.journal_mib) << 20,
        journal_age: JOURNAL_AGE,
        quota,
    })
}

async fn open(config: Config, shutdown: watch::Receiver<bool>) -> Result<Relay, RunError> {
    // Before anything is touched; again below, with what the store remembers.
    Policy::open(&config, None)?;
    let tls = config.tls.clone().map(Tls::open).transpose()?;
    let data = |path: &std::path::Path| {
        let path = path.to_path_buf();
        move |source| RunError::Data { path, source }
    };
    folder::make_private(&config.data).map_err(data(&config.data))?;
    for name in ["store", "blobs"] {
        let path = config.data.join(name);
        folder::keep_private(&path).map_err(data(&path))?;
    }
    let store: Arc<dyn Store> = Arc::new(open_store(&config)?);
    let remembered = store.organisation().await?;
    let remembered = remembered.map(|bytes| postcard::from_bytes::<Remembered>(&bytes)).transpose();
    let remembered = remembered.map_err(|_| StoreError::Corrupt("organisation"))?;
    let policy = Policy::open(&config, remembered.as_ref())?;
    upkeep::remember_organisation(store.as_ref(), &policy.org()).await?;
    let blobs = Blobs::open(config.data.join("blobs")).map_err(data(&config.data.join("blobs")))?;
    // The record went and the file did not: a crash, or a failed deletion.
    for id in blobs.ids().map_err(data(&config.data.join("blobs")))? {
        if store.blob(id).await?.is_none()
            && let Err(error) = blobs.delete(id).await
        {
            tracing::warn!(%error, "an attachment that nobody can fetch any more was not deleted");
        }
    }
    let most = u64::from(config.limits.attachments_mib) << 20;
    let uploads = Uploads::new(most, store.blob_bytes().await?);
    let routing = Routing::new(&config.routing);
    for (device, bytes) in store.agents().await? {
        // A record of an older form is made anew when the agent connects.
        if let Ok(mut agent) = postcard::from_bytes::<AgentRecord>(&bytes) {
            agent.serves &= policy.org().certificate(&agent.chain).is_ok();
            routing.restore(device, agent);
        }
    }
    let conversations = Conversations::default();
    for (id, stored) in store.open_conversations().await? {
        routing.note(id, &record::decode(&stored.bytes)?, now_ms());
    }
    let registry = Arc::new(Registry::default());
    let connected = Arc::clone(&registry);
    store.watch(Box::new(move |mailbox| connected.wake(mailbox)));
    Ok(Relay {
        limits: Arc::new(Limits::new(&config.limits)),
        registry,
        metrics: Metrics::default(),
        router: Notify::new(),
        turns: Turns::default(),
        low_space: AtomicBool::new(false),
        tight_space: AtomicBool::new(false),
        config,
        store,
        blobs,
        uploads,
        policy,
        tls,
        routing,
        conversations,
        shutdown,
    })
}

/// A relay that has opened everything and may start.
#[derive(Debug)]
pub struct Prepared {
    relay: Arc<Relay>,
    stop: watch::Sender<bool>,
    control: Option<UnixListener>,
}

/// Opens what the configuration names.
///
/// # Errors
/// [`RunError`], the first thing that is wrong.
pub async fn prepare(config: Config) -> Result<Prepared, RunError> {
    let (stop, stopping) = watch::channel(false);
    let relay = Arc::new(open(config, stopping).await?);
    upkeep::check_space(&relay);
    // Here, so that `stats` and `backup` find it as soon as the relay is said to be ready.
    let control = control::bind(&relay.config.data);
    Ok(Prepared { relay, stop, control })
}

/// Runs a relay until `shutdown` resolves. May be called any number of times in one process.
///
/// # Errors
/// [`RunError`]: it did not start, or the store failed.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    prepare(config).await?.run(listeners, shutdown).await
}

impl Prepared {
    #[cfg(test)]
    pub(crate) fn relay(&self) -> Arc<Relay> {
        Arc::clone(&self.relay)
    }

    /// See [`run`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn run(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { relay, stop, control } = self;
        let mut tasks = Tasks::default();
        tasks.spawn("accept loop", listen::accept_loop(Arc::clone(&relay), listeners.public));
        if let Some(admin) = listeners.admin {
            tasks.spawn("admin loop", listen::admin_loop(Arc::clone(&relay), admin));
        }
        tasks.spawn("router", routing::task::run(Arc::clone(&relay)));
        tasks.spawn("upkeep", upkeep::run(Arc::clone(&relay)));
        tasks.spawn("control socket", control::run(Arc::clone(&relay), control));
        tracing::info!(name = relay.config.name, "the relay runs");
        let failed = async {
            loop {
                tokio::time::sleep(HEALTH_EVERY).await;
                if let Err(error) = relay.store.health() {
                    break RunError::from(error);
                }
            }
        };
        let failure = tokio::select! {
            () = shutdown => Ok(()),
            error = failed => Err(error),
            error = tasks.ended() => Err(error),
        };
        tracing::info!("stopping: no new connections, clients are told");
        // An error means that every task has ended already.
        let _ = stop.send(true);
        farewell(&relay).await;
        tasks.set.shutdown().await;
        // The store closes with the last holder of the relay: wait, so that the folder is free on return.
        let weak = Arc::downgrade(&relay);
        drop(relay);
        let deadline = Instant::now() + FAREWELL;
        while weak.strong_count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tracing::info!("stopped");
        failure
    }
}

/// What runs as long as the relay does.
#[derive(Debug, Default)]
struct Tasks {
    set: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.set.spawn(task).id(), name);
    }

    /// One ended while the relay runs: returned, or panicked. Without it the relay would go on and not do its part.
    async fn ended(&mut self) -> RunError {
        let Some(ended) = self.set.join_next_with_id().await else { return core::future::pending().await };
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
        RunError::Task(self.names.get(&id).copied().unwrap_or("a task"))
    }
}

async fn farewell(relay: &Relay) {
    let deadline = Instant::now() + FAREWELL;
    while !relay.registry.is_empty() && Instant::now() < deadline {
        relay.registry.all().iter().for_each(|connected| connected.inbox.goodbye(Reason::ShuttingDown));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("router", async { panic!("a fault") });
        tasks.spawn("upkeep", core::future::pending());
        assert!(matches!(tasks.ended().await, RunError::Task("router")));
        tasks.spawn("control socket", async {});
        assert!(matches!(tasks.ended().await, RunError::Task("control socket")));
    }
}
