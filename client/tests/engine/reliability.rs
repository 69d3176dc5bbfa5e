//! None lost, none twice, none unexplained (§9).

use sealdesk_client::testing::{Crash, Mischief, World};
use sealdesk_client::{Command, Event, LinkState, MessageState, Phase};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{Code, Deliver, Fault, Item, Position, StatementItem};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

#[test]
fn a_dropped_message_shows_as_a_gap_and_a_signed_reset_brings_it() {
    let (mut world, agent, customer, id) = World::talking(1);
    world.say(customer, id, "one");
    world.pass(2_000);
    world.relay.mischief = Mischief { drop: Some(1), ..Mischief::default() };
    world.say(customer, id, "two");
    world.settle();
    world.relay.mischief = Mischief::default();
    world.say(customer, id, "three");
    world.pass(2_000);
    let shown = |world: &World| world.texts(agent, &id).into_iter().map(|(_, t, _)| t).collect::<Vec<_>>();
    assert_eq!(shown(&world), ["one"], "later ones are held back, unshown and unreceipted");
    let states: Vec<MessageState> = world.texts(customer, &id).into_iter().map(|(_, _, s)| s).collect();
    assert_eq!(states, [MessageState::Delivered, MessageState::Sent, MessageState::Sent]);
    world.pass(7 * MINUTE);
    assert_eq!(shown(&world), ["one", "two", "three"]);
    assert!(world.texts(customer, &id).iter().all(|(_, _, s)| *s == MessageState::Delivered));
    assert_eq!(world.problems(agent), ["gap"]);
    // Both sides go on in the new session.
    world.say(agent, id, "four");
    world.say(customer, id, "five");
    world.pass(2_000);
    assert_eq!(world.texts(customer, &id).len(), 5);
    assert_eq!(world.texts(agent, &id).len(), 5);
}

#[test]
fn both_sides_reset_at_once_and_agree_on_one_session() {
    for seed in 20..26 {
        let (mut world, agent, customer, id) = World::talking(seed);
        world.say(customer, id, "c0");
        world.say(agent, id, "a0");
        world.pass(2_000);
        world.relay.mischief = Mischief { drop: Some(1), ..Mischief::default() };
        world.say(customer, id, "c1");
        world.say(agent, id, "a1");
        world.settle();
        world.relay.mischief = Mischief::default();
        world.say(customer, id, "c2");
        world.say(agent, id, "a2");
        world.pass(8 * MINUTE);
        assert_eq!(world.relay.counts["FetchPrekeys"], 2, "both asked for a new session");
        let agreed = world.relay.envelopes.len();
        world.say(customer, id, "c3");
        world.say(agent, id, "a3");
        world.pass(5_000);
        for (from, to, texts) in
            [(customer, agent, ["c0", "c1", "c2", "c3"]), (agent, customer, ["a0", "a1", "a2", "a3"])]
        {
            let arrived = world.texts(to, &id).into_iter().filter(|m| !m.0).map(|m| m.1);
            assert_eq!(arrived.collect::<Vec<_>>(), texts);
            assert!(world.texts(from, &id).iter().all(|m| !m.0 || m.2 == MessageState::Delivered));
        }
        // Both seal in the same session from then on: no turn of theirs is lost.
        let sessions: std::collections::BTreeSet<_> =
            world.relay.envelopes[agreed..].iter().map(|e| Envelope::decode(e).unwrap().session).collect();
        assert_eq!(sessions.len(), 1, "seed {seed}");
    }
}

/// A customer wrote to an agent whose prekeys are gone since, as after a repair of its disk, and which is to be restarted.
fn dead_prekey(seed: u64) -> (World, usize, usize, ConversationId) {
    let mut world = World::new(seed);
    let agent = world.add_agent("mira", "Mira");
    world.pass(3_000);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    let customer = world.add_customer();
    let id = world.conversation(customer);
    world.say(customer, id, "hello");
    world.pass(3_000);
    let mut rows = world.clients[agent].rows.clone();
    rows.retain(|name, _| name.0[0] != 0x06);
    world.clients[agent].take_over(&rows);
    (world, agent, customer, id)
}

