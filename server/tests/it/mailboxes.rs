//! Send, deliver, acknowledge.

use futures_util::SinkExt;
use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::ids::{MailboxId, SessionId, StatementHash};
use sealdesk_protocol::wire::envelope::Class;
use sealdesk_protocol::wire::{Ack, Code, FetchPrekeys, Position, Send, SendEphemeral, ToClient, ToRelay};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Party, envelope};
use crate::harness::TestRelay;
use crate::talk::Talk;

fn is_delivery(frame: &ToClient) -> bool {
    matches!(frame, ToClient::Deliver(_))
}

#[tokio::test]
async fn in_order_at_least_once_until_acknowledged() {
    let mut relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let messages: Vec<_> = (0..20).map(|_| envelope(agent.mailbox(), Class::Store)).collect();
    for message in &messages {
        customer.send_envelope(&talk, message.clone()).await.unwrap();
    }
    customer.send_envelope(&talk, messages[3].clone()).await.unwrap();
    let mut last = None;
    for message in &messages {
        let delivered = agent.delivered().await;
        assert_eq!(delivered.position.store_epoch, agent.welcome.as_ref().unwrap().store_epoch);
        let sealdesk_protocol::wire::Item::Envelope(bytes) = &delivered.item else { panic!() };
        assert_eq!(*bytes, message.envelope);
        last = Some(delivered);
    }
    assert!(agent.quiet(is_delivery).await, "the repetition was stored once");

    // Not acknowledged: after a restart of the relay everything comes again.
    relay.stop().await;
    relay.launch().await;
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain.clone())).await;
    for message in &messages {
        assert_eq!(agent.delivered_envelope().await, message.envelope);
    }
    agent.ack(&last.unwrap()).await;
    relay.until_metric("acks", 1).await;
    // A frame that is answered from the disk comes after the acknowledgement.
    agent.publish(1).await;
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    assert!(agent.quiet(is_delivery).await, "acknowledged: gone");
}

/// The recipient hears of it, whatever became of the sender's connection.
#[tokio::test]
async fn a_message_wakes_its_recipient_when_the_sender_is_gone() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let message = envelope(agent.mailbox(), Class::Store);
    let req = customer.number();
    // Sent and closed in one go: the relay takes both in the same round.
    let frames = [
        Message::Binary(
            ToRelay::from(Send { req, conversation: talk.id, message: message.clone() })
                .encode()
                .unwrap()
                .into(),
        ),
        Message::Close(None),
    ];
    for frame in frames {
        customer.socket.feed(frame).await.unwrap();
    }
    customer.socket.flush().await.unwrap();
    drop(customer);
    assert_eq!(agent.delivered_envelope().await, message.envelope);
}

/// Whatever a client acknowledges, one write of the newest is under way at a time.
#[tokio::test]
async fn a_flood_of_acknowledgements_costs_few_writes() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    let delivered = agent.delivered().await;
    for _ in 1..=600 {
        let ack = ToRelay::from(Ack { up_to: delivered.position, vault: None });
        agent.socket.feed(Message::Binary(ack.encode().unwrap().into())).await.unwrap();
    }
    agent.socket.flush().await.unwrap();
    agent.publish(1).await;
    let acks = relay.metric("acks").await;
    assert!((1..=200).contains(&acks), "{acks} of 600");
}

#[tokio::test]
async fn positions_of_another_store_epoch_acknowledge_nothing() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    let delivered = agent.delivered().await;
    let other = Position { store_epoch: delivered.position.store_epoch + 1, seq: delivered.position.seq };
    agent.send(Ack { up_to: other, vault: None }).await;
    agent.publish(1).await;
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    assert_eq!(agent.delivered().await.position, delivered.position);
}

