//! Running it: TLS, the command line, restarts, kill -9, backups, a nearly full disk, secrecy of logs and store.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
use crate::organisation::{Organisation, RELAY_NAME, rng};
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
    tokio::time::timeout(Duration::from_secs(8), reloaded).await.unwrap();
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

/// The program itself, with a configuration in a folder.
pub struct Program {
    pub folder: tempfile::TempDir,
    pub config: PathBuf,
    pub organisation: Organisation,
}

pub struct Running {
    pub child: Child,
    pub address: std::net::SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub fn new(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let organisation = Organisation::new();
        let (org, data) = (folder.path().join("org.json"), folder.path().join("data"));
        organisation.write(&org);
        let config = folder.path().join("relay.toml");
        let text = format!(
            "org = {org:?}\nname = {RELAY_NAME:?}\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\n{extra}\n[store]\nmin_free_mib = 1\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config, organisation }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealdesk-relay"));
        command.arg(arguments[0]).arg("--config").arg(&self.config).args(&arguments[1..]);
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<serde_json::Value, String> {
        let output = self.command(arguments).output().unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            assert!(output.stdout.is_empty());
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    pub fn serve(&self) -> Running {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("relay.log"))
            .unwrap();
        let mut child = self
            .command(&["serve"])
            .env("SEALDESK_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let address = ready["listening"].as_str().unwrap().parse().unwrap();
        Running { child, address }
    }

    pub async fn agent(&self, address: std::net::SocketAddr) -> (Client, Party) {
        let device = DeviceSecret::generate(&mut rng());
        let chain = self.organisation.chain(&self.organisation.certificate("mira", &device));
        let mut agent = Client::connect(address, device, Party::Agent(chain.clone())).await;
        agent.publish(3).await;
        (agent, Party::Agent(chain))
    }
}

fn terminate(running: &mut Running) -> bool {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    running.child.wait().unwrap().success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_and_sigterm_lose_nothing_that_was_accepted() {
    let program = Program::new("");
    let mut running = program.serve();
    let (mut agent, party) = program.agent(running.address).await;
    let mut customer =
        Client::connect(running.address, DeviceSecret::generate(&mut rng()), Party::Customer).await;
    let talk = Talk::opened(&program.organisation, &mut customer, &mut agent, "mira").await;
    let mut accepted = Vec::new();
    for round in 0..4 {
        for _ in 0..25 {
            let message = envelope(agent.mailbox(), Class::Store);
            customer.send_envelope(&talk, message.clone()).await.unwrap();
            accepted.push(message.envelope);
        }
        if round % 2 == 0 {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        } else {
            assert!(terminate(&mut running), "a clean exit");
        }
        running = program.serve();
        customer = customer.reconnect(running.address, Party::Customer).await;
    }
    let mut agent = agent.reconnect(running.address, party).await;
    for envelope in &accepted {
        assert_eq!(agent.delivered_envelope().await, *envelope, "each once, in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_while_running_restore_and_stats() {
    let program = Program::new("");
    let mut running = program.serve();
    let (mut agent, party) = program.agent(running.address).await;
    let mut customer =
        Client::connect(running.address, DeviceSecret::generate(&mut rng()), Party::Customer).await;
    let talk = Talk::opened(&program.organisation, &mut customer, &mut agent, "mira").await;
    let message = envelope(agent.mailbox(), Class::Store);
    customer.send_envelope(&talk, message.clone()).await.unwrap();
    let before = agent.welcome.as_ref().unwrap().store_epoch;

    let stats = program.output(&["stats"]).unwrap();
    assert_eq!((stats["devices"].as_u64(), stats["store"]["items"].as_u64()), (Some(2), Some(1)));
    let copy = program.folder.path().join("copy");
    let copy = copy.to_str().unwrap();
    assert!(program.output(&["backup", "--to", copy]).unwrap()["records"].as_u64().unwrap() > 3);
    let again = program.output(&["backup", "--to", copy]).unwrap_err();
    assert!(again.contains("new folder"), "{again}");
    let busy = program.output(&["restore", "--from", copy]).unwrap_err();
    assert!(busy.contains("holds a store already"), "{busy}");
    assert!(terminate(&mut running));
    assert!(program.output(&["stats"]).unwrap()["devices"].is_null(), "without a running relay");

    std::fs::rename(program.folder.path().join("data"), program.folder.path().join("lost")).unwrap();
    let nothing = program.output(&["stats"]).unwrap_err();
    assert!(nothing.contains("is `data` right?"), "{nothing}");
    program.output(&["restore", "--from", copy]).unwrap();
    let running = program.serve();
    let mut agent = agent.reconnect(running.address, party).await;
    let welcome = agent.welcome.clone().unwrap();
    assert!(welcome.store_epoch > before, "a restored store says so");
    assert_eq!(welcome.one_time_left, 0, "one-time pairs are void");
    assert!(welcome.last_resort.is_some());
    assert_eq!(agent.delivered_envelope().await, message.envelope);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_data_folder_is_the_relays_users_alone_whoever_made_it() {
    let program = Program::new("");
    let data = program.folder.path().join("data");
    let folders = [data.clone(), data.join("store"), data.join("blobs")];
    folders.iter().for_each(|path| open_to_all(path));
    let mut running = program.serve();
    for path in &folders {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let copy = program.folder.path().join("copy");
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    assert!(terminate(&mut running));
    let mut written = Vec::new();
    files(&data, &mut written);
    files(&copy, &mut written);
    for path in written {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    std::fs::rename(&data, program.folder.path().join("lost")).unwrap();
    open_to_all(&data);
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap();
    for path in [&data, &data.join("store"), &data.join("blobs"), &copy] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
}

#[test]
fn a_backup_or_restore_that_failed_half_way_is_repeated() {
    let program = Program::new("");
    let mut running = program.serve();
    let data = program.folder.path().join("data");
    let copy = program.folder.path().join("copy");
    // Not a file: copying it fails after the records were written.
    let odd = data.join("blobs").join("odd");
    std::fs::create_dir(&odd).unwrap();
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap_err();
    std::fs::remove_dir(&odd).unwrap();
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    assert!(terminate(&mut running));

    std::fs::rename(&data, program.folder.path().join("lost")).unwrap();
    let odd = copy.join("blobs").join("odd");
    std::fs::create_dir(&odd).unwrap();
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap_err();
    let half = program.output(&["serve"]).unwrap_err();
    assert!(half.contains("restore` again"), "no store without its attachments: {half}");
    std::fs::remove_dir(&odd).unwrap();
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap();
    drop(program.serve());
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
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await.unwrap().unwrap();
    assert!(matches!(answer, Some(sealdesk_relay::control::Answer::Stats(_))));
}

#[test]
fn errors_name_cause_and_remedy() {
    let program = Program::new("");
    assert_eq!(program.output(&["check-config"]).unwrap()["organisation"], "Example");
    let running = program.serve();
    let port = running.address.to_string();
    let taken = program.output(&["serve", "--listen", &port]).unwrap_err();
    assert!(taken.contains(&port) && taken.contains("choose another port"), "{taken}");
    let locked = program.output(&["serve"]).unwrap_err();
    assert!(locked.contains(&format!("in use by process {}", running.child.id())), "{locked}");
    drop(running);

    let missing = program.output(&["check-config", "--org", "/nowhere/org.json"]).unwrap_err();
    assert!(missing.contains("/nowhere/org.json") && missing.contains("sealdesk org init"), "{missing}");
    let outside = program.output(&["check-config", "--listen", "0.0.0.0:1"]).unwrap_err();
    assert!(outside.contains("plaintext = true"), "{outside}");
    let not_a_folder = program.output(&["serve", "--data", "/dev/null/data"]).unwrap_err();
    assert!(not_a_folder.contains("/dev/null/data"), "{not_a_folder}");

    let unknown = Program::new("colour = \"blue\"");
    assert!(unknown.output(&["check-config"]).unwrap_err().contains("colour"));
    let pinned = Program::new(&format!("root = \"{}\"", "ab".repeat(32)));
    assert!(pinned.output(&["check-config"]).unwrap_err().contains("another organisation"));
    let tls = Program::new("[tls]\ncertificate = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"");
    assert!(tls.output(&["check-config"]).unwrap_err().contains("tls.certificate = /nowhere/cert.pem"));
    let named = Program::new("");
    let text = std::fs::read_to_string(&named.config).unwrap().replace(RELAY_NAME, "other.name");
    std::fs::write(&named.config, text).unwrap();
    let error = named.output(&["check-config"]).unwrap_err();
    assert!(error.contains("other.name") && error.contains(RELAY_NAME), "{error}");
    let altered = Program::new("");
    let org = altered.folder.path().join("org.json");
    let text = std::fs::read_to_string(&org).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["settings"] = serde_json::Value::String("AAAA".into());
    std::fs::write(&org, file.to_string()).unwrap();
    assert!(altered.output(&["check-config"]).unwrap_err().contains("org.json"));
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// At the most talkative log level: no address, no name, no capability token in anything that the relay writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_store_hold_no_address_name_or_token() {
    let program = Program::new("trusted_proxies = [\"127.0.0.1\"]");
    let mut running = program.serve();
    let (mut agent, _) = program.agent(running.address).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(
        format!("ws://{}/", running.address),
    )
    .unwrap();
    request.headers_mut().insert("x-forwarded-for", "203.0.113.77".parse().unwrap());
    let stream: Box<dyn Stream> = Box::new(stream);
    let socket = client_async(request, stream).await.unwrap().0;
    let device = DeviceSecret::generate(&mut rng());
    let mut customer = Client::greet(socket, device, Party::Customer, 1).await.ok().unwrap();
    let talk = Talk::opened(&program.organisation, &mut customer, &mut agent, "mira").await;
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    let token = *b"capability-token-canary-1234567.";
    let token_hash = <sha2::Sha256 as sha2::Digest>::digest(token).into();
    let blob = sealdesk_protocol::ids::BlobId([3; 16]);
    let create =
        sealdesk_protocol::wire::BlobCreate { req: 90, conversation: talk.id, blob, length: 5, token_hash };
    customer.send(create).await;
    customer.answer(90).await;
    customer.send(sealdesk_protocol::wire::BlobWrite { req: 91, blob, offset: 0, bytes: vec![1; 5] }).await;
    customer.answer(91).await;
    let read = sealdesk_protocol::wire::BlobRead { req: 92, blob, token, offset: 0, length: 5 };
    customer.send(read).await;
    assert!(matches!(customer.answer(92).await, sealdesk_protocol::wire::ToClient::BlobBytes(_)));
    let log = || std::fs::read_to_string(program.folder.path().join("relay.log")).unwrap();
    assert!(terminate(&mut running), "{}", log());

    let mut written = Vec::new();
    files(&program.folder.path().join("data"), &mut written);
    written.push(program.folder.path().join("relay.log"));
    assert!(written.len() > 3);
    for path in written {
        let bytes = std::fs::read(&path).unwrap();
        for canary in [&b"203.0.113.77"[..], &[203, 0, 113, 77], b"127.0.0.1", b"capability-token-canary"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "{} in {}", String::from_utf8_lossy(canary), path.display());
        }
    }
}
