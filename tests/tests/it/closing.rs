//! How a person at a terminal closes a conversation.

use sealdesk_tests::Site;
use sealdesk_tests::client::Client;
use sealdesk_tests::office::Office;
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;

#[tokio::test]
async fn a_close_that_waits_for_the_relay_says_so_and_takes_nothing_more() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut mira = Client::agent(&office, &relay.url(), "mira", &[]);
    let (org, home, url) = (office.org_json().display().to_string(), office.text("carla"), relay.url());
    let chat = ["customer", "chat", "--relay", &url, "--org", &org, "--home", &home, "--topic", "general"];
    let mut customer = Terminal::start(&[&chat[..], &["--drain", "0"]].concat());
    customer.shows("/agree agrees to it").await;
    customer.types("/agree\r").await;
    customer.shows("Agent mira is here.").await;
    customer.types("Hello.\r").await;
    assert_eq!(mira.hear().await.1, "Hello.");
    customer.shows("read: Hello.").await;
    relay.stop().await;
    customer.shows("Not connected").await;
    customer.types("/close now\r").await;
    customer.shows("It is closed when the connection is back").await;
    customer.types("One more thing.\r").await;
    customer.shows("This conversation is being closed; nothing was sent. /new opens another.").await;
    customer.types("/close\r").await;
    customer.shows("This conversation is being closed already.").await;
    customer.types("/list\r").await;
    customer.shows("  closing  general  en  Agent mira").await;
    customer.types("/quit\r").await;
    assert_eq!(customer.ended().await, Some(8), "{}", customer.drawn());
}

#[tokio::test]
async fn a_close_is_asked_about_and_only_what_is_typed_after_the_question_answers_it() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    let mut carla = Client::customer(&office, &relay.url(), "carla", &[]);
    carla.open().await;
    carla.say("I am Carla.").await;
    agent.shows("I am Carla.").await;
    agent.shows("[1] > ").await;

    // Typed before the question stood there: meant for somebody else, perhaps.
    agent.types("/close").await;
    agent.shows("/close").await;
    agent.types_ahead("yes\r").await;
    agent.shows("Close conversation 1 with a customer? It ends for both sides").await;
    agent.shows("Close it (yes/no): ").await;
    assert!(!agent.drawn().contains("yes\r\n"), "nor drawn: {}", agent.drawn());
    agent.types("no\r").await;
    agent.shows("Nothing was closed.").await;
    // What goes to nobody is no answer, either.
    agent.shows("[1] > ").await;
    agent.types("/close\r").await;
    agent.shows("Close it (yes/no): ").await;
    agent.types("Yes, it comes tomorrow.\r").await;
    agent.shows("neither yes nor no: nothing was closed, and nothing was sent.").await;
    agent.shows("[1] > ").await;
    // The arrow brings back what was a line, never an answer.
    agent.types("\u{1b}[A").await;
    agent.shows("[1] > /close").await;
    agent.types("\u{15}Good morning.\r").await;
    assert_eq!(carla.hear().await.1, "Good morning.", "the first that she hears");

    agent.shows("[1] > ").await;
    agent.types("/close\r").await;
    agent.shows("Close it (yes/no): ").await;
    agent.types("yes\r").await;
    agent.shows("The conversation is closed.").await;
    carla.kind("closed").await;
    agent.types("/close\r").await;
    agent.shows("has ended already").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    assert_eq!(carla.leave().await, Some(0));
}

#[tokio::test]
async fn a_customer_closes_before_anybody_could_answer() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let (org, home, url) = (office.org_json().display().to_string(), office.text("carla"), relay.url());
    let chat = ["customer", "chat", "--relay", &url, "--org", &org, "--home", &home, "--topic", "general"];
    let mut customer = Terminal::start(&chat);
    customer.shows("/agree agrees to it").await;
    customer.types("/agree\r").await;
    customer.shows("Looking for somebody who can answer.").await;
    customer.types("/close\r").await;
    customer.shows("Close conversation 1? It ends for both sides").await;
    customer.shows("Close it (yes/no): ").await;
    customer.types("y\r").await;
    customer.shows("The conversation is closed.").await;
    customer.shows("/new opens another.").await;
    customer.types("/quit\r").await;
    assert_eq!(customer.ended().await, Some(0), "{}", customer.drawn());
}
