//! A relay that brings somebody in, tells limits that would make a client forget, or claims that a vault is an old copy.

use sealdesk_client::testing::{Mischief, World};
use sealdesk_client::{Command, Input, MessageState, Phase};
use sealdesk_protocol::conversation::statements::{Action, History, Statement};
use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes, mailbox_of};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{ConversationId, StatementHash};
use sealdesk_protocol::testing::{handle, rng};
use sealdesk_protocol::wire::{
    Assignment, Code, Deliver, Item, Limits, PROTOCOL_VERSION, Position, StatementItem, ToClient,
};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn signed(world: &World, id: ConversationId, epoch: u32, by: &DeviceSecret, action: Action) -> SignedBytes {
    Statement {
        root: world.org.root_hash(),
        conversation: id,
        epoch,
        signer: by.hash(),
        time: 0,
        expires: u64::MAX,
        action,
    }
    .sign(by)
}

/// Delivers a statement to both sides; both refuse it, and nobody is added.
fn refused(
    world: &mut World,
    both: [usize; 2],
    id: ConversationId,
    statement: &SignedBytes,
    agent: Option<&CertificateChain>,
) {
    for client in both {
        let device = world.clients[client].engine.own_device(&id).unwrap();
        let item = StatementItem { statement: statement.clone(), agent: agent.cloned(), consent: None };
        world.relay.inject(mailbox_of(&device), Item::Statement(item));
    }
    world.pass(5_000);
    for client in both {
        assert!(world.problems(client).contains(&"statement_refused"), "{:?}", world.problems(client));
        let views = world.clients[client].engine.conversations();
        let view = views.iter().find(|v| v.id == id).unwrap();
        assert_eq!((view.epoch, view.readers.len()), (1, 2));
    }
}

#[test]
fn nobody_joins_by_a_statement_of_an_uncertified_device() {
    let (mut world, agent, customer, id) = World::talking(70);
    let eve = DeviceSecret::generate(&mut rng(66));
    let governance = world.relay.governance(&id).unwrap().clone();
    let previous = governance.current().statement;
    let roster = governance.current().roster.with_supervisor(handle("eve"), eve.public()).unwrap();
    let join = signed(&world, id, 2, &eve, Action::Join { previous, roster });
    refused(&mut world, [agent, customer], id, &join, None);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let genuine = world.org.agent_chain("mira", "Mira", device);
    refused(&mut world, [agent, customer], id, &join, Some(&genuine));
}

#[test]
fn nobody_takes_over_by_an_offer_of_somebody_unlisted() {
    let (mut world, agent, customer, id) = World::talking(71);
    let eve = DeviceSecret::generate(&mut rng(66));
    let current = world.relay.governance(&id).unwrap().current().clone();
    let offer = Action::Offer {
        current: current.statement,
        agent: handle("eve"),
        device: eve.public(),
        heads: Vec::new(),
        history: History::None,
        reason: String::new(),
    };
    let offer = signed(&world, id, 1, &eve, offer);
    refused(&mut world, [agent, customer], id, &offer, None);
    let take = Action::AcceptOffer {
        previous: current.statement,
        roster: sealdesk_protocol::conversation::Roster::of(
            current.roster.customer().device,
            handle("eve"),
            eve.public(),
        )
        .unwrap(),
        offer: StatementHash([1; 32]),
    };
    let take = signed(&world, id, 2, &eve, take);
    refused(&mut world, [agent, customer], id, &take, None);
}

#[test]
fn limits_of_the_relay_never_make_a_client_forget() {
    for ttl in [0, u64::MAX] {
        let (mut world, agent, customer, id) = World::talking(72);
        world.relay.limits = Limits { mailbox_ttl: ttl, ..world.relay.limits };
        world.disconnect_all();
        world.pass(5_000);
        world.clients[agent].input(sealdesk_client::Input::Online(false));
        world.settle();
        world.say(customer, id, "keep this");
        world.pass(2_000);
        world.clock += DAY / 2;
        world.pass(2 * 60 * 60_000);
        let texts = world.texts(customer, &id);
        assert_eq!(texts[0].2, MessageState::Sent, "kept in the outbox, ttl {ttl}");
        world.clients[agent].input(sealdesk_client::Input::Online(true));
        world.pass(60_000);
        assert_eq!(world.texts(customer, &id)[0].2, MessageState::Delivered, "ttl {ttl}");
    }
}

