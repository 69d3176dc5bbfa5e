//! idle_connection: memory of the relay for one authenticated connection on which nothing happens, beside a server
//! that accepts WebSockets with tungstenite's own defaults and does nothing else. Both are processes of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::testing::{self, TestOrg};
use sealdesk_protocol::wire::Party;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::device::Connection;
use crate::error::Error;
use crate::relay::{Relay, now_ms, resident_bytes};
use crate::report::{Better, Row};
use crate::rounds::Effort;

/// Argument that makes this program the peer's server.
pub(crate) const PEER_ARGUMENT: &str = "--idle-peer";
/// Bytes that a connection may cost.
const MOST: f64 = 8.0 * 1024.0;
/// Connections that connect at the same time.
const AT_ONCE: usize = 32;
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(effort: Effort) -> Result<Row, Error> {
    let (count, peer_count) = (800 * effort.scale, 100 * effort.scale);
    require_files(count)?;
    let runtime = Runtime::new().map_err(Error::machine("start the runtime"))?;
    let ours = runtime.block_on(ours(count))?;
    let peer = runtime.block_on(peer(peer_count))?;
    Ok(Row::new("idle_connection", Better::Lower, (ours / 1024.0, "KiB"), (peer / 1024.0, "tungstenite's defaults"))
        .goal(peer / MOST)
        .note(format!(
            "resident memory of the relay at {count} authenticated connections (peer: {peer_count}); the goal is {} KiB",
            MOST / 1024.0
        )))
}

async fn ours(count: usize) -> Result<f64, Error> {
    let org = TestOrg::new(3, now_ms() - 60_000);
    let relay = Relay::start(&org)?;
    let port = relay.port();
    // What the relay needs once, such as caches and threads, is there before the first measurement.
    drop(connect(port, AT_ONCE, 1).await?);
    tokio::time::sleep(SETTLE).await;
    let before = relay.resident_bytes()?;
    let connections = connect(port, count, 2).await?;
    tokio::time::sleep(SETTLE).await;
    let after = relay.resident_bytes()?;
    drop(connections);
    Ok(each(before, after, count))
}

async fn connect(port: u16, count: usize, seed: u64) -> Result<Vec<Connection>, Error> {
    futures_util::stream::iter(0..count)
        .map(|number| async move {
            let number = u64::try_from(number).unwrap_or_default();
            let device = DeviceSecret::generate(&mut testing::rng((seed << 32) + number));
            Connection::open(port, &device, Party::Customer).await
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect()
}

async fn peer(count: usize) -> Result<f64, Error> {
    let server = Peer::start()?;
    drop(connect_peer(server.port, AT_ONCE).await?);
    tokio::time::sleep(SETTLE).await;
    let before = resident_bytes(server.child.id())?;
    let connections = connect_peer(server.port, count).await?;
    tokio::time::sleep(SETTLE).await;
    let after = resident_bytes(server.child.id())?;
    drop(connections);
    Ok(each(before, after, count))
}

async fn connect_peer(port: u16, count: usize) -> Result<Vec<impl Sized>, Error> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Error::machine("connect"))?;
        let url = format!("ws://127.0.0.1:{port}/");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.map_err(Error::peer)?;
        connections.push(socket);
    }
    Ok(connections)
}

#[derive(Debug)]
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start() -> Result<Peer, Error> {
        let own = std::env::current_exe().map_err(Error::machine("find this program"))?;
        let mut child = Command::new(own)
            .arg(PEER_ARGUMENT)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::machine("start the peer"))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        read.transpose().map_err(Error::machine("read the peer's port"))?;
        let port = line.trim().parse().map_err(Error::peer)?;
        Ok(Peer { child, port })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The peer's server; runs until it is ended.
pub(crate) fn serve_peer() -> Result<(), Error> {
    Runtime::new().map_err(Error::machine("start the runtime"))?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::machine("listen"))?;
        println!("{}", listener.local_addr().map_err(Error::machine("listen"))?.port());
        loop {
            let (stream, _) = listener.accept().await.map_err(Error::machine("accept"))?;
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    })
}

fn each(before: u64, after: u64, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
    let (grown, count) = (after.saturating_sub(before) as f64, count as f64);
    grown / count
}

/// One file descriptor for each connection, here and in the relay.
fn require_files(count: usize) -> Result<(), Error> {
    let limits =
        std::fs::read_to_string("/proc/self/limits").map_err(Error::machine("read /proc/self/limits"))?;
    let soft = limits.lines().find_map(|line| {
        line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok()
    });
    if soft.is_none_or(|soft| soft > count + 100) {
        return Ok(());
    }
    Err(Error::Ours(format!(
        "{count} connections need more open files: run `ulimit -n {}` first",
        count + 200
    )))
}
