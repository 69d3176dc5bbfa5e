//! What goes wrong around the programs: each says what is wrong, whose fault it is and what to do, and loses nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sealdesk_protocol::crypto::certificate::DAY;
use sealdesk_protocol::wire::Code;
use sealdesk_relay::RunError;
use sealdesk_tests::client::Client;
use sealdesk_tests::company::Company;
use sealdesk_tests::office::run;
use sealdesk_tests::pair::Pair;
use sealdesk_tests::process::{Port, RelayProcess, printed};
use sealdesk_tests::relay::{Door, Relay, configuration};
use sealdesk_tests::{Site, now_ms, until};
use serde_json::{Value, json};

/// A relay's program that does not start: what it printed.
async fn refused(relay: &RelayProcess) -> String {
    let output = relay.run("serve", &[]).await;
    assert_eq!(output.status.code(), Some(1), "a clear failure, no crash: {}", printed(&output));
    assert!(output.stdout.is_empty(), "it never says that it is ready");
    let text = printed(&output);
    assert!(text.contains("error: ") && !text.contains("panicked"), "{text}");
    text
}

/// A customer's program that does not start: exit code and what it printed.
async fn customer(company: &Company, home: &str) -> (Option<i32>, String) {
    let (org, home) = (company.org_json(), company.folder().join(home));
    let (org, home) = (org.to_str().unwrap(), home.to_str().unwrap());
    let url = "ws://127.0.0.1:9/";
    let output = run(&["customer", "chat", "--json", "--org", org, "--home", home, "--relay", url]).await;
    (output.status.code(), printed(&output))
}

#[tokio::test]
async fn a_taken_port_and_a_used_data_folder_are_named() {
    let company = Company::new(71);
    let mut relay = RelayProcess::start(&company, |_| {}).await;
    let taken = refused(&relay).await;
    assert!(taken.contains("another program has this port"), "{taken}");
    assert!(taken.contains(&relay.address().to_string()), "{taken}");
    // Another port, the same data.
    let mut raw = configuration(&company);
    raw.data = relay.data.clone();
    match Relay::try_start(raw).await {
        Err(RunError::Store(error)) => assert!(!error.to_string().is_empty()),
        other => panic!("the store belongs to the running relay: {other:?}"),
    }
    assert_eq!(relay.terminate().await, Some(0));
}

/// A file that this user may not read, in place of one that he may. Whoever runs the tests as root may read everything: then
/// a link to itself stands there.
struct Unreadable<'a>(&'a Path);

