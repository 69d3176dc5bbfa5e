//! Who may connect as what.

use futures_util::SinkExt;
use sealdesk_protocol::crypto::certificate::{DAY, Revoked, certificate_id};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::wire::{Ack, Authenticate, Code, Ping, Position, Reason, ToClient, ToRelay};
use sealdesk_relay::clock::now_ms;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Party, authenticate, challenge, next, socket};
use crate::harness::TestRelay;
use crate::organisation::{Organisation, RELAY_NAME, rng};

fn device() -> DeviceSecret {
    DeviceSecret::generate(&mut rng())
}

fn generation(device: &DeviceSecret, relay: &str, number: u64) -> SignedGeneration {
    SignedGeneration::sign(relay, device, number)
}

async fn refusal(relay: &TestRelay, device: DeviceSecret, party: Party) -> Option<Code> {
    Client::greet(socket(relay.address).await, device, party, 1).await.err()
}

/// Sends a bent Authenticate and returns the code and the goodbye.
async fn bent(relay: &TestRelay, bend: impl Fn(&mut Authenticate)) -> Code {
    let device = device();
    let mut socket = socket(relay.address).await;
    let challenge = challenge(&mut socket).await;
    let mut frame = authenticate(&device, Party::Customer, &challenge, 1);
    bend(&mut frame);
    socket.send(Message::Binary(ToRelay::from(frame).encode().unwrap().into())).await.unwrap();
    let Some(ToClient::Error(error)) = next(&mut socket).await else { panic!("no error") };
    assert!(matches!(next(&mut socket).await, Some(ToClient::Goodbye(_))));
    assert!(next(&mut socket).await.is_none());
    error.code
}

#[tokio::test]
async fn a_challenge_is_bound_to_name_nonce_key_and_generation() {
    let relay = TestRelay::start().await;
    let other = device();
    assert_eq!(bent(&relay, |f| f.signature[0] ^= 1).await, Code::BadSignature);
    assert_eq!(bent(&relay, |f| f.vault = generation(&other, RELAY_NAME, 1)).await, Code::BadSignature);
    assert_eq!(bent(&relay, |f| f.device = other.public()).await, Code::BadSignature);
    assert_eq!(bent(&relay, |f| f.protocol = 99).await, Code::Unsupported);

    // An answer for another connection's challenge, and one for another relay's name.
    let mut first = socket(relay.address).await;
    let mut second = socket(relay.address).await;
    let theirs = challenge(&mut first).await;
    let own = challenge(&mut second).await;
    assert_ne!(theirs.nonce, own.nonce);
    let replayed = authenticate(&other, Party::Customer, &theirs, 1);
    second.send(Message::Binary(ToRelay::from(replayed).encode().unwrap().into())).await.unwrap();
    let Some(ToClient::Error(error)) = next(&mut second).await else { panic!() };
    assert_eq!(error.code, Code::BadSignature);
    let elsewhere = sealdesk_protocol::wire::Challenge { relay: "other.relay".into(), ..theirs };
    let misdirected = authenticate(&other, Party::Customer, &elsewhere, 1);
    first.send(Message::Binary(ToRelay::from(misdirected).encode().unwrap().into())).await.unwrap();
    let Some(ToClient::Error(error)) = next(&mut first).await else { panic!() };
    assert_eq!(error.code, Code::BadSignature);
    // The vault's generation: another than the challenge was answered with, and one that another relay was told.
    for vault in [generation(&other, RELAY_NAME, 2), generation(&other, "other.relay", 1)] {
        let mut socket = socket(relay.address).await;
        let challenge = challenge(&mut socket).await;
        let frame = Authenticate { vault, ..authenticate(&other, Party::Customer, &challenge, 1) };
        socket.send(Message::Binary(ToRelay::from(frame).encode().unwrap().into())).await.unwrap();
        let Some(ToClient::Error(error)) = next(&mut socket).await else { panic!() };
        assert_eq!(error.code, Code::BadSignature);
    }
    assert_eq!(relay.metric("auth_failures").await, 8);
}

#[tokio::test]
async fn anything_else_first_is_refused() {
    let relay = TestRelay::start().await;
    for (frame, code) in [
        (ToRelay::from(Ping { nonce: 1 }).encode().unwrap(), Code::NotAuthenticated),
        (vec![0x01, 0xff], Code::Malformed),
        (vec![0xee], Code::Malformed),
        (vec![], Code::Malformed),
    ] {
        let mut socket = socket(relay.address).await;
        challenge(&mut socket).await;
        socket.send(Message::Binary(frame.into())).await.unwrap();
        let Some(ToClient::Error(error)) = next(&mut socket).await else { panic!() };
        assert_eq!(error.code, code);
    }
}

