//! Prekeys: verified, handed out at most once, draining limited.

use std::collections::HashSet;

use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret, SignedPrekey};
use sealdesk_protocol::wire::{Code, FetchCertificate, FetchPrekeys, PublishPrekeys, ToClient};
use sealdesk_relay::clock::now_ms;
use sealdesk_relay::store::Store;

use crate::client::{Client, Party, pairs};
use crate::harness::TestRelay;
use crate::organisation::rng;
use crate::talk::Talk;

async fn publish(
    client: &mut Client,
    last_resort: Option<SignedPrekey>,
    one_time: Vec<SignedPrekey>,
) -> Result<u16, Code> {
    let req = client.number();
    client.send(PublishPrekeys { req, last_resort, one_time }).await;
    match client.answer(req).await {
        ToClient::PrekeyCount(count) => Ok(count.one_time_left),
        ToClient::Error(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

async fn fetch(client: &mut Client, talk: &Talk, other: &Client) -> Result<Option<SignedPrekey>, Code> {
    let req = client.number();
    client.send(FetchPrekeys { req, conversation: talk.id, device: other.device.hash() }).await;
    match client.answer(req).await {
        ToClient::Prekeys(prekeys) => {
            prekeys.bundle.verify(&other.device.public(), now_ms()).unwrap();
            Ok(prekeys.bundle.one_time)
        }
        ToClient::Error(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

/// A customer who asked for a conversation.
async fn asking(relay: &TestRelay) -> Client {
    let mut client = relay.customer().await;
    let talk = Talk::new(&relay.organisation, &client);
    let req = client.number();
    client.send(talk.request(req)).await;
    client.answer(req).await;
    client
}

#[tokio::test]
async fn strangers_store_no_keys_and_customers_few_and_not_for_long() {
    let mut relay = TestRelay::start().await;
    let mut stranger = relay.customer().await;
    let (last_resort, one_time) = pairs(&stranger.device, 1);
    let refused = publish(&mut stranger, Some(last_resort), one_time).await;
    assert_eq!(refused, Err(Code::UnknownConversation));
    let stranger = stranger.reconnect(relay.address, Party::Customer).await;
    let (welcome, unknown) = (stranger.welcome.unwrap(), stranger.device.hash());
    assert_eq!((welcome.one_time_left, welcome.last_resort), (0, None));

    let mut client = asking(&relay).await;
    let now = now_ms();
    let make = |kind| {
        let expires = now + 110 * 86_400_000;
        PrekeySecret::generate(kind, now, expires, &mut rng()).publish(&client.device)
    };
    let (last_resort, one_time) = (make(PrekeyKind::LastResort), make(PrekeyKind::OneTime));
    assert_eq!(publish(&mut client, Some(last_resort), vec![one_time]).await, Ok(1));
    let device = client.device.hash();
    drop(client);
    relay.stop().await;
    let store = sealdesk_relay::store::sled::SledStore::open(&relay.store_options()).unwrap();
    assert_eq!(store.device(unknown).await.unwrap(), None, "strangers are not remembered");
    assert!(store.device(device).await.unwrap().is_some());
    store.sweep(now + 36 * 86_400_000, 0).await.unwrap();
    assert_eq!(store.count_prekeys(device).await.unwrap(), 1, "as long as messages and a rotation");
    store.sweep(now + 38 * 86_400_000, 0).await.unwrap();
    assert_eq!(store.count_prekeys(device).await.unwrap(), 0);
    assert!(store.last_resort(device, now).await.unwrap().is_none());
}

#[tokio::test]
async fn uploads_are_verified() {
    let relay = TestRelay::start().await;
    let mut client = asking(&relay).await;
    let stranger = DeviceSecret::generate(&mut rng());
    let (foreign_last, foreign) = pairs(&stranger, 1);
    assert_eq!(publish(&mut client, None, foreign).await, Err(Code::BadSignature));
    assert_eq!(publish(&mut client, Some(foreign_last), Vec::new()).await, Err(Code::BadSignature));
    let (last_resort, one_time) = pairs(&client.device, 2);
    assert_eq!(publish(&mut client, None, vec![last_resort.clone()]).await, Err(Code::Malformed), "kind");
    assert_eq!(publish(&mut client, Some(one_time[0].clone()), Vec::new()).await, Err(Code::Malformed));
    let make = |expires: u64, device: &DeviceSecret| {
        PrekeySecret::generate(PrekeyKind::OneTime, 0, expires, &mut rng()).publish(device)
    };
    let expired = make(now_ms() - 1, &client.device);
    assert_eq!(publish(&mut client, None, vec![expired]).await, Err(Code::BadSignature));
    let eternal = make(u64::MAX, &client.device);
    assert_eq!(publish(&mut client, None, vec![eternal]).await, Err(Code::Malformed));
    let repeated = vec![one_time[0].clone(), one_time[0].clone(), one_time[1].clone()];
    assert_eq!(publish(&mut client, Some(last_resort), repeated).await, Ok(2), "each once");
    let (_, many) = pairs(&client.device, 11);
    assert_eq!(publish(&mut client, None, many).await, Err(Code::TooLarge), "refused before it is verified");
    let (_, many) = pairs(&client.device, 10);
    assert_eq!(publish(&mut client, None, many).await, Ok(10), "a customer's share");
    let client = client.reconnect(relay.address, Party::Customer).await;
    let welcome = client.welcome.unwrap();
    assert_eq!(welcome.one_time_left, 10);
    assert!(welcome.last_resort.is_some());
}

#[tokio::test]
async fn uploads_are_limited() {
    let relay = TestRelay::with(|raw, _| raw.limits.prekey_uploads_per_hour = 2).await;
    let mut client = asking(&relay).await;
    for _ in 0..2 {
        publish(&mut client, None, Vec::new()).await.unwrap();
    }
    assert_eq!(publish(&mut client, None, Vec::new()).await, Err(Code::RateLimited));
}

#[tokio::test]
async fn pairs_leave_once_then_the_last_resort_alone() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let short = agent
        .expect(|frame| match frame {
            ToClient::PrekeyCount(count) if count.req.is_none() => Some(count.one_time_left),
            _ => None,
        })
        .await;
    assert_eq!(short, 2, "the agent is told that it runs short");
    let first = fetch(&mut customer, &talk, &agent).await.unwrap().unwrap();
    relay.stop().await;
    relay.launch().await;
    let mut customer = customer.reconnect(relay.address, Party::Customer).await;
    let second = fetch(&mut customer, &talk, &agent).await.unwrap().unwrap();
    assert_ne!(first, second, "also over a restart");
    assert_eq!(fetch(&mut customer, &talk, &agent).await, Ok(None));
    assert_eq!(relay.metric("last_resort_issued").await, 1);
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    assert_eq!(publish(&mut agent, None, vec![first, second]).await, Ok(0), "spent pairs are not taken back");
    assert_eq!(fetch(&mut agent, &talk, &customer).await, Err(Code::NoPrekeys));
}

#[tokio::test]
async fn only_within_a_conversation_and_within_limits() {
    let relay = TestRelay::with(|raw, _| raw.limits.prekeys_per_conversation_hour = 3).await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let mut stranger = relay.customer().await;
    assert_eq!(fetch(&mut stranger, &talk, &agent).await, Err(Code::NotListed));
    assert_eq!(fetch(&mut customer, &talk, &stranger).await, Err(Code::NotListed));
    let unknown = Talk::new(&relay.organisation, &customer);
    assert_eq!(fetch(&mut customer, &unknown, &agent).await, Err(Code::UnknownConversation));
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let pair = fetch(&mut customer, &talk, &agent).await.unwrap().unwrap();
        assert!(seen.insert(postcard::to_allocvec(&pair).unwrap()));
    }
    assert_eq!(
        fetch(&mut customer, &talk, &agent).await,
        Err(Code::RateLimited),
        "nothing at all, not the last resort"
    );
}

#[tokio::test]
async fn a_customer_gets_the_newest_certificates_of_its_agent_and_of_nobody_else() {
    let relay = TestRelay::start().await;
    let (mut customer, mut anna) = (relay.customer().await, relay.agent("anna").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let bert = relay.agent("bert").await;
    let mut renewed = relay.organisation.certificate("anna", &anna.device);
    renewed.serial += 7;
    let newest = relay.organisation.chain(&renewed);
    let anna = anna.reconnect(relay.address, Party::Agent(newest.clone())).await;

    let fetch = async |client: &mut Client, conversation, device| {
        let req = client.number();
        client.send(FetchCertificate { req, conversation, device }).await;
        match client.answer(req).await {
            ToClient::Certificate(certificate) => Ok(certificate.chain),
            ToClient::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fetch(&mut customer, talk.id, anna.device.hash()).await, Ok(newest));
    assert_eq!(fetch(&mut customer, talk.id, bert.device.hash()).await, Err(Code::NotListed));
    let mut stranger = relay.customer().await;
    assert_eq!(fetch(&mut stranger, talk.id, anna.device.hash()).await, Err(Code::NotListed));
}
