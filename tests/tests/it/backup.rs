//! Backup, restore, and what clients do about a store that went back in time.

use std::fs;

use sealdesk_tests::client::Client;
use sealdesk_tests::office::Office;
use sealdesk_tests::process::{RelayProcess, printed};
use sealdesk_tests::relay::Door;
use serde_json::Value;

async fn stats(relay: &RelayProcess) -> Value {
    let output = relay.run("stats", &[]).await;
    assert!(output.status.success(), "{}", printed(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn what_a_restored_relay_has_forgotten_is_sent_again() {
    let office = Office::with_agents(&["mira"]).await;
    let mut relay = RelayProcess::start(&office, |_| {}).await;
    let url = relay.url();
    let mut agent = Client::agent(&office, &url, "mira", &[]);
    let mut customer = Client::customer(&office, &url, "carla", &[]);
    let conversation = customer.open().await;
    customer.say("hello").await;
    assert_eq!(agent.hear().await.1, "hello");
    agent.accepted(&conversation).await;
    agent.say_in(&conversation, "hello, too").await;
    assert_eq!(customer.hear().await.1, "hello, too");
    assert_eq!(agent.leave().await, Some(0));
    let before = customer.say("before the backup").await;
    customer.receipt(&before, "sent").await;

    let epoch = stats(&relay).await["store_epoch"].clone();
    let backup = office.text("backup");
    let output = relay.run("backup", &["--to", &backup]).await;
    assert!(output.status.success(), "a running relay is backed up: {}", printed(&output));
    let again = relay.run("backup", &["--to", &backup]).await;
    assert!(!again.status.success() && printed(&again).contains("new folder"), "{}", printed(&again));

    let after = customer.say("after the backup").await;
    customer.receipt(&after, "sent").await;
    let refused = relay.run("restore", &["--from", &backup]).await;
    assert!(!refused.status.success(), "not over a store that is there: {}", printed(&refused));
    relay.kill().await;
    fs::rename(&relay.data, office.path("lost")).unwrap();
    let restored = relay.run("restore", &["--from", &backup]).await;
    assert!(restored.status.success(), "{}", printed(&restored));
    relay.restart().await;
    assert_ne!(stats(&relay).await["store_epoch"], epoch, "a restore begins a new store epoch");

    customer.problem("relay_restored").await;
    agent.restart();
    for text in ["before the backup", "after the backup"] {
        assert_eq!(agent.hear().await.1, text, "accepted before the restore, delivered after it");
    }
    customer.receipt(&after, "delivered").await;
    agent.say_in(&conversation, "nothing was lost").await;
    assert_eq!(customer.hear().await.1, "nothing was lost");
    let texts = |client: &Client| {
        let lines = client.seen.iter().filter_map(|line| line["message"]["text"].as_str());
        lines.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&agent), ["hello", "before the backup", "after the backup"], "each once");
    assert_eq!(texts(&customer), ["hello, too", "nothing was lost"]);

    // A further conversation works with fresh prekeys.
    let mut other = Client::customer(&office, &url, "otto", &[]);
    other.open().await;
    other.say("a new one").await;
    assert_eq!(agent.hear().await.1, "a new one");
    assert_eq!(relay.terminate().await, Some(0));
}
