//! Running it: TLS, two in one process, a nearly full disk, the control socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::envelope::Class;
use sealdesk_protocol::wire::{BlobCreate, BlobWrite, Code, PublishPrekeys, Reason};
use sealdesk_relay::config::RawTls;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;

use crate::client::{Client, Party, Stream, envelope};
use crate::harness::TestRelay;
use crate::organisation::rng;
use crate::talk::Talk;

fn write_certificate(folder: &Path) -> (RawTls, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["relay.test".to_string()]).unwrap();
    let files = RawTls { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made.cert.der().to_vec())
}

/// The certificate that the relay presents; trust is what the file says.
async fn presented(relay: &TestRelay, files: &RawTls) -> Option<(Vec<u8>, Box<dyn Stream>)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(relay.address).await.unwrap();
    let name = ServerName::try_from("relay.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let certificate = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
    Some((certificate, Box::new(stream)))
}

#[tokio::test]
async fn tls_with_certificates_reloaded_on_change() {
    let keys = tempfile::tempdir().unwrap();
    let (files, first) = write_certificate(keys.path());
    let relay = TestRelay::with(|raw, _| raw.tls = Some(files.clone())).await;
    let (shown, stream) = presented(&relay, &files).await.unwrap();
    assert_eq!(shown, first);
    let socket = client_async("wss://relay.test/", stream).await.unwrap().0;
    let device = DeviceSecret::generate(&mut rng());
    assert!(Client::greet(socket, device, Party::Customer, 1).await.is_ok());
    let plain = TcpStream::connect(relay.address).await.unwrap();
    assert!(client_async("ws://relay/", plain).await.is_err(), "no plaintext on a TLS port");

    // A broken pair of files leaves the old one in force.
    tokio::time::sleep(Duration::from_millis(20)).await;
    std::fs::write(&files.key, "no key").unwrap();
    relay.until_metric("tls_refused", 1).await;
    assert_eq!(presented(&relay, &files).await.unwrap().0, first);
    let (files, second) = write_certificate(keys.path());
    let reloaded = async {
        loop {
            match presented(&relay, &files).await {
                Some((shown, _)) if shown == second => break,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reloaded).await.unwrap();
}

#[tokio::test]
async fn two_relays_live_in_one_process_and_clients_are_told_of_the_end() {
    let mut one = TestRelay::start().await;
    let two = TestRelay::start().await;
    let mut client = one.customer().await;
    let _other = two.customer().await;
    let (stopped, told) = tokio::join!(one.stop(), client.goodbye());
    let () = stopped;
    assert_eq!(told, Reason::ShuttingDown);
    assert_eq!(two.metric("devices").await, 1);
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_new_things_and_keeps_delivering() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    let announce = |req, n| BlobCreate {
        req,
        conversation: talk.id,
        blob: BlobId([n; 16]),
        length: 5,
        token_hash: [n; 32],
    };
    customer.send(announce(70, 1)).await;
    customer.answer(70).await;
    relay.stop().await;
    relay.raw.store.min_free_mib = u32::MAX;
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    let refused = customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await;
    assert_eq!(refused, Err(Code::Unavailable));
    customer.send(announce(71, 2)).await;
    assert_eq!(customer.outcome(71).await, Err(Code::Unavailable), "an attachment");
    customer.send(BlobWrite { req: 72, blob: BlobId([1; 16]), offset: 0, bytes: vec![1; 5] }).await;
    assert_eq!(customer.outcome(72).await, Err(Code::Unavailable), "its bytes");
    customer.send(PublishPrekeys { req: 73, last_resort: None, one_time: Vec::new() }).await;
    assert_eq!(customer.outcome(73).await, Err(Code::Unavailable), "prekeys");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    assert_eq!(customer.post(&talk, 1, close).await.unwrap_err(), Code::Unavailable, "a statement");
    let (status, reason) = crate::http::get(relay.admin, "/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("free"), "{reason}");
    assert_eq!(crate::http::get(relay.admin, "/healthz").await.0, 200);
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    let delivered = agent.delivered().await;
    agent.ack(&delivered).await;
    relay.until_metric("acks", 1).await;
}

#[tokio::test]
async fn a_control_connection_that_stands_still_holds_up_nobody() {
    let relay = TestRelay::start().await;
    let socket = relay.raw.data.join("control.sock");
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _still = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let asked = sealdesk_relay::control::ask(&relay.raw.data, &sealdesk_relay::control::Request::Stats);
    let answer = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap().unwrap();
    assert!(matches!(answer, Some(sealdesk_relay::control::Answer::Stats(_))));
}
