//! Sessions, skipped keys, invented customers and garbage without end: what they fill is bounded, and others are served.

use sealdesk_client::testing::World;
use sealdesk_client::{Event, Phase};
use sealdesk_protocol::conversation::Roster;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::crypto::certificate::{Revoked, certificate_id};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::testing::{handle, rng};
use sealdesk_protocol::wire::{Item, StatementItem};

use crate::raw::{Raw, reassignment, reset, rows, stranger};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn announce(raw: &mut Raw, generation: u32) {
    let mailbox = raw.world.clients[raw.agent].engine.agent_public().unwrap().mailbox();
    let item = reset(raw, generation);
    raw.world.relay.inject(mailbox, item);
}

/// Each announced session skips as many messages as one may: the keys of all of them together stay within one bound.
#[test]
fn one_customer_fills_no_vault_with_sessions_and_skipped_keys() {
    let mut raw = Raw::new(89);
    raw.say(&Raw::text(1, "first"));
    let roster = raw.governance.current().roster_hash;
    let content = Raw::text(9, "far ahead").encode().unwrap();
    for generation in 1..=12 {
        announce(&mut raw, generation);
        let first = raw.seal_for(&content, 1, roster);
        for _ in 0..400 {
            raw.seal_for(&content, 1, roster);
        }
        let last = raw.seal_for(&content, 1, roster);
        raw.inject(Item::Envelope(first.encode()));
        raw.inject(Item::Envelope(last.encode()));
    }
    assert_eq!(rows(&raw, 0x09), 8, "sessions");
    assert_eq!(rows(&raw, 0x0a), 2_000, "skipped keys");
    raw.world.restart(raw.agent);
    raw.world.pass(1_000);
    assert_eq!((rows(&raw, 0x09), rows(&raw, 0x0a)), (8, 2_000));
    // The newest session works on.
    raw.say(&Raw::text(2, "second"));
    assert_eq!(raw.shown(), ["first", "second"]);
}

#[test]
fn a_day_has_room_for_so_many_resets_of_a_peer() {
    let mut raw = Raw::new(90);
    raw.say(&Raw::text(1, "first"));
    for generation in 1..=40 {
        announce(&mut raw, generation);
        if generation == 32 {
            raw.say(&Raw::text(2, "second"));
        }
    }
    raw.say(&Raw::text(3, "one too many"));
    assert_eq!(raw.shown(), ["first", "second"]);
    assert_eq!(raw.problems(), ["last_resort_used"], "it waits");
    raw.world.clock += DAY;
    announce(&mut raw, 41);
    raw.say(&Raw::text(3, "the day after"));
    assert_eq!(raw.shown(), ["first", "second", "the day after"]);
}

/// A close of a conversation that was opened by [`stranger`].
fn close(opened: &StatementItem, number: u64) -> StatementItem {
    let secret = DeviceSecret::generate(&mut rng(10_000 + number));
    let current = sealdesk_protocol::conversation::statements::hash(&opened.statement);
    let peeked = Statement::peek(&opened.statement).unwrap();
    let statement = Statement { action: Action::Close { current, heads: Vec::new() }, ..peeked };
    StatementItem { statement: statement.sign(&secret), agent: None, consent: None }
}

