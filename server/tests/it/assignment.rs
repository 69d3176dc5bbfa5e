//! Consent, routing, claims, reassignment.

use std::time::{Duration, Instant};

use sealdesk_protocol::conversation::{Action, ConsentReceipt, Roster};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::{DeviceKeyHash, NoticeHash};
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{
    Assignment, Claim, Code, FetchPrekeys, SetAvailability, ToClient, WaitingEntry,
};
use sealdesk_relay::clock::now_ms;

use crate::client::{Client, Party, Talk};
use crate::harness::TestRelay;
use crate::organisation::handle;

async fn ask(customer: &mut Client, talk: &Talk) -> ToClient {
    let req = customer.number();
    customer.send(talk.request(req)).await;
    customer.answer(req).await
}

async fn named(customer: &mut Client, talk: &Talk) -> Assignment {
    match ask(customer, talk).await {
        ToClient::Assignment(assignment) => assignment,
        other => panic!("{other:?}"),
    }
}

pub fn device_of(relay: &TestRelay, assignment: &Assignment) -> DeviceKeyHash {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("org.json");
    relay.organisation.write(&path);
    let file: sealdesk_protocol::org::OrgFile =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let org = file.verify(&relay.organisation.root, &Default::default(), now_ms()).unwrap();
    let verified = assignment.agent.verify(org.pins(), org.revocations(), now_ms()).unwrap();
    assignment.bundle.verify(verified.device(), now_ms()).unwrap();
    verified.device().hash()
}

async fn available(agent: &mut Client, available: bool, capacity: u16) {
    let req = agent.number();
    agent.send(SetAvailability { req, available, capacity }).await;
    agent.outcome(req).await.unwrap();
}

#[tokio::test]
async fn no_conversation_without_a_valid_receipt_for_a_current_notice() {
    let mut relay = TestRelay::start().await;
    relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let other = relay.customer().await;
    let good = Talk::new(&relay.organisation, &customer);
    let receipt = ConsentReceipt::verify(&good.consent).unwrap();
    let refused = async |customer: &mut Client, receipt: ConsentReceipt, by: &DeviceSecret| {
        let consent = receipt.sign(by);
        let talk = Talk { consent, ..Talk::new(&relay.organisation, customer) };
        let talk = Talk { id: good.id, ..talk };
        match ask(customer, &talk).await {
            ToClient::Error(error) => error.code,
            other => panic!("{other:?}"),
        }
    };
    let bytes = postcard::to_allocvec(&customer.device).unwrap();
    let twin = postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let old = ConsentReceipt { notice: NoticeHash([1; 32]), ..receipt.clone() };
    assert_eq!(refused(&mut customer, old, &twin).await, Code::ConsentOutdated);
    let elsewhere = ConsentReceipt { root: sealdesk_protocol::ids::RootHash([1; 32]), ..receipt.clone() };
    assert_eq!(refused(&mut customer, elsewhere, &twin).await, Code::ConsentMissing);
    let another =
        ConsentReceipt { conversation: Talk::new(&relay.organisation, &other).id, ..receipt.clone() };
    assert_eq!(refused(&mut customer, another, &twin).await, Code::ConsentMissing);
    assert_eq!(refused(&mut customer, receipt.clone(), &other.device).await, Code::ConsentMissing, "forged");
    let theirs = ConsentReceipt { device: other.device.public(), ..receipt.clone() };
    assert_eq!(refused(&mut customer, theirs, &other.device).await, Code::ConsentMissing, "another device's");
    let future = ConsentReceipt { given: now_ms() + 3_600_000, ..receipt };
    assert_eq!(refused(&mut customer, future, &twin).await, Code::ConsentMissing);

    let mut unknown = good.request(77);
    unknown.topic = handle("poetry");
    customer.send(unknown).await;
    assert_eq!(customer.outcome(77).await, Err(Code::UnknownTopic));
    named(&mut customer, &good).await;

    // The notice changes: new conversations need the new one.
    relay.organisation.settings.notices[0].text = "We keep messages for 60 days.".into();
    relay.organisation.settings.version += 1;
    let outdated = Talk::new(&relay.organisation, &customer);
    relay.rewrite_org();
    let old = ConsentReceipt {
        notice: ConsentReceipt::verify(&good.consent).unwrap().notice,
        ..ConsentReceipt::verify(&outdated.consent).unwrap()
    };
    let stale = Talk { consent: old.sign(&twin), ..outdated };
    relay.until_metric("organisation_taken", 1).await;
    match ask(&mut customer, &stale).await {
        ToClient::Error(error) => assert_eq!(error.code, Code::ConsentOutdated),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn asking_again_gives_the_same_agent_and_the_same_pair() {
    let relay = TestRelay::start().await;
    let _agent = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let first = named(&mut customer, &talk).await;
    let again = named(&mut customer, &talk).await;
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
        order.push(device_of(&relay, &named(&mut customer, &talk).await));
    }
    assert_ne!(order[0], order[1]);
    assert_eq!(order[0], order[2]);
    assert_eq!(order[1], order[3]);

    // Two each. Now anna takes no more than two, bert none at all.
    available(&mut anna, true, 2).await;
    available(&mut bert, false, 9).await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(queued) if !queued.claim));
    available(&mut bert, true, 3).await;
    assert_eq!(device_of(&relay, &customer.assignment().await), bert.device.hash(), "once there is room");

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
    let assignment = named(&mut customer, &talk).await;
    assert!(!assignment.online);
    assert_eq!(device_of(&relay, &assignment), hash);
    // Whoever is connected comes first.
    let online = relay.agent("anna").await;
    let talk = Talk::new(&relay.organisation, &customer);
    let assignment = named(&mut customer, &talk).await;
    assert!(assignment.online);
    assert_eq!(device_of(&relay, &assignment), online.device.hash());
}