#[test]
fn a_handshake_with_a_dead_prekey_is_replaced_by_a_signed_reset() {
    let (mut world, agent, customer, id) = dead_prekey(30);
    world.restart(agent);
    world.pass(30_000);
    assert_eq!(world.texts(agent, &id), [(false, "hello".into(), MessageState::Received)]);
    assert_eq!(world.texts(customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
    world.say(agent, id, "hi");
    world.pass(3_000);
    assert_eq!(world.texts(customer, &id).len(), 2);
}

/// The customer's mailbox has no room for the note: what justified it stays known, and the note comes when there is room.
#[test]
fn a_reset_without_room_is_made_again_later() {
    let (mut world, agent, customer, id) = dead_prekey(31);
    world.relay.parts_full = true;
    world.clients[customer].input(sealdesk_client::Input::Online(false));
    world.restart(agent);
    world.pass(30 * MINUTE);
    let asked = world.relay.counts["FetchPrekeys"];
    assert_eq!((asked, world.texts(agent, &id).len()), (1, 0));
    world.restart(agent);
    world.relay.parts_full = false;
    world.pass(20 * MINUTE);
    assert_eq!(world.relay.counts["FetchPrekeys"], asked, "not sooner than an hour later");
    world.pass(100 * MINUTE);
    assert_eq!(world.relay.counts["FetchPrekeys"], asked + 1, "by itself");
    world.clients[customer].input(sealdesk_client::Input::Online(true));
    world.pass(30_000);
    assert_eq!(world.texts(agent, &id), [(false, "hello".into(), MessageState::Received)]);
    assert_eq!(world.texts(customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
}

#[test]
fn garbage_never_causes_a_reset() {
    let (mut world, agent, customer, id) = World::talking(2);
    world.say(customer, id, "hello");
    world.pass(2_000);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    let genuine = world.relay.envelopes.last().unwrap().clone();
    for at in [0, 40, 100, 3_000, genuine.len() - 1] {
        let mut altered = genuine.clone();
        altered[at] ^= 1;
        world.relay.inject(mailbox, Item::Envelope(altered));
    }
    world.relay.inject(mailbox, Item::Envelope(vec![1; 500]));
    world.pass(20 * MINUTE);
    assert!(world.problems(agent).iter().all(|code| *code == "set_aside"), "{:?}", world.problems(agent));
    assert!(!world.relay.counts.contains_key("FetchPrekeys"), "no new session");
    let kept = world.clients[agent].rows.keys().filter(|n| n.0[0] == 0x81).count();
    assert!(kept >= 4, "bytes are kept: {kept}");
    assert_eq!(world.relay.stored_items(), 0, "the position moved on");
    world.say(customer, id, "still here");
    world.pass(2_000);
    assert_eq!(world.texts(agent, &id).len(), 2);
}

#[test]
fn a_repeated_message_is_receipted_anew_at_most_once_a_minute() {
    let (mut world, agent, customer, id) = World::talking(3);
    world.say(customer, id, "hello");
    world.pass(2_000);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    let before = world.relay.envelopes.len();
    let texts: Vec<Vec<u8>> = world.relay.envelopes.clone();
    for _ in 0..5 {
        for envelope in &texts {
            world.relay.inject(mailbox, Item::Envelope(envelope.clone()));
        }
        world.pass(5_000);
    }
    assert_eq!(world.texts(agent, &id).len(), 1);
    assert!(world.relay.envelopes.len() - before <= 2, "{}", world.relay.envelopes.len() - before);
}

#[test]
fn a_receipt_that_was_due_before_a_crash_follows_after_it() {
    let (mut world, agent, customer, id) = World::talking(31);
    world.say(customer, id, "hello");
    world.clients[agent].crash = Some(Crash::AfterCommit);
    world.pass(10_000);
    assert_eq!(world.clients[agent].crash, None, "it died with the message in its vault");
    assert_eq!(world.texts(agent, &id).len(), 1);
    assert_eq!(world.texts(customer, &id), [(true, "hello".into(), MessageState::Delivered)]);
}

#[test]
fn a_relay_that_lost_a_conversation_is_told_of_once_there() {
    let (mut world, _, customer, id) = World::talking(4);
    world.clients[customer].take_events();
    world.relay.refuse_prekeys = Some(Code::UnknownConversation);
    world.relay.refuse_sends = Some(Code::UnknownConversation);
    world.relay.restore();
    world.disconnect_all();
    world.pass(5_000);
    world.say(customer, id, "is anybody there?");
    world.pass(600_000);
    assert!(world.relay.counts["PublishPrekeys"] > 2, "{:?}", world.relay.counts);
    let told: Vec<_> = world.clients[customer]
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Problem { conversation, problem } => Some((conversation, problem.code, problem.fault)),
            _ => None,
        })
        .collect();
    let lost = (Some(id), "unknown_conversation", Fault::Relay);
    assert_eq!(told, [(None, "relay_restored", Fault::Relay), lost]);
}

#[test]
fn a_restored_relay_gets_everything_unreceipted_again() {
    let (mut world, agent, customer, id) = World::talking(4);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    for n in 0..3 {
        world.say(customer, id, &format!("text {n}"));
    }
    world.pass(2_000);
    let sent: Vec<Vec<u8>> = world.relay.envelopes.clone();
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    world.relay.restore();
    world.disconnect_all();
    world.pass(5_000);
    assert_eq!(world.problems(customer), ["relay_restored"]);
    let again = &world.relay.envelopes[sent.len()..];
    assert!(!again.is_empty() && again.iter().all(|e| sent.contains(e)), "byte for byte");
    world.clients[agent].input(sealdesk_client::Input::Online(true));
    world.pass(5_000);
    assert_eq!(world.texts(agent, &id).len(), 3);
    assert!(world.texts(customer, &id).iter().all(|(_, _, s)| *s == MessageState::Delivered));
    assert_eq!(world.relay.one_time_left(&device), 100, "fresh prekeys");
}

#[test]
fn an_old_copy_of_a_customers_vault_sends_nothing_and_says_so() {
    let (mut world, agent, customer, id) = World::talking(5);
    let old = world.clients[customer].rows.clone();
    for n in 0..5 {
        world.say(agent, id, &format!("{n}, seen by the newer copy only"));
        world.pass(5_000);
    }
    world.clients[customer].take_over(&old);
    world.restart(customer);
    let envelopes = world.relay.envelopes.len();
    world.say(customer, id, "from an old copy");
    world.pass(60_000);
    assert!(world.problems(customer).contains(&"vault_is_old_copy"));
    assert_eq!(world.relay.envelopes.len(), envelopes);
    assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
    world.restart(customer);
    world.pass(60_000);
    assert_eq!(world.relay.envelopes.len(), envelopes, "nor after a restart");
    // A new conversation has a new device and works.
    let fresh = world.conversation(customer);
    world.pass(5_000);
    assert_eq!(world.phase(customer, &fresh), Some(Phase::Active));
}

#[test]
fn an_old_copy_of_an_agents_vault_becomes_a_new_device() {
    let (mut world, agent, customer, id) = World::talking(6);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let old = world.clients[agent].rows.clone();
    world.say(customer, id, "seen by the newer copy only");
    world.pass(5_000);
    world.clients[agent].take_over(&old);
    world.restart(agent);
    world.pass(60_000);
    let problems = world.problems(agent);
    assert!(problems.contains(&"vault_is_old_copy") && problems.contains(&"enrol_anew"), "{problems:?}");
    let fresh = world.clients[agent].engine.agent_public().unwrap();
    assert_ne!(fresh.hash(), device.hash());
    assert!(world.clients[agent].engine.certificate().is_none());
    let chain = world.org.agent_chain("mira", "Mira", fresh);
    world.clients[agent].command(Command::InstallCertificate { chain });
    world.pass(5_000);
    let customer = world.add_customer();
    world.relay.preferred = vec![fresh.hash()];
    let id = world.conversation(customer);
    world.pass(5_000);
    assert_eq!(world.phase(agent, &id), Some(Phase::Active));
}

#[test]
fn a_replaced_connection_does_not_fight_back() {
    let (mut world, agent, ..) = World::talking(7);
    // The same vault in a second program.
    let copy = world.add_uncertified();
    let rows = world.clients[agent].rows.clone();
    world.clients[copy].take_over(&rows);
    let key = world.clients[agent].key();
    world.clients[copy].set_key(key);
    world.restart(copy);
    world.pass(60_000);
    let replaced = |e: &sealdesk_client::Event| {
        matches!(e, sealdesk_client::Event::Link { state: LinkState::Replaced, .. })
    };
    let both = [agent, copy].map(|c| world.clients[c].events.iter().filter(|e| replaced(e)).count());
    assert_eq!(both[0] + both[1], 1, "one of them stops, once");
}

/// A backup was put back that is older than the conversation: neither side keeps it open for ever.
#[test]
fn a_conversation_that_the_relay_lost_can_be_closed() {
    let (mut world, agent, customer, id) = World::talking(10);
    world.say(customer, id, "before");
    world.pass(2_000);
    world.relay.refuse_sends = Some(Code::UnknownConversation);
    world.relay.refuse_statements = Some(Code::UnknownConversation);
    world.say(customer, id, "after");
    world.say(agent, id, "anything else?");
    world.pass(20_000);
    for side in [customer, agent] {
        assert_eq!(world.phase(side, &id), Some(Phase::Active));
        world.clients[side].command(Command::Close { conversation: id });
        world.pass(20_000);
        assert_eq!(world.phase(side, &id), Some(Phase::Closed));
        let last = world.texts(side, &id).into_iter().rfind(|text| text.0).unwrap();
        assert_eq!(last.2, MessageState::Undelivered, "{}", last.1);
        world.restart(side);
        assert_eq!(world.phase(side, &id), Some(Phase::Closed));
        assert!(world.clients[side].engine.is_with_relay());
    }
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Delivered, "what had arrived has");
    let tried = world.relay.counts["Send"];
    world.pass(60 * MINUTE);
    assert_eq!(world.relay.counts["Send"], tried, "nothing is tried any more");
}

#[test]
fn without_a_receipt_until_the_ttl_a_message_is_undelivered() {
    let (mut world, agent, customer, id) = World::talking(8);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    world.say(customer, id, "anybody?");
    world.pass(2_000);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Sent);
    world.clock += 31 * DAY;
    world.pass(2 * 60 * MINUTE);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Undelivered);
    assert_eq!(world.texts(customer, &id)[0].1, "anybody?", "the text stays");
}

