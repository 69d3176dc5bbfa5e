//! Files that are renewed while clients run.

use std::fs;

use sealdesk_tests::Site;
use sealdesk_tests::client::Client;
use sealdesk_tests::office::{Office, succeed};
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;
use sealdesk_tests::until;
use serde_json::{Value, json};

/// As an administrator copies a file into a home: beside it, then renamed.
fn put(office: &Office, from: &str, to: &str) {
    fs::copy(office.path(from), office.path("copy")).unwrap();
    fs::rename(office.path("copy"), office.path(to)).unwrap();
}

/// Certifies the agent anew for 29 days, as the file `renewed`.
async fn approve_anew(office: &Office) {
    let (admin, pass, renewed) = (office.text("admin"), office.text("admin.pass"), office.text("renewed"));
    let approve = ["agent", "approve", "--dir", &admin, "--renew", "mira", "--days", "29", "--out", &renewed];
    succeed(&[&approve[..], &["--passphrase-file", &pass]].concat()).await;
}

/// Adds the topic `returns`, in the administrator's org.json.
async fn add_topic(office: &Office) {
    let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
    let set =
        ["org", "set", "--dir", &admin, "--topic", "returns=support:Returns", "--passphrase-file", &pass];
    succeed(&set).await;
}

fn errors(client: &Client) -> Vec<&Value> {
    client.seen.iter().filter_map(|line| line.get("error")).collect()
}

#[tokio::test]
async fn a_certificate_that_is_renewed_while_chatting_is_taken_over() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    let conversation = customer.open().await;
    customer.say("before").await;
    agent.hear().await;

    // Not one: said once, and nothing changes.
    fs::write(office.path("mira/certificate"), "no certificate").unwrap();
    let refused = agent.problem("file").await;
    assert!(refused["text"].as_str().unwrap().contains("certificate"), "{refused}");
    // The home is looked at twice more before this is said.
    fs::write(office.path("mira/org.json"), "no organisation").unwrap();
    let refused = agent.problem("file").await;
    assert!(refused["text"].as_str().unwrap().contains("org.json"), "{refused}");

    approve_anew(&office).await;
    // The later one counts, though it ends before the one in the vault: its time or its teams were cut.
    put(&office, "renewed", "mira/certificate");
    let until = agent.kind("certificate").await["until"].as_u64().unwrap();
    let days = (until - sealdesk_tests::now_ms()) / 86_400_000;
    assert!((28..=29).contains(&days), "{days}");

    agent.say_in(&conversation, "after").await;
    assert_eq!(customer.hear().await.1, "after");
    assert_eq!(errors(&agent).len(), 2, "{}", agent.tail());
    assert_eq!(agent.seen.iter().filter(|line| line.get("certificate").is_some()).count(), 1);
}

#[tokio::test]
async fn a_topic_that_is_added_while_chatting_can_be_opened() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    // Both run under the organisation as it was.
    customer.kind("ready").await;
    agent.kind("ready").await;
    let refused = customer.attempt(json!({"open": {"topic": "returns"}})).await;
    assert_eq!(refused["error"]["code"], "unknown_topic");

    let old = office.text("old.json");
    fs::copy(office.org_json(), &old).unwrap();
    add_topic(&office).await;
    // The customer reads the administrator's own file, the agent has a copy in its home.
    put(&office, "admin/org.json", "mira/org.json");
    for client in [&mut customer, &mut agent] {
        let now = client.kind("organisation").await;
        let topics: Vec<&str> =
            now["topics"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap()).collect();
        assert!(topics.contains(&"returns"), "{now}");
    }
    until(async || (relay.metric("sealdesk_organisation_taken").await > 0).then_some(())).await;
    customer.command(json!({"open": {"topic": "returns"}})).await;
    customer.say("It does not fit.").await;
    assert_eq!(agent.hear().await.1, "It does not fit.");

    // An older file is refused, once.
    put(&office, "old.json", "mira/org.json");
    agent.problem("untrusted").await;
    // The home is looked at twice more before a newer certificate is taken.
    approve_anew(&office).await;
    put(&office, "renewed", "mira/certificate");
    agent.kind("certificate").await;
    customer.say("Hello?").await;
    assert_eq!(agent.hear().await.1, "Hello?");
    assert_eq!(errors(&agent).len(), 1, "{}", agent.tail());
    // The newer one holds at the next start as well.
    assert_eq!(customer.leave().await, Some(0));
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    let ready = customer.kind("ready").await;
    assert!(ready["topics"].to_string().contains("returns"));
}

