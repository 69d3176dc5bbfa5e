use sealdesk_protocol::conversation::Roster;
use sealdesk_protocol::conversation::statements::History;
use sealdesk_protocol::crypto::certificate::Revoked;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::{SessionId, StatementHash};
use sealdesk_protocol::wire::{Party, RequestAssignment};

use super::*;
use crate::testing::Running;
use crate::testing::organisation::rng;

#[test]
fn the_end_fits_into_any_record() {
    assert_eq!(check_size(MAX_RECORD, &Effect::Accepted), Ok(()));
    assert_eq!(check_size(MAX_RECORD + 1, &Effect::Accepted), Err(Code::TooLarge));
    assert_eq!(check_size(MAX_RECORD + 1, &Effect::Closed), Ok(()));
}

#[tokio::test]
async fn an_acceptance_needs_a_certificate_that_still_holds() {
    let mut running = Running::start().await;
    let agent = DeviceSecret::generate(&mut rng());
    let chain = running.organisation.chain(&running.organisation.certificate("mira", &agent));
    let session = running.session(&agent, Party::Agent(chain));
    let accept = async |running: &Running| {
        let opened = running.opened(&DeviceSecret::generate(&mut rng()), &agent).await;
        let action = Action::Accept { current: opened.statement };
        let statement = running.statement(&agent, opened.id, action);
        let frame = PostStatement { req: 1, conversation: opened.id, statement, envelopes: Vec::new() };
        let posted = session.post_statement(frame).await.map(|_| ());
        let loaded = running.relay.conversation(opened.id).await.unwrap().unwrap();
        (posted, loaded.record.is_accepted())
    };
    assert_eq!(accept(&running).await, (Ok(()), true));
    // Revoked, and not noticed yet by what ends its connection.
    running.organisation.revoked = vec![Revoked::Device(agent.hash())];
    running.organisation.revocation_number = 1;
    running.organisation.write(&running.relay.config.org);
    assert!(running.relay.policy.refresh().unwrap());
    assert_eq!(accept(&running).await, (Err(Code::Revoked), false));
}

#[tokio::test]
async fn a_conversation_whose_record_is_too_large_takes_its_close_and_nothing_else() {
    let running = Running::with(|raw| {
        raw.limits.assignments_per_conversation_hour = 1_000;
        raw.limits.prekeys_per_conversation_hour = 1_000;
        raw.limits.prekeys_per_device_hour = 100_000;
    })
    .await;
    let (relay, customer) = (&running.relay, DeviceSecret::generate(&mut rng()));
    let agents = [running.agent("mira", 9).await, running.agent("anna", 9).await];
    let session = running.connect(&customer, Party::Customer);
    // Connected: of who is away, a network gets no more than lies here.
    let _desks = [("mira", &agents[0]), ("anna", &agents[1])].map(|(name, device)| {
        let chain = running.organisation.chain(&running.organisation.certificate(name, device));
        running.connect(device, Party::Agent(chain))
    });
    let opened = running.opened(&customer, &agents[0]).await;
    let (id, mut previous) = (opened.id, opened.statement);
    let post = async |epoch: u32, action: Action| {
        let statement = running.statement_of(epoch, &customer, id, action);
        let hash = statements::hash(&statement);
        let frame = PostStatement { req: 1, conversation: id, statement, envelopes: Vec::new() };
        session.post_statement(frame).await.map(|_| hash)
    };
    // Each click names the other one, whose predecessor let its time pass.
    let mut epoch = 1u32;
    let refused = loop {
        let turn = usize::from(epoch.is_multiple_of(2));
        relay.lapse(id, agents[turn].hash()).await.unwrap();
        let (topic, language) = (opened.record.topic.clone(), opened.record.language.clone());
        let consent = opened.record.consent.clone();
        let ask = RequestAssignment { req: 1, conversation: id, topic, language, consent };
        let named = session.request_assignment(ask).await.unwrap();
        assert!(matches!(named, ToClient::Assignment(_)), "{named:?}");
        let (agent, name) = (&agents[1 - turn], ["anna", "mira"][turn].parse().unwrap());
        let roster = Roster::of(customer.public(), name, agent.public()).unwrap();
        match post(epoch + 1, Action::Reassign { previous, roster }).await {
            Ok(hash) => (previous, epoch) = (hash, epoch + 1),
            Err(code) => break code,
        }
        assert!(epoch < 1_000, "records grow without end");
    };
    assert_eq!(refused, Code::TooLarge);
    assert!(epoch > 20, "{epoch}");
    post(epoch, Action::Close { current: previous, heads: Vec::new() }).await.unwrap();
}

/// There may be many, and none changes who may read.
#[tokio::test]
async fn a_reset_writes_no_audit_entry() {
    let running = Running::start().await;
    let (relay, customer) = (&running.relay, DeviceSecret::generate(&mut rng()));
    let agent = running.agent("mira", 9).await;
    let session = running.connect(&customer, Party::Customer);
    let opened = running.opened(&customer, &agent).await;
    let entries = async || relay.store.audit_read(0, 100).await.unwrap().len();
    let post = async |action| {
        let statement = running.statement(&customer, opened.id, action);
        let frame = PostStatement { req: 1, conversation: opened.id, statement, envelopes: Vec::new() };
        session.post_statement(frame).await.unwrap();
    };
    let before = entries().await;
    let (old, new) = (SessionId([1; 16]), SessionId([2; 16]));
    post(Action::Reset { current: opened.statement, peer: agent.hash(), old, new, generation: 1 }).await;
    assert_eq!(entries().await, before);
    post(Action::Close { current: opened.statement, heads: Vec::new() }).await;
    assert_eq!(entries().await, before + 1);
}

/// They bring in devices whose certificates nobody has checked (§7.4).
#[tokio::test]
async fn a_device_that_is_not_verified_comes_in_by_no_statement() {
    let running = Running::start().await;
    let (customer, next) = (DeviceSecret::generate(&mut rng()), DeviceSecret::generate(&mut rng()));
    let agent = running.agent("mira", 9).await;
    let chain = running.organisation.chain(&running.organisation.certificate("mira", &agent));
    let session = running.connect(&agent, Party::Agent(chain));
    let opened = running.opened(&customer, &agent).await;
    let (current, offer) = (opened.statement, StatementHash([1; 32]));
    let post = async |epoch, action| {
        let statement = running.statement_of(epoch, &agent, opened.id, action);
        let frame = PostStatement { req: 1, conversation: opened.id, statement, envelopes: Vec::new() };
        session.post_statement(frame).await
    };
    post(1, Action::Accept { current }).await.unwrap();
    let version = async || running.relay.conversation(opened.id).await.unwrap().unwrap().version;
    let before = version().await;
    let roster = Roster::of(customer.public(), "anna".parse().unwrap(), next.public()).unwrap();
    let offered = Action::Offer {
        current,
        agent: "anna".parse().unwrap(),
        device: next.public(),
        heads: Vec::new(),
        history: History::None,
        reason: String::new(),
    };
    let refused = [
        (1, offered),
        (1, Action::Withdraw { current, offer }),
        (2, Action::AcceptOffer { previous: current, roster: roster.clone(), offer }),
        (2, Action::Join { previous: current, roster: roster.clone() }),
        (2, Action::Leave { previous: current, roster }),
    ];
    for (epoch, action) in refused {
        let name = action.name();
        assert_eq!(post(epoch, action).await.map(|_| ()), Err(Code::Unsupported), "{name}");
    }
    assert_eq!(version().await, before);
}
