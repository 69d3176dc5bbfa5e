//! Another agent, when the first does not accept in time or goes away.

use std::time::{Duration, Instant};

use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::crypto::certificate::Revoked;
use sealdesk_protocol::wire::{Code, FetchPrekeys, ToClient};
use sealdesk_relay::config::RawConfig;

use crate::client::{Client, Party};
use crate::harness::TestRelay;
use crate::talk::Talk;

#[tokio::test]
async fn not_accepted_in_time_goes_to_another_once() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let mut bert = relay.agent("bert").await;
    let assignment = customer.assignment().await;
    assert_eq!((assignment.epoch, assignment.req), (2, None));
    assert_eq!(relay.device_of(&assignment), bert.device.hash());
    assert_eq!(customer.reassign(&mut talk, &anna, "anna", 2).await, Err(Code::Malformed), "not the same");
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
    assert_eq!(anna.delivered_statement().await.action.name(), "reassign", "told that it is gone");
    let told = [bert.delivered_statement().await, bert.delivered_statement().await];
    assert_eq!(told.map(|s| s.action.name()), ["open", "reassign"], "a later reader sees how it came to be");
    let late = anna.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await;
    assert_eq!(late, Err(Code::NotListed));

    // The one automatic reassignment is used: a third agent is named only after a click.
    let mut carl = relay.agent("carl").await;
    let unaccepted = |frame: &ToClient| match frame {
        ToClient::Unaccepted(unaccepted) => Some(unaccepted.conversation),
        _ => None,
    };
    assert_eq!(customer.expect(unaccepted).await, talk.id);
    // For longer than routing takes to look again.
    let further = |frame: &ToClient| matches!(frame, ToClient::Assignment(_));
    assert!(customer.silent(Duration::from_millis(700), further).await);
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert_eq!(customer.expect(unaccepted).await, talk.id, "told that a click is needed, also on return");
    let clicked = customer.named(&talk).await;
    assert_eq!(clicked.epoch, 3);
    let to = relay.device_of(&clicked);
    assert!(to == carl.device.hash() || to == anna.device.hash(), "not the one who has it");
    // Meanwhile it is accepted after all.
    bert.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    let lost = customer.reassign(&mut talk, &carl, "carl", 3).await;
    assert_eq!(lost, Err(Code::AssignmentLost));
    assert!(carl.quiet(|frame| matches!(frame, ToClient::Deliver(_))).await);
    assert_eq!(relay.metric("reassignments").await, 1);
}

#[tokio::test]
async fn whoever_was_replaced_hears_of_that_and_of_nothing_later() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let anna_device = anna.device.hash();
    let mut bert = relay.agent("bert").await;
    customer.assignment().await;
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
    for (client, device) in [(&mut anna, customer.device.hash()), (&mut customer, anna_device)] {
        let req = client.number();
        client.send(FetchPrekeys { req, conversation: talk.id, device }).await;
        assert_eq!(client.outcome(req).await, Err(Code::NotListed), "nor prekeys, to or of it");
    }
    customer.expect(|frame| matches!(frame, ToClient::Unaccepted(_)).then_some(())).await;
    let mut carl = relay.agent("carl").await;
    assert_eq!(relay.device_of(&customer.named(&talk).await), carl.device.hash(), "whose turn it is");
    customer.reassign(&mut talk, &carl, "carl", 3).await.unwrap();
    carl.post(&talk, 3, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, 3, close).await.unwrap();
    for (agent, told) in [
        (&mut anna, &["reassign"][..]),
        (&mut bert, &["open", "reassign", "reassign"]),
        (&mut carl, &["open", "reassign", "reassign", "close"]),
    ] {
        for name in told {
            assert_eq!(agent.delivered_statement().await.action.name(), *name);
        }
        assert!(agent.quiet(|frame| matches!(frame, ToClient::Deliver(_))).await);
    }
}

#[tokio::test]
async fn an_acceptance_that_comes_too_late_is_lost() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let before = talk.epoch_statement;
    let bert = relay.agent("bert").await;
    customer.assignment().await;
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
    let late = anna.post(&talk, 1, Action::Accept { current: before }).await;
    assert_eq!(late, Err(Code::AssignmentLost));
}

#[tokio::test]
async fn the_timer_runs_only_while_the_agent_is_online() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 2).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let _talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let chain = relay.organisation.chain(&relay.organisation.certificate("anna", &anna.device));
    let bytes = postcard::to_allocvec(&anna.device).unwrap();
    drop(anna);
    relay.until_metric("devices", 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // Offline for longer than the time to accept; then back, and another agent appears: the timer starts anew.
    let back = Instant::now();
    let _anna =
        Client::connect(relay.address, postcard::from_bytes(&bytes).unwrap(), Party::Agent(chain)).await;
    let _bert = relay.agent("bert").await;
    assert_eq!(customer.assignment().await.epoch, 2, "lapsed after its time online");
    // What it was online before counts as well.
    assert!(back.elapsed() >= Duration::from_millis(500), "not at once");
}