impl<'a> Unreadable<'a> {
    fn put(path: &'a Path) -> Self {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        if fs::read(path).is_ok() {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        }
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

#[tokio::test]
async fn files_that_may_not_be_read_are_named_with_what_to_do() {
    let company = Company::new(81);
    let relay = RelayProcess::prepare(&company, |_| {});
    let org = company.org_json();
    let unreadable = Unreadable::put(&org);
    let text = refused(&relay).await;
    assert!(text.contains(&format!("cannot read org.json at {}", org.display())), "{text}");
    assert!(text.contains("set `org`"), "{text}");
    let (code, text) = customer(&company, "carla").await;
    assert_eq!(code, Some(3), "{text}");
    let named: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(named["error"]["text"].as_str().unwrap().starts_with(org.to_str().unwrap()), "{text}");
    assert_eq!(named["error"]["hint"], "Check the file's and the folder's permissions.");
    unreadable.remove();
    company.publish();
    let config = company.folder().join("relay.toml");
    let unreadable = Unreadable::put(&config);
    let text = refused(&relay).await;
    assert!(text.contains(config.to_str().unwrap()), "{text}");
    assert!(text.contains("let the relay's user read it"), "{text}");
    // Readable again, all of it is good.
    unreadable.remove();
    let checked = RelayProcess::prepare(&company, |_| {}).run("check-config", &[]).await;
    assert!(checked.status.success(), "{}", printed(&checked));
}

#[tokio::test]
async fn missing_damaged_and_foreign_files_are_named() {
    let company = Company::new(72);
    let relay = RelayProcess::prepare(&company, |_| {});
    let good = fs::read(company.org_json()).unwrap();
    fs::remove_file(company.org_json()).unwrap();
    assert!(refused(&relay).await.contains("org.json"));
    fs::write(company.org_json(), "{").unwrap();
    assert!(refused(&relay).await.contains("no org.json"));
    let mut altered = String::from_utf8(good.clone()).unwrap();
    let at = altered.find("\"settings\": \"").unwrap() + 40;
    let other = if &altered[at..=at] == "A" { "B" } else { "A" };
    altered.replace_range(at..=at, other);
    fs::write(company.org_json(), altered).unwrap();
    assert!(refused(&relay).await.contains("org.json"));
    fs::write(company.org_json(), good).unwrap();
    let renamed = RelayProcess::prepare(&company, |raw| raw.name = "relay.other".into());
    let text = refused(&renamed).await;
    assert!(text.contains("relay.other") && text.contains("relay.test"), "{text}");
    let pinned = RelayProcess::prepare(&company, |raw| raw.root = Some("00".repeat(32)));
    assert!(refused(&pinned).await.contains("another organisation"));
    let checked = RelayProcess::prepare(&company, |_| {}).run("check-config", &[]).await;
    assert!(checked.status.success(), "{}", printed(&checked));
}

#[tokio::test]
async fn a_corrupt_store_stops_the_relay_with_a_reason() {
    let mut company = Company::new(73);
    let mut relay = RelayProcess::start(&company, |_| {}).await;
    let Pair { mut customer, .. } = Pair::meet(&mut company, &relay, "mira").await;
    for n in 0..50 {
        customer.say(&format!("message {n}")).await.unwrap();
    }
    assert_eq!(relay.terminate().await, Some(0));
    // Not a torn write at the end, which a store repairs, but damage everywhere.
    let db = relay.data.join("store/db");
    let mut bytes = fs::read(&db).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0x5a);
    fs::write(&db, bytes).unwrap();
    for entry in fs::read_dir(relay.data.join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap")) {
            fs::write(path, [7; 100]).unwrap();
        }
    }
    let text = refused(&relay).await;
    assert!(text.contains("store"), "{text}");
}

#[tokio::test]
async fn a_disk_that_takes_no_more_refuses_and_loses_nothing() {
    let mut company = Company::new(74);
    // The system refuses to let any file grow beyond 3 MiB, as a full disk would.
    let limit = ["sh", "-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\""];
    let mut relay = RelayProcess::start_under(&company, &limit, |_| {}).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    agent.connection.settle().await;
    agent.connection.leave().await;
    let long = "z".repeat(30_000);
    let mut accepted = 0;
    let mut sealed = customer.side.seal(format!("{accepted} {long}").as_bytes());
    let refusal = loop {
        // The relay may also end its life when its store has failed; then the connection ends.
        let req = customer.connection.begin(sealed.clone()).await;
        let answer = customer.connection.next().await;
        match answer {
            Some(sealdesk_protocol::wire::ToClient::Done(done)) if done.req == req => {
                accepted += 1;
                sealed = customer.side.seal(format!("{accepted} {long}").as_bytes());
            }
            Some(sealdesk_protocol::wire::ToClient::Error(error)) => break Some(error.code),
            Some(sealdesk_protocol::wire::ToClient::Goodbye(_)) | None => break None,
            Some(_) => {}
        }
        assert!(accepted < 400, "3 MiB are full long before");
    };
    assert!(refusal.is_none_or(|code| code == Code::Unavailable), "{refusal:?}");
    assert!(accepted > 5, "{accepted}");
    // It ends by itself or is ended; with room again, everything that it had accepted is there.
    let code = relay.terminate().await;
    assert!(code.is_some(), "no crash: {code:?}\n{}", relay.log());
    let mut raw = configuration(&company);
    raw.data = relay.data.clone();
    let roomy = Relay::try_start(raw).await.expect("it starts again once there is room");
    agent.connection = agent.device.connect(&roomy).await;
    for n in 0..accepted {
        assert!(agent.hear().await.starts_with(&format!("{n} ")), "message {n} of {accepted}");
    }
    // The one that was refused is sent again by its sender.
    customer.reconnect(&roomy).await;
    customer.connection.request(sealed).await.expect("there is room");
    assert!(agent.hear().await.starts_with(&format!("{accepted} ")));
}

