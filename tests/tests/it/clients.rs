//! Real clients through a real relay: the whole path.

use std::fs;

use sealdesk_tests::client::Client;
use sealdesk_tests::office::{Office, succeed};
use sealdesk_tests::process::RelayProcess;
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;
use serde_json::json;

#[tokio::test]
async fn a_customer_and_an_agent_talk_and_both_verify_each_other() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    let conversation = customer.open().await;
    let question = customer.say("My order is late.").await;
    assert_eq!(agent.hear().await, (conversation.clone(), "My order is late.".into()));
    customer.receipt(&question, "delivered").await;
    agent.accepted(&conversation).await;
    agent.say_in(&conversation, "I look after it — سأتحقق من ذلك 📦").await;
    assert_eq!(customer.hear().await.1, "I look after it — سأتحقق من ذلك 📦");

    let seen_by = |line: serde_json::Value| line["verified"]["safety_number"].as_str().unwrap().to_string();
    let by_customer = seen_by(customer.command(json!({"verify": {}})).await);
    let by_agent = seen_by(agent.command(json!({"verify": {}})).await);
    assert_eq!(by_customer, by_agent);
    assert_eq!(by_customer.chars().filter(char::is_ascii_digit).count(), 60);
    let name = customer.find(|line| line.get("assigned")?.get("name").cloned()).await;
    assert_eq!(name, "Agent mira", "the certified name");

    customer.command(json!({"close": {}})).await;
    agent.kind("closed").await;
    assert_eq!(customer.leave().await, Some(0));
    assert_eq!(agent.leave().await, Some(0));
}

#[tokio::test]
async fn files_arrive_as_they_were_sent() {
    let office = Office::with_agents(&["mira"]).await;
    let mut relay = RelayProcess::start(&office, |_| {}).await;
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    customer.open().await;
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 31 % 253) as u8).collect();
    fs::write(office.path("photo.bin"), &bytes).unwrap();
    customer
        .command(json!({"send": {"file": office.text("photo.bin"), "name": "../../etc/photo.jpg", "type": "image/jpeg"}}))
        .await;
    let (id, file) = agent
        .find(|line| {
            let message = line.get("message")?;
            Some((message["id"].as_str()?.to_string(), message.get("file")?.clone()))
        })
        .await;
    assert_eq!(file["length"], 200_000);
    customer
        .find(|line| {
            let transfer = line.get("transfer")?;
            (transfer["state"] == "uploaded" && transfer["message"] == id.as_str()).then_some(())
        })
        .await;
    let to = office.text("saved.jpg");
    // Asked for twice before it can come: the second is refused, and takes nothing from the first.
    relay.kill().await;
    agent.write(&json!({"save": {"message": id, "to": to}, "id": "first"})).await;
    let busy = agent.attempt(json!({"save": {"message": id, "to": office.text("second.jpg")}})).await;
    assert_eq!(busy["error"]["code"], "transfer_busy", "{busy}");
    relay.restart().await;
    agent.find(|line| (line["id"] == "first").then(|| assert!(line.get("done").is_some(), "{line}"))).await;
    let left = fs::read_dir(office.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".part")));
    assert_eq!(fs::read(office.path("saved.jpg")).unwrap(), bytes);
    let again = agent.attempt(json!({"save": {"message": id, "to": to}})).await;
    assert!(again.get("error").is_some(), "no file is overwritten: {again}");
}

#[tokio::test]
async fn what_was_written_offline_arrives_when_both_are_back() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let url = relay.url();
    let mut agent = Client::agent(&office, &url, "mira", &[]);
    let mut customer = Client::customer(&office, &url, "carla", &[]);
    let conversation = customer.open().await;
    customer.say("first").await;
    assert_eq!(agent.hear().await.1, "first");
    assert_eq!(agent.leave().await, Some(0));
    for n in 0..20 {
        customer.say(&format!("offline {n}")).await;
    }
    let last = customer.say("the last").await;
    customer.receipt(&last, "sent").await;
    assert_eq!(customer.leave().await, Some(0));

    agent.restart();
    for n in 0..20 {
        assert_eq!(agent.hear().await.1, format!("offline {n}"));
    }
    assert_eq!(agent.hear().await.1, "the last");
    agent.say_in(&conversation, "read all of it").await;
    customer.restart();
    assert_eq!(customer.hear().await.1, "read all of it");
    customer.receipt(&last, "delivered").await;
}

