//! What only shows when somebody tries it: revoked between two steps, older org.json, the wrong role or team.

use sealdesk_protocol::crypto::certificate::{AgentRole, DeviceCertificate, Revoked, certificate_id};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Claim, Code, SetAvailability, ToClient};

use crate::assignment::device_of;
use crate::client::{Client, Party, Talk};
use crate::harness::TestRelay;
use crate::organisation::{handle, rng};

/// An agent with a bent certificate, connected, with prekeys.
async fn agent(relay: &TestRelay, name: &str, bend: impl Fn(&mut DeviceCertificate)) -> Client {
    let device = DeviceSecret::generate(&mut rng());
    let mut certificate = relay.organisation.certificate(name, &device);
    bend(&mut certificate);
    let chain = relay.organisation.chain(&certificate);
    let mut agent = Client::connect(relay.address, device, Party::Agent(chain)).await;
    agent.publish(2).await;
    agent
}

async fn ask(customer: &mut Client, talk: &Talk) -> ToClient {
    let req = customer.number();
    customer.send(talk.request(req)).await;
    customer.answer(req).await
}

#[tokio::test]
async fn an_agent_revoked_after_being_named_is_not_opened_with() {
    let mut relay = TestRelay::start().await;
    let mut mira = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Assignment(_)));
    relay.organisation.revoked = vec![Revoked::Device(mira.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    mira.goodbye().await;
    let open = talk.open(&customer, &mira, "mira");
    assert_eq!(customer.post(&talk, 1, open).await, Err(Code::AssignmentLost));
    let another = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &another).await, ToClient::Queued(_)), "and not named again");
}

#[tokio::test]
async fn a_further_agent_who_is_revoked_before_the_signature_blocks_nothing() {
    let mut relay = TestRelay::with(|raw, _| raw.routing.accept_seconds = 1).await;
    let mut anna = relay.agent("anna").await;
    let mut customer = relay.customer().await;
    let _talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let mut bert = relay.agent("bert").await;
    customer.assignment().await;
    let gone = customer.device;
    drop(customer.socket);
    relay.until_metric("devices", 2).await;
    relay.organisation.revoked = vec![Revoked::Device(bert.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    bert.goodbye().await;
    let carl = relay.agent("carl").await;
    let mut customer = Client::connect(relay.address, gone, Party::Customer).await;
    let assignment = customer.assignment().await;
    assert_eq!(assignment.epoch, 2);
    assert_eq!(device_of(&relay, &assignment), carl.device.hash(), "somebody for whom it can be signed");
}

#[tokio::test]
async fn devices_that_cannot_be_named_hide_nobody() {
    let mut relay = TestRelay::start().await;
    let zoe = agent(&relay, "zoe", |_| {}).await;
    // Her turn was: she comes after all who never had one.
    let mut before = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &before);
    assert!(matches!(ask(&mut before, &talk).await, ToClient::Assignment(_)));
    let last = zoe.device.hash();
    drop((zoe, before));
    let mut stale = Vec::new();
    for n in 0..10 {
        stale.push(agent(&relay, &format!("a{n}"), |_| {}).await.device.hash());
    }
    relay.until_metric("devices", 0).await;
    relay.organisation.revoked = stale.into_iter().map(Revoked::Device).collect();
    relay.organisation.revoked.sort();
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 1).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let ToClient::Assignment(named) = ask(&mut customer, &talk).await else { panic!("nobody named") };
    assert_eq!(device_of(&relay, &named), last);
}

#[tokio::test]
async fn agents_without_prekeys_hide_nobody() {
    let relay = TestRelay::start().await;
    let mut keyless = Vec::new();
    for n in 0..10 {
        let device = DeviceSecret::generate(&mut rng());
        let chain = relay.organisation.chain(&relay.organisation.certificate(&format!("a{n}"), &device));
        keyless.push(Client::connect(relay.address, device, Party::Agent(chain)).await);
    }
    agent(&relay, "zoe", |_| {}).await;
    relay.until_metric("devices", 10).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Assignment(_)));
}

#[tokio::test]
async fn an_older_org_json_is_not_taken() {
    let mut relay = TestRelay::start().await;
    relay.organisation.settings.version = 9;
    relay.organisation.settings.topics.retain(|topic| topic.id == handle("sales"));
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 1).await;
    // The version before, with the topic that is gone.
    let mut topics = relay.organisation.settings.topics.clone();
    topics[0].id = handle("help");
    relay.organisation.settings.topics = topics;
    relay.organisation.settings.version = 8;
    relay.rewrite_org();
    relay.until_metric("organisation_refused", 1).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let mut help = talk.request(1);
    help.topic = handle("help");
    customer.send(help).await;
    assert_eq!(customer.outcome(1).await, Err(Code::UnknownTopic));
    customer.send(talk.request(2)).await;
    assert!(matches!(customer.answer(2).await, ToClient::Queued(_)), "version 9 is still in force");
}