#[tokio::test]
async fn agents_need_a_valid_chain() {
    let mut relay = TestRelay::start().await;
    let organisation = &relay.organisation;
    let good = device();
    let chain = organisation.chain(&organisation.certificate("mira", &good));
    assert_eq!(refusal(&relay, device(), Party::Agent(chain.clone())).await, Some(Code::CertificateRefused));

    let expired = device();
    let mut certificate = organisation.certificate("mira", &expired);
    (certificate.not_before, certificate.not_after) = (now_ms() - 20 * DAY, now_ms() - DAY);
    let expired_chain = organisation.chain(&certificate);
    assert_eq!(refusal(&relay, expired, Party::Agent(expired_chain)).await, Some(Code::CertificateExpired));

    let stranger = device();
    let foreign = Organisation::new();
    let foreign_chain = foreign.chain(&foreign.certificate("mira", &stranger));
    assert_eq!(refusal(&relay, stranger, Party::Agent(foreign_chain)).await, Some(Code::CertificateRefused));

    let mut agent = Client::connect(relay.address, good, Party::Agent(chain.clone())).await;
    assert!(agent.welcome.as_ref().unwrap().revocations.is_none());

    // Revoked while connected: told, ended, and not let in again.
    relay.organisation.revoked = vec![Revoked::Device(agent.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    let code = agent
        .expect(|frame| match frame {
            ToClient::Error(error) => Some(error.code),
            _ => None,
        })
        .await;
    assert_eq!(code, Code::Revoked);
    assert_eq!(agent.goodbye().await, Reason::Revoked);
    assert_eq!(refusal(&relay, agent.device, Party::Agent(chain)).await, Some(Code::Revoked));
    let customer = relay.customer().await;
    let list = customer.welcome.unwrap().revocations;
    assert!(list.is_some(), "clients get the list");
}

#[tokio::test]
async fn an_agents_device_does_not_come_back_as_a_customers() {
    let mut relay = TestRelay::start().await;
    let bytes = |device: &DeviceSecret| postcard::to_allocvec(device).unwrap();
    let (first, second) = (device(), device());
    let copies: Vec<Vec<u8>> = [&first, &second].map(bytes).into();
    let again = |n: usize| postcard::from_bytes::<DeviceSecret>(&copies[n]).unwrap();
    // One whose certificate will be revoked while it is connected, one whose certificate stays good.
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &first));
    let mut revoked = Client::connect(relay.address, first, Party::Agent(chain)).await;
    let good = relay.organisation.chain(&relay.organisation.certificate("nils", &second));
    drop(Client::connect(relay.address, second, Party::Agent(good.clone())).await);
    relay.organisation.revoked = vec![Revoked::Device(revoked.device.hash())];
    relay.organisation.revocation_number = 1;
    relay.rewrite_org();
    assert_eq!(revoked.goodbye().await, Reason::Revoked);
    for n in 0..2 {
        assert_eq!(refusal(&relay, again(n), Party::Customer).await, Some(Code::CertificateRefused), "{n}");
    }
    // Nor after a restart.
    relay.stop().await;
    relay.launch().await;
    for n in 0..2 {
        assert_eq!(refusal(&relay, again(n), Party::Customer).await, Some(Code::CertificateRefused), "{n}");
    }
    Client::connect(relay.address, again(1), Party::Agent(good)).await;
}

#[tokio::test]
async fn a_revoked_issuer_does_not_take_its_revocation_back() {
    let mut relay = TestRelay::start().await;
    let device = device();
    let bytes = postcard::to_allocvec(&device).unwrap();
    let again = || postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &device));
    let mut agent = Client::connect(relay.address, device, Party::Agent(chain.clone())).await;
    let (stolen_key, stolen) = relay.organisation.change_issuer();
    relay.organisation.revoked = vec![Revoked::Issuer(certificate_id(&stolen))];
    relay.organisation.revocation_number = 5;
    relay.rewrite_org();
    assert_eq!(agent.goodbye().await, Reason::Revoked);
    // Whoever has the revoked issuer's key signs everything anew, with an empty list of the same or a higher number.
    relay.organisation.issuer_key = stolen_key;
    relay.organisation.issuer = stolen;
    relay.organisation.settings.version += 1;
    relay.organisation.revoked = Vec::new();
    for (number, refused) in [(5, 1), (6, 2)] {
        relay.organisation.revocation_number = number;
        relay.rewrite_org();
        relay.until_metric("organisation_refused", refused).await;
        let refused = refusal(&relay, again(), Party::Agent(chain.clone())).await;
        assert_eq!(refused, Some(Code::Revoked), "list {number}");
    }
}

#[tokio::test]
async fn a_second_connection_replaces_the_first_which_is_told() {
    let relay = TestRelay::start().await;
    let mut first = relay.customer().await;
    let bytes = postcard::to_allocvec(&first.device).unwrap();
    let same: DeviceSecret = postcard::from_bytes(&bytes).unwrap();
    let mut second = Client::connect(relay.address, same, Party::Customer).await;
    assert_eq!(first.goodbye().await, Reason::Replaced);
    second.send(Ping { nonce: 9 }).await;
    let pong =
        second.expect(|frame| matches!(frame, ToClient::Pong(pong) if pong.nonce == 9).then_some(())).await;
    assert_eq!(pong, ());
    relay.until_metric("devices", 1).await;
    assert_eq!(relay.metric("replaced").await, 1);
}

