//! The compare-and-swap of a conversation.

use sealdesk_protocol::conversation::{Action, Roster, statements};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::{EnvelopeId, MailboxId, SessionId, StatementHash};
use sealdesk_protocol::wire::envelope::{Class, Envelope};
use sealdesk_protocol::wire::{Addressed, Code, Item, ToClient};

use crate::client::{Client, envelope};
use crate::harness::TestRelay;
use crate::organisation::{handle, rng};
use crate::talk::Talk;

async fn requested(relay: &TestRelay, customer: &mut Client) -> Talk {
    let talk = Talk::new(&relay.organisation, customer);
    let req = customer.number();
    customer.send(talk.request(req)).await;
    assert!(matches!(customer.answer(req).await, ToClient::Assignment(_)));
    talk
}

#[tokio::test]
async fn open_accept_countersign_close_reach_the_other_side() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let mut talk = requested(&relay, &mut customer).await;
    let open = talk.open(&customer, &agent, "mira");
    let first = envelope(agent.mailbox(), Class::Store);
    talk.epoch_statement = customer.post_with(&talk, 1, open, vec![first.clone()]).await.unwrap();

    let Item::Statement(told) = agent.delivered().await.item else { panic!() };
    assert!(told.agent.is_some() && told.consent.as_ref() == Some(&talk.consent));
    assert_eq!(agent.delivered_envelope().await, first.envelope, "after the statement");

    let greeting = envelope(customer.mailbox(), Class::Store);
    let accept = Action::Accept { current: talk.epoch_statement };
    agent.post_with(&talk, 1, accept, vec![greeting.clone()]).await.unwrap();
    assert_eq!(customer.delivered_statement().await.action.name(), "accept");
    assert_eq!(customer.delivered_envelope().await, greeting.envelope);

    let countersign = Action::Countersign { current: talk.epoch_statement };
    customer.post(&talk, 1, countersign).await.unwrap();
    assert_eq!(agent.delivered_statement().await.action.name(), "countersign");
    let reset = Action::Reset {
        current: talk.epoch_statement,
        peer: agent.device.hash(),
        old: SessionId([1; 16]),
        new: SessionId([2; 16]),
        generation: 1,
    };
    customer.post(&talk, 1, reset).await.unwrap();
    assert_eq!(agent.delivered_statement().await.action.name(), "reset");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    agent.post(&talk, 1, close).await.unwrap();
    assert_eq!(customer.delivered_statement().await.action.name(), "close");

    let late = envelope(agent.mailbox(), Class::Store);
    customer.send_envelope(&talk, late).await.unwrap();
    let again = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    assert_eq!(customer.post(&talk, 1, again).await, Err(Code::Closed));
    let req = customer.number();
    customer.send(talk.request(req)).await;
    assert_eq!(customer.outcome(req).await, Err(Code::Closed));
    assert_eq!(relay.metric("conversations_closed").await, 1);
}

#[tokio::test]
async fn a_repeated_statement_is_stored_once() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = requested(&relay, &mut customer).await;
    let open = talk.open(&customer, &agent, "mira");
    let statement = sealdesk_protocol::conversation::Statement {
        root: talk.root,
        conversation: talk.id,
        epoch: 1,
        signer: customer.device.hash(),
        time: 1,
        expires: u64::MAX,
        action: open,
    };
    let signed = statement.sign(&customer.device);
    let first = envelope(agent.mailbox(), Class::Store);
    for _ in 0..3 {
        customer.post_signed(talk.id, signed.clone(), vec![first.clone()]).await.unwrap();
    }
    agent.delivered_statement().await;
    agent.delivered_envelope().await;
    assert!(agent.quiet(|frame| matches!(frame, ToClient::Deliver(_))).await);
}

/// An envelope with an id of the sender's choice.
fn envelope_named(to: MailboxId, id: [u8; 16]) -> Addressed {
    let plain = envelope(to, Class::Store);
    let mut envelope = Envelope::decode(&plain.envelope).unwrap();
    envelope.id = EnvelopeId(id);
    Addressed { to, envelope: envelope.encode() }
}

#[tokio::test]
async fn no_envelope_takes_the_place_of_a_statement_or_of_anothers_envelope() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let close = sealdesk_protocol::conversation::Statement {
        root: talk.root,
        conversation: talk.id,
        epoch: 1,
        signer: customer.device.hash(),
        time: 1,
        expires: u64::MAX,
        action: Action::Close { current: talk.epoch_statement, heads: Vec::new() },
    }
    .sign(&customer.device);
    // The customer sends an envelope under the id that the copy of its own statement will have.
    let id = *statements::hash(&close).0.first_chunk().unwrap();
    customer.send_envelope(&talk, envelope_named(agent.mailbox(), id)).await.unwrap();
    customer.post_signed(talk.id, close, Vec::new()).await.unwrap();
    agent.delivered_envelope().await;
    assert_eq!(agent.delivered_statement().await.action.name(), "close");

    // Two customers, the same envelope id: both arrive.
    let mut other = relay.customer().await;
    let second = Talk::opened(&relay.organisation, &mut other, &mut agent, "mira").await;
    for _ in 0..2 {
        other.send_envelope(&second, envelope_named(agent.mailbox(), id)).await.unwrap();
    }
    agent.delivered_envelope().await;
    assert!(agent.quiet(|frame| matches!(frame, ToClient::Deliver(_))).await, "a repetition does not");
}

