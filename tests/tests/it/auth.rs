//! Who may connect, and as whom.

use sealdesk_protocol::crypto::certificate::{AgentRole, DAY, Revoked, certificate_id};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::wire::{Authenticate, Code, Ping, Reason, ToClient};
use sealdesk_tests::company::Company;
use sealdesk_tests::connection::Connection;
use sealdesk_tests::device::Device;
use sealdesk_tests::pair::Pair;
use sealdesk_tests::process::RelayProcess;
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::talk::post;
use sealdesk_tests::{Site, now_ms, until};

/// The relay's answer to an authentication.
async fn verdict(relay: &impl Door, make: impl FnOnce(&Connection) -> Authenticate) -> Result<(), Code> {
    let mut connection = Connection::dial(relay).await;
    let frame = make(&connection);
    connection.send(frame).await;
    let welcome = connection.welcome().await.map(|_| ());
    if welcome.is_err() {
        let (reason, _) = connection.farewell().await;
        assert!(matches!(reason, Some(Reason::Violation | Reason::Revoked)), "the end comes with its reason");
    }
    welcome
}

#[tokio::test]
async fn only_the_key_that_a_device_claims_opens_its_mailbox() {
    let mut company = Company::new(21);
    let relay = Relay::start(&company, |_| {}).await;
    let (device, thief, agent) = (Device::new(), Device::new(), company.agent("mira"));
    assert_eq!(verdict(&relay, |c| device.answer(&c.challenge)).await, Ok(()));
    assert_eq!(verdict(&relay, |c| agent.answer(&c.challenge)).await, Ok(()));

    let bad = Err(Code::BadSignature);
    let as_other = |c: &Connection| Authenticate { device: device.public(), ..thief.answer(&c.challenge) };
    assert_eq!(verdict(&relay, as_other).await, bad, "signed by another key than is claimed");
    let bent = |c: &Connection| {
        let mut frame = device.answer(&c.challenge);
        frame.signature[5] ^= 1;
        frame
    };
    assert_eq!(verdict(&relay, bent).await, bad);
    let older_vault = |c: &Connection| Authenticate {
        vault: SignedGeneration::sign(&c.challenge.relay, &device.secret, 7),
        ..device.answer(&c.challenge)
    };
    assert_eq!(verdict(&relay, older_vault).await, bad, "the vault's generation is signed");
    let half = |c: &Connection| {
        let mut frame = device.answer(&c.challenge);
        frame.device.x = thief.public().x;
        frame
    };
    assert_eq!(verdict(&relay, half).await, bad, "both halves of the key are signed");
    let future = |c: &Connection| Authenticate { protocol: 2, ..device.answer(&c.challenge) };
    assert_eq!(verdict(&relay, future).await, Err(Code::Unsupported));
}

#[tokio::test]
async fn a_signature_counts_for_one_challenge_of_one_relay_only() {
    let company = Company::new(22);
    let relay = Relay::start(&company, |_| {}).await;
    let device = Device::new();

    // Recorded on one connection, replayed on another.
    let mut first = Connection::dial(&relay).await;
    let recorded = device.answer(&first.challenge);
    first.send(recorded.clone()).await;
    first.welcome().await.expect("the original is good");
    assert_eq!(verdict(&relay, |_| recorded.clone()).await, Err(Code::BadSignature), "replayed");
    first.send(recorded).await;
    assert_eq!(first.error().await, Code::Malformed, "a second one on the same connection");

    // Another relay passes this one's challenge on under its own name.
    let other_name = |c: &Connection| {
        let mut challenge = c.challenge.clone();
        challenge.relay = "relay.evil".into();
        device.answer(&challenge)
    };
    assert_eq!(verdict(&relay, other_name).await, Err(Code::BadSignature));
    let other_nonce = |c: &Connection| {
        let mut challenge = c.challenge.clone();
        challenge.nonce[0] ^= 1;
        device.answer(&challenge)
    };
    assert_eq!(verdict(&relay, other_nonce).await, Err(Code::BadSignature));
    let (a, b) = (Connection::dial(&relay).await, Connection::dial(&relay).await);
    assert_ne!(a.challenge.nonce, b.challenge.nonce);
    assert_eq!(a.challenge.relay, company.org.settings.relay_name);
}