#[tokio::test]
async fn the_vaults_generation_is_remembered() {
    let relay = TestRelay::start().await;
    let device = device();
    let bytes = postcard::to_allocvec(&device).unwrap();
    let again = || postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &device));
    let agent = || Party::Agent(chain.clone());
    let connect = async |generation| {
        let socket = socket(relay.address).await;
        let welcome = Client::greet(socket, again(), agent(), generation).await.unwrap().welcome.unwrap();
        welcome.vault.map_or(0, |vault| vault.verify(RELAY_NAME, &again().public()).unwrap())
    };
    assert_eq!(connect(7).await, 0);
    assert_eq!(connect(3).await, 7, "the old copy is told");
    assert_eq!(connect(8).await, 7, "and did not lower it");
    assert_eq!(connect(8).await, 8);

    // An acknowledgement tells it too, if the device signed it; refused, it acknowledges nothing.
    let mut client = Client::connect(relay.address, again(), agent()).await;
    let up_to = Position { store_epoch: client.welcome.take().unwrap().store_epoch, seq: 0 };
    let stranger = generation(&self::device(), RELAY_NAME, 20);
    for (vault, acks) in [(stranger, 0), (generation(&again(), RELAY_NAME, 12), 1)] {
        client.send(Ack { up_to, vault: Some(vault) }).await;
        if acks == 0 {
            let refused =
                |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::BadSignature);
            client.expect(|frame| refused(frame).then_some(())).await;
        }
        relay.until_metric("acks", acks).await;
    }
    client.publish(1).await;
    assert_eq!(connect(9).await, 12);
}

/// Whoever has nothing here writes nothing here.
#[tokio::test]
async fn a_stranger_is_not_remembered() {
    let relay = TestRelay::start().await;
    let device = device();
    let bytes = postcard::to_allocvec(&device).unwrap();
    let again = || postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let mut client = Client::connect(relay.address, device, Party::Customer).await;
    let up_to = Position { store_epoch: client.welcome.take().unwrap().store_epoch, seq: 0 };
    client.send(Ack { up_to, vault: Some(generation(&again(), RELAY_NAME, 12)) }).await;
    relay.until_metric("acks", 1).await;
    // What is written after it is on the disk: so would be what is noted with it.
    client.pinged().await;
    relay.agent("mira").await;
    let again = Client::connect(relay.address, again(), Party::Customer).await;
    assert_eq!(again.welcome.unwrap().vault, None);
}

#[tokio::test]
async fn a_renamed_relay_does_not_show_what_was_signed_for_its_old_name() {
    let mut relay = TestRelay::start().await;
    let device = device();
    let bytes = postcard::to_allocvec(&device).unwrap();
    let again = || postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &device));
    let welcome = async |relay: &TestRelay| {
        let client = Client::connect(relay.address, again(), Party::Agent(chain.clone())).await;
        client.welcome.unwrap().vault
    };
    assert_eq!(welcome(&relay).await, None);
    assert!(welcome(&relay).await.is_some());
    relay.stop().await;
    relay.raw.name = "renamed.relay".into();
    relay.organisation.settings.relay_name = "renamed.relay".into();
    relay.rewrite_org();
    relay.launch().await;
    let answer = async |relay: &TestRelay| {
        let mut socket = socket(relay.address).await;
        let challenge = challenge(&mut socket).await;
        let frame = authenticate(&again(), Party::Agent(chain.clone()), &challenge, 1);
        socket.send(Message::Binary(ToRelay::from(frame).encode().unwrap().into())).await.unwrap();
        let Some(ToClient::Welcome(welcome)) = next(&mut socket).await else { panic!("no welcome") };
        welcome.vault
    };
    assert_eq!(answer(&relay).await, None);
    assert_eq!(answer(&relay).await, Some(generation(&again(), "renamed.relay", 1)));
}

#[tokio::test]
async fn malformed_frames_end_the_connection_and_unknown_ones_do_not() {
    let relay = TestRelay::start().await;
    let mut client = relay.customer().await;
    client.raw(vec![0x7f, 1, 2]).await;
    let unknown =
        |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::Unsupported).then_some(());
    client.expect(unknown).await;
    client.raw(vec![0x02, 0xff, 0xff, 0xff, 0xff, 0xff]).await;
    let malformed =
        |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::Malformed).then_some(());
    client.expect(malformed).await;
    assert_eq!(client.goodbye().await, Reason::Violation);

    let mut client = relay.customer().await;
    client.raw(vec![0x30; 70_000]).await;
    let large =
        |frame: &ToClient| matches!(frame, ToClient::Error(e) if e.code == Code::TooLarge).then_some(());
    client.expect(large).await;
    assert_eq!(client.goodbye().await, Reason::Violation);

    let mut client = relay.customer().await;
    client.socket.send(Message::text("hello")).await.unwrap();
    client.expect(malformed).await;
}