/// Rotates the root key; what the agent is to get lies in `rotated.certificate` then.
async fn rotate(office: &Office) {
    let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
    succeed(&["org", "rotate-root", "--dir", &admin, "--passphrase-file", &pass]).await;
    fs::copy(office.path("admin/agents/mira-1.certificate"), office.path("rotated.certificate")).unwrap();
}

#[tokio::test]
async fn the_certificate_in_the_home_is_taken_at_the_start_when_the_one_before_does_not_count_any_more() {
    let office = Office::with_agents(&["mira"]).await;
    rotate(&office).await;
    let relay = Relay::start(&office, |_| {}).await;
    put(&office, "admin/org.json", "mira/org.json");
    put(&office, "rotated.certificate", "mira/certificate");
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    agent.find(|line| (line.get("link")?["state"] == "online").then_some(())).await;
    assert!(errors(&agent).is_empty(), "{}", agent.tail());
    assert!(!agent.tail().contains("uncertified"), "{}", agent.tail());
    assert_eq!(agent.leave().await, Some(0));
}

#[tokio::test]
async fn a_running_agent_waits_for_its_certificate_when_the_root_rotates() {
    // Whether the relay or the home has the new org.json first.
    for relay_first in [true, false] {
        let office = Office::with_agents(&["mira"]).await;
        fs::copy(office.org_json(), office.path("served.json")).unwrap();
        let relay = Relay::start(&office, |raw| raw.org = office.path("served.json")).await;
        let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
        let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
        let conversation = customer.open().await;
        customer.say("before").await;
        agent.hear().await;
        agent.accepted(&conversation).await;

        rotate(&office).await;
        let uncertified = |code: &'static str| {
            move |line: &Value| {
                let link = line.get("link").filter(|link| link["state"] == "uncertified")?;
                (link["problem"]["code"] == code).then(|| link["problem"]["hint"].to_string())
            }
        };
        if relay_first {
            put(&office, "admin/org.json", "served.json");
            let hint = agent.find(uncertified("certificate_refused")).await;
            assert!(hint.contains("agent approve --renew") && hint.contains("`certificate`"), "{hint}");
        }
        put(&office, "admin/org.json", "mira/org.json");
        agent.find(uncertified("own_certificate")).await;
        // It waits, and keeps what is written meanwhile.
        agent.say_in(&conversation, "kept").await;
        customer.say("still there?").await;
        put(&office, "rotated.certificate", "mira/certificate");
        agent.kind("certificate").await;
        if !relay_first {
            agent.find(uncertified("certificate_refused")).await;
            put(&office, "admin/org.json", "served.json");
        }
        assert_eq!(agent.hear().await.1, "still there?");
        assert_eq!(customer.hear().await.1, "kept");
        // The customer was told that the old certificate counts no more, and is told that this is over.
        customer.problem("certificate_foreign").await;
        let over = |line: &Value| {
            let said = line.get("resolved").filter(|said| said["code"] == "certificate_foreign")?;
            (line["conversation"] == conversation.as_str()).then(|| said["text"].to_string())
        };
        assert!(customer.find(over).await.contains("counts under"));
        assert_eq!(agent.leave().await, Some(0), "{}", agent.tail());
    }
}