#[test]
fn a_silent_connection_is_given_up_and_made_anew() {
    let (mut world, agent, customer, id) = World::talking(9);
    world.freeze = true;
    world.pass(30_000);
    world.say(customer, id, "into the void");
    world.pass(90_000);
    world.freeze = false;
    world.pass(120_000);
    assert_eq!(world.texts(agent, &id), [(false, "into the void".into(), MessageState::Received)]);
    assert!(world.relay.counts["Ping"] >= 2);
}

/// The device learns that another agent is assigned before it opens a late message: that device has nothing to answer.
#[test]
fn a_former_agent_does_not_answer_late_messages() {
    let mut world = World::new(10);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    world.pass(2_000);
    let customer = world.add_customer();
    let id = world.conversation(customer);
    world.pass(3_000);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    world.say(customer, id, "late");
    world.pass(2_000);
    let late = world.relay.envelopes.clone();
    world.relay.forget_items();
    let other = world.add_agent("nils", "Nils");
    world.pass(2_000);
    world.relay.preferred = vec![world.clients[other].engine.agent_public().unwrap().hash()];
    world.relay.reassign(&id);
    world.pass(5_000);
    world.clients[agent].input(sealdesk_client::Input::Online(true));
    world.pass(2_000);
    assert_eq!(world.phase(agent, &id), Some(Phase::Lost));
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    late.into_iter().for_each(|envelope| world.relay.inject(mailbox, Item::Envelope(envelope)));
    world.pass(5_000);
    assert_eq!(world.problems(customer), [""; 0]);
    assert!(world.texts(agent, &id).is_empty());
    assert_eq!(world.texts(other, &id).len(), 1);
}