#[tokio::test]
async fn only_listed_devices_write_to_the_other_parties() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let mut stranger = relay.customer().await;
    let to_agent = || envelope(agent.device.public().mailbox(), Class::Store);
    assert_eq!(stranger.send_envelope(&talk, to_agent()).await, Err(Code::NotListed));
    let own = envelope(customer.mailbox(), Class::Store);
    assert_eq!(customer.send_envelope(&talk, own).await, Err(Code::NotListed), "to oneself");
    let elsewhere = envelope(MailboxId([9; 16]), Class::Store);
    assert_eq!(customer.send_envelope(&talk, elsewhere).await, Err(Code::NotListed));
    let unknown = Talk::new(&relay.organisation, &customer);
    assert_eq!(customer.send_envelope(&unknown, to_agent()).await, Err(Code::UnknownConversation));

    let mut misaddressed = envelope(stranger.mailbox(), Class::Store);
    misaddressed.to = agent.mailbox();
    assert_eq!(customer.send_envelope(&talk, misaddressed).await, Err(Code::Malformed));
    let ephemeral = envelope(agent.mailbox(), Class::Ephemeral);
    assert_eq!(customer.send_envelope(&talk, ephemeral).await, Err(Code::Malformed), "not stored");
    let mut garbage = to_agent();
    garbage.envelope.truncate(100);
    assert_eq!(customer.send_envelope(&talk, garbage).await, Err(Code::Malformed));
    assert!(agent.quiet(is_delivery).await);
    assert_eq!(relay.metric("envelopes_stored").await, 0);
}

#[tokio::test]
async fn a_full_mailbox_is_said_to_the_sender() {
    let relay = TestRelay::with(|raw, _| raw.limits.mailbox_items = 3).await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    agent.publish(1).await;
    for _ in 0..3 {
        customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    }
    let full = customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await;
    assert_eq!(full, Err(Code::MailboxFull));
    assert_eq!(relay.metric("quota_refusals").await, 1);
    let first = agent.delivered().await;
    agent.ack(&first).await;
    agent.publish(1).await;
    customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
}

#[tokio::test]
async fn ephemeral_envelopes_are_forwarded_or_dropped_never_stored() {
    let relay = TestRelay::start().await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    let message = envelope(agent.mailbox(), Class::Ephemeral);
    customer.send(SendEphemeral { conversation: talk.id, message: message.clone() }).await;
    let forwarded = agent
        .expect(|frame| match frame {
            ToClient::Ephemeral(ephemeral) => Some(ephemeral.envelope.clone()),
            _ => None,
        })
        .await;
    assert_eq!(forwarded, message.envelope);

    let mut stranger = relay.customer().await;
    stranger.send(SendEphemeral { conversation: talk.id, message: message.clone() }).await;
    let stored = envelope(agent.mailbox(), Class::Store);
    customer.send(SendEphemeral { conversation: talk.id, message: stored }).await;
    stranger.pinged().await;
    customer.pinged().await;
    assert!(agent.quiet(|frame| matches!(frame, ToClient::Ephemeral(_) | ToClient::Deliver(_))).await);

    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let device = agent.device;
    drop(agent.socket);
    relay.until_metric("devices", 2).await;
    customer.send(SendEphemeral { conversation: talk.id, message }).await;
    customer.publish(0).await;
    let mut agent = Client::connect(relay.address, device, Party::Agent(chain)).await;
    assert!(agent.quiet(|frame| matches!(frame, ToClient::Ephemeral(_) | ToClient::Deliver(_))).await);
}

