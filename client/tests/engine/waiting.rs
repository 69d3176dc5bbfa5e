//! What waits for a statement that has not come: bounded, and out of the way of what comes whole.

use sealdesk_protocol::conversation::Roster;
use sealdesk_protocol::conversation::statements::{Action, Statement, hash};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::testing::{handle, rng};
use sealdesk_protocol::wire::{Item, StatementItem};

use crate::raw::{Raw, last_resort, reassignment, reset, rows, stranger};

#[test]
fn invented_conversations_fill_no_vault() {
    let mut raw = Raw::with(91, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(3)).public();
    for number in 0..100 {
        let item = stranger(&raw, number, "nils", other);
        raw.world.relay.inject(device.mailbox(), Item::Statement(item));
    }
    raw.world.pass(2_000);
    assert_eq!(rows(&raw, 0x07), 1, "opened with somebody else: not before a reassignment to this device");
    for number in 100..320 {
        let item = stranger(&raw, number, "mira", device);
        raw.world.relay.inject(device.mailbox(), Item::Statement(item));
    }
    raw.world.pass(2_000);
    assert_eq!(rows(&raw, 0x07), 200, "a day's bound, the one before included");
    assert!(rows(&raw, 0x0f) <= 64, "set aside");
    raw.say(&Raw::text(1, "still served"));
    assert_eq!(raw.shown(), ["still served"]);
}

/// Certificates and consent that come along with a statement count like the statement.
#[test]
fn what_waits_is_counted_whole() {
    let mut raw = Raw::new(93);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let large =
        SignedBytes::sign(sealdesk_protocol::crypto::labels::CONSENT, &vec![7u8; 50_000], &raw.secret);
    let mut first = None;
    for time in 0..30 {
        let action =
            Action::Close { current: sealdesk_protocol::ids::StatementHash([7; 32]), heads: Vec::new() };
        let statement = Statement {
            root: raw.world.org.root_hash(),
            conversation: raw.id,
            epoch: 1,
            signer: raw.secret.hash(),
            time,
            expires: u64::MAX,
            action,
        };
        let statement = statement.sign(&raw.secret);
        let item = Item::Statement(StatementItem { statement, agent: None, consent: Some(large.clone()) });
        first.get_or_insert_with(|| item.clone());
        raw.world.relay.inject(device.mailbox(), item);
    }
    raw.world.pass(2_000);
    assert_eq!(rows(&raw, 0x0f), 20, "1 MiB");
    assert_eq!(raw.problems(), [""; 0]);
    let quarantined = rows(&raw, 0x81);
    assert!(quarantined > 0, "the rest is kept");
    // What waits and comes again is the same.
    let again = first.unwrap();
    raw.inject(again);
    assert_eq!((rows(&raw, 0x0f), rows(&raw, 0x81)), (20, quarantined));
}

#[test]
fn what_waits_for_a_missing_content_is_bounded_in_number() {
    let mut raw = Raw::new(95);
    let roster = raw.governance.current().roster_hash;
    let mailbox = raw.world.clients[raw.agent].engine.agent_public().unwrap().mailbox();
    for counter in 2..302 {
        let content = Raw::text(counter, "later").encode().unwrap();
        let envelope = raw.seal_for(&content, 1, roster);
        raw.world.relay.inject(mailbox, Item::Envelope(envelope.encode()));
    }
    raw.world.pass(5_000);
    assert_eq!(rows(&raw, 0x0e), 256);
    raw.say(&Raw::text(1, "first"));
    assert_eq!(raw.shown().len(), 257);
}

/// Envelopes that wait for statements of conversations which nobody opened: none of them waits.
#[test]
fn envelopes_of_invented_conversations_keep_no_reassigned_one_out() {
    let mut raw = Raw::with(99, true);
    let secret = DeviceSecret::generate(&mut rng(7));
    let (statement, roster) = (raw.governance.current().statement, raw.governance.current().roster_hash);
    for number in 0..70 {
        let conversation = ConversationId([number; 32]);
        let binding = Binding { conversation, statement, generation: 0 };
        let bundle = last_resort(&mut raw);
        let mut session = Session::initiate(&secret, &bundle, binding, &mut raw.rng).unwrap();
        let envelope = session.encrypt(b"x", 1, roster, &mut raw.rng).unwrap();
        raw.inject(Item::Envelope(envelope.encode()));
    }
    assert_eq!((rows(&raw, 0x0f), rows(&raw, 0x81)), (0, 70), "kept, and waiting for nothing");
    assert_eq!(reassigned_here(&mut raw, 1), Some(2));
}

/// Opened with another agent, then given to this one: the epoch in which it is held.
fn reassigned_here(raw: &mut Raw, number: u64) -> Option<u32> {
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(3)).public();
    let open = stranger(raw, number, "nils", other);
    let secret = DeviceSecret::generate(&mut rng(10_000 + number));
    let roster = Roster::of(secret.public(), handle("mira"), device).unwrap();
    let statement = reassignment(&open, &secret, roster).sign(&secret);
    let id = Statement::peek(&open.statement).unwrap().conversation;
    raw.inject(Item::Statement(open));
    raw.inject(Item::Statement(StatementItem { statement, agent: None, consent: None }));
    raw.world.clients[raw.agent].engine.conversation(&id).map(|view| view.epoch)
}

/// All that may wait on a device waits, in sessions that nobody announced: statements find room, and so do conversations of
/// which fewer envelopes wait.
#[test]
fn a_few_conversations_do_not_take_the_place_of_all_others() {
    let mut raw = Raw::with(100, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let roster = raw.governance.current().roster_hash;
    for number in 500..505 {
        let open = stranger(&raw, number, "mira", device);
        let conversation = Statement::peek(&open.statement).unwrap().conversation;
        let statement = hash(&open.statement);
        raw.inject(Item::Statement(open));
        let secret = DeviceSecret::generate(&mut rng(10_000 + number));
        let binding = Binding { conversation, statement, generation: 7 };
        let bundle = last_resort(&mut raw);
        let mut session = Session::initiate(&secret, &bundle, binding, &mut raw.rng).unwrap();
        for _ in 0..220 {
            let envelope = session.encrypt(b"x", 1, roster, &mut raw.rng).unwrap();
            raw.world.relay.inject(device.mailbox(), Item::Envelope(envelope.encode()));
        }
        raw.world.pass(2_000);
    }
    assert_eq!(rows(&raw, 0x0f), 1_024);
    let announcement = reset(&mut raw, 1);
    raw.say(&Raw::text(1, "before its reset"));
    assert_eq!((raw.shown().len(), rows(&raw, 0x0f)), (0, 1_024), "it waits in place of another one");
    raw.inject(announcement);
    assert_eq!(raw.shown(), ["before its reset"]);
    assert_eq!(reassigned_here(&mut raw, 1), Some(2));
}