#[tokio::test]
async fn an_org_json_of_another_relay_is_not_taken() {
    let mut relay = TestRelay::start().await;
    let mut customer = relay.customer().await;
    relay.organisation.settings.version = 2;
    relay.organisation.settings.relay_name = "another.relay".into();
    relay.organisation.settings.topics.retain(|topic| topic.id == handle("help"));
    relay.rewrite_org();
    relay.until_metric("organisation_refused", 1).await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(_)), "the topic is still there");
}

#[tokio::test]
async fn an_older_org_json_is_not_taken_after_a_restart_either() {
    let mut relay = TestRelay::start().await;
    relay.organisation.settings.version = 9;
    relay.organisation.revocation_number = 3;
    relay.rewrite_org();
    relay.stop().await;
    relay.launch().await;
    relay.stop().await;
    let refused = async |relay: &TestRelay| {
        relay.rewrite_org();
        let config = relay.raw.clone().check().unwrap();
        sealdesk_relay::lifecycle::prepare(config).await.unwrap_err().to_string()
    };
    relay.organisation.settings.version = 8;
    let text = refused(&relay).await;
    assert!(text.contains("org.json"), "{text}");
    relay.organisation.settings.version = 9;
    relay.organisation.revocation_number = 2;
    refused(&relay).await;
    relay.organisation.revocation_number = 3;
    relay.rewrite_org();
    relay.launch().await;

    // Taken while it runs: remembered as well.
    relay.organisation.settings.version = 10;
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 1).await;
    relay.stop().await;
    relay.organisation.settings.version = 9;
    refused(&relay).await;
}

#[tokio::test]
async fn an_issuer_that_was_revoked_does_not_come_back_after_a_restart() {
    let mut relay = TestRelay::start().await;
    let (old_key, old) = relay.organisation.change_issuer();
    relay.organisation.revoked = vec![Revoked::Issuer(certificate_id(&old))];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    relay.stop().await;
    relay.launch().await;
    relay.stop().await;
    // Whoever stole the old issuer's key signs a newer list that revokes nothing.
    (relay.organisation.issuer_key, relay.organisation.issuer) = (old_key, old);
    relay.organisation.revoked = Vec::new();
    relay.organisation.revocation_number = 2;
    relay.rewrite_org();
    let config = relay.raw.clone().check().unwrap();
    sealdesk_relay::lifecycle::prepare(config).await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_that_ends_while_connected_ends_the_connection() {
    let relay = TestRelay::start().await;
    let mut mira = agent(&relay, "mira", |c| c.not_after = sealdesk_relay::clock::now_ms() + 2_000).await;
    let ended = |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::CertificateExpired);
    mira.expect(|frame| ended(frame).then_some(())).await;
    mira.goodbye().await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(_)));
}

#[tokio::test]
async fn only_agents_of_the_team_with_the_role_are_given_conversations() {
    let relay = TestRelay::start().await;
    let _manager = agent(&relay, "max", |c| c.roles = vec![AgentRole::Manager]).await;
    let _elsewhere = agent(&relay, "eli", |c| c.teams = vec![handle("support")]).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(_)));
    customer.send(SetAvailability { req: 90, available: true, capacity: 9 }).await;
    assert_eq!(customer.outcome(90).await, Err(Code::CertificateRefused), "customers have no availability");
    let _right = agent(&relay, "ana", |_| {}).await;
    customer.assignment().await;
}

#[tokio::test]
async fn claims_need_the_team_and_agents_do_not_ask_as_customers() {
    let relay =
        TestRelay::with(|_, organisation| organisation.settings.assignment = AssignmentMode::Claim).await;
    let mut elsewhere = agent(&relay, "eli", |c| c.teams = vec![handle("support")]).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(ask(&mut customer, &talk).await, ToClient::Queued(queued) if queued.claim));
    elsewhere.send(Claim { req: 90, conversation: talk.id }).await;
    assert_eq!(elsewhere.outcome(90).await, Err(Code::CertificateRefused), "not of the team");
    let mut full = agent(&relay, "flo", |_| {}).await;
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
