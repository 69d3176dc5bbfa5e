//! Who the customer signs a roster with, how often without a click, and what a relay's refusals change about it (§7.8).

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, Input, MessageState, Phase};
use sealdesk_protocol::crypto::certificate::Revoked;
use sealdesk_protocol::crypto::identity::mailbox_of;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::{Code, Item, StatementItem, Unaccepted};

/// Agents who accept by hand, named in this order, and a customer who wrote "hello" to the first one.
fn assigned(seed: u64) -> (World, [usize; 3], usize, ConversationId) {
    let mut world = World::new(seed);
    let agents = [("ada", "Ada"), ("bea", "Bea"), ("cyd", "Cyd")].map(|(id, name)| world.add_agent(id, name));
    let devices = agents.map(|a| world.clients[a].engine.agent_public().unwrap().hash());
    world.relay.preferred = devices.to_vec();
    for agent in agents {
        let by_hand = Command::SetAvailability { available: true, capacity: 5, manual: true };
        world.clients[agent].command(by_hand);
    }
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    world.say(customer, id, "hello");
    world.pass(2_000);
    assert_eq!(world.phase(agents[0], &id), Some(Phase::Assigned));
    (world, agents, customer, id)
}

/// Also when the device that is listed now is a good one.
#[test]
fn a_former_reader_who_is_revoked_is_marked() {
    let (mut world, [ada, bea, _], customer, id) = assigned(124);
    world.relay.reassign(&id);
    world.pass(5_000);
    let marked = |world: &World| {
        let view = world.clients[customer].engine.conversation(&id).unwrap();
        let agents = view.readers.into_iter().filter(|r| !r.me);
        agents.map(|r| (r.agent.unwrap().to_string(), r.current, r.refused)).collect::<Vec<_>>()
    };
    assert_eq!(marked(&world), [("bea".into(), true, None), ("ada".into(), false, None)]);
    let device = world.clients[ada].engine.agent_public().unwrap().hash();
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Device(device)]);
    let list = world.org.revocations.clone().unwrap();
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    world.clients[customer].take_events();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
    let told = world.clients[customer].take_events();
    assert!(
        told.iter().any(|e| matches!(e, Event::Conversation(v) if v.readers[2].refused.is_some())),
        "{told:?}"
    );
    // Before the first step after a restart as well.
    for _ in 0..2 {
        let expected = [("bea".into(), true, None), ("ada".into(), false, Some("certificate_revoked"))];
        assert_eq!(marked(&world), expected);
        world.restart(customer);
    }
    assert_eq!(world.phase(bea, &id), Some(Phase::Assigned));
}

/// The relay refuses the automatic reassignment, delivers it all the same, and names a third agent.
#[test]
fn a_refused_reassignment_comes_in_by_no_other_way_and_uses_the_automatic_one_up() {
    let (mut world, agents, customer, id) = assigned(120);
    world.relay.refuse_statements = Some(Code::Conflict);
    world.relay.reassign(&id);
    world.pass(5_000);
    let refused = world.relay.refused_statements.clone();
    assert_eq!(refused.len(), 1);
    world.relay.refuse_statements = None;
    let (envelopes, posted) = (world.relay.envelopes.len(), world.relay.counts["PostStatement"]);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    let item = StatementItem { statement: refused[0].clone(), agent: None, consent: None };
    world.relay.inject(mailbox_of(&own), Item::Statement(item));
    world.pass(5_000);
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert_eq!(view.epoch, 1, "nobody waited for it");
    world.relay.reassign(&id);
    world.pass(5_000);
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert!(view.reassignment_waits, "a further one needs a click");
    assert_eq!(world.relay.counts["PostStatement"], posted, "no second successor of one statement");
    assert_eq!(world.relay.envelopes.len(), envelopes, "nothing was sealed for anybody else");
    world.clients[customer].command(Command::AllowReassignment { conversation: id });
    world.pass(5_000);
    assert_eq!(world.phase(agents[2], &id), Some(Phase::Assigned));
}

#[test]
fn what_was_written_before_a_conversation_was_lost_arrives_when_it_comes_back() {
    let (mut world, [ada, bea, _], customer, id) = assigned(121);
    world.clients[ada].input(Input::Online(false));
    world.clients[ada].command(Command::Accept { conversation: id });
    world.settle();
    world.say(ada, id, "I am here");
    world.settle();
    world.relay.reassign(&id);
    world.pass(2_000);
    world.clients[ada].input(Input::Online(true));
    world.pass(5_000);
    assert_eq!(world.phase(ada, &id), Some(Phase::Lost));
    assert_eq!(world.phase(bea, &id), Some(Phase::Assigned));
    let own = |world: &World| world.texts(ada, &id).into_iter().filter(|t| t.0).collect::<Vec<_>>();
    assert_eq!(own(&world), [(true, "I am here".into(), MessageState::Undelivered)]);
    world.relay.reassign_again(&id);
    world.pass(2_000);
    world.clients[customer].command(Command::AllowReassignment { conversation: id });
    world.pass(10_000);
    assert_eq!(world.phase(ada, &id), Some(Phase::Active));
    world.say(ada, id, "again");
    world.pass(5_000);
    let heard: Vec<String> = world.texts(customer, &id).into_iter().filter(|t| !t.0).map(|t| t.1).collect();
    assert_eq!(heard, ["I am here", "again"]);
    assert!(own(&world).iter().all(|t| t.2 == MessageState::Delivered));
}