#[tokio::test]
async fn one_customer_fills_its_part_of_a_mailbox_and_nobody_elses() {
    let relay = TestRelay::with(|raw, _| {
        (raw.limits.mailbox_items, raw.limits.mailbox_share_items) = (20, 10);
    })
    .await;
    let mut agent = relay.agent("mira").await;
    let (mut mallory, mut customer) = (relay.customer().await, relay.customer().await);
    let theirs = Talk::opened(&relay.organisation, &mut mallory, &mut agent, "mira").await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    for talk in [&theirs, &talk] {
        agent.post(talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    }
    let mailbox = agent.mailbox();
    for _ in 0..10 {
        mallory.send_envelope(&theirs, envelope(mailbox, Class::Store)).await.unwrap();
    }
    let refused = mallory.send_envelope(&theirs, envelope(mailbox, Class::Store)).await;
    assert_eq!(refused, Err(Code::MailboxFull));
    customer.send_envelope(&talk, envelope(mailbox, Class::Store)).await.unwrap();
    let mut third = relay.customer().await;
    let more = Talk::new(&relay.organisation, &third);
    let req = third.number();
    third.send(more.request(req)).await;
    assert!(matches!(third.answer(req).await, ToClient::Assignment(_)));
    let open = more.open(&third, &agent, "mira");
    third.post(&more, 1, open).await.unwrap();

    // Several together fill it: nobody new is given to the agent, and what ends a conversation still arrives.
    for _ in 0..8 {
        customer.send_envelope(&talk, envelope(mailbox, Class::Store)).await.unwrap();
    }
    assert_eq!(customer.send_envelope(&talk, envelope(mailbox, Class::Store)).await, Err(Code::MailboxFull));
    let waits = Talk::new(&relay.organisation, &third);
    let req = third.number();
    third.send(waits.request(req)).await;
    assert!(matches!(third.answer(req).await, ToClient::Queued(_)), "what it writes would be refused");
    let close = Action::Close { current: talk.epoch_statement, heads: Vec::new() };
    customer.post(&talk, 1, close).await.unwrap();
}

/// However many devices they make: what they sign before an agent accepted has one part for all, and leaves the rest.
#[tokio::test]
async fn strangers_who_open_and_close_leave_room_for_everybody_else() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.mailbox_items = 512;
        raw.limits.prekeys_per_device_hour = 1_000;
    })
    .await;
    let (mut mira, mut customer) = (relay.agent("mira").await, relay.customer().await);
    mira.available(true, 100).await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut mira, "mira").await;
    mira.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    let mut strangers = Vec::new();
    for _ in 0..17 {
        let mut stranger = relay.customer().await;
        let talk = Talk::new(&relay.organisation, &stranger);
        stranger.named(&talk).await;
        strangers.push((stranger, talk));
    }
    let (mut late, never) = strangers.pop().unwrap();
    for (stranger, talk) in &mut strangers {
        let open = talk.open(stranger, &mira, "mira");
        talk.epoch_statement = stranger.post(talk, 1, open).await.unwrap();
    }
    let open = never.open(&late, &mira, "mira");
    assert_eq!(late.post(&never, 1, open).await, Err(Code::MailboxFull));
    let next = Talk::new(&relay.organisation, &late);
    assert!(matches!(late.ask(&next).await, ToClient::Queued(_)), "it would be refused as well");
    for (stranger, talk) in &mut strangers {
        close(stranger, talk, 1).await.unwrap();
    }
    customer.send_envelope(&talk, envelope(mira.mailbox(), Class::Store)).await.unwrap();
    close(&mut customer, &talk, 1).await.unwrap();
}

#[tokio::test]
async fn before_an_acceptance_a_customers_part_is_small() {
    let relay = TestRelay::with(|raw, _| raw.limits.mailbox_share_items = 16).await;
    let (mut mira, mut customer) = (relay.agent("mira").await, relay.customer().await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut mira, "mira").await;
    for most in [2, 16] {
        for sent in 0..=most {
            let posted = customer.send_envelope(&talk, envelope(mira.mailbox(), Class::Store)).await;
            match posted {
                Ok(()) => assert!(sent < most),
                Err(code) => {
                    assert_eq!(code, Code::MailboxFull);
                    break;
                }
            }
        }
        mira.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await.ok();
    }
}

