//! An agent at a terminal, as a person sits there.

use sealdesk_tests::client::Client;
use sealdesk_tests::office::Office;
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;
use serde_json::json;

#[tokio::test]
async fn a_line_begun_for_a_conversation_that_ended_goes_to_nobody_else() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    agent.shows("> ").await;

    let mut carla = Client::customer(&office, &relay.url(), "carla", &[]);
    carla.open().await;
    carla.say("I am Carla.").await;
    agent.shows("Conversation 1 with").await;
    agent.shows("I am Carla.").await;
    let mut dora = Client::customer(&office, &relay.url(), "dora", &[]);
    dora.open().await;
    dora.say("I am Dora.").await;
    agent.shows("[2]").await;
    agent.shows("I am Dora.").await;

    // The prompt names to whom the next line goes; what was typed goes there, and there only.
    agent.types("/switch 1\r");
    agent.shows("[1] > ").await;
    agent.types("Hello Carla.\r");
    assert_eq!(carla.hear().await.1, "Hello Carla.");
    agent.types("Your number is 4711");
    agent.shows("4711").await;
    carla.command(json!({"close": {}})).await;
    carla.kind("closed").await;
    agent.shows("[1] The conversation is closed.").await;
    // The next to write is selected, below the line that is being typed.
    dora.say("Anybody there?").await;
    agent.shows("Anybody there?").await;
    agent.types(", keep it secret.\r");
    agent.shows("nothing was sent").await;
    agent.shows("[2] > ").await;
    agent.types("Hello Dora.\r");
    assert_eq!(dora.hear().await.1, "Hello Dora.", "the first that she hears");

    agent.types("/quit\r");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    // Nothing else is in her transcript either.
    assert_eq!(dora.leave().await, Some(0));
    let texts: Vec<_> = dora.seen.iter().filter_map(|line| line.get("message")?.get("text")).collect();
    assert_eq!(texts, ["Hello Dora."]);
    assert!(!carla.seen.iter().any(|line| line.to_string().contains("4711")));
}

#[tokio::test]
async fn who_comes_back_finds_numbers_and_what_was_said() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    let mut carla = Client::customer(&office, &relay.url(), "carla", &[]);
    carla.open().await;
    carla.say("I am Carla.").await;
    agent.shows("I am Carla.").await;
    agent.types("Hello Carla.\r");
    assert_eq!(carla.hear().await.1, "Hello Carla.");
    // Bots read what they print: sent, delivered and read came in a row.
    agent.shows("✓✓").await;
    let mut dora = Client::customer(&office, &relay.url(), "dora", &[]);
    dora.open().await;
    dora.say("I am Dora.").await;
    agent.shows("I am Dora.").await;
    let drawn = agent.drawn();
    assert!(!drawn.contains("✓ sent"), "one line is enough:\n{drawn}");
    agent.types("/quit\r");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    dora.say("Still there?").await;

    // The conversation that was active last is selected, with what was said before.
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("I am Dora.").await;
    agent.shows("[2] > ").await;
    agent.shows("Still there?").await;
    assert!(!agent.drawn().contains("I am Carla."));
    agent.types("/switch 1\r");
    agent.shows("Now in conversation 1 with a customer.").await;
    agent.shows("I am Carla.").await;
    agent.shows("Hello Carla.").await;
    agent.types("/history 1\r");
    agent.shows("Hello Carla.").await;
    agent.types("/list\r");
    agent.shows("* 1").await;
    agent.types("/quit\r");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    assert_eq!(carla.leave().await, Some(0));
    assert_eq!(dora.leave().await, Some(0));
}