/// Opened and closed without end: what nobody took makes room, and an honest customer is served.
#[test]
fn conversations_that_are_closed_at_once_keep_nobody_out() {
    let mut raw = Raw::with(98, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let mut opened = Vec::new();
    for number in 0..230 {
        let open = stranger(&raw, number, "mira", device);
        let closes = close(&open, number);
        raw.world.relay.inject(device.mailbox(), Item::Statement(open.clone()));
        raw.world.relay.inject(device.mailbox(), Item::Statement(closes.clone()));
        raw.world.clock += 1;
        raw.world.settle();
        opened.push((open, closes));
    }
    assert_eq!((rows(&raw, 0x07), rows(&raw, 0x08), rows(&raw, 0x0f)), (200, 200, 0), "a day's bound");
    let conversation = |item: &StatementItem| Statement::peek(&item.statement).unwrap().conversation;
    let held = |raw: &Raw, item: &StatementItem| {
        raw.world.clients[raw.agent].engine.conversation(&conversation(item)).is_some()
    };
    assert!(!held(&raw, &opened[0].0) && held(&raw, &opened[229].0), "the oldest make room");
    let gone: Vec<_> = raw.world.clients[raw.agent]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Gone(id) => Some(*id),
            _ => None,
        })
        .collect();
    let oldest: Vec<_> = opened[..gone.len()].iter().map(|(open, _)| conversation(open)).collect();
    assert_eq!((gone.len(), gone), (31, oldest), "each is told");
    let honest = stranger(&raw, 400, "mira", device);
    raw.inject(Item::Statement(honest.clone()));
    assert!(held(&raw, &honest));

    // What comes again of one that was pushed out begins nothing, also after a restart.
    raw.world.restart(raw.agent);
    for item in [&opened[0].0, &opened[0].1] {
        raw.inject(Item::Statement(item.clone()));
    }
    assert!(!held(&raw, &opened[0].0));
    assert_eq!((rows(&raw, 0x07), rows(&raw, 0x0f)), (200, 0));
    // The one that runs is no such.
    raw.say(&Raw::text(1, "still served"));
    assert_eq!(raw.shown(), ["still served"]);
}

/// Opened with this agent and given to another one, without end: what was taken away makes room as well.
#[test]
fn conversations_that_are_given_away_keep_nobody_out() {
    let mut raw = Raw::with(101, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(3)).public();
    for number in 0..210 {
        let open = stranger(&raw, number, "mira", device);
        let secret = DeviceSecret::generate(&mut rng(10_000 + number));
        let roster = Roster::of(secret.public(), handle("nils"), other).unwrap();
        let statement = reassignment(&open, &secret, roster).sign(&secret);
        let away = StatementItem { statement, agent: None, consent: None };
        for item in [open, away] {
            raw.world.relay.inject(device.mailbox(), Item::Statement(item));
        }
        raw.world.clock += 1;
        raw.world.settle();
    }
    let honest = stranger(&raw, 400, "mira", device);
    let id = Statement::peek(&honest.statement).unwrap().conversation;
    raw.inject(Item::Statement(honest));
    assert!(raw.world.clients[raw.agent].engine.conversation(&id).is_some());
    assert_eq!((rows(&raw, 0x07), rows(&raw, 0x0f)), (200, 0), "a day's bound");

    // The first one made room, and is given back.
    let open = stranger(&raw, 0, "mira", device);
    let first = Statement::peek(&open.statement).unwrap().conversation;
    assert!(raw.world.clients[raw.agent].engine.conversation(&first).is_none());
    let secret = DeviceSecret::generate(&mut rng(10_000));
    let roster = |agent: &str, listed| Roster::of(secret.public(), handle(agent), listed).unwrap();
    let item = |statement: Statement| StatementItem {
        statement: statement.sign(&secret),
        agent: None,
        consent: None,
    };
    let away = item(reassignment(&open, &secret, roster("nils", other)));
    let back = item(reassignment(&away, &secret, roster("mira", device)));
    for statement in [open, away, back] {
        raw.inject(Item::Statement(statement));
    }
    assert_eq!(raw.world.clients[raw.agent].engine.conversation(&first).map(|view| view.epoch), Some(3));
}