#[tokio::test]
async fn agents_need_a_chain_of_this_organisation_that_is_valid_now() {
    let mut company = Company::new(23);
    let relay = Relay::start(&company, |_| {}).await;
    let of = async |device: &Device| verdict(&relay, |c| device.answer(&c.challenge)).await;

    let foreign = Company::new(24).agent("mira");
    assert_eq!(of(&foreign).await, Err(Code::CertificateRefused), "another organisation's");

    let mut certified =
        async |change: &dyn Fn(&mut sealdesk_protocol::crypto::certificate::DeviceCertificate)| {
            let mut device = Device::new();
            let mut certificate = company.org.certificate("mira", "Mira", &["support"], device.public());
            change(&mut certificate);
            device.chain = Some(company.org.chain(&certificate));
            of(&device).await
        };
    let now = now_ms();
    let expired = certified(&|c| (c.not_before, c.not_after) = (now - 29 * DAY, now - 1)).await;
    assert_eq!(expired, Err(Code::CertificateExpired));
    let future = certified(&|c| (c.not_before, c.not_after) = (now + DAY, now + 2 * DAY)).await;
    assert_eq!(future, Err(Code::CertificateExpired));
    let eternal = certified(&|c| c.not_after = c.not_before + 31 * DAY).await;
    assert_eq!(eternal, Err(Code::CertificateRefused), "longer than the protocol allows");
    let nameless = certified(&|c| c.display_name = "Mira\u{202e}".into()).await;
    assert_eq!(nameless, Err(Code::CertificateRefused), "a name that reorders text");
    assert_eq!(certified(&|_| {}).await, Ok(()));

    // Somebody else's good chain with one's own key.
    let mira = company.agent("mira");
    let mut thief = Device::new();
    thief.chain = mira.chain.clone();
    assert_eq!(of(&thief).await, Err(Code::CertificateRefused));
    // Signed by a key that no root certified.
    let mut forged = Device::new();
    let body = company.org.certificate("mira", "Mira", &["support"], forged.public());
    let mut chain = company.org.chain(&body);
    chain.device = body.sign(forged.secret.as_ref());
    forged.chain = Some(chain);
    assert_eq!(of(&forged).await, Err(Code::CertificateRefused));
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_and_does_not_come_back() {
    let mut company = Company::new(25);
    let relay = Relay::start(&company, |_| {}).await;
    let mut mira = company.agent("mira");
    let sam = company.agent("sam");
    let connection = mira.on_duty(&relay, 5).await;
    let mut other = sam.connect(&relay).await;
    company.org.revoke(1, now_ms(), vec![Revoked::Device(mira.hash())]);
    company.change(|_| {});
    let (reason, before) = connection.farewell().await;
    assert_eq!(reason, Some(Reason::Revoked));
    let told = before.iter().any(|f| matches!(f, ToClient::Error(error) if error.code == Code::Revoked));
    assert!(told, "the code says what to do: {before:?}");
    other.find(|frame| matches!(frame, ToClient::Revocations(_)).then_some(())).await;
    assert_eq!(verdict(&relay, |c| mira.answer(&c.challenge)).await, Err(Code::Revoked));
    assert_eq!(verdict(&relay, |c| sam.answer(&c.challenge)).await, Ok(()));

    // By certificate, and by issuer.
    let sams = certificate_id(&sam.chain.as_ref().unwrap().device);
    company.org.revoke(2, now_ms(), vec![Revoked::Certificate(sams)]);
    company.change(|_| {});
    until(async || (verdict(&relay, |c| sam.answer(&c.challenge)).await == Err(Code::Revoked)).then_some(()))
        .await;
}

#[tokio::test]
async fn an_org_json_that_goes_back_or_is_forged_does_not_replace_the_one_in_force() {
    let mut company = Company::new(26);
    let relay = RelayProcess::start(&company, |_| {}).await;
    let mira = company.agent("mira");
    company.org.revoke(1, now_ms(), vec![Revoked::Device(mira.hash())]);
    company.change(|_| {});
    let of_mira = async || verdict(&relay, |c| mira.answer(&c.challenge)).await;
    until(async || (of_mira().await == Err(Code::Revoked)).then_some(())).await;

    // A file without the revocation, another organisation's file, and none at all: refused, and the relay goes on.
    let in_force = company.org.revocations.take();
    let foreign = Company::new(99);
    company.change(|_| {});
    let bad = [
        std::fs::read(company.org_json()).unwrap(),
        std::fs::read(foreign.org_json()).unwrap(),
        b"{".to_vec(),
    ];
    for (n, text) in bad.iter().enumerate() {
        std::fs::write(company.org_json(), text).unwrap();
        until(async || (relay.log().matches("org.json is not used").count() > n).then_some(())).await;
        assert_eq!(of_mira().await, Err(Code::Revoked), "bad file {n}");
    }
    company.org.revocations = in_force;
    let sam = company.agent("sam");
    company.org.revoke(2, now_ms(), vec![Revoked::Device(mira.hash()), Revoked::Device(sam.hash())]);
    company.change(|_| {});
    let of_sam = async || verdict(&relay, |c| sam.answer(&c.challenge)).await;
    until(async || (of_sam().await == Err(Code::Revoked)).then_some(())).await;
    assert_eq!(of_mira().await, Err(Code::Revoked));
}

#[tokio::test]
async fn a_customer_cannot_act_as_an_agent_nor_an_agent_as_a_customer() {
    let mut company = Company::new(27);
    let relay = Relay::start(&company, |_| {}).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;

    let mut stranger = Device::new().connect(&relay).await;
    let said = sealdesk_protocol::wire::SetAvailability { req: 0, available: true, capacity: 9 };
    assert_eq!(stranger.request(said).await.unwrap_err(), Code::CertificateRefused);
    let claim = sealdesk_protocol::wire::Claim { req: 0, conversation: customer.side.conversation };
    assert_eq!(stranger.request(claim).await.unwrap_err(), Code::CertificateRefused);
    let wish = sealdesk_tests::talk::Wish::new(&company, &agent.device);
    let asked = agent.connection.request(wish.request(&agent.device)).await;
    assert_eq!(asked.unwrap_err(), Code::NotListed, "an agent asks for no agent");

    // Signing what only the other side may sign; posting what somebody else signed.
    use sealdesk_protocol::conversation::Action;
    let id = customer.side.conversation;
    let accept = customer.side.note(&customer.device, |current| Action::Accept { current });
    assert_eq!(post(&mut customer.connection, id, accept, Vec::new()).await.unwrap_err(), Code::NotListed);
    let countersign = agent.side.note(&agent.device, |current| Action::Countersign { current });
    assert_eq!(post(&mut agent.connection, id, countersign, Vec::new()).await.unwrap_err(), Code::NotListed);
    let others = agent.side.note(&agent.device, |current| Action::Close { current, heads: Vec::new() });
    let posted = post(&mut customer.connection, id, others, Vec::new()).await;
    assert_eq!(posted.unwrap_err(), Code::NotListed, "nobody posts for another");
    let outsider = Device::new();
    let close = customer.side.note(&outsider, |current| Action::Close { current, heads: Vec::new() });
    let mut connection = outsider.connect(&relay).await;
    assert_eq!(post(&mut connection, id, close, Vec::new()).await.unwrap_err(), Code::NotListed);

    // A certificate without the role of an agent gets no conversation.
    let mut manager = Device::new();
    let mut body = company.org.certificate("max", "Max", &["billing"], manager.public());
    body.roles = vec![AgentRole::Manager];
    manager.chain = Some(company.org.chain(&body));
    let mut desk = manager.on_duty(&relay, 5).await;
    let device = Device::new();
    let mut asking = device.connect(&relay).await;
    let mut wish = sealdesk_tests::talk::Wish::new(&company, &device);
    wish.topic = sealdesk_protocol::testing::handle("billing");
    let answer = asking.request(wish.request(&device)).await.unwrap();
    assert!(matches!(answer, ToClient::Queued(_)), "{answer:?}");
    desk.settle().await;
}

#[tokio::test]
async fn nothing_but_an_authentication_comes_first() {
    let company = Company::new(28);
    let relay = Relay::start(&company, |_| {}).await;
    let mut early = Connection::dial(&relay).await;
    early.send(Ping { nonce: 1 }).await;
    assert_eq!(early.welcome().await.unwrap_err(), Code::NotAuthenticated);
    let mut garbage = Connection::dial(&relay).await;
    garbage.send_bytes(vec![1, 2, 3]).await;
    assert_eq!(garbage.welcome().await.unwrap_err(), Code::Malformed);
    let mut text = Connection::dial(&relay).await;
    text.send_message(tokio_tungstenite::tungstenite::Message::Text("hello".into())).await;
    assert_eq!(text.welcome().await.unwrap_err(), Code::Malformed);
    assert_eq!(relay.metric("sealdesk_auth_failures").await, 3);
}
