//! Several conversations at one terminal: to which a line goes, what is new, what counts as read.

use sealdesk_tests::Site;
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
    agent.types("/switch 2\r").await;
    agent.shows("Now in conversation 2 with").await;
    agent.shows("[2] > ").await;
    agent.types("/switch 1").await;
    agent.shows("/switch 1").await;
    // But not what was typed before the prompt named her.
    agent.types_ahead("And now, Dora?\r").await;
    agent.shows("Now in conversation 1 with").await;
    agent.shows("[1] > ").await;
    agent.types("Hello Carla.\r").await;
    assert_eq!(carla.hear().await.1, "Hello Carla.");
    agent.types("Your number is 4711").await;
    agent.shows("4711").await;
    carla.command(json!({"close": {}})).await;
    carla.kind("closed").await;
    agent.shows("[1] The conversation is closed.").await;
    // Another is selected, below which the line keeps the name of the one that it was begun for.
    agent.shows("Now in conversation 2 with a customer; last words: ").await;
    agent.shows("I am Dora.").await;
    agent.shows("[1] > Your number is 4711").await;
    agent.types(", keep it secret.\r").await;
    agent.shows("nothing was sent").await;
    agent.shows("[2] > ").await;
    agent.types("Hello Dora.\r").await;
    assert_eq!(dora.hear().await.1, "Hello Dora.", "the first that she hears");

    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    // Nothing else came to either of them.
    for (mut client, heard) in [(carla, "Hello Carla."), (dora, "Hello Dora.")] {
        assert_eq!(client.leave().await, Some(0));
        let texts: Vec<_> = client.seen.iter().filter_map(|line| line.get("message")?.get("text")).collect();
        assert_eq!(texts, [heard]);
    }
}

#[tokio::test]
async fn the_prompt_follows_to_the_next_conversation_as_long_as_nothing_is_typed() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    agent.shows("[ ] > ").await;
    let mut customers = Vec::new();
    for (name, number) in [("carla", 1), ("dora", 2), ("emil", 3)] {
        let mut customer = Client::customer(&office, &relay.url(), name, &[]);
        customer.open().await;
        customer.say(&format!("I am {name}.")).await;
        agent.shows(&format!("I am {name}.")).await;
        agent.shows("[1] > ").await;
        customers.push((customer, number));
    }
    let [(mut carla, _), (mut dora, _), (mut emil, _)] = <[_; 3]>::try_from(customers).unwrap();

    // Nothing is typed when hers ends: who waited longest comes next, and the line typed then goes there.
    carla.command(json!({"close": {}})).await;
    agent.shows("Now in conversation 2 with").await;
    agent.shows("[2] > ").await;
    agent.types("Hello Dora.\r").await;
    assert_eq!(dora.hear().await.1, "Hello Dora.");
    agent.shows("[2] > ").await;
    // A line that was taken back belongs to nobody.
    agent.types("Hello Do").await;
    agent.shows("Hello Do").await;
    dora.command(json!({"close": {}})).await;
    agent.shows("Now in conversation 3 with").await;
    agent.shows("[2] > Hello Do").await;
    agent.types("\u{15}").await;
    agent.shows("[3] > ").await;
    agent.types("Hello Emil.\r").await;
    assert_eq!(emil.hear().await.1, "Hello Emil.");

    // The last one ends, by the agent's own word: there is no other, and an agent opens none.
    agent.types("/close now\r").await;
    agent.shows("[3] The conversation is closed.").await;
    agent.shows("No other is open; new customers come by themselves. /history and /export").await;
    agent.shows("[ ] > ").await;
    agent.types("Are you there?\r").await;
    agent.shows("This conversation has ended; nothing was sent. No other is open").await;
    agent.shows("[ ] > ").await;
    agent.types("/accept\r").await;
    agent.shows("The conversation is closed. No other is open").await;
    agent.types("/list\r").await;
    agent.shows("No conversation is open.\r\n  3 that ended: /list all").await;
    agent.types("/list all\r").await;
    agent.shows("* 3  ").await;
    agent.shows("  closed  general  en  ").await;
    agent.types("/switch 1\r").await;
    agent.shows("Now in conversation 1 with a customer, which has ended.").await;
    agent.shows("[ ] > ").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    for customer in [&mut carla, &mut dora, &mut emil] {
        assert_eq!(customer.leave().await, Some(0));
    }
}

#[tokio::test]
async fn the_list_tells_who_waits_with_what() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    let mut customers = Vec::new();
    for name in ["carla", "dora", "emil"] {
        let mut customer = Client::customer(&office, &relay.url(), name, &[]);
        customer.open().await;
        customer.say(&format!("I am {name}.")).await;
        agent.shows(&format!("I am {name}.")).await;
        customers.push(customer);
    }
    // Dora wrote first, but was answered; after the closing Emil is next.
    agent.types("/switch 2\r").await;
    agent.shows("[2] > ").await;
    agent.types("Hello Dora.\r").await;
    assert_eq!(customers[1].hear().await.1, "Hello Dora.");
    agent.types("/switch 1\r").await;
    agent.shows("[1] > ").await;
    customers[2].say("Where is my order, and when will it come, and who pays for that?").await;
    agent.shows("and who pays for").await;
    agent.types("/list\r").await;
    agent.shows("* 1  ").await;
    agent.shows("  active  general  en  a customer\r\n").await;
    agent.shows("customer: I am carla.").await;
    agent.shows("  2  ").await;
    agent.shows("  active  general  en  a customer\r\n").await;
    agent.shows("you: Hello Dora.").await;
    agent.shows("  3  ").await;
    agent.shows("  active  general  en  a customer  2 new\r\n").await;
    agent.shows("customer: Where is my order, and when will it come…").await;
    agent.types("/close now\r").await;
    agent.shows("Now in conversation 3 with").await;
    agent.shows("[3] > ").await;
    // What ended stands only in the whole list.
    agent.types("/list\r").await;
    agent.shows("* 3  ").await;
    agent.shows("  active  general  en  a customer\r\n").await;
    agent.shows("1 that ended: /list all").await;
    agent.types("/list all\r").await;
    agent.shows("  1  ").await;
    agent.shows("  closed  general  en  ").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    for mut customer in customers {
        assert_eq!(customer.leave().await, Some(0));
    }
}

