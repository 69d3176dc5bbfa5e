//! HTTP: health, metrics, the upgrade and its refusals.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestRelay;

/// Status and body of one request.
pub async fn exchange(address: SocketAddr, request: String) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_string())
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    exchange(address, format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n")).await
}

fn upgrade(extra: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nhost: relay\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

async fn status_line(address: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let relay = TestRelay::start().await;
    assert_eq!(get(relay.admin, "/healthz").await, (200, "alive\n".into()));
    assert_eq!(get(relay.admin, "/readyz").await, (200, "ready\n".into()));
    assert!(relay.metrics().await.contains("sealdesk_connections 0\n"));
    assert_eq!(get(relay.admin, "/elsewhere").await.0, 404);
    assert_eq!(get(relay.address, "/metrics").await.0, 426, "not for clients");
}

#[tokio::test]
async fn upgrades_and_says_why_not() {
    let relay = TestRelay::with(|raw, _| raw.allowed_origins = vec!["https://chat.example".into()]).await;
    let accepted = status_line(relay.address, upgrade("")).await;
    assert!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    assert!(accepted.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the example of RFC 6455: {accepted}");
    let accepted = status_line(relay.address, upgrade("origin: https://chat.example\r\n")).await;
    assert!(accepted.starts_with("HTTP/1.1 101"), "{accepted}");
    let refused = status_line(relay.address, upgrade("origin: https://evil.test\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(refused.contains("allowed_origins = [\"https://evil.test\"]"), "{refused}");
    let (status, text) = get(relay.address, "/").await;
    assert_eq!(status, 426);
    assert!(text.contains("WebSocket"), "{text}");
    let bent = [
        upgrade("").replace("version: 13", "version: 8"),
        upgrade("").replace("keep-alive, Upgrade", "keep-alive"),
        upgrade("").replace("upgrade: websocket\r\n", "upgrade: h2c\r\n"),
        upgrade("").replace("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
    ];
    for request in bent {
        let answer = status_line(relay.address, request.clone()).await;
        assert!(answer.starts_with("HTTP/1.1 426"), "{request}{answer}");
    }
}
