//! The control socket in the data folder: what the operator asks of a running relay, since the store is exclusive.
//!
//! One JSON object a line each way. Whoever may open the socket is the operator: it belongs to the relay's user alone.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Duration;

use crate::audit::Event;
use crate::backup::{self, Written};
use crate::relay::Relay;
use crate::store::StoreStats;

/// Longest request or answer, bytes.
const MAX_LINE: u64 = 64 * 1024;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the operator asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Numbers.
    Stats,
    /// A copy of everything into a new folder.
    Backup {
        /// The folder, absolute; must not exist.
        to: PathBuf,
    },
}

/// What the relay answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `Stats`.
    Stats(Stats),
    /// To `Backup`.
    Backup(Written),
    /// It did not work.
    Error(String),
}

/// Numbers of a relay.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Connected devices; none when the relay is not running.
    pub devices: Option<u64>,
    /// Changes with each restore.
    pub store_epoch: u32,
    /// The store's numbers.
    pub store: StoreStats,
}

/// Where the socket is.
pub fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Makes the socket, for whoever has the store; what is asked meanwhile waits for [`run`]. None: it cannot be made, which
/// is logged.
pub fn bind(data: &Path) -> Option<UnixListener> {
    let path = path(data);
    // Left behind by a relay that was killed; the store's lock says that none is running.
    let _ = std::fs::remove_file(&path);
    match UnixListener::bind(&path) {
        Ok(listener) => {
            let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
            Some(listener)
        }
        Err(error) => {
            tracing::error!(%error, "no control socket: `backup` and `stats` do not work while the relay runs");
            None
        }
    }
}

/// Serves the socket until the relay stops.
pub async fn run(relay: Arc<Relay>, listener: Option<UnixListener>) {
    let Some(listener) = listener else { return relay.stopped().await };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Each for itself: one that stands still holds up nobody else.
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(attend(Arc::clone(&relay), stream));
                }
            }
            () = relay.stopped() => break,
        }
    }
    let _ = std::fs::remove_file(path(&relay.config.data));
}

async fn attend(relay: Arc<Relay>, stream: UnixStream) {
    let served = tokio::select! {
        served = serve(&relay, stream) => served,
        () = relay.stopped() => return,
    };
    if let Err(error) = served {
        tracing::warn!(%error, "a request on the control socket failed");
    }
}

async fn serve(relay: &Relay, mut stream: UnixStream) -> io::Result<()> {
    let mut line = String::new();
    let mut asked = BufReader::new((&mut stream).take(MAX_LINE));
    tokio::time::timeout(PATIENCE, asked.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Stats) => match relay.store.stats().await {
            Ok(store) => Answer::Stats(Stats {
                devices: Some(relay.registry.len() as u64),
                store_epoch: relay.store.epoch(),
                store,
            }),
            Err(error) => Answer::Error(error.to_string()),
        },
        Ok(Request::Backup { to }) => match backup::write(relay.store.as_ref(), &relay.blobs, &to).await {
            Ok(written) => {
                if let Err(cause) = relay.store.audit_append(Event::Backup.entry()).await {
                    tracing::error!(%cause, "the audit entry of a backup was not stored");
                }
                Answer::Backup(written)
            }
            Err(reason) => Answer::Error(reason),
        },
        Err(error) => Answer::Error(format!("the request is not understood: {error}")),
    };
    let mut out = serde_json::to_vec(&answer)?;
    out.push(b'\n');
    stream.write_all(&out).await
}

/// Asks the running relay; `None` when none is running.
///
/// # Errors
/// The socket is there and does not answer.
pub async fn ask(data: &Path, request: &Request) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(path(data)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    if BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it stopped meanwhile; ask again"));
    }
    Ok(Some(serde_json::from_str(&answer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_can_be_asked_before_the_relay_is_said_to_be_ready() {
        let running = crate::testing::Running::start().await;
        UnixStream::connect(path(&running.relay.config.data)).await.unwrap();
    }
}