#[tokio::test]
async fn an_offline_assignee_is_replaced_when_another_agent_appears() {
    let relay = TestRelay::start().await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let _talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    drop(anna);
    relay.until_metric("devices", 1).await;
    let bert = relay.agent("bert").await;
    let assignment = customer.assignment().await;
    assert_eq!(assignment.epoch, 2);
    assert_eq!(relay.device_of(&assignment), bert.device.hash());
}

#[tokio::test]
async fn the_automatic_reassignment_waits_for_somebody_who_is_there() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    // Away, with prekeys here.
    drop(relay.agent("bert").await);
    relay.until_metric("devices", 0).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let _talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let named = |frame: &ToClient| matches!(frame, ToClient::Assignment(_));
    assert!(customer.silent(Duration::from_secs(2), named).await, "not to who is away");
    let carl = relay.agent("carl").await;
    let assignment = customer.assignment().await;
    assert_eq!(relay.device_of(&assignment), carl.device.hash());
}

/// Opened with anna, who let her time pass, and given to bert.
struct Given {
    relay: TestRelay,
    anna: Client,
    bert: Client,
    customer: Client,
    talk: Talk,
}

async fn given(change: impl FnOnce(&mut RawConfig)) -> Given {
    let relay = TestRelay::with(|raw, _| change(raw)).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let bert = relay.agent("bert").await;
    customer.assignment().await;
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
    Given { relay, anna, bert, customer, talk }
}

#[tokio::test]
async fn a_second_agent_who_goes_away_is_not_waited_for_in_silence() {
    let Given { relay, anna, bert, mut customer, talk } = given(|raw| raw.routing.accept_seconds = 1).await;
    drop(bert);
    let told = |frame: &ToClient| matches!(frame, ToClient::Unaccepted(_)).then_some(());
    tokio::time::timeout(Duration::from_secs(30), customer.expect(told)).await.unwrap();
    // The click: anna is there, though she let her time pass before.
    let clicked = customer.named(&talk).await;
    assert_eq!((clicked.epoch, relay.device_of(&clicked)), (3, anna.device.hash()));
}

/// Whatever the customer asks and signs: an agent's prekeys and the places of all are not spent in minutes.
#[tokio::test]
async fn whoever_has_a_conversation_keeps_it_for_its_time() {
    let relay = TestRelay::start().await;
    drop(relay.agent("bert").await);
    relay.until_metric("devices", 0).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let queued = |answer: &ToClient| matches!(answer, ToClient::Queued(_));
    for _ in 0..3 {
        assert!(queued(&customer.ask(&talk).await));
    }
    // Away, and not for long enough: one who is there gets it by itself, and keeps it as well.
    drop(anna);
    relay.until_metric("devices", 1).await;
    assert!(queued(&customer.ask(&talk).await));
    let carl = relay.agent("carl").await;
    assert_eq!(relay.device_of(&customer.assignment().await), carl.device.hash());
    customer.reassign(&mut talk, &carl, "carl", 2).await.unwrap();
    for _ in 0..3 {
        assert!(queued(&customer.ask(&talk).await));
    }
    assert_eq!(relay.metric("prekeys_issued").await, 2);
}

#[tokio::test]
async fn a_click_before_the_time_is_over_counts_when_it_is() {
    let Given { relay, anna, bert: _bert, mut customer, talk } =
        given(|raw| raw.routing.accept_seconds = 2).await;
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(_)));
    let named = customer.assignment().await;
    assert_eq!((named.epoch, relay.device_of(&named)), (3, anna.device.hash()));
}

#[tokio::test]
async fn whoever_serves_no_more_is_replaced_at_once() {
    let mut relay = TestRelay::start().await;
    drop(relay.agent("bert").await);
    relay.until_metric("devices", 0).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    relay.organisation.revoked = vec![Revoked::Device(anna.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    anna.goodbye().await;
    assert_eq!(customer.named(&talk).await.epoch, 2);
}

#[tokio::test]
async fn a_conversation_is_given_to_a_few_agents_an_hour() {
    let given = given(|raw| {
        raw.routing.accept_seconds = 1;
        raw.limits.assignments_per_conversation_hour = 2;
    });
    let Given { mut customer, talk, relay: _relay, anna: _anna, bert: _bert } = given.await;
    customer.expect(|frame| matches!(frame, ToClient::Unaccepted(_)).then_some(())).await;
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(_)), "waits until the hour has passed");
}

#[tokio::test]
async fn a_waiting_conversation_survives_a_restart_and_is_told_on_return() {
    let mut relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let _talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    relay.stop().await;
    relay.launch().await;
    let _bert = relay.agent("bert").await;
    // The customer is not there yet, and prekeys are spent on nobody who is not.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(relay.metric("prekeys_issued").await, 0);
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert_eq!(customer.assignment().await.epoch, 2);
}
