//! Every refusal: what a malicious relay or a false agent may try.

use sealdesk_client::Command;
use sealdesk_client::Event;
use sealdesk_client::LinkState;
use sealdesk_client::MessageState;
use sealdesk_client::Phase;
use sealdesk_client::testing::World;
use sealdesk_protocol::conversation::statements;
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::conversation::statements::Statement;
use sealdesk_protocol::crypto::certificate::DEVICE_LIFE;
use sealdesk_protocol::crypto::certificate::Revoked;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::testing::TestOrg;
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::Code;
use sealdesk_protocol::wire::Item;
use sealdesk_protocol::wire::StatementItem;

/// A world with an agent and a customer who wrote "secret" before anybody was named.
fn before_assignment(seed: u64) -> (World, usize, usize, ConversationId) {
    let mut world = World::new(seed);
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    world.disconnect_all();
    world.up = false;
    let customer = world.add_customer();
    let id = world.conversation(customer);
    world.say(customer, id, "secret");
    world.pass(1_000);
    (world, agent, customer, id)
}

/// Connects, and checks that the agent was refused with `code` and nothing was sent.
fn refused(mut world: World, customer: usize, id: &ConversationId, code: &str) {
    world.up = true;
    world.pass(5_000);
    let problems = world.problems(customer);
    assert!(problems.contains(&code), "{code}: {problems:?}");
    assert!(world.relay.envelopes.is_empty(), "{code}: nothing is sent");
    assert_eq!(world.phase(customer, id), Some(Phase::Queued));
    assert_eq!(world.texts(customer, id)[0].2, MessageState::Waiting);
}

#[test]
fn a_relay_with_another_name_gets_no_signature() {
    let mut world = World::new(1);
    world.relay.name = "evil.test".into();
    let agent = world.add_agent("mira", "Mira");
    world.pass(60_000);
    assert!(!world.relay.counts.contains_key("Authenticate"));
    let refused = world.clients[agent].events.iter().any(|e| {
        matches!(e, Event::Link { state: LinkState::Refused(problem), .. } if problem.code == "wrong_relay")
    });
    assert!(refused);
}

#[test]
fn a_foreign_certificate_is_refused() {
    let (mut world, agent, customer, id) = before_assignment(2);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let mut other = TestOrg::new(99, world.org.now);
    world.relay.substitute_chain = Some(other.agent_chain("mira", "Mira", device));
    refused(world, customer, &id, "certificate_refused");
}

#[test]
fn an_expired_certificate_is_refused() {
    let (mut world, agent, customer, id) = before_assignment(3);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let mut body = world.org.certificate("mira", "Mira", &["support"], device);
    body.not_after = body.not_before + 1_000;
    world.relay.substitute_chain = Some(world.org.chain(&body));
    refused(world, customer, &id, "certificate_expired");
}

#[test]
fn a_revoked_certificate_is_refused_also_when_the_list_comes_from_the_relay() {
    let (mut world, agent, customer, id) = before_assignment(4);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Device(device.hash())]);
    world.relay.revocations.clone_from(&world.org.revocations);
    refused(world, customer, &id, "certificate_revoked");
}

#[test]
fn a_missing_role_and_a_wrong_team_are_refused() {
    let (mut world, agent, customer, id) = before_assignment(5);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let mut body = world.org.certificate("mira", "Mira", &["support"], device);
    body.roles.clear();
    world.relay.substitute_chain = Some(world.org.chain(&body));
    refused(world, customer, &id, "certificate_role");

    let (mut world, agent, customer, id) = before_assignment(6);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let body = world.org.certificate("mira", "Mira", &["billing"], device);
    world.relay.substitute_chain = Some(world.org.chain(&body));
    refused(world, customer, &id, "wrong_team");
}

#[test]
fn substituted_prekeys_are_refused() {
    let (mut world, _, customer, id) = before_assignment(7);
    let other = world.add_agent("eve", "Eve");
    world.up = true;
    world.clients[customer].input(sealdesk_client::Input::Online(false));
    world.pass(2_000);
    let eve = world.clients[other].engine.agent_public().unwrap().hash();
    world.relay.substitute_bundle = world.relay.bundle(&eve);
    world.relay.preferred = vec![world.clients[0].engine.agent_public().unwrap().hash()];
    world.clients[customer].input(sealdesk_client::Input::Online(true));
    refused(world, customer, &id, "prekey_refused");
}

#[test]
fn a_certificate_that_ends_stops_the_sending_until_it_is_renewed() {
    let (mut world, agent, customer, id) = World::talking(8);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.clock += DEVICE_LIFE;
    world.settle();
    world.say(customer, id, "after the end");
    world.pass(5_000);
    assert!(world.problems(customer).contains(&"certificate_expired"));
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Waiting);
}