#[test]
fn what_an_agent_writes_while_its_acceptance_is_on_its_way_follows_it() {
    let mut world = World::new(73);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    world.say(customer, id, "hello?");
    world.pass(5_000);
    world.clients[agent].command(Command::Accept { conversation: id });
    world.say(agent, id, "at once");
    world.pass(5_000);
    assert_eq!(world.problems(agent), Vec::<&str>::new());
    assert_eq!(world.texts(agent, &id)[1], (true, "at once".into(), MessageState::Delivered));
}

/// What a relay may make of a genuine proof: a higher number over the same signature.
fn inflated(genuine: SignedGeneration) -> SignedGeneration {
    let bytes = postcard::to_allocvec(&genuine).unwrap();
    let (_, signature): (u64, Vec<u8>) = postcard::from_bytes(&bytes).unwrap();
    postcard::from_bytes(&postcard::to_allocvec(&(1_000_000u64, signature)).unwrap()).unwrap()
}

#[test]
fn a_claim_of_a_newer_copy_without_the_devices_own_proof_changes_nothing() {
    let stranger = DeviceSecret::generate(&mut rng(67));
    for forged in [false, true] {
        let (mut world, agent, customer, id) = World::talking(74);
        for client in [agent, customer] {
            let device = world.clients[client].engine.own_device(&id).unwrap();
            let genuine = world.relay.generation(&device).unwrap();
            let claim = match forged {
                false => SignedGeneration::sign(&world.relay.name, &stranger, 1_000_000),
                true => inflated(genuine),
            };
            world.relay.claim_generation(&device, claim);
        }
        world.disconnect_all();
        world.pass(5_000);
        for client in [agent, customer] {
            assert_eq!(world.problems(client), ["unproven_generation"]);
            assert_eq!(world.phase(client, &id), Some(Phase::Active));
        }
        world.say(customer, id, "still here?");
        world.say(agent, id, "still here");
        world.pass(5_000);
        let states: Vec<MessageState> = world.texts(customer, &id).iter().map(|text| text.2).collect();
        assert_eq!(states, [MessageState::Delivered, MessageState::Received]);
    }
}

#[test]
fn an_earlier_proof_shown_again_is_no_claim() {
    let (mut world, agent, customer, id) = World::talking(75);
    let device = world.clients[customer].engine.own_device(&id).unwrap();
    let earlier = world.relay.generation(&device).unwrap();
    world.say(agent, id, "one");
    world.pass(5_000);
    let newer = world.relay.generation(&device).unwrap();
    assert!(newer.claimed() > earlier.claimed(), "each acknowledgement tells it");
    world.relay.claim_generation(&device, earlier);
    world.disconnect_all();
    world.pass(5_000);
    assert_eq!(world.problems(customer), Vec::<&str>::new());
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
}

#[test]
fn a_relay_of_an_older_protocol_gets_no_signature() {
    let mut world = World::new(73);
    world.relay.protocol = PROTOCOL_VERSION - 1;
    world.add_agent("mira", "Mira");
    world.pass(60_000);
    assert!(!world.relay.counts.contains_key("Authenticate"));
}

#[test]
fn a_welcome_to_another_mailbox_is_refused() {
    let mut world = World::new(74);
    world.relay.welcome_to = Some(DeviceSecret::generate(&mut rng(1)).public().mailbox());
    let agent = world.add_agent("mira", "Mira");
    world.pass(5_000);
    assert!(world.problems(agent).contains(&"bad_frame"));
    assert!(!world.relay.counts.contains_key("PublishPrekeys"), "it is not online");
    world.relay.welcome_to = None;
    world.pass(60_000);
    assert!(world.relay.counts.contains_key("PublishPrekeys"));
}

