//! Claim mode: agents see what waits, and the first claim wins.

use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Claim, Code, SetAvailability, ToClient, WaitingEntry};

use crate::client::{Client, Party};
use crate::harness::TestRelay;
use crate::organisation::{handle, rng};
use crate::talk::Talk;

fn waiting(frame: &ToClient) -> Option<Vec<WaitingEntry>> {
    match frame {
        ToClient::Waiting(waiting) => Some(waiting.entries.clone()),
        _ => None,
    }
}

async fn sees(agent: &mut Client, count: usize) -> Vec<WaitingEntry> {
    agent.expect(|frame| waiting(frame).filter(|entries| entries.len() == count)).await
}

/// Two agents who claim within a second, and a customer who is about to ask.
async fn desk() -> (TestRelay, [Client; 2], Client, Talk) {
    let relay = TestRelay::with(|raw, organisation| {
        raw.routing.accept_seconds = 1;
        organisation.settings.assignment = AssignmentMode::Claim;
    })
    .await;
    let agents = [relay.agent("anna").await, relay.agent("bert").await];
    let customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    (relay, agents, customer, talk)
}

#[tokio::test]
async fn claim_mode_shows_topic_language_and_time_and_the_first_claim_wins() {
    let (relay, [mut anna, mut bert], mut customer, mut talk) = desk().await;
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(queued) if queued.claim));
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
    assert_eq!(relay.device_of(&assignment), anna.device.hash());
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
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
    bert.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await.unwrap();
}

#[tokio::test]
async fn whoever_claims_and_goes_away_does_not_keep_the_customer() {
    let (relay, [mut anna, mut bert], mut customer, mut talk) = desk().await;
    customer.ask(&talk).await;
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
    customer.reassign(&mut talk, &bert, "bert", 2).await.unwrap();
}

/// Nobody was faster, and saying so would make people try again and again.
#[tokio::test]
async fn a_claim_of_what_was_given_to_enough_agents_says_so() {
    let relay = TestRelay::with(|raw, organisation| {
        raw.routing.sign_seconds = 1;
        raw.limits.assignments_per_conversation_hour = 1;
        organisation.settings.assignment = AssignmentMode::Claim;
    })
    .await;
    let (mut anna, mut bert) = (relay.agent("anna").await, relay.agent("bert").await);
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    customer.ask(&talk).await;
    sees(&mut bert, 1).await;
    anna.send(Claim { req: 50, conversation: talk.id }).await;
    anna.outcome(50).await.unwrap();
    sees(&mut bert, 0).await;
    // The customer signs nothing in time, and asks again.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    customer.ask(&talk).await;
    sees(&mut bert, 1).await;
    bert.send(Claim { req: 51, conversation: talk.id }).await;
    assert_eq!(bert.outcome(51).await, Err(Code::RateLimited));
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

#[tokio::test]
async fn claims_need_the_team_and_agents_do_not_ask_as_customers() {
    let relay =
        TestRelay::with(|_, organisation| organisation.settings.assignment = AssignmentMode::Claim).await;
    let mut elsewhere = relay.bent_agent("eli", |c| c.teams = vec![handle("support")]).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(queued) if queued.claim));
    elsewhere.send(Claim { req: 90, conversation: talk.id }).await;
    assert_eq!(elsewhere.outcome(90).await, Err(Code::CertificateRefused), "not of the team");
    let mut full = relay.bent_agent("flo", |_| {}).await;
    full.send(SetAvailability { req: 91, available: true, capacity: 0 }).await;
    full.outcome(91).await.unwrap();
    full.send(Claim { req: 92, conversation: talk.id }).await;
    assert_eq!(full.outcome(92).await, Err(Code::RateLimited), "has enough to do");
    let device = DeviceSecret::generate(&mut rng());
    let chain = relay.organisation.chain(&relay.organisation.certificate("kay", &device));
    let mut keyless = Client::connect(relay.address, device, Party::Agent(chain)).await;
    keyless.send(Claim { req: 90, conversation: talk.id }).await;
    assert_eq!(keyless.outcome(90).await, Err(Code::NoPrekeys), "no customer could write to it");
    let own = Talk::new(&relay.organisation, &elsewhere);
    elsewhere.send(own.request(91)).await;
    assert_eq!(elsewhere.outcome(91).await, Err(Code::NotListed));
}
