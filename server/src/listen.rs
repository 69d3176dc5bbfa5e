//! The accept loop: count, TLS, HTTP, all within the handshake time-out.
//!
//! warp has no TLS and no way to bound a handshake, so its service runs inside this loop.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::relay::Relay;
use crate::routes::{self, Routes};

/// Headers of a request, in bytes: an upgrade needs a fraction of it.
const HEADER_BYTES: usize = 8 * 1024;
/// Pause after a failed accept, when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a request knows of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The directly connected address.
    pub address: IpAddr,
    /// When the handshake has to be over.
    pub deadline: Instant,
}

/// Accepts until the relay shuts down.
pub async fn accept_loop(relay: Arc<Relay>, listener: TcpListener) {
    let routes = routes::public(&relay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = relay.stopped() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                relay.metrics.accepted.up();
                // Counted from here to the upgrade: whoever only connects cannot use up the file descriptors.
                let proxy = relay.config.trusts(address.ip());
                let prefix = (!proxy).then(|| relay.limits.prefix(address.ip()));
                let Ok(handshake) = relay.limits.handshake(prefix) else {
                    relay.metrics.refused.up();
                    continue;
                };
                let (relay, routes) = (Arc::clone(&relay), routes.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(Arc::clone(&relay), routes, stream, address) => {}
                        () = relay.stopped() => {}
                    }
                    drop(handshake);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; raise the limit of open files if it stays so");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Health and metrics, on loopback.
pub async fn admin_loop(relay: Arc<Relay>, listener: TcpListener) {
    let routes = routes::admin(&relay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = relay.stopped() => return,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (relay, routes) = (Arc::clone(&relay), routes.clone());
        let peer = peer(&relay, address);
        tokio::spawn(async move { http(&relay, routes, stream, peer).await });
    }
}

fn peer(relay: &Relay, address: SocketAddr) -> Peer {
    let seconds = u64::from(relay.config.limits.handshake_seconds);
    Peer { address: address.ip(), deadline: Instant::now() + Duration::from_secs(seconds) }
}

async fn serve(relay: Arc<Relay>, routes: Routes, stream: TcpStream, address: SocketAddr) {
    let peer = peer(&relay, address);
    // Small frames go out at once. It only fails on a socket that is gone, which the next read finds out.
    let _ = stream.set_nodelay(true);
    match &relay.tls {
        None => http(&relay, routes, stream, peer).await,
        Some(tls) => match tokio::time::timeout_at(peer.deadline, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => http(&relay, routes, stream, peer).await,
            Ok(Err(error)) => {
                relay.metrics.refused.up();
                tracing::debug!(%error, "TLS handshake failed");
            }
            Err(_) => relay.metrics.refused.up(),
        },
    }
}

/// One HTTP connection: a single upgrade, or an answer that says how to connect.
async fn http<S>(relay: &Relay, routes: Routes, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let deadline = peer.deadline;
    let routes = TowerToHyperService::new(warp::service(routes));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match tokio::time::timeout_at(deadline, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection failed"),
        Err(_) => relay.metrics.refused.up(),
    }
}
