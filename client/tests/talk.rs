//! Two engines talk: the whole path of a conversation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, MessageState, Phase};
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::ids::ConversationId;

fn text(text: &str) -> Kind {
    Kind::Text(Text(text.into()))
}

fn send(world: &mut World, client: usize, conversation: ConversationId, what: &str) {
    world.clients[client].command(Command::Send { conversation, kind: text(what) });
}

fn texts(world: &World, client: usize, conversation: &ConversationId) -> Vec<(bool, String, MessageState)> {
    let messages = world.clients[client].transcript(conversation).unwrap();
    messages
        .into_iter()
        .filter_map(|m| match m.kind {
            Kind::Text(Text(text)) => Some((m.mine, text, m.state)),
            _ => None,
        })
        .collect()
}

#[test]
fn open_talk_close() {
    let mut world = World::new(1);
    let agent = world.add_agent("mira", "Mira");
    let customer = world.add_customer();
    world.pass(2_000);
    let id = world.conversation(customer);
    send(&mut world, customer, id, "hello");
    world.pass(5_000);
    for client in [customer, agent] {
        let view = world.clients[client].engine.conversation(&id).unwrap();
        assert_eq!(view.phase, Phase::Active, "{:?}", world.clients[client].events);
        assert!(view.countersigned);
        assert_eq!(view.readers.len(), 2);
    }
    assert_eq!(texts(&world, agent, &id), [(false, "hello".into(), MessageState::Received)]);
    assert_eq!(texts(&world, customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
    send(&mut world, agent, id, "hi");
    world.pass(5_000);
    assert_eq!(texts(&world, customer, &id).len(), 2);
    let mine = world.clients[customer].engine.conversation(&id).unwrap();
    let theirs = world.clients[agent].engine.conversation(&id).unwrap();
    assert_eq!(mine.safety_number, theirs.safety_number);
    assert!(mine.safety_number.is_some_and(|n| n.split(' ').count() == 12));
    assert!(theirs.profile.is_some());
    world.clients[customer].command(Command::Close { conversation: id });
    world.pass(5_000);
    for client in [customer, agent] {
        assert_eq!(world.clients[client].engine.conversation(&id).unwrap().phase, Phase::Closed);
        let problems: Vec<&Event> =
            world.clients[client].events.iter().filter(|e| matches!(e, Event::Problem { .. })).collect();
        assert!(problems.is_empty(), "{problems:?}");
    }
    assert!(!world.clients[customer].engine.has_unsent());
}
