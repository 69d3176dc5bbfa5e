//! The whole path of a conversation.

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, MessageState, Phase};
use sealdesk_protocol::conversation::Role;
use sealdesk_protocol::conversation::content::{Kind, Text};

#[test]
fn open_talk_close() {
    let mut world = World::new(1);
    let agent = world.add_agent("mira", "Mira");
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    world.say(customer, id, "hello");
    world.pass(5_000);
    for client in [customer, agent] {
        let view = world.clients[client].engine.conversation(&id).unwrap();
        assert_eq!(view.phase, Phase::Active, "{:?}", world.clients[client].events);
        assert!(view.countersigned);
        assert_eq!(view.readers.len(), 2);
        let named: Vec<&str> = view.readers.iter().filter_map(|r| r.name.as_deref()).collect();
        assert_eq!(named, ["Mira"]);
        assert!(view.readers.iter().all(|r| r.current && !r.new_device));
        assert_eq!(view.readers.iter().filter(|r| r.me).count(), 1);
    }
    assert_eq!(world.texts(agent, &id), [(false, "hello".into(), MessageState::Received)]);
    assert_eq!(world.texts(customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
    world.say(agent, id, "hi");
    world.pass(5_000);
    assert_eq!(world.texts(customer, &id).len(), 2);
    let mine = world.clients[customer].engine.conversation(&id).unwrap();
    let theirs = world.clients[agent].engine.conversation(&id).unwrap();
    assert_eq!(mine.safety_number, theirs.safety_number);
    assert!(mine.safety_number.is_some_and(|n| n.split(' ').count() == 12));
    assert!(theirs.profile.is_some() && mine.profile.is_none());
    assert_eq!((mine.unread, theirs.unread), (1, 1));
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(5_000);
    for client in [customer, agent] {
        assert_eq!(world.phase(client, &id), Some(Phase::Closed));
        assert_eq!(world.problems(client), Vec::<&str>::new());
    }
    assert!(!world.clients[customer].engine.has_unsent() && !world.clients[agent].engine.has_unsent());
    assert_eq!(world.relay.stored_items(), 0, "everything is acknowledged");
    world.say(customer, id, "too late");
    world.settle();
    assert_eq!(world.problems(customer), ["closed"]);
}

#[test]
fn read_marks_typing_and_agent_names() {
    let (mut world, agent, customer, id) = World::talking(2);
    world.say(agent, id, "one");
    world.pass(2_000);
    world.clients[customer].command(Command::MarkRead { conversation: id, counter: 1 });
    world.clients[customer].command(Command::Typing { conversation: id, on: true });
    world.pass(2_000);
    assert_eq!(world.texts(agent, &id), [(true, "one".into(), MessageState::Read)]);
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert_eq!(view.unread, 0);
    let events = world.clients[agent].take_events();
    assert!(events.iter().any(|e| matches!(e, Event::Typing { on: true, .. })));
    assert!(events.iter().any(|e| matches!(e, Event::Message(m) if m.state == MessageState::Read)));
    let author = world.clients[customer].transcript(&id).unwrap()[0].author.clone();
    assert_eq!(author.as_deref(), Some("Mira"));
}

#[test]
fn texts_wait_while_nobody_is_there_and_leave_in_order() {
    let mut world = World::new(3);
    let customer = world.add_customer();
    let id = world.conversation(customer);
    for n in 0..3 {
        world.say(customer, id, &format!("text {n}"));
    }
    world.pass(3_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Queued));
    assert!(world.texts(customer, &id).iter().all(|(_, _, s)| *s == MessageState::Waiting));
    assert!(world.relay.envelopes.is_empty(), "nothing leaves before an agent is verified");
    let agent = world.add_agent("mira", "Mira");
    world.pass(10_000);
    let texts: Vec<String> = world.texts(agent, &id).into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(texts, ["text 0", "text 1", "text 2"]);
    assert!(world.texts(customer, &id).iter().all(|(_, _, s)| *s == MessageState::Delivered));
}

#[test]
fn by_hand_nothing_is_receipted_or_written_before_acceptance() {
    let mut world = World::new(4);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    world.say(customer, id, "hello?");
    world.pass(20_000);
    assert_eq!(world.phase(agent, &id), Some(Phase::Assigned));
    assert_eq!(world.texts(customer, &id), [(true, "hello?".into(), MessageState::Sent)]);
    world.say(agent, id, "not yet");
    world.settle();
    assert_eq!(world.problems(agent), ["not_accepted"]);
    world.clients[agent].command(Command::Accept { conversation: id });
    world.pass(2_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
    assert_eq!(world.texts(customer, &id), [(true, "hello?".into(), MessageState::Delivered)]);
}

#[test]
fn one_reassignment_is_automatic_and_a_further_one_waits_for_a_click() {
    let mut world = World::new(5);
    let agents: Vec<usize> =
        [("ada", "Ada"), ("bea", "Bea"), ("cyd", "Cyd")].map(|(id, name)| world.add_agent(id, name)).to_vec();
    world.relay.preferred =
        agents.iter().map(|a| world.clients[*a].engine.agent_public().unwrap().hash()).collect();
    for agent in &agents[..2] {
        world.clients[*agent].command(Command::SetAvailability {
            available: true,
            capacity: 5,
            manual: true,
        });
    }
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    world.say(customer, id, "hello");
    world.pass(2_000);
    assert_eq!(world.phase(agents[0], &id), Some(Phase::Assigned));
    world.relay.reassign(&id);
    world.pass(2_000);
    assert_eq!(world.phase(agents[0], &id), Some(Phase::Lost));
    assert_eq!(world.phase(agents[1], &id), Some(Phase::Assigned));
    assert_eq!(world.texts(agents[1], &id).len(), 1, "the same content, sealed anew");
    world.clients[agents[0]].command(Command::Accept { conversation: id });
    world.pass(1_000);
    assert!(world.problems(agents[0]).contains(&"assignment_lost"));

    world.relay.reassign(&id);
    world.pass(2_000);
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert!(view.reassignment_waits, "no second one by itself");
    assert_eq!(view.epoch, 2);
    world.clients[customer].command(Command::AllowReassignment { conversation: id });
    world.pass(5_000);
    let view = world.clients[customer].engine.conversation(&id).unwrap();
    assert_eq!((view.epoch, view.phase), (3, Phase::Active));
    assert_eq!(world.texts(agents[2], &id), [(false, "hello".into(), MessageState::Received)]);
    // Everyone who could have read stays listed.
    let former: Vec<bool> =
        view.readers.iter().filter(|r| r.role == Role::Agent).map(|r| r.current).collect();
    assert_eq!(former, [true, false, false]);
    assert_eq!(world.texts(customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
}

#[test]
fn what_was_written_before_a_close_arrives_after_it() {
    let (mut world, agent, customer, id) = World::talking(6);
    world.up = false;
    world.disconnect_all();
    world.say(agent, id, "one more thing");
    world.pass(1_000);
    // The customer closes while the agent's text waits on the agent's machine.
    world.up = true;
    world.clients[customer].command(Command::Close { conversation: id });
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.pass(5_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
    world.clients[agent].input(sealdesk_client::Input::Online(true));
    world.pass(5_000);
    let texts = world.texts(customer, &id);
    assert_eq!(texts, [(false, "one more thing".into(), MessageState::ReceivedAfterClose)]);
    assert_eq!(world.texts(agent, &id)[0].2, MessageState::Delivered);
}

#[test]
fn many_conversations_write_only_what_changed() {
    let mut world = World::new(7);
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    let mut all = Vec::new();
    for _ in 0..8 {
        let customer = world.add_customer();
        all.push((customer, world.conversation(customer)));
    }
    world.pass(10_000);
    let before = world.clients[agent].written.0;
    let (customer, id) = all[3];
    world.say(customer, id, "hello");
    world.pass(3_000);
    let rows = world.clients[agent].written.0 - before;
    assert!(rows <= 20, "{rows} rows for one message, its receipt and its acknowledgement");
    world.clients[agent].command(Command::Send { conversation: id, kind: Kind::Text(Text("hi".into())) });
    world.settle();
    assert_eq!(world.texts(agent, &id).len(), 2);
}

#[test]
fn prekeys_are_topped_up_in_chunks_and_rotate_weekly() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let mut world = World::new(8);
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    assert_eq!(world.relay.one_time_left(&device), 100);
    assert_eq!(world.relay.counts["PublishPrekeys"], 3, "40, 40, 20");
    // Past a week: a new last-resort pair, while a sleeping customer's handshake with the old one still works.
    let customer = world.add_customer();
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 9, manual: false });
    let id = world.conversation(customer);
    world.clock += 8 * DAY;
    world.pass(3_600_000);
    assert_eq!(world.relay.counts["PublishPrekeys"], 6, "the customer's first, then both rotations");
    world.say(customer, id, "still there?");
    world.pass(5_000);
    assert_eq!(world.texts(agent, &id), [(false, "still there?".into(), MessageState::Received)]);
}