/// How many envelopes find room.
async fn room(customer: &mut Client, talk: &Talk, to: MailboxId) -> usize {
    let mut sent = 0;
    while customer.send_envelope(talk, envelope(to, Class::Store)).await.is_ok() {
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn after_a_close_a_customers_part_is_small() {
    let relay = TestRelay::with(|raw, _| raw.limits.mailbox_share_items = 16).await;
    let (mut mira, mut customer) = (relay.agent("mira").await, relay.customer().await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut mira, "mira").await;
    mira.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    close(&mut customer, &talk, 1).await.unwrap();
    assert_eq!(room(&mut customer, &talk, mira.mailbox()).await, 2);
}

async fn close(customer: &mut Client, talk: &Talk, epoch: u32) -> Result<StatementHash, Code> {
    customer.post(talk, epoch, Action::Close { current: talk.epoch_statement, heads: Vec::new() }).await
}

#[tokio::test]
async fn resets_take_of_their_signers_part() {
    let relay = TestRelay::with(|raw, _| {
        (raw.limits.mailbox_items, raw.limits.mailbox_share_items) = (16, 8);
    })
    .await;
    let mut agent = relay.agent("mira").await;
    let (mut mallory, mut customer) = (relay.customer().await, relay.customer().await);
    let theirs = Talk::opened(&relay.organisation, &mut mallory, &mut agent, "mira").await;
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    for talk in [&theirs, &talk] {
        agent.post(talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    }
    for generation in 1..=9 {
        let reset = Action::Reset {
            current: theirs.epoch_statement,
            peer: agent.device.hash(),
            old: SessionId([1; 16]),
            new: SessionId([2; 16]),
            generation,
        };
        let posted = mallory.post(&theirs, 1, reset).await.map(|_| ());
        assert_eq!(posted, if generation <= 8 { Ok(()) } else { Err(Code::MailboxFull) });
    }
    for _ in 0..8 {
        customer.send_envelope(&talk, envelope(agent.mailbox(), Class::Store)).await.unwrap();
    }
    close(&mut mallory, &theirs, 1).await.unwrap();
    close(&mut customer, &talk, 1).await.unwrap();
}

/// However many conversations strangers begin with it meanwhile.
#[tokio::test]
async fn whoever_was_replaced_is_told() {
    let relay = TestRelay::with(|raw, _| {
        (raw.limits.mailbox_items, raw.routing.accept_seconds) = (100, 1);
        (raw.routing.default_capacity, raw.limits.mailbox_share_items) = (20, 16);
    })
    .await;
    let (mut anna, mut customer) = (relay.agent("anna").await, relay.customer().await);
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let mut stranger = relay.customer().await;
    // Its part for beginnings is full.
    for _ in 0..8 {
        let other = Talk::new(&relay.organisation, &stranger);
        stranger.ask(&other).await;
        let open = other.open(&stranger, &anna, "anna");
        stranger.post(&other, 1, open).await.unwrap();
    }
    let mut bert = relay.agent("bert").await;
    let named = |frame: &ToClient| match frame {
        ToClient::Assignment(named) => (named.conversation == talk.id).then_some(named.epoch),
        _ => None,
    };
    assert_eq!(customer.expect(named).await, 2);
    let roster = talk.roster(&customer, &bert, "bert");
    let reassign = Action::Reassign { previous: talk.epoch_statement, roster };
    talk.epoch_statement = customer.post(&talk, 2, reassign).await.unwrap();
    while anna.delivered_statement().await.action.name() != "reassign" {}
    // It has nothing to do with the conversation any more.
    let device = customer.device.hash();
    anna.send(FetchPrekeys { req: 70, conversation: talk.id, device }).await;
    assert_eq!(anna.outcome(70).await, Err(Code::NotListed));
    // An acceptance of somebody else gives a customer no larger part there.
    bert.post(&talk, 2, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    assert_eq!(room(&mut customer, &talk, anna.mailbox()).await, 2);
    assert_eq!(room(&mut customer, &talk, bert.mailbox()).await, 16);
}

/// Neither a reassignment away from it nor the close; and it learns of them when it is listed again.
#[tokio::test]
async fn a_full_mailbox_of_who_is_not_listed_any_more_stops_nothing() {
    let relay = TestRelay::with(|raw, _| {
        (raw.limits.mailbox_items, raw.routing.accept_seconds) = (8, 1);
    })
    .await;
    let (mut anna, mut customer) = (relay.agent("anna").await, relay.customer().await);
    let mut talk = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    let ended = Talk::opened(&relay.organisation, &mut customer, &mut anna, "anna").await;
    for _ in 0..8 {
        customer.send_envelope(&talk, envelope(anna.mailbox(), Class::Store)).await.unwrap();
    }
    close(&mut customer, &ended, 1).await.unwrap();
    let chain = relay.organisation.chain(&relay.organisation.certificate("anna", &anna.device));
    drop(anna.socket);
    let mut bert = relay.agent("bert").await;
    assert_eq!(customer.assignment().await.epoch, 2);
    let roster = talk.roster(&customer, &bert, "bert");
    let reassign = Action::Reassign { previous: talk.epoch_statement, roster };
    talk.epoch_statement = customer.post(&talk, 2, reassign).await.unwrap();
    for name in ["open", "reassign"] {
        assert_eq!(bert.delivered_statement().await.action.name(), name);
    }

    let mut anna = Client::connect(relay.address, anna.device, Party::Agent(chain)).await;
    for _ in 0..8 {
        anna.delivered_envelope().await;
    }
    let last = anna.delivered().await;
    anna.ack(&last).await;
    anna.publish(1).await;
    customer.expect(|frame| matches!(frame, ToClient::Unaccepted(_)).then_some(())).await;
    customer.named(&talk).await;
    let roster = talk.roster(&customer, &anna, "anna");
    let reassign = Action::Reassign { previous: talk.epoch_statement, roster };
    customer.post(&talk, 3, reassign).await.unwrap();
    for epoch in [2, 3] {
        assert_eq!(anna.delivered_statement().await.epoch, epoch);
    }
}