#[tokio::test]
async fn the_end_of_input_waits_for_files_and_what_it_cannot_bring_goes_up_at_the_next_start() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Client::agent(&office, &relay.url(), "mira", &[]);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 253) as u8).collect();
    fs::write(office.path("large.bin"), &bytes).unwrap();
    let file = json!({"send": {"file": office.text("large.bin")}});
    let received = |line: &serde_json::Value| {
        let message = line.get("message")?;
        message.get("file").map(|_| (message["id"].clone(), line["conversation"].clone()))
    };

    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    customer.open().await;
    let done = customer.command(file.clone()).await;
    assert!(done["done"]["transfer"].is_string(), "{done}");
    assert_eq!(customer.leave().await, Some(0), "{}", customer.tail());
    agent.find(received).await;

    // No time to wait: the vault keeps it, the next start brings it.
    let mut customer = Client::customer(&office, &relay.url(), "dora", &["--drain", "0"]);
    customer.open().await;
    customer.command(file).await;
    fs::remove_file(office.path("large.bin")).unwrap();
    assert_eq!(customer.leave().await, Some(8), "{}", customer.tail());
    let mut customer = Client::customer(&office, &relay.url(), "dora", &[]);
    let ready = customer.kind("ready").await;
    assert_eq!(ready["conversations"][0]["uploads"][0]["name"], "large.bin", "{ready}");
    assert_eq!(customer.leave().await, Some(0), "{}", customer.tail());
    let (message, conversation) = agent.find(received).await;
    let save = json!({"message": message, "to": office.text("large.out")});
    agent.command(json!({"save": save, "conversation": conversation})).await;
    assert_eq!(fs::read(office.path("large.out")).unwrap(), bytes);
}

#[tokio::test]
async fn whoever_claims_a_conversation_first_answers_it() {
    let office = Office::with_agents(&["mira", "sam"]).await;
    let (admin, pass) = (office.text("admin"), office.text("admin.pass"));
    succeed(&["org", "set", "--dir", &admin, "--assignment", "claim", "--passphrase-file", &pass]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agents = ["mira", "sam"].map(|id| Client::agent(&office, &relay.url(), id, &[]));
    for agent in &mut agents {
        agent.find(|line| (line["link"]["state"] == "online").then_some(())).await;
        let id = agent.command(json!({"list": {}})).await["id"].clone();
        let states = agent.seen.iter().filter(|line| line.get("state").is_some() && line["id"] == id);
        assert_eq!(states.count(), 0, "a list of nothing ends as well");
    }
    let mut customer = Client::customer(&office, &relay.url(), "carla", &[]);
    let conversation = customer.open().await;
    customer.say("Anybody?").await;
    for agent in &mut agents {
        let waits = agent.find(|line| line["waiting"]["conversations"].as_array()?.first().cloned()).await;
        assert_eq!(waits["conversation"], conversation.as_str());
    }
    let [mira, sam] = &mut agents;
    let refused = mira.attempt(json!({"claim": {}, "conversation": "zz"})).await;
    assert_eq!(refused["error"]["code"], "unknown_conversation");
    let refused = mira.attempt(json!({"claim": {}})).await;
    assert_eq!(refused["error"]["code"], "conversation_needed");
    // The beginning of its id is enough.
    mira.command(json!({"claim": {}, "conversation": conversation[..6]})).await;
    let late = sam.attempt(json!({"claim": {}, "conversation": conversation})).await;
    assert_eq!(late["error"]["code"], "already_claimed", "{late}");
    assert_eq!(mira.hear().await.1, "Anybody?");
    let name = customer.find(|line| line.get("assigned")?.get("name").cloned()).await;
    assert_eq!(name, "Agent mira");
}

/// A customer opens a conversation with whoever is there, and closes it; its id.
async fn open_and_close(customer: &mut Client) -> String {
    let id = customer.open().await;
    customer.find(|line| (line.get("assigned").is_some() && line["conversation"] == *id).then_some(())).await;
    customer.command(json!({"close": {}, "conversation": id})).await;
    id
}

/// Opened and closed without end: what nobody took makes room, the agent's program says so and forgets it.
#[tokio::test]
async fn what_made_room_for_others_is_told_and_named_no_more() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let (home, pass, url) = (office.text("mira"), office.text("agent.pass"), relay.url());
    let chat = ["agent", "chat", "--relay", &url, "--home", &home, "--passphrase-file", &pass];
    let chat = [&chat[..], &["--manual", "--capacity", "5"]].concat();
    let mut agent = Client::start(&[&chat[..], &["--json"]].concat());
    let mut customer = Client::customer(&office, &url, "carla", &[]);
    let mut opened = Vec::new();
    for _ in 0..201 {
        let id = open_and_close(&mut customer).await;
        agent.find(|line| (line.get("closed").is_some() && line["conversation"] == *id).then_some(())).await;
        opened.push(id);
    }
    let gone = agent.find(|line| line.get("gone").map(|_| line["conversation"].clone())).await;
    assert_eq!(gone, *opened[0]);
    let refused = agent.attempt(json!({"verify": {}, "conversation": opened[0]})).await;
    assert_eq!(refused["error"]["code"], "unknown_conversation");
    agent.command(json!({"verify": {}, "conversation": opened[1]})).await;
    assert_eq!(agent.leave().await, Some(0), "{}", agent.tail());

    let mut agent = Terminal::start(&chat);
    agent.shows("Connected.").await;
    open_and_close(&mut customer).await;
    agent.shows("Conversation 1, which nobody took, made room for new ones.").await;
    agent.types("/switch 1\r").await;
    agent.shows("There is no such conversation.").await;
    agent.types("/list all\r").await;
    agent.shows("  2  ").await;
    assert!(!agent.drawn().contains("  1  "), "{}", agent.drawn());
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
}
