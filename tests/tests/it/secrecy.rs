//! Nothing that people wrote, and nothing that names them, in any byte that the relay wrote.

use std::fs;
use std::path::Path;

use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::wire::{BlobCreate, BlobRead, BlobWrite, ToClient};
use sealdesk_tests::Site;
use sealdesk_tests::canary::{Canaries, Found};
use sealdesk_tests::client::Client;
use sealdesk_tests::company::Company;
use sealdesk_tests::connection::Connection;
use sealdesk_tests::device::Device;
use sealdesk_tests::office::{ADMIN_PASSPHRASE, AGENT_PASSPHRASE, Office, succeed};
use sealdesk_tests::pair::Pair;
use sealdesk_tests::process::RelayProcess;
use sealdesk_tests::relay::Door;
use serde_json::json;

/// Everything that a relay wrote or said: data folder, backup, log, answers of its commands and its admin port.
async fn everything(relay: &mut RelayProcess, canaries: &Canaries, backup: &Path) -> (Vec<Found>, u64) {
    let stats = relay.run("stats", &[]).await;
    assert!(stats.status.success());
    let written = relay.run("backup", &["--to", backup.to_str().unwrap()]).await;
    assert!(written.status.success());
    let mut found = canaries.search("stats", &[stats.stdout, stats.stderr].concat());
    found.extend(canaries.search("backup's words", &[written.stdout, written.stderr].concat()));
    for page in ["/metrics", "/healthz", "/readyz", "/nothing"] {
        found.extend(canaries.search(page, relay.admin(page).await.as_bytes()));
    }
    let (live, _) = canaries.search_folder(&relay.data);
    found.extend(live);
    assert_eq!(relay.terminate().await, Some(0));
    let (stored, bytes) = canaries.search_folder(&relay.data);
    let (copied, more) = canaries.search_folder(backup);
    found.extend(stored.into_iter().chain(copied));
    let log = fs::read(relay.log_path()).unwrap();
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("the relay runs"), "the log, at its most talkative: {text}");
    found.extend(canaries.search("log", &log));
    (found, bytes + more + log.len() as u64)
}

#[tokio::test]
async fn what_people_wrote_is_nowhere_at_the_relay() {
    let office = Office::with_agents(&["mira"]).await;
    let mut relay = RelayProcess::start(&office, |_| {}).await;
    let url = relay.url();
    let mut canaries = Canaries::new();
    let texts = [
        ("a question", "My order 7741-QX never came, says Wilhelmine Astheimer-Okonkwo"),
        ("an answer", "Dear Wilhelmine, we look for parcel 7741-QX at once"),
        ("Arabic", "طلبي رقم ٧٧٤١ لم يصل بعد يا سيدي"),
        ("an e-mail address", "wilhelmine.astheimer@customer.invalid"),
        ("a form answer", "Ohmstrasse 117b, 80802 Muenchen-Schwabing"),
        ("a rating's comment", "Kind but slow, quoth Wilhelmine"),
        ("a file's name", "passport-of-wilhelmine-astheimer.pdf"),
        ("a file's type", "application/x-canary-passport"),
        ("a file's content", "PASSPORT NUMBER C01X00T47 OF WILHELMINE"),
        ("the administrator's passphrase", ADMIN_PASSPHRASE),
        ("an agent's passphrase", AGENT_PASSPHRASE),
        ("a customer's folder", "home-of-wilhelmine"),
    ];
    for (name, text) in texts {
        canaries.plant(name, text);
    }
    let of = |name: &str| texts.iter().find(|(n, _)| *n == name).unwrap().1;

    let mut agent = Client::agent(&office, &url, "mira", &[]);
    let mut customer = Client::customer(&office, &url, of("a customer's folder"), &[]);
    let conversation = customer.open().await;
    for name in ["a question", "Arabic", "an e-mail address", "a form answer"] {
        customer.say(of(name)).await;
        assert_eq!(agent.hear().await.1, of(name));
    }
    agent.accepted(&conversation).await;
    agent.say_in(&conversation, of("an answer")).await;
    assert_eq!(customer.hear().await.1, of("an answer"));
    let path = office.path(of("a file's name"));
    fs::write(&path, of("a file's content").repeat(2_000)).unwrap();
    let send = json!({"send": {"file": path, "type": of("a file's type")}});
    customer.command(send).await;
    let file = agent.find(|line| line.get("message")?.get("file").cloned()).await;
    assert_eq!(file["name"], of("a file's name"));
    customer.command(json!({"send": {"rating": 4, "text": of("a rating's comment")}})).await;
    agent.hear().await;
    // Some of it waits at the relay, undelivered, when it is searched.
    assert_eq!(agent.leave().await, Some(0));
    let waiting = customer.say(of("a question")).await;
    customer.receipt(&waiting, "sent").await;
    customer.kill().await;

    let (found, searched) = everything(&mut relay, &canaries, &office.path("backup")).await;
    assert_eq!(found, [], "of {searched} bytes");
    assert!(searched > 200_000, "the store, attachments, backup and log were searched: {searched} bytes");

    // The searcher does find such a text where it is: in the transcript that the customer's own program exports, and in
    // a file that a careless relay might have written.
    let export = office.path("transcript.txt");
    succeed(&[
        "export",
        "--home",
        &office.text(of("a customer's folder")),
        "--out",
        export.to_str().unwrap(),
    ])
    .await;
    let seen = canaries.search("transcript", &fs::read(&export).unwrap());
    assert!(seen.iter().any(|found| found.name == "a question"), "{seen:?}");
    fs::write(relay.data.join("store/planted"), format!("..{}..", of("Arabic"))).unwrap();
    let (planted, _) = canaries.search_folder(&relay.data);
    assert_eq!(planted.len(), 1, "{planted:?}");
}