async fn reassign(
    customer: &mut Client,
    talk: &mut Talk,
    agent: &Client,
    name: &str,
    epoch: u32,
) -> Result<(), Code> {
    let roster = Roster::of(customer.device.public(), handle(name), agent.device.public()).unwrap();
    let action = Action::Reassign { previous: talk.epoch_statement, roster };
    talk.epoch_statement = customer.post(talk, epoch, action).await?;
    Ok(())
}

#[tokio::test]
async fn not_accepted_in_time_goes_to_another_once() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let mut bert = relay.agent("bert").await;
    let assignment = customer.assignment().await;
    assert_eq!((assignment.epoch, assignment.req), (2, None));
    assert_eq!(device_of(&relay, &assignment), bert.device.hash());
    assert_eq!(
        reassign(&mut customer, &mut talk, &anna, "anna", 2).await,
        Err(Code::Malformed),
        "not the same"
    );
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
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
    let clicked = named(&mut customer, &talk).await;
    assert_eq!(clicked.epoch, 3);
    let to = device_of(&relay, &clicked);
    assert!(to == carl.device.hash() || to == anna.device.hash(), "not the one who has it");
    // Meanwhile it is accepted after all.
    bert.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    let lost = reassign(&mut customer, &mut talk, &carl, "carl", 3).await;
    assert_eq!(lost, Err(Code::AssignmentLost));
    assert!(carl.quiet(|frame| matches!(frame, ToClient::Deliver(_))).await);
    assert_eq!(relay.metric("reassignments").await, 1);
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
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
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
    // The time since the last look before counts as well.
    assert!(back.elapsed() >= Duration::from_millis(1_400), "not at once");
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
    assert_eq!(device_of(&relay, &assignment), bert.device.hash());
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
    assert_eq!(device_of(&relay, &assignment), carl.device.hash());
}

#[tokio::test]
async fn a_second_agent_who_goes_away_is_not_waited_for_in_silence() {
    let relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let bert = relay.agent("bert").await;
    customer.assignment().await;
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
    drop(bert);
    let told = |frame: &ToClient| matches!(frame, ToClient::Unaccepted(_)).then_some(());
    tokio::time::timeout(Duration::from_secs(4), customer.expect(told)).await.unwrap();
    // The click: anna is there, though she let her time pass before.
    let clicked = named(&mut customer, &talk).await;
    assert_eq!((clicked.epoch, device_of(&relay, &clicked)), (3, anna.device.hash()));
}

#[tokio::test]
async fn whoever_claims_and_goes_away_does_not_keep_the_customer() {
    let relay = TestRelay::with(|raw, organisation| {
        raw.routing.accept_seconds = 1;
        organisation.settings.assignment = AssignmentMode::Claim;
    })
    .await;
    let (mut anna, mut bert) = (relay.agent("anna").await, relay.agent("bert").await);
    let mut customer = relay.customer().await;
    let mut talk = Talk::new(&relay.organisation, &customer);
    ask(&mut customer, &talk).await;
    sees(&mut bert, 1).await;
    anna.send(Claim { req: 50, conversation: talk.id }).await;
    anna.outcome(50).await.unwrap();
    customer.assignment().await;
    sees(&mut bert, 0).await;
    let open = talk.open(&customer, &anna, "anna");
    talk.epoch_statement = customer.post(&talk, 1, open).await.unwrap();
    drop(anna);
    sees(&mut bert, 1).await;
    // A new connection of his is told anew, though nothing has changed.
    let chain = relay.organisation.chain(&relay.organisation.certificate("bert", &bert.device));
    let mut bert = bert.reconnect(relay.address, Party::Agent(chain)).await;
    sees(&mut bert, 1).await;
    bert.send(Claim { req: 50, conversation: talk.id }).await;
    bert.outcome(50).await.unwrap();
    assert_eq!(customer.assignment().await.epoch, 2);
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
}

#[tokio::test]
async fn a_place_is_not_held_again_and_again_without_a_signature() {
    let relay = TestRelay::with(|raw, _| raw.routing.sign_seconds = 1).await;
    let mut mira = relay.agent("mira").await;
    available(&mut mira, true, 1).await;
    let mut idle = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &idle);
    let mut other = relay.customer().await;
    let waits = Talk::new(&relay.organisation, &other);
    for _ in 0..3 {
        named(&mut idle, &talk).await;
        // Given back: there is no more than one place.
        relay.until_metric("conversations_waiting", 1).await;
        relay.until_metric("conversations_waiting", 0).await;
    }
    match ask(&mut idle, &talk).await {
        ToClient::Error(error) => assert_eq!(error.code, Code::RateLimited),
        other => panic!("{other:?}"),
    }
    named(&mut other, &waits).await;
}

