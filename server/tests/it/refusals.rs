//! What only shows when somebody tries it: revoked between two steps, older org.json, the wrong role or team.

use sealdesk_protocol::crypto::certificate::{AgentRole, Revoked, certificate_id};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::wire::{Code, SetAvailability, ToClient};

use crate::client::{Client, Party};
use crate::harness::TestRelay;
use crate::organisation::{handle, rng};
use crate::talk::Talk;

#[tokio::test]
async fn an_agent_revoked_after_being_named_is_not_opened_with() {
    let mut relay = TestRelay::start().await;
    let mut mira = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Assignment(_)));
    relay.organisation.revoked = vec![Revoked::Device(mira.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    mira.goodbye().await;
    let open = talk.open(&customer, &mira, "mira");
    assert_eq!(customer.post(&talk, 1, open).await, Err(Code::AssignmentLost));
    let another = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&another).await, ToClient::Queued(_)), "and not named again");
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
    assert_eq!(relay.device_of(&assignment), carl.device.hash(), "somebody for whom it can be signed");
}

#[tokio::test]
async fn devices_that_cannot_be_named_hide_nobody() {
    let mut relay = TestRelay::start().await;
    let zoe = relay.bent_agent("zoe", |_| {}).await;
    // Her turn was: she comes after all who never had one.
    let mut before = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &before);
    assert!(matches!(before.ask(&talk).await, ToClient::Assignment(_)));
    let last = zoe.device.hash();
    drop((zoe, before));
    let mut stale = Vec::new();
    for n in 0..10 {
        stale.push(relay.bent_agent(&format!("a{n}"), |_| {}).await.device.hash());
    }
    relay.until_metric("devices", 0).await;
    relay.organisation.revoked = stale.into_iter().map(Revoked::Device).collect();
    relay.organisation.revoked.sort();
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 1).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    let ToClient::Assignment(named) = customer.ask(&talk).await else { panic!("nobody named") };
    assert_eq!(relay.device_of(&named), last);
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
    relay.bent_agent("zoe", |_| {}).await;
    relay.until_metric("devices", 10).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Assignment(_)));
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
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(_)), "the topic is still there");
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
    let mut mira = relay.bent_agent("mira", |c| c.not_after = sealdesk_relay::clock::now_ms() + 6_000).await;
    let ended = |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::CertificateExpired);
    mira.expect(|frame| ended(frame).then_some(())).await;
    mira.goodbye().await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(_)));
}

#[tokio::test]
async fn only_agents_of_the_team_with_the_role_are_given_conversations() {
    let relay = TestRelay::start().await;
    let _manager = relay.bent_agent("max", |c| c.roles = vec![AgentRole::Manager]).await;
    let _elsewhere = relay.bent_agent("eli", |c| c.teams = vec![handle("support")]).await;
    let mut customer = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &customer);
    assert!(matches!(customer.ask(&talk).await, ToClient::Queued(_)));
    customer.send(SetAvailability { req: 90, available: true, capacity: 9 }).await;
    assert_eq!(customer.outcome(90).await, Err(Code::CertificateRefused), "customers have no availability");
    let _right = relay.bent_agent("ana", |_| {}).await;
    customer.assignment().await;
}