#[tokio::test]
async fn addresses_tokens_and_keys_are_nowhere_at_the_relay() {
    let mut company = Company::new(81);
    let mut relay = RelayProcess::start(&company, |_| {}).await;
    let (address, other) = ("127.99.88.77", "127.66.55.44");
    let token: [u8; 32] = *b"capability-token-canary-00000001";
    let mut canaries = Canaries::new();
    canaries.plant("an address", address);
    canaries.plant("another address", other);
    canaries.plant_bytes("a capability token", &token);
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    canaries.plant_bytes("a root key", company.org.root.to_seed().expose());
    canaries.plant_bytes("an issuer key", company.org.issuer.to_seed().expose());
    canaries.plant_bytes("a session's state", &customer.side.session.to_stored()[100..]);

    // From other addresses: a good connection, a refused one, a broken one.
    let mut elsewhere = Connection::dial_from(&relay, address.parse().unwrap()).await.unwrap();
    elsewhere.authenticate(&customer.device).await.unwrap();
    customer.connection = elsewhere;
    customer.say("from elsewhere").await.unwrap();
    assert_eq!(agent.hear().await, "from elsewhere");
    let mut refused = Connection::dial_from(&relay, other.parse().unwrap()).await.unwrap();
    let mut answer = Device::new().answer(&refused.challenge);
    answer.signature[0] ^= 1;
    refused.send(answer).await;
    assert!(refused.welcome().await.is_err());
    let mut broken = Connection::dial_from(&relay, other.parse().unwrap()).await.unwrap();
    broken.send_bytes(vec![0xff; 100]).await;
    assert!(broken.welcome().await.is_err());

    let blob = BlobId([3; 16]);
    let bytes = vec![7; 1_000];
    let create = BlobCreate {
        req: 0,
        conversation: customer.side.conversation,
        blob,
        length: 1_000,
        token_hash: sha256(&token),
    };
    customer.connection.request(create).await.unwrap();
    customer.connection.request(BlobWrite { req: 0, blob, offset: 0, bytes }).await.unwrap();
    let read = BlobRead { req: 0, blob, token, offset: 0, length: 1_000 };
    assert!(matches!(agent.connection.request(read).await, Ok(ToClient::BlobBytes(_))));

    let backup = company.folder().join("backup");
    let (found, searched) = everything(&mut relay, &canaries, &backup).await;
    assert_eq!(found, [], "of {searched} bytes");
    fs::write(relay.data.join("planted"), token).unwrap();
    assert_eq!(canaries.search_folder(&relay.data).0.len(), 1, "the searcher finds what is there");
}