/// The relay delivers the reassignment before the open statement that it follows.
#[test]
fn a_conversation_begins_whichever_of_its_statements_comes_first() {
    let mut raw = Raw::with(92, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(3)).public();
    let open = stranger(&raw, 1, "nils", other);
    let secret = DeviceSecret::generate(&mut rng(10_001));
    let peeked = Statement::peek(&open.statement).unwrap();
    let reassign = Statement {
        epoch: 2,
        action: Action::Reassign {
            previous: sealdesk_protocol::conversation::statements::hash(&open.statement),
            roster: Roster::of(secret.public(), handle("mira"), device).unwrap(),
        },
        ..peeked.clone()
    };
    let reassign = StatementItem { statement: reassign.sign(&secret), agent: None, consent: None };
    raw.inject(Item::Statement(reassign));
    assert!(raw.world.clients[raw.agent].engine.conversation(&peeked.conversation).is_none());
    raw.inject(Item::Statement(open));
    let view = raw.world.clients[raw.agent].engine.conversation(&peeked.conversation).unwrap();
    assert_eq!(view.epoch, 2);
}

/// Opened with one agent, reassigned to a second one whose certificate was revoked since, then to this one, whose
/// certificate was renewed since: the history is true, and the conversation is taken.
#[test]
fn a_conversation_comes_whole_from_agents_whose_certificates_do_not_count_any_more() {
    let mut raw = Raw::with(97, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let secret = DeviceSecret::generate(&mut rng(10_001));
    let [first, second] = [3, 4].map(|seed| DeviceSecret::generate(&mut rng(seed)).public());
    let org = &mut raw.world.org;
    let [firsts, seconds, own] = [("nils", first), ("otto", second), ("mira", device)]
        .map(|(name, device)| org.agent_chain(name, name, device));
    let open = StatementItem { agent: Some(firsts), ..stranger(&raw, 1, "nils", first) };
    let roster = |agent: &str, listed| Roster::of(secret.public(), handle(agent), listed).unwrap();
    let item = |statement: Statement, agent| StatementItem {
        statement: statement.sign(&secret),
        agent: Some(agent),
        consent: None,
    };
    let to_second = item(reassignment(&open, &secret, roster("otto", second)), seconds);
    let to_us = item(reassignment(&to_second, &secret, roster("mira", device)), own.clone());

    let now = raw.world.org.now;
    let revoked = certificate_id(&own.device);
    raw.world.org.revoke(1, now, vec![Revoked::Device(second.hash()), Revoked::Certificate(revoked)]);
    let list = raw.world.org.revocations.clone().unwrap();
    raw.world.relay.push(&device.hash(), sealdesk_protocol::wire::Revocations { list });
    raw.world.pass(1_000);

    let id = Statement::peek(&open.statement).unwrap().conversation;
    for statement in [open, to_second, to_us] {
        raw.inject(Item::Statement(statement));
    }
    let view = raw.world.clients[raw.agent].engine.conversation(&id).unwrap();
    assert_eq!((view.epoch, view.phase), (3, Phase::Assigned), "{:?}", raw.problems());
    assert_eq!(raw.problems(), [""; 0]);
}

#[test]
fn garbage_fills_no_screen() {
    let (mut world, agent, ..) = World::talking(94);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    let garbage = |world: &mut World, from: u16| {
        (from..from + 200).for_each(|n| {
            world.relay.inject(mailbox, Item::Envelope([&n.to_be_bytes()[..], &[1; 100]].concat()));
        });
        world.settle();
        let told = world.problems(agent).len();
        world.clients[agent].take_events();
        told
    };
    assert_eq!(garbage(&mut world, 0), 32);
    world.pass(60_000);
    world.clients[agent].take_events();
    assert_eq!(garbage(&mut world, 1_000), 32, "and again in the next minute");
}

#[test]
fn quarantine_is_a_ring() {
    let (mut world, agent, ..) = World::talking(96);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    for n in 0..300u16 {
        world.relay.inject(mailbox, Item::Envelope([&n.to_be_bytes()[..], &[1; 100]].concat()));
    }
    world.settle();
    assert_eq!(world.clients[agent].rows.keys().filter(|name| name.0[0] == 0x81).count(), 256);
}
