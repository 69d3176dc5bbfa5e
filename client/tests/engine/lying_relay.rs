//! A relay that brings somebody in, tells limits that would make a client forget, or claims that a vault is an old copy.

use sealdesk_client::testing::World;
use sealdesk_client::{Command, MessageState, Phase};
use sealdesk_protocol::conversation::statements::{Action, History, Statement};
use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes, mailbox_of};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{ConversationId, StatementHash};
use sealdesk_protocol::testing::{handle, rng};
use sealdesk_protocol::wire::{Item, Limits, StatementItem};

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