#[tokio::test]
async fn open_has_to_match_request_assignment_and_signer() {
    let relay = TestRelay::start().await;
    let (mut customer, agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = requested(&relay, &mut customer).await;
    let open = talk.open(&customer, &agent, "mira");

    let stranger = DeviceSecret::generate(&mut rng());
    let bend = |change: &dyn Fn(&mut Action)| {
        let mut bent = open.clone();
        change(&mut bent);
        bent
    };
    let set_roster = |roster: Roster| {
        move |action: &mut Action| {
            if let Action::Open { roster: place, .. } = action {
                *place = roster.clone();
            }
        }
    };
    let other_device = Roster::of(customer.device.public(), handle("mira"), stranger.public()).unwrap();
    let other_name = Roster::of(customer.device.public(), handle("eve"), agent.device.public()).unwrap();
    for roster in [other_device, other_name] {
        let bent = bend(&set_roster(roster));
        assert_eq!(customer.post(&talk, 1, bent).await, Err(Code::AssignmentLost), "not who was named");
    }
    let bent = bend(&|action| {
        if let Action::Open { topic, .. } = action {
            *topic = handle("help");
        }
    });
    assert_eq!(customer.post(&talk, 1, bent).await, Err(Code::UnknownTopic));
    let bent = bend(&|action| {
        if let Action::Open { consent, .. } = action {
            consent[0] ^= 1;
        }
    });
    assert_eq!(customer.post(&talk, 1, bent).await, Err(Code::ConsentMissing));
    let bent = bend(&|action| {
        if let Action::Open { nonce, .. } = action {
            nonce[0] ^= 1;
        }
    });
    assert_eq!(customer.post(&talk, 1, bent).await, Err(Code::Malformed), "the id commits to the customer");
    assert_eq!(customer.post(&talk, 2, open.clone()).await, Err(Code::Conflict), "epoch");

    let mut other = relay.customer().await;
    assert!(other.post(&talk, 1, open.clone()).await.is_err(), "another device's roster");
    let to_stranger = vec![envelope(other.mailbox(), Class::Store)];
    assert_eq!(customer.post_with(&talk, 1, open.clone(), to_stranger).await, Err(Code::NotListed));
    let many = (0..4).map(|_| envelope(agent.mailbox(), Class::Store)).collect();
    assert_eq!(customer.post_with(&talk, 1, open.clone(), many).await, Err(Code::TooLarge));
    assert_eq!(relay.metric("statements").await, 0, "nothing was stored");
    customer.post(&talk, 1, open).await.unwrap();
}

#[tokio::test]
async fn nobody_posts_for_another_and_signatures_count() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let statement = |signer: &DeviceSecret, by: &DeviceSecret| {
        sealdesk_protocol::conversation::Statement {
            root: talk.root,
            conversation: talk.id,
            epoch: 1,
            signer: signer.hash(),
            time: 1,
            expires: u64::MAX,
            action: Action::Accept { current: talk.epoch_statement },
        }
        .sign(by)
    };
    let genuine = statement(&agent.device, &agent.device);
    assert_eq!(customer.post_signed(talk.id, genuine, Vec::new()).await, Err(Code::NotListed));
    let forged = statement(&agent.device, &customer.device);
    assert_eq!(agent.post_signed(talk.id, forged, Vec::new()).await, Err(Code::BadSignature));
    let own = statement(&customer.device, &customer.device);
    assert_eq!(customer.post_signed(talk.id, own, Vec::new()).await, Err(Code::NotListed), "not the agent");
    let early = Action::Accept { current: StatementHash([5; 32]) };
    assert_eq!(agent.post(&talk, 1, early).await, Err(Code::Conflict));
    let mut stranger = relay.customer().await;
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    assert_eq!(stranger.post(&talk, 1, close).await, Err(Code::NotListed));
    let foreign = Talk::new(&relay.organisation, &customer);
    let accept = Action::Accept { current: talk.epoch_statement };
    assert_eq!(agent.post(&foreign, 1, accept).await, Err(Code::UnknownConversation));
}

#[tokio::test]
async fn an_expired_statement_is_refused_at_the_swap() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let statement = sealdesk_protocol::conversation::Statement {
        root: talk.root,
        conversation: talk.id,
        epoch: 1,
        signer: agent.device.hash(),
        time: 1,
        expires: 2,
        action: Action::Accept { current: talk.epoch_statement },
    };
    let signed = statement.sign(&agent.device);
    assert_eq!(agent.post_signed(talk.id, signed, Vec::new()).await, Err(Code::Conflict));
}

#[tokio::test]
async fn of_two_acceptances_one_is_stored() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    agent.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = agent.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await;
    assert_eq!(second, Err(Code::AssignmentLost));
}

#[tokio::test]
async fn a_reset_that_is_not_stored_does_not_count() {
    let relay = TestRelay::with(|raw, _| raw.limits.mailbox_share_items = 8).await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let reset = |generation| Action::Reset {
        current: talk.epoch_statement,
        peer: agent.device.hash(),
        old: SessionId([1; 16]),
        new: SessionId([2; 16]),
        generation,
    };
    customer.post(&talk, 1, reset(1)).await.unwrap();
    for generation in 2..40 {
        let posted = customer.post(&talk, 1, reset(generation)).await.map(|_| ());
        assert_eq!(posted, Err(Code::MailboxFull), "{generation}");
    }
}

#[tokio::test]
async fn resets_are_limited_by_the_day() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    for generation in 1..=33 {
        let reset = Action::Reset {
            current: talk.epoch_statement,
            peer: agent.device.hash(),
            old: SessionId([1; 16]),
            new: SessionId([2; 16]),
            generation,
        };
        let posted = customer.post(&talk, 1, reset).await.map(|_| ());
        assert_eq!(posted, if generation <= 32 { Ok(()) } else { Err(Code::RateLimited) });
    }
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, 1, close).await.unwrap();
}