#[tokio::test]
async fn resets_in_closed_conversations_take_nobody_out_of_assignment() {
    let relay = TestRelay::with(|raw, _| raw.limits.prekeys_per_device_hour = 4).await;
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
    assert_eq!(fetch(&mut customer).await, Ok(()));
    assert_eq!(fetch(&mut customer).await, Err(Code::RateLimited), "a quarter for one network");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, 1, close).await.unwrap();
    assert_eq!(fetch(&mut customer).await, Err(Code::Closed));
    for _ in 0..3 {
        let more = Talk::new(&relay.organisation, &customer);
        named(&mut customer, &more).await;
    }
}

#[tokio::test]
async fn a_conversation_whose_record_is_too_large_takes_its_close_and_nothing_else() {
    let relay = TestRelay::with(|raw, _| {
        raw.routing.accept_seconds = 1;
        raw.limits.prekeys_per_conversation_hour = 100_000;
        raw.limits.prekeys_per_device_hour = 100_000;
        raw.limits.frames_per_second = 100_000;
        raw.limits.device_frames_per_second = 100_000;
    })
    .await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let bert = relay.agent("bert").await;
    customer.assignment().await;
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
    // From now on each click names the other one.
    let mut epoch = 2;
    let refused = loop {
        let clicked = named(&mut customer, &talk).await;
        let (agent, name) = match device_of(&relay, &clicked) {
            device if device == anna.device.hash() => (&anna, "anna"),
            _ => (&bert, "bert"),
        };
        let before = talk.epoch_statement;
        match reassign(&mut customer, &mut talk, agent, name, epoch + 1).await {
            Ok(()) => epoch += 1,
            Err(code) => {
                talk.epoch_statement = before;
                break code;
            }
        }
        assert!(epoch < 1_000, "records grow without end");
    };
    assert_eq!(refused, Code::TooLarge);
    assert!(epoch > 20, "{epoch}");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, epoch, close).await.unwrap();
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
    // The customer is not there yet; the agent is named all the same, and told on return.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    assert_eq!(customer.assignment().await.epoch, 2);
}

fn waiting(frame: &ToClient) -> Option<Vec<WaitingEntry>> {
    match frame {
        ToClient::Waiting(waiting) => Some(waiting.entries.clone()),
        _ => None,
    }
}

async fn sees(agent: &mut Client, count: usize) -> Vec<WaitingEntry> {
    agent.expect(|frame| waiting(frame).filter(|entries| entries.len() == count)).await
}

#[tokio::test]
async fn claim_mode_shows_topic_language_and_time_and_the_first_claim_wins() {
    let relay = TestRelay::with(|raw, organisation| {
        raw.routing.accept_seconds = 1;
        organisation.settings.assignment = AssignmentMode::Claim;
    })
    .await;
    let (mut anna, mut bert) = (relay.agent("anna").await, relay.agent("bert").await);
    let mut customer = relay.customer().await;
    let mut talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(queued) if queued.claim));
    let entries = sees(&mut anna, 1).await;
    assert_eq!((entries[0].conversation, entries[0].topic.as_str()), (talk.id, "sales"));
    sees(&mut bert, 1).await;

    customer.send(Claim { req: 50, conversation: talk.id }).await;
    assert_eq!(customer.outcome(50).await, Err(Code::CertificateRefused), "customers do not claim");
    anna.send(Claim { req: 50, conversation: talk.id }).await;
    anna.outcome(50).await.unwrap();
    bert.send(Claim { req: 50, conversation: talk.id }).await;
    assert_eq!(bert.outcome(50).await, Err(Code::AlreadyClaimed));
    let assignment = customer.assignment().await;
    assert_eq!(device_of(&relay, &assignment), anna.device.hash());
    sees(&mut bert, 0).await;

    let open = talk.open(&customer, &anna, "anna");
    talk.epoch_statement = customer.post(&talk, 1, open).await.unwrap();
    // Anna does not accept: it goes back to those who wait, for the others.
    sees(&mut bert, 1).await;
    anna.send(Claim { req: 51, conversation: talk.id }).await;
    assert_eq!(anna.outcome(51).await, Err(Code::AlreadyClaimed));
    bert.send(Claim { req: 51, conversation: talk.id }).await;
    bert.outcome(51).await.unwrap();
    assert_eq!(customer.assignment().await.epoch, 2);
    reassign(&mut customer, &mut talk, &bert, "bert", 2).await.unwrap();
    bert.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await.unwrap();
}

#[tokio::test]
async fn claims_are_for_claim_mode() {
    let relay = TestRelay::start().await;
    let mut agent = relay.agent("mira").await;
    let customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    agent.send(Claim { req: 5, conversation: talk.id }).await;
    assert_eq!(agent.outcome(5).await, Err(Code::Unsupported));
}
