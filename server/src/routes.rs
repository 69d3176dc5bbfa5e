//! The HTTP routes: the upgrade for clients, and health and metrics on the loopback port. The relay serves no page.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::listen::Peer;
use crate::relay::Relay;
use crate::socket::upgrade;

/// The routes of one listener.
pub type Routes = BoxedFilter<(Response,)>;

/// A plain-text answer.
pub fn text(status: StatusCode, body: impl Into<String>) -> Response {
    warp::reply::with_status(body.into(), status).into_response()
}

/// For clients: any path upgrades to the WebSocket.
pub fn public(relay: &Arc<Relay>) -> Routes {
    let relay = Arc::clone(relay);
    warp::get()
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<Peer>())
        .map(move |headers: HeaderMap, on_upgrade: Option<OnUpgrade>, peer: Peer| {
            upgrade::respond(&relay, &headers, on_upgrade, peer)
        })
        .boxed()
}

/// For the operator: `/healthz` (the process lives), `/readyz` (it can store), `/metrics`.
pub fn admin(relay: &Arc<Relay>) -> Routes {
    let (ready, metrics) = (Arc::clone(relay), Arc::clone(relay));
    let healthz = warp::path!("healthz").map(|| text(StatusCode::OK, "alive\n"));
    let readyz = warp::path!("readyz").map(move || match ready.readiness() {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    });
    let metrics = warp::path!("metrics").map(move || {
        metrics.metrics.connections.set(u64::from(metrics.limits.open_connections()));
        text(StatusCode::OK, metrics.metrics.render())
    });
    warp::get().and(healthz.or(readyz).unify().or(metrics).unify()).boxed()
}
