//! The upgrade to a WebSocket (RFC 6455 §4.2): headers, Origin, limits, then a socket with small buffers.
//!
//! `warp::ws()` keeps 128 KiB of read buffer for each connection; 2 KiB are enough here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Once, PoisonError};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sealdesk_protocol::wire::MAX_FRAME;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::greeting;
use crate::config::{Config, normal_origin};
use crate::listen::Peer;
use crate::relay::Relay;
use crate::routes::text;

/// Read buffer of a connection: most are idle, and one that sends gets a larger one.
const READ_BUFFER: usize = 2 * 1024;
/// Pings, pongs and the closing frame go through the library, nothing else: see [`super::outgoing`].
const MAX_WRITE_BUFFER: usize = MAX_FRAME;

/// A client's socket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Refuses a page that is not on the list; programs send no Origin.
fn check_origin(config: &Config, headers: &HeaderMap) -> Result<(), String> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(normal_origin);
    match origin {
        Some(origin) if config.allowed_origins.contains(&origin) => Ok(()),
        Some(origin) => {
            // Browsers show nobody why a connection was refused.
            if is_new(&origin) {
                tracing::warn!(
                    origin,
                    "a page was refused: if it is yours, add its origin to allowed_origins"
                );
            }
            Err(format!(
                "pages of the origin {origin} may not connect to this relay.\n\
                 The relay's operator allows them by allowed_origins = [\"{origin}\"] in its configuration.\n"
            ))
        }
        None => Err("the Origin header is no web origin; pages opened from a file cannot connect.\n".into()),
    }
}

/// The client's address: the peer's, or what trusted proxies say. From the right, the first address that is no
/// trusted proxy: whatever stands left of it, the client may have written itself.
fn client_address(config: &Config, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let trusted = config.trusts(peer);
    let mut address = peer;
    let hops = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !config.trusts(address) {
            break;
        }
        let Some(next) = hop_address(hop) else { break };
        address = next;
    }
    if address == peer && trusted {
        warn_once();
    }
    address
}

/// An address of X-Forwarded-For, which some proxies write with its port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// Whether it was not asked before: strangers name what they like, so that a few are remembered and no more are told.
fn is_new(origin: &str) -> bool {
    const MOST: usize = 32;
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.len() < MOST && told.insert(origin.to_owned())
}

fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "a trusted proxy sends no usable X-Forwarded-For: all its clients share one network's limits; let it send \
             the client's address"
        );
    });
}

/// Answers a request: 101 and a task that runs the connection, or why not.
pub fn respond(
    relay: &Arc<Relay>,
    headers: &HeaderMap,
    on_upgrade: Option<OnUpgrade>,
    peer: Peer,
) -> Response {
    let refuse = |status, reason: String| {
        relay.metrics.refused.up();
        text(status, reason)
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    let is_upgrade = has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::SEC_WEBSOCKET_VERSION, "13");
    let (Some(key), Some(on_upgrade), true) = (key, on_upgrade, is_upgrade) else {
        let reason = "This is a Sealdesk relay. It speaks WebSocket (version 13) only and serves no page.\n";
        return refuse(StatusCode::UPGRADE_REQUIRED, reason.into());
    };
    if let Err(reason) = check_origin(&relay.config, headers) {
        return refuse(StatusCode::FORBIDDEN, reason);
    }
    let prefix = relay.limits.prefix(client_address(&relay.config, headers, peer.address));
    let Ok(permit) = relay.limits.admit(prefix) else {
        let reason = "too many connections from this network, or in all; try again in a minute\n";
        return refuse(StatusCode::TOO_MANY_REQUESTS, reason.into());
    };
    let task_relay = Arc::clone(relay);
    tokio::spawn(async move {
        let upgraded = match tokio::time::timeout_at(peer.deadline, on_upgrade).await {
            Ok(Ok(upgraded)) => upgraded,
            _ => return task_relay.metrics.refused.up(),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        greeting::run(task_relay, socket, permit, peer.deadline).await;
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let out = response.headers_mut();
    out.clear();
    out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    match accept {
        Ok(accept) => {
            out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            response
        }
        Err(_) => text(StatusCode::BAD_REQUEST, "the Sec-WebSocket-Key header is unusable\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    fn config(origins: &[&str], proxies: &[&str]) -> Config {
        let mut raw =
            RawConfig::minimal("org".into(), "relay".into(), "data".into(), ([127, 0, 0, 1], 0).into());
        raw.allowed_origins = origins.iter().map(ToString::to_string).collect();
        raw.trusted_proxies = proxies.iter().map(ToString::to_string).collect();
        raw.check().unwrap()
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn origins_are_compared_whole() {
        let config = config(&["https://chat.example", "http://127.0.0.1:8080"], &[]);
        let check = |origin: &str| check_origin(&config, &headers(&[(header::ORIGIN, origin)]));
        assert!(check("https://chat.example").is_ok());
        assert!(check("https://CHAT.example").is_ok());
        assert!(check("http://127.0.0.1:8080").is_ok());
        assert!(check_origin(&config, &HeaderMap::new()).is_ok(), "programs");
        for other in ["http://chat.example", "https://chat.example.evil.test", "https://evil.test", "null"] {
            assert!(check(other).is_err(), "{other}");
        }
        assert!(check(&format!("https://{}.test", "a".repeat(300))).unwrap_err().contains("no web origin"));
        let told = check("https://evil.test").unwrap_err();
        assert!(told.contains("allowed_origins = [\"https://evil.test\"]"), "{told}");
    }

    #[test]
    fn each_refused_origin_is_told_once_and_few_of_them() {
        assert!(is_new("https://one.example") && !is_new("https://one.example"));
        let told = (0..100).filter(|n| is_new(&format!("https://{n}.example"))).count();
        assert!((1..32).contains(&told), "{told}");
    }

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        let config = config(&[], &["10.0.0.0/8"]);
        let of = |peer: &str, forwarded: &str| {
            let headers = headers(&[(FORWARDED_FOR, forwarded)]);
            client_address(&config, &headers, peer.parse().unwrap()).to_string()
        };
        assert_eq!(of("192.0.2.9", "198.51.100.1"), "192.0.2.9", "not from a proxy");
        assert_eq!(of("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(
            of("10.0.0.1", "203.0.113.5, 198.51.100.1"),
            "198.51.100.1",
            "the left part may be forged"
        );
        assert_eq!(of("10.0.0.1", "198.51.100.1, 10.0.0.2"), "198.51.100.1", "two proxies");
        assert_eq!(of("10.0.0.1", "garbage"), "10.0.0.1");
        assert_eq!(of("10.0.0.1", "198.51.100.1:5678"), "198.51.100.1", "with its port");
        assert_eq!(of("10.0.0.1", "[2001:db8::1]:5"), "2001:db8::1");
        assert_eq!(of("10.0.0.1", "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(of("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "trusted all the way: the first");
        let mut several = HeaderMap::new();
        for value in ["203.0.113.5", "198.51.100.1, 10.0.0.2"] {
            several.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let found = client_address(&config, &several, "10.0.0.1".parse().unwrap());
        assert_eq!(found.to_string(), "198.51.100.1", "several headers are one list");
    }
}
