//! The program itself: command line, kill -9, what its files hold.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::wire::envelope::Class;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

use crate::client::{Client, Party, Stream, envelope};
use crate::organisation::{Organisation, RELAY_NAME, rng};
use crate::talk::Talk;

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

    pub fn output(&self, arguments: &[&str]) -> Result<serde_json::Value, String> {
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

    /// An agent, with what it comes back as, and a customer in a conversation with it.
    pub async fn talk(&self, address: std::net::SocketAddr) -> (Client, Party, Client, Talk) {
        let (mut agent, party) = self.agent(address).await;
        let device = DeviceSecret::generate(&mut rng());
        let mut customer = Client::connect(address, device, Party::Customer).await;
        let talk = Talk::opened(&self.organisation, &mut customer, &mut agent, "mira").await;
        (agent, party, customer, talk)
    }
}

pub fn terminate(running: &mut Running) -> bool {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    running.child.wait().unwrap().success()
}

pub fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_and_sigterm_lose_nothing_that_was_accepted() {
    let program = Program::new("");
    let mut running = program.serve();
    let (agent, party, mut customer, talk) = program.talk(running.address).await;
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

#[test]
fn a_relay_that_is_starting_or_stopping_is_waited_for() {
    let program = Program::new("");
    assert!(terminate(&mut program.serve()));
    let held =
        std::fs::File::options().write(true).open(program.folder.path().join("data/store.lock")).unwrap();
    held.lock().unwrap();
    let released = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(held);
    });
    assert!(program.output(&["stats"]).unwrap()["devices"].is_null(), "the store itself was read");
    released.join().unwrap();
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
    let not_a_folder = program.output(&["check-config", "--data", "/dev/null/data"]).unwrap_err();
    assert!(not_a_folder.contains("/dev/null"), "{not_a_folder}");

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

#[test]
fn a_tls_certificate_that_has_ended_is_told_before_a_client_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let program = Program::new(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}"));
    let pair = rcgen::KeyPair::generate().unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
    let ends_in = |year| {
        let mut params = rcgen::CertificateParams::new(vec!["relay.test".into()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        std::fs::write(&certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
        program.output(&["check-config"])
    };
    assert!(ends_in(2020).unwrap_err().contains("certificate has ended"));
    assert!(ends_in(2200).unwrap()["tls_days_left"].as_u64().unwrap() > 60_000);
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