#[tokio::test]
async fn too_little_free_space_refuses_new_things_before_the_disk_is_full() {
    let company = Company::new(75);
    let relay = Relay::start(&company, |raw| raw.store.min_free_mib = u32::MAX).await;
    let device = sealdesk_tests::device::Device::new();
    let mut connection = device.connect(&relay).await;
    let wish = sealdesk_tests::talk::Wish::new(&company, &device);
    assert_eq!(connection.request(wish.request(&device)).await.unwrap_err(), Code::Unavailable);
    let ready = relay.admin("/readyz").await;
    assert!(ready.contains("503") && ready.contains("MiB"), "{ready}");
    assert!(relay.admin("/healthz").await.contains("200"));
}

#[tokio::test]
async fn clocks_that_are_a_day_off_are_named_as_the_reason() {
    // As seen by a machine whose clock is a day behind: everything is from tomorrow.
    let early = Company::made_at(76, now_ms() + DAY);
    let text = refused(&RelayProcess::prepare(&early, |_| {})).await;
    assert!(text.contains("clock"), "{text}");
    let (code, text) = customer(&early, "carla").await;
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("clock"), "{text}");
    // A day ahead: certificates of thirty days are still good, and both sides work.
    let mut late = Company::made_at(77, now_ms() - DAY);
    let relay = Relay::start(&late, |_| {}).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut late, &relay, "mira").await;
    customer.say("what time is it?").await.unwrap();
    assert_eq!(agent.hear().await, "what time is it?");
    // Ninety-one days ahead, the issuer's certificate is over.
    let over = Company::made_at(78, now_ms() - 91 * DAY);
    assert!(refused(&RelayProcess::prepare(&over, |_| {})).await.contains("expired"));
}

#[tokio::test]
async fn an_absent_relay_is_told_and_found_when_it_comes() {
    let company = Company::new(79);
    let port = Port::take();
    let address = port.address();
    let (org, home) = (company.org_json(), company.folder().join("carla"));
    let (org, home) = (org.to_str().unwrap(), home.to_str().unwrap());
    let url = format!("ws://{address}/");
    let mut customer =
        Client::start(&["customer", "chat", "--json", "--org", org, "--home", home, "--relay", &url]);
    customer.command(json!({"open": {"topic": "general"}})).await;
    customer.command(json!({"send": {"text": "is anybody there?"}})).await;
    let problem = customer.problem("relay_unreachable").await;
    assert!(problem["text"].as_str().unwrap().contains(&address.to_string()), "{problem}");
    let mut raw = configuration(&company);
    raw.listen = address;
    let relay = Relay::try_start(raw).await.unwrap();
    customer.find(|line| (line["link"]["state"] == "online").then_some(())).await;
    until(async || (relay.metric("sealdesk_devices").await == 1).then_some(())).await;
}

#[tokio::test]
async fn a_damaged_vault_is_not_used_and_says_so() {
    let company = Company::new(80);
    let relay = Relay::start(&company, |_| {}).await;
    let (org, home) = (company.org_json(), company.folder().join("carla"));
    let (org, home_text) = (org.to_str().unwrap(), home.to_str().unwrap());
    let url = relay.url();
    let arguments = ["customer", "chat", "--json", "--org", org, "--home", home_text, "--relay", &url];
    let mut client = Client::start(&arguments);
    client.open().await;
    // Held by this program: a second one is told who has it.
    let second = run(&arguments).await;
    assert_eq!(second.status.code(), Some(5), "{}", printed(&second));
    client.kill().await;
    for entry in fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.metadata().unwrap().len() > 4_096 {
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x33);
            fs::write(&path, bytes).unwrap();
        }
    }
    let damaged = run(&arguments).await;
    assert_eq!(damaged.status.code(), Some(5), "{}", printed(&damaged));
    assert!(printed(&damaged).contains("hint"), "{}", printed(&damaged));
}