#[test]
fn a_later_revocation_stops_the_sending() {
    let (mut world, agent, customer, id) = World::talking(9);
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Device(device)]);
    let list = world.org.revocations.clone().unwrap();
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    let envelopes = world.relay.envelopes.len();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
    world.say(customer, id, "too late");
    world.pass(5_000);
    assert_eq!(world.problems(customer), ["certificate_revoked"]);
    assert_eq!(world.relay.envelopes.len(), envelopes);
    // An older list does not bring the device back.
    world.org.revoke(0, now, Vec::new());
    let older = world.org.revocations.clone().unwrap();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list: older });
    world.pass(5_000);
    world.say(customer, id, "still too late");
    world.pass(5_000);
    assert_eq!(world.relay.envelopes.len(), envelopes);
    world.restart(customer);
    world.pass(5_000);
    assert_eq!(world.relay.envelopes.len(), envelopes);
}

#[test]
fn a_forged_acceptance_is_refused() {
    let (mut world, agent, customer, id) = before_assignment(10);
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    world.up = true;
    world.pass(5_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Assigned));
    let eve = DeviceSecret::generate(&mut rng(66));
    let mailbox_owner = world.clients[customer].engine.own_device(&id).unwrap();
    let mailbox = sealdesk_protocol::crypto::identity::mailbox_of(&mailbox_owner);
    let genuine = world.clients[agent].engine.agent_public().unwrap().hash();
    for signer in [eve.hash(), genuine] {
        let accept = Statement {
            root: world.org.root_hash(),
            conversation: id,
            epoch: 1,
            signer,
            time: 0,
            expires: u64::MAX,
            action: Action::Accept {
                current: statements::hash(&SignedBytes::sign(
                    sealdesk_protocol::crypto::labels::STATEMENT,
                    &0u8,
                    &eve,
                )),
            },
        };
        let item = StatementItem { statement: accept.sign(&eve), agent: None, consent: None };
        world.relay.inject(mailbox, Item::Statement(item));
    }
    world.pass(5_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Assigned));
    assert_eq!(world.problems(customer), ["statement_refused", "statement_refused"]);
}

#[test]
fn bad_frames_are_events_and_nothing_else() {
    let (mut world, agent, customer, id) = World::talking(29);
    for bytes in [vec![], vec![0xff], vec![0x30, 1, 2], vec![0; 70_000]] {
        world.clients[agent].input(sealdesk_client::Input::Frame(1, bytes));
    }
    world.settle();
    let known = world.problems(agent);
    assert!(known.iter().all(|code| *code == "bad_frame"), "{known:?}");
    world.say(customer, id, "hello");
    world.pass(2_000);
    assert_eq!(world.texts(agent, &id).len(), 1);
}

#[test]
fn commands_on_the_wrong_side_fail_clearly() {
    let (mut world, agent, customer, id) = World::talking(30);
    world.open(agent);
    world.clients[customer].command(Command::Claim { conversation: id });
    world.clients[customer].command(Command::Accept { conversation: id });
    world.clients[agent].command(Command::AllowReassignment { conversation: id });
    let long = "x".repeat(41 * 1024);
    world.say(customer, id, &long);
    world.say(customer, ConversationId([0; 32]), "nowhere");
    world.settle();
    assert_eq!(world.problems(agent), ["wrong_party", "wrong_party"]);
    assert_eq!(
        world.problems(customer),
        ["wrong_party", "wrong_party", "content_refused", "unknown_conversation"]
    );
    let foreign = TestOrg::new(5, world.org.now).agent_chain(
        "mira",
        "Mira",
        world.clients[agent].engine.agent_public().unwrap(),
    );
    world.clients[agent].command(Command::InstallCertificate { chain: foreign });
    let other = DeviceSecret::generate(&mut rng(3)).public();
    let chain = world.org.agent_chain("mira", "Mira", other);
    world.clients[agent].command(Command::InstallCertificate { chain });
    world.settle();
    assert_eq!(world.problems(agent)[2..], ["own_certificate", "other_device"]);
}