/// A position that a relay invents for one moment does not make the device skip, or delete, what an honest one delivers.
#[test]
fn an_invented_position_hides_nothing_that_comes_later() {
    let (mut world, agent, customer, id) = World::talking(11);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let position = Position { store_epoch: world.relay.store_epoch, seq: 1 << 60 };
    world.relay.push(&device.hash(), Deliver { position, item: Item::Envelope(vec![1; 100]) });
    world.pass(1_000);
    world.say(customer, id, "on the same connection");
    world.pass(2_000);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    world.say(customer, id, "before the next one");
    world.pass(2_000);
    world.restart(agent);
    world.pass(5_000);
    let texts: Vec<String> = world.texts(agent, &id).into_iter().map(|t| t.1).collect();
    assert_eq!(texts, ["on the same connection", "before the next one"]);
    assert_eq!(world.relay.stored_items(), 0, "and is acknowledged");
}

/// What was refused once and is delivered again, because an acknowledgement was lost, is told and kept once.
#[test]
fn what_was_refused_is_told_once() {
    let (mut world, agent, ..) = World::talking(12);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let eve = DeviceSecret::generate(&mut rng(66));
    let statement = SignedBytes::sign(labels::STATEMENT, &0u8, &eve);
    let statement = Item::Statement(StatementItem { statement, agent: None, consent: None });
    for _ in 0..3 {
        world.relay.inject(device.mailbox(), Item::Envelope(vec![1; 500]));
        world.relay.inject(device.mailbox(), statement.clone());
        world.pass(1_000);
    }
    assert_eq!(world.problems(agent), ["set_aside", "statement_refused"]);
}

#[test]
fn items_of_another_store_are_neither_taken_nor_acknowledged() {
    let (mut world, agent, customer, id) = World::talking(13);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    world.say(customer, id, "hello");
    world.settle();
    let envelope = world.relay.envelopes.last().unwrap().clone();
    world.relay.forget_items();
    world.clients[agent].input(sealdesk_client::Input::Online(true));
    world.pass(2_000);
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    let acknowledged = world.relay.counts["Ack"];
    let position = Position { store_epoch: world.relay.store_epoch + 1, seq: 9 };
    world.relay.push(&device, Deliver { position, item: Item::Envelope(envelope) });
    world.settle();
    assert!(world.texts(agent, &id).is_empty());
    assert_eq!(world.relay.counts["Ack"], acknowledged);
}