#[tokio::test]
async fn what_stands_on_the_screen_is_read_once_the_agent_goes_to_that_conversation() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Waiting for customers.").await;
    let mut carla = Client::customer(&office, &relay.url(), "carla", &[]);
    let first = carla.open().await;
    let said = carla.say("I am Carla.").await;
    carla.receipt(&said, "read").await;
    let mut dora = Client::customer(&office, &relay.url(), "dora", &[]);
    let second = dora.open().await;
    for text in ["I am Dora.", "Is anybody there?"] {
        dora.say(text).await;
        agent.shows(text).await;
    }
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());

    let mut vault = Client::agent(&office, &relay.url(), "mira", &[]);
    let ready = vault.kind("ready").await;
    let unread = |id: &str| {
        let list = ready["conversations"].as_array()?;
        list.iter().find(|one| one["conversation"] == *id)?["unread"].as_u64()
    };
    assert_eq!((unread(&first), unread(&second)), (Some(0), Some(2)), "{ready}");
    assert_eq!(vault.leave().await, Some(0));

    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Is anybody there?").await;
    agent.types("/switch 1\r").await;
    agent.shows("[1] > ").await;
    let said = dora.say("Hello?").await;
    agent.shows("Hello?").await;
    agent.types("/switch 2\r").await;
    dora.receipt(&said, "read").await;

    // Nobody goes to a conversation that has ended: what stood unread in it is shown at one start, and not at each.
    agent.types("/switch 1\r").await;
    agent.shows("[1] > ").await;
    dora.say("Good bye.").await;
    agent.shows("Good bye.").await;
    dora.command(json!({"close": {}})).await;
    agent.shows("The conversation is closed.").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("Good bye.").await;
    agent.shows("[1] > ").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    let mut vault = Client::agent(&office, &relay.url(), "mira", &[]);
    let ready = vault.kind("ready").await;
    let unread = ready["conversations"].as_array().unwrap().iter().map(|one| one["unread"].as_u64());
    assert_eq!(unread.sum::<Option<u64>>(), Some(0), "{ready}");
    assert_eq!(vault.leave().await, Some(0));
    for mut customer in [carla, dora] {
        assert_eq!(customer.leave().await, Some(0));
    }
}

#[tokio::test]
async fn a_customer_of_several_conversations_sees_to_which_a_line_goes() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut mira = Client::agent(&office, &relay.url(), "mira", &[]);
    let (org, home, url) = (office.org_json().display().to_string(), office.text("carla"), relay.url());
    let chat = ["customer", "chat", "--relay", &url, "--org", &org, "--home", &home, "--topic", "general"];
    let mut customer = Terminal::start(&chat);
    customer.shows("/agree agrees to it").await;
    customer.shows("\r\u{1b}[K> ").await;
    customer.types("/agree\r").await;
    customer.shows("Agent mira is here.").await;
    customer.shows("\r\n> ").await;
    customer.types("/new general\r").await;
    customer.shows("/agree agrees to it").await;
    customer.types("/agree\r").await;
    customer.shows("[2] Agent mira is here.").await;
    customer.shows("[2] > ").await;
    customer.types("This is the second.\r").await;
    let (second, said) = mira.hear().await;
    assert_eq!(said, "This is the second.");
    mira.command(json!({"close": {}, "conversation": second})).await;
    customer.shows("[2] The conversation is closed.").await;
    customer.shows("Now in conversation 1 with Agent mira").await;
    customer.shows("[1] > ").await;
    customer.types("This is the first.\r").await;
    let (first, said) = mira.hear().await;
    assert_eq!(said, "This is the first.");
    assert_ne!(first, second);
    customer.shows("read: This is the first.").await;
    customer.shows("[1] > ").await;
    // Ctrl-C leaves in order, as /quit does.
    customer.types("\u{3}").await;
    assert_eq!(customer.ended().await, Some(0), "{}", customer.drawn());
    assert_eq!(mira.leave().await, Some(0));
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
    agent.types("Hello Carla.\r").await;
    assert_eq!(carla.hear().await.1, "Hello Carla.");
    agent.shows("✓✓").await;
    let mut dora = Client::customer(&office, &relay.url(), "dora", &[]);
    dora.open().await;
    dora.say("I am Dora.").await;
    agent.shows("I am Dora.").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    dora.say("Still there?").await;

    // The conversation that was active last is selected, with what was said before.
    let mut agent = Terminal::agent(&office, &relay.url(), "mira");
    agent.shows("I am Dora.").await;
    agent.shows("Still there?").await;
    agent.shows("[2] > ").await;
    assert!(!agent.drawn().contains("I am Carla."));
    agent.types("/switch 1\r").await;
    agent.shows("Now in conversation 1 with a customer.").await;
    agent.shows("I am Carla.").await;
    agent.shows("Hello Carla.").await;
    agent.types("/history 1\r").await;
    agent.shows("Hello Carla.").await;
    agent.types("/list\r").await;
    agent.shows("* 1").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    assert_eq!(carla.leave().await, Some(0));
    assert_eq!(dora.leave().await, Some(0));
}
