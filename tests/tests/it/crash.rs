//! kill -9 of the relay and of clients under load: what was accepted arrives exactly once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealdesk_tests::client::Client;
use sealdesk_tests::office::Office;
use sealdesk_tests::process::RelayProcess;
use sealdesk_tests::relay::Door;
use serde_json::json;

/// Messages of the peer as they were first written, by conversation. A line that is written again after a crash has the
/// same id and text.
fn heard(lines: &[serde_json::Value]) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Some(message) = line.get("message") else { continue };
        let of = |value: &serde_json::Value| value.as_str().unwrap().to_string();
        let (id, text, conversation) = (of(&message["id"]), of(&message["text"]), of(&line["conversation"]));
        match texts.insert(id, text.clone()) {
            Some(before) => assert_eq!(before, text, "one id, one text"),
            None => heard.entry(conversation).or_default().push(text),
        }
    }
    heard
}

/// What a client may say of a relay that goes away.
const NETWORK: [&str; 3] = ["connection_broken", "offline", "relay_unreachable"];

/// A message's number: `customer 7`.
fn number(text: &str) -> u32 {
    text.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    const CUSTOMERS: usize = 3;
    const MESSAGES: u32 = 30;
    let office = Office::with_agents(&["mira"]).await;
    let mut relay = RelayProcess::start(&office, |_| {}).await;
    let url = relay.url();
    let mut agent = Client::agent(&office, &url, "mira", &[]);
    let mut talking = Vec::new();
    for n in 0..CUSTOMERS {
        let mut customer = Client::customer(&office, &url, &format!("customer-{n}"), &[]);
        talking.push(tokio::spawn(async move {
            let conversation = customer.open().await;
            let mut last = String::new();
            for m in 0..MESSAGES {
                last = customer.say(&format!("customer {n} message {m}")).await;
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            customer.receipt(&last, "delivered").await;
            (customer, conversation)
        }));
    }
    // Each kill waits for new messages, so that it falls into the middle of the talking.
    for kill in 1..=4u32 {
        while heard(&agent.seen).values().map(Vec::len).sum::<usize>() < (kill * 12) as usize {
            agent.line().await.expect("the agent's program lives");
        }
        relay.kill().await;
        relay.restart().await;
    }
    let mut customers = Vec::new();
    for task in talking {
        customers.push(task.await.unwrap());
    }
    let expected =
        |n: usize| -> Vec<String> { (0..MESSAGES).map(|m| format!("customer {n} message {m}")).collect() };
    while heard(&agent.seen).values().map(Vec::len).sum::<usize>() < CUSTOMERS * MESSAGES as usize {
        agent.line().await.expect("the agent's program lives");
    }
    let heard = heard(&agent.seen);
    assert_eq!(heard.len(), CUSTOMERS);
    for (n, (customer, conversation)) in customers.iter_mut().enumerate() {
        assert_eq!(heard[conversation], expected(n), "all of them, once, in order");
        agent.say_in(conversation, &format!("thank you {n}")).await;
        assert_eq!(customer.hear().await.1, format!("thank you {n}"));
        let errors = customer.seen.iter().filter_map(|line| line["error"]["code"].as_str());
        let worrying: Vec<&str> = errors.filter(|code| !NETWORK.contains(code)).collect();
        assert!(worrying.is_empty(), "only the network is complained of: {worrying:?}");
    }
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test]
async fn clients_that_are_killed_in_the_middle_go_on_where_they_were() {
    const MESSAGES: u32 = 60;
    let office = Office::with_agents(&["mira"]).await;
    let mut relay = RelayProcess::start(&office, |_| {}).await;
    let url = relay.url();
    let mut agent = Client::agent(&office, &url, "mira", &[]);
    let mut customer = Client::customer(&office, &url, "carla", &[]);
    let conversation = customer.open().await;
    // Texts that the program said were safe. One that was written when the kill came may be safe or not.
    let mut safe = BTreeSet::new();
    for m in 0..MESSAGES {
        if m % 15 == 14 {
            customer.write(&json!({"send": {"text": format!("message {m}")}})).await;
            customer.kill().await;
            customer.restart();
        } else {
            customer.say(&format!("message {m}")).await;
            safe.insert(m);
        }
        if m % 20 == 10 {
            agent.kill().await;
            agent.restart();
        }
    }
    let last = customer.say("message 1000").await;
    safe.insert(1000);
    customer.receipt(&last, "delivered").await;
    let ended = |lines: &[serde_json::Value]| {
        heard(lines).get(&conversation).is_some_and(|texts| texts.last().is_some_and(|t| number(t) == 1000))
    };
    while !ended(&agent.seen) {
        agent.line().await.expect("the agent's program lives");
    }
    let numbers: Vec<u32> = heard(&agent.seen)[&conversation].iter().map(|text| number(text)).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice: {numbers:?}");
    let arrived: BTreeSet<u32> = numbers.into_iter().collect();
    let lost: Vec<&u32> = safe.difference(&arrived).collect();
    assert!(lost.is_empty(), "what was said to be safe arrives: {lost:?}");
    agent.say_in(&conversation, "all well").await;
    assert_eq!(customer.hear().await.1, "all well");
    assert_eq!(customer.leave().await, Some(0));
    relay.kill().await;
}
