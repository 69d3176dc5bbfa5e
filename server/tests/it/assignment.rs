//! Who is named for a conversation, and how often.

use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::wire::{Code, FetchPrekeys, ToClient};

use crate::client::Client;
use crate::harness::TestRelay;
use crate::organisation::handle;
use crate::talk::Talk;

#[tokio::test]
async fn asking_again_gives_the_same_agent_and_the_same_pair() {
    let relay = TestRelay::start().await;
    let _agent = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let first = customer.named(&talk).await;
    let again = customer.named(&talk).await;
    assert_eq!(first.bundle, again.bundle);
    assert_eq!(relay.metric("prekeys_issued").await, 1, "no second pair is drained");
    let mut other = relay.customer().await;
    let req = other.number();
    other.send(talk.request(req)).await;
    assert_eq!(other.outcome(req).await, Err(Code::UnknownConversation), "somebody else's");
}

#[tokio::test]
async fn round_robin_by_team_and_capacity() {
    let relay = TestRelay::start().await;
    let (mut anna, mut bert) = (relay.agent("anna").await, relay.agent("bert").await);
    let mut customer = relay.customer().await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let talk = Talk::new(&relay.organisation, &customer);
        order.push(relay.device_of(&customer.named(&talk).await));
    }
    assert_ne!(order[0], order[1]);
    assert_eq!(order[0], order[2]);
    assert_eq!(order[1], order[3]);

    // Two each. Now anna takes no more than two, bert none at all.
    anna.available(true, 2).await;
    bert.available(false, 9).await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(queued) if !queued.claim));
    bert.available(true, 3).await;
    assert_eq!(relay.device_of(&customer.assignment().await), bert.device.hash(), "once there is room");

    let mut help = Talk::new(&relay.organisation, &customer).request(99);
    help.topic = handle("help");
    customer.send(help).await;
    assert!(matches!(customer.answer(99).await, ToClient::Queued(_)), "nobody of that team");
}

#[tokio::test]
async fn offline_agents_get_conversations_by_their_prekeys() {
    let relay = TestRelay::start().await;
    let agent = relay.agent("mira").await;
    let hash = agent.device.hash();
    drop(agent);
    relay.until_metric("devices", 0).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let assignment = customer.named(&talk).await;
    assert!(!assignment.online);
    assert_eq!(relay.device_of(&assignment), hash);
    // Whoever is connected comes first.
    let online = relay.agent("anna").await;
    let talk = Talk::new(&relay.organisation, &customer);
    let assignment = customer.named(&talk).await;
    assert!(assignment.online);
    assert_eq!(relay.device_of(&assignment), online.device.hash());
}

#[tokio::test]
async fn a_place_is_not_held_again_and_again_without_a_signature() {
    let relay = TestRelay::with(|raw, _| raw.routing.sign_seconds = 1).await;
    let mut mira = relay.agent("mira").await;
    mira.available(true, 1).await;
    let mut idle = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &idle);
    let mut other = relay.customer().await;
    let waits = Talk::new(&relay.organisation, &other);
    for _ in 0..3 {
        idle.named(&talk).await;
        // Given back: there is no more than one place.
        relay.until_metric("conversations_waiting", 1).await;
        relay.until_metric("conversations_waiting", 0).await;
    }
    match idle.ask(&talk).await {
        ToClient::Error(error) => assert_eq!(error.code, Code::RateLimited),
        other => panic!("{other:?}"),
    }
    other.named(&waits).await;
}

#[tokio::test]
async fn resets_in_closed_conversations_take_nobody_out_of_assignment() {
    let relay = TestRelay::with(|raw, _| raw.limits.prekeys_per_device_hour = 32).await;
    let mut mira = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut mira, "mira").await;
    let fetch = async |customer: &mut Client| {
        let req = customer.number();
        customer.send(FetchPrekeys { req, conversation: talk.id, device: mira.device.hash() }).await;
        match customer.answer(req).await {
            ToClient::Prekeys(_) => Ok(()),
            ToClient::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..4 {
        assert_eq!(fetch(&mut customer).await, Ok(()));
    }
    assert_eq!(fetch(&mut customer).await, Err(Code::RateLimited), "an eighth for one network");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, 1, close).await.unwrap();
    assert_eq!(fetch(&mut customer).await, Err(Code::Closed));
    for _ in 0..3 {
        let more = Talk::new(&relay.organisation, &customer);
        customer.named(&more).await;
    }
}

#[tokio::test]
async fn one_network_takes_its_part_of_an_agent_and_nobody_elses() {
    let relay = TestRelay::with(|raw, _| raw.limits.prekeys_per_device_hour = 16).await;
    let mut mira = relay.agent("mira").await;
    let mut mallory = relay.customer().await;
    for _ in 0..2 {
        let talk = Talk::opened(&relay.organisation, &mut mallory, &mut mira, "mira").await;
        let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
        mallory.post(&talk, 1, close).await.unwrap();
    }
    let talk = Talk::new(&relay.organisation, &mallory);
    assert!(matches!(mallory.ask(&talk).await, ToClient::Queued(_)));
    let mut customer = relay.customer_from("127.0.0.2").await;
    let talk = Talk::new(&relay.organisation, &customer);
    customer.named(&talk).await;
    // Another agent of the team is not spent.
    let anna = relay.agent("anna").await;
    assert_eq!(relay.device_of(&mallory.assignment().await), anna.device.hash());
}