/// The relay has stored the open statement when the person closes, and the answer has not come yet.
#[test]
fn closing_while_the_open_statement_is_on_its_way_closes_it_for_both() {
    for stored in [true, false] {
        let mut world = World::new(122);
        let agent = world.add_agent("mira", "Mira");
        world.pass(2_000);
        let customer = world.add_customer();
        world.relay.hold_done = stored;
        world.relay.refuse_statements = (!stored).then_some(Code::Unavailable);
        let id = world.conversation(customer);
        world.pass(1_000);
        assert_eq!(world.phase(customer, &id), Some(Phase::Queued));
        world.clients[customer].command(Command::Close { conversation: id });
        world.pass(1_000);
        world.relay.hold_done = false;
        world.relay.refuse_statements = (!stored).then_some(Code::Conflict);
        world.disconnect_all();
        world.pass(60_000);
        assert_eq!(world.phase(customer, &id), Some(Phase::Closed), "{stored}");
        assert_eq!(world.phase(agent, &id), stored.then_some(Phase::Closed), "{stored}");
    }
}

/// Another agent was named before the customer's signature arrived: the customer signs for that one, and nothing is wrong.
#[test]
fn an_assignment_that_changed_meanwhile_is_no_alarm() {
    let mut world = World::new(79);
    let agent = world.add_agent("mira", "Mira");
    let customer = world.add_customer();
    world.pass(2_000);
    world.relay.refuse_statements = Some(Code::AssignmentLost);
    let id = world.conversation(customer);
    world.pass(1_000);
    assert_eq!(world.relay.refused_statements.len(), 1);
    world.relay.refuse_statements = None;
    world.pass(60_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
    assert_eq!((world.problems(customer), world.problems(agent)), (vec![], vec![]));
}

/// Whoever was slow accepts after all: nothing is left to ask, whatever the relay told or named meanwhile.
#[test]
fn a_late_acceptance_ends_the_question_for_another_agent() {
    for named in [false, true] {
        let (mut world, [_, bea, _], customer, id) = assigned(128);
        world.relay.reassign(&id);
        world.pass(5_000);
        if named {
            world.relay.reassign(&id);
        } else {
            let own = world.clients[customer].engine.own_device(&id).unwrap();
            world.relay.push(&own, Unaccepted { conversation: id });
        }
        world.pass(2_000);
        let view = |world: &World| world.clients[customer].engine.conversation(&id).unwrap();
        assert!(view(&world).reassignment_waits);
        world.clients[bea].command(Command::Accept { conversation: id });
        world.pass(5_000);
        assert_eq!(view(&world).phase, Phase::Active);
        assert!(!view(&world).reassignment_waits);
        world.restart(customer);
        assert!(!view(&world).reassignment_waits);
        // A click that came a moment later signs nothing.
        let sent =
            |world: &World| (world.relay.counts["PostStatement"], world.relay.counts["RequestAssignment"]);
        let before = sent(&world);
        world.clients[customer].command(Command::AllowReassignment { conversation: id });
        world.relay.reassign_again(&id);
        world.pass(5_000);
        assert_eq!((view(&world).epoch, sent(&world)), (2, before));
        assert_eq!(world.problems(customer), Vec::<&str>::new());
        world.clients[customer].command(Command::Close { conversation: id });
        world.pass(5_000);
        world.clients[customer].command(Command::AllowReassignment { conversation: id });
        world.settle();
        assert_eq!(world.problems(customer), ["closed"]);
    }
}

/// Somebody who does not verify was named meanwhile.
#[test]
fn a_late_acceptance_ends_the_warning_about_another_agent() {
    let (mut world, [ada, bea, _], customer, id) = assigned(130);
    let device = world.clients[bea].engine.agent_public().unwrap();
    let mut other = sealdesk_protocol::testing::TestOrg::new(99, world.org.now);
    world.relay.substitute_chain = Some(other.agent_chain("bea", "Bea", device));
    world.relay.reassign(&id);
    world.pass(2_000);
    assert_eq!(world.problems(customer), ["certificate_refused"]);
    assert!(world.resolved(customer).is_empty());
    world.clients[ada].command(Command::Accept { conversation: id });
    world.pass(5_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
    assert_eq!(world.resolved(customer), [(Some(id), "certificate_refused")]);
}

#[test]
fn a_close_ends_the_question_for_another_agent() {
    let (mut world, _, customer, id) = assigned(129);
    world.relay.reassign(&id);
    world.pass(5_000);
    world.relay.reassign(&id);
    world.pass(2_000);
    let waits = |world: &World| world.clients[customer].engine.conversation(&id).unwrap().reassignment_waits;
    assert!(waits(&world));
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(5_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
    assert!(!waits(&world));
}