/// A page whose org.json was older than the relay's does not wait for the next try.
#[test]
fn whoever_did_not_verify_is_judged_anew_under_a_newer_organisation() {
    let (mut world, agent, customer, id) = before_assignment(47);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let foreign = TestOrg::new(5, world.org.now).agent_chain("mira", "Mira", device);
    world.relay.substitute_chain = Some(foreign);
    world.up = true;
    world.pass(5_000);
    assert_eq!(world.problems(customer), ["certificate_refused"]);
    let update = |world: &mut World| {
        let org = Box::new(world.org.verified());
        world.clients[customer].command(Command::UpdateOrg { org });
        world.pass(5_000);
    };
    let asked = |world: &World| world.relay.counts.get("RequestAssignment").copied();
    let before = asked(&world);
    update(&mut world);
    assert!(before.is_some() && asked(&world) == before, "the same one is no reason to ask again");
    world.relay.substitute_chain = None;
    let now = world.org.now;
    world.org.revoke(1, now, Vec::new());
    update(&mut world);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
    assert_eq!(world.resolved(customer), [(Some(id), "certificate_refused")]);
}

/// The notice that the person agreed to is not the current one any more: nobody will ever be named. What was written is said
/// to be undelivered, instead of waiting for ever.
#[test]
fn a_conversation_that_the_relay_never_opens_ends_and_says_so() {
    for code in [Code::ConsentOutdated, Code::ConsentMissing, Code::UnknownTopic] {
        let mut world = World::new(44);
        let customer = world.add_customer();
        world.add_agent("mira", "Mira");
        world.settle();
        world.relay.refuse_requests = Some(code);
        world.up = false;
        let id = world.conversation(customer);
        world.say(customer, id, "Anybody?");
        world.up = true;
        world.pass(5_000);
        assert_eq!(world.problems(customer), [code.as_str()]);
        assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
        assert_eq!(world.texts(customer, &id), [(true, "Anybody?".into(), MessageState::Undelivered)]);
        assert!(world.clients[customer].engine.is_with_relay(), "nothing waits any more");
        world.relay.refuse_requests = None;
        world.restart(customer);
        world.pass(5_000);
        assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
        // The next one is another matter.
        let next = world.conversation(customer);
        world.say(customer, next, "Again");
        world.pass(10_000);
        assert_eq!(world.phase(customer, &next), Some(Phase::Active));
    }
    // Nor when it has named somebody before.
    for code in [Code::ConsentOutdated, Code::ConsentMissing, Code::UnknownTopic] {
        let mut world = World::new(47);
        let customer = world.add_customer();
        world.add_agent("mira", "Mira");
        world.settle();
        world.relay.refuse_statements = Some(code);
        world.up = false;
        let id = world.conversation(customer);
        world.say(customer, id, "Anybody?");
        world.up = true;
        world.pass(60_000);
        assert_eq!(world.problems(customer), [code.as_str()]);
        assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
        assert_eq!(world.texts(customer, &id), [(true, "Anybody?".into(), MessageState::Undelivered)]);
        assert!(world.clients[customer].engine.is_with_relay(), "nothing waits any more");
    }
    // But a refusal that comes when the opening is on its way: it may be stored already.
    let mut world = World::new(46);
    let customer = world.add_customer();
    world.add_agent("mira", "Mira");
    world.settle();
    world.relay.refuse_requests = Some(Code::ConsentOutdated);
    world.relay.names_and_refuses = true;
    let id = world.conversation(customer);
    world.say(customer, id, "Anybody?");
    world.pass(10_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
    // A refusal that passes changes nothing.
    let mut world = World::new(45);
    let customer = world.add_customer();
    world.add_agent("mira", "Mira");
    world.settle();
    world.relay.refuse_requests = Some(Code::RateLimited);
    let id = world.conversation(customer);
    world.say(customer, id, "Anybody?");
    world.pass(60_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Queued));
    world.relay.refuse_requests = None;
    world.pass(700_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
}

/// What the relay says meanwhile takes neither the warning nor its end away, and lets nothing be told twice.
#[test]
fn that_the_named_agent_counts_now_is_said_whatever_the_relay_refused_meanwhile() {
    let (mut world, agent, customer, id) = before_assignment(77);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let mut other = TestOrg::new(99, world.org.now);
    let foreign = other.agent_chain("mira", "Mira", device);
    world.up = true;
    for _ in 0..2 {
        world.relay.substitute_chain = Some(foreign.clone());
        world.relay.refuse_requests = None;
        world.pass(400_000);
        world.relay.refuse_requests = Some(Code::RateLimited);
        world.pass(400_000);
    }
    assert_eq!(world.problems(customer), ["certificate_refused", "rate_limited"]);
    assert!(world.resolved(customer).is_empty());
    world.relay.refuse_requests = None;
    world.relay.substitute_chain = None;
    world.pass(4_000_000);
    assert_eq!(world.resolved(customer), [(Some(id), "certificate_refused")]);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
}