#[tokio::test]
async fn a_person_reads_once_what_the_chat_waits_for() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Connected.").await;
    rotate(&office).await;
    agent.shows("`certificate`,").await;
    // The relay is asked again meanwhile.
    let before = relay.metric("sealdesk_auth_failures").await;
    until(async || (relay.metric("sealdesk_auth_failures").await >= before + 2).then_some(())).await;
    assert_eq!(agent.drawn().matches("`certificate`,").count(), 1, "{}", agent.drawn());
    put(&office, "admin/org.json", "mira/org.json");
    agent.shows("`certificate`,").await;
    put(&office, "rotated.certificate", "mira/certificate");
    agent.shows("Connected.").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
}

#[tokio::test]
async fn an_agent_who_is_revoked_while_chatting_learns_who_did_it_when_something_stays_undelivered() {
    let office = Office::with_agents(&["mira"]).await;
    fs::copy(office.org_json(), office.path("served.json")).unwrap();
    let relay = Relay::start(&office, |raw| raw.org = office.path("served.json")).await;
    let (home, vault_pass, url) = (office.text("mira"), office.text("agent.pass"), relay.url());
    let chat = ["agent", "chat", "--relay", &url, "--home", &home, "--passphrase-file", &vault_pass];
    // There is nothing to wait for.
    let mut agent = Terminal::start(&[&chat[..], &["--drain", "3600"]].concat());
    agent.shows("Connected.").await;
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    customer.open().await;
    customer.say("before").await;
    agent.shows("customer: before").await;

    let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
    succeed(&["agent", "revoke", "--dir", &admin, "--agent", "mira", "--passphrase-file", &pass]).await;
    put(&office, "admin/org.json", "served.json");
    agent.shows("This chat waits for a newer certificate").await;
    agent.types("Too late.\r").await;
    agent.shows("Too late.").await;
    agent.shows("[1] > ").await;
    agent.types("/quit\r").await;
    agent.shows("error: An administrator revoked this device").await;
    agent.shows("(the organisation's fault)").await;
    agent.shows("a revoked device enrols anew").await;
    assert_eq!(agent.ended().await, Some(7), "{}", agent.drawn());
}

#[tokio::test]
async fn a_customer_whose_agent_was_cut_off_is_not_left_typing_into_nothing() {
    let office = Office::with_agents(&["mira"]).await;
    fs::copy(office.org_json(), office.path("served.json")).unwrap();
    let relay = Relay::start(&office, |raw| raw.org = office.path("served.json")).await;
    let _mira = Client::agent(&office, &relay.url(), "mira", &[]);
    let (org, home, url) = (office.text("served.json"), office.text("carla"), relay.url());
    let chat = ["customer", "chat", "--relay", &url, "--org", &org, "--home", &home, "--topic", "general"];
    let mut customer = Terminal::start(&chat);
    customer.shows("/agree agrees to it").await;
    customer.types("/agree\r").await;
    customer.shows("Agent mira is here.").await;

    let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
    succeed(&["agent", "revoke", "--dir", &admin, "--agent", "mira", "--passphrase-file", &pass]).await;
    put(&office, "admin/org.json", "served.json");
    customer.shows("the certificate was revoked. Start a new").await;
    customer.types("Are you there?\r").await;
    customer.shows("The agent's device was revoked").await;
    customer.shows("/new opens another").await;
    customer.types("/quit\r").await;
    assert_eq!(customer.ended().await, Some(0), "{}", customer.drawn());
}

#[tokio::test]
async fn a_person_is_told_when_the_relay_has_another_address() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let (admin, pass, org) = (office.text("admin"), office.text("admin.pass"), office.text("admin/org.json"));
    let set = async |url: &str| {
        succeed(&["org", "set", "--dir", &admin, "--relay-url", url, "--passphrase-file", &pass]).await
    };
    set(&relay.url()).await;
    let home = office.text("carla");
    let mut customer =
        Terminal::start(&["customer", "chat", "--org", &org, "--home", &home, "--topic", "general"]);
    customer.shows("/agree agrees to it").await;
    set("ws://127.0.0.1:2/").await;
    customer.shows("The organisation's settings were renewed.").await;
    customer.shows("The relay has another address now: leave with /quit").await;
    customer.types("/quit\r").await;
    assert_eq!(customer.ended().await, Some(0), "{}", customer.drawn());
}