/// What a relay says before it answered the challenge's signature is nobody's word.
#[test]
fn nothing_is_delivered_before_authentication() {
    let (mut world, agent, customer, id) = World::talking(75);
    world.clients[agent].input(Input::Online(false));
    world.settle();
    world.say(customer, id, "hello");
    world.pass(2_000);
    let envelope = world.relay.envelopes.last().unwrap().clone();
    world.relay.forget_items();
    world.freeze = true;
    world.disconnect_all();
    world.clients[agent].input(Input::Online(true));
    world.settle();
    let position = Position { store_epoch: world.relay.store_epoch, seq: 99 };
    let deliver = ToClient::from(Deliver { position, item: Item::Envelope(envelope) }).encode().unwrap();
    // Whichever number the connection has that waits for its challenge.
    (0..20).for_each(|number| world.clients[agent].input(Input::Frame(number, deliver.clone())));
    world.settle();
    assert_eq!(world.problems(agent), ["bad_frame"]);
    assert!(world.texts(agent, &id).is_empty());
}

/// Assignments that nobody waits for: after the acceptance, for another epoch, while a statement is on its way.
#[test]
fn unexpected_assignments_sign_nothing() {
    let (mut world, agent, customer, id) = World::talking(76);
    let eve = world.add_agent("eve", "Eve");
    world.pass(2_000);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    let assignment = |world: &mut World, client: usize, epoch| {
        let device = world.clients[client].engine.agent_public().unwrap();
        let agent = world.org.agent_chain(if client == agent { "mira" } else { "eve" }, "Name", device);
        let bundle = world.relay.bundle(&device.hash()).unwrap();
        Assignment { req: None, conversation: id, epoch, agent, bundle, online: true }
    };
    let posted = world.relay.counts["PostStatement"];
    for epoch in [1, 2, 7] {
        let frame = assignment(&mut world, eve, epoch);
        world.relay.push(&own, frame);
        world.pass(2_000);
    }
    assert_eq!(world.relay.counts["PostStatement"], posted, "accepted already");
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert!(view.epoch == 1 && !view.reassignment_waits);
    // Before the acceptance: the next epoch's alone, and once.
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    world.relay.preferred = vec![world.clients[agent].engine.agent_public().unwrap().hash()];
    let second = world.conversation(customer);
    world.pass(3_000);
    let own = world.clients[customer].engine.own_device(&second).unwrap();
    let posted = world.relay.counts["PostStatement"];
    world.relay.hold_done = true;
    for epoch in [7, 1, 2, 2] {
        let frame = Assignment { conversation: second, ..assignment(&mut world, eve, epoch) };
        world.relay.push(&own, frame);
        world.settle();
    }
    assert_eq!(world.relay.counts["PostStatement"], posted + 1);
}

/// The note that announces a new session is refused: the earlier session goes on, and a later note helps.
#[test]
fn a_refused_reset_leaves_the_earlier_session_in_use() {
    for code in [Code::Conflict, Code::MailboxFull] {
        let (mut world, agent, customer, id) = World::talking(77);
        world.say(customer, id, "one");
        world.pass(2_000);
        world.relay.mischief = Mischief { drop: Some(1), ..Mischief::default() };
        world.say(customer, id, "two");
        world.settle();
        world.relay.mischief = Mischief::default();
        world.say(customer, id, "three");
        world.relay.refuse_statements = Some(code);
        world.pass(7 * 60_000);
        assert_eq!(world.relay.refused_statements.len(), 1, "{code:?}");
        world.say(agent, id, "still here");
        world.pass(2_000);
        let heard =
            |client| world.texts(client, &id).into_iter().filter(|t| !t.0).map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(heard(customer), ["still here"]);
        assert_eq!(heard(agent), ["one"]);
        world.relay.refuse_statements = None;
        world.pass(70 * 60_000);
        let heard =
            |client| world.texts(client, &id).into_iter().filter(|t| !t.0).map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(heard(agent), ["one", "two", "three"]);
    }
}
