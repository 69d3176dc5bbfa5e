//! Handshakes that are repeated, foreign or unannounced, and resets that nothing answers.

use sealdesk_client::Command;
use sealdesk_client::Phase;
use sealdesk_client::testing::World;
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::conversation::statements::Statement;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::SessionId;
use sealdesk_protocol::session::Binding;
use sealdesk_protocol::session::Session;
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::StatementItem;
use sealdesk_protocol::wire::{Code, Item, PrekeyCount};

use crate::raw::{Raw, announce};

#[test]
fn a_replayed_handshake_says_nothing_twice() {
    let mut raw = Raw::new(25);
    let roster = raw.governance.current().roster_hash;
    let first = raw.seal_for(&Raw::text(1, "once").encode().unwrap(), 1, roster);
    for _ in 0..3 {
        raw.inject(Item::Envelope(first.encode()));
    }
    assert_eq!(raw.shown(), ["once"]);
    raw.world.restart(raw.agent);
    raw.inject(Item::Envelope(first.encode()));
    assert_eq!(raw.shown(), ["once"]);
    assert!(raw.problems().is_empty());
}

#[test]
fn handshakes_of_strangers_and_unannounced_generations_are_not_answered() {
    let mut raw = Raw::new(26);
    raw.say(&Raw::text(1, "hello"));
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let now = raw.world.now().wall_ms;
    let statement = raw.governance.current().statement;
    let roster = raw.governance.current().roster_hash;
    let handshake = |raw: &mut Raw, secret: &DeviceSecret, generation| {
        let bundle = raw.world.relay.bundle(&device.hash()).unwrap().verify(&device, now).unwrap();
        let binding = Binding { conversation: raw.id, statement, generation };
        let mut session = Session::initiate(secret, &bundle, binding, &mut raw.rng).unwrap();
        let content = Raw::text(2, "intruder").encode().unwrap();
        session.encrypt(&content, 1, roster, &mut raw.rng).unwrap()
    };
    let stranger = DeviceSecret::generate(&mut rng(1234));
    let envelope = handshake(&mut raw, &stranger, 0);
    raw.inject(Item::Envelope(envelope.encode()));
    assert_eq!(raw.problems(), ["set_aside"]);
    // The customer itself, but without the signed note that a reset needs.
    let secret = DeviceSecret::generate(&mut rng(26 + 500));
    assert_eq!(secret.hash(), raw.secret.hash());
    let envelope = handshake(&mut raw, &secret, 1);
    let session: SessionId = envelope.session;
    raw.inject(Item::Envelope(envelope.encode()));
    assert_eq!(raw.shown(), ["hello"]);
    // The note comes: what was set aside is opened.
    let reset = Statement {
        root: raw.world.org.root_hash(),
        conversation: raw.id,
        epoch: 1,
        signer: raw.secret.hash(),
        time: 0,
        expires: u64::MAX,
        action: Action::Reset {
            current: statement,
            peer: device.hash(),
            old: raw.session.id(),
            new: session,
            generation: 1,
        },
    };
    let item = StatementItem { statement: reset.sign(&raw.secret), agent: None, consent: None };
    raw.inject(Item::Statement(item));
    assert_eq!(raw.shown(), ["hello", "intruder"]);
}

#[test]
fn a_gap_that_nobody_fills_causes_few_resets() {
    let mut raw = Raw::new(33);
    raw.world.relay.publish_for(&raw.secret, &mut raw.rng);
    raw.say(&Raw::text(1, "one"));
    raw.say(&Raw::text(3, "three"));
    raw.world.pass(3 * 60 * 60 * 1000);
    assert_eq!(raw.shown(), ["one"]);
    let asked = raw.world.relay.counts["FetchPrekeys"];
    assert!((1..=4).contains(&asked), "{asked} in three hours");
}

/// A customer who reads nothing leaves no room for a reset, and a relay takes only so many: that does not keep its agent from
/// closing.
#[test]
fn a_reset_that_is_not_taken_stands_before_no_close() {
    for (seed, code) in [(38, Code::MailboxFull), (39, Code::RateLimited)] {
        reset_is_not_taken(seed, code);
    }
}

fn reset_is_not_taken(seed: u64, code: Code) {
    let mut raw = Raw::new(seed);
    raw.world.relay.publish_for(&raw.secret, &mut raw.rng);
    raw.say(&Raw::text(1, "one"));
    raw.say(&Raw::text(3, "three"));
    raw.world.relay.refuse_resets = Some(code);
    raw.world.pass(3 * 60 * 60 * 1000);
    let asked = raw.world.relay.counts["FetchPrekeys"];
    assert!((1..=4).contains(&asked), "{asked} in three hours, refused each time");
    assert!(raw.world.relay.governance(&raw.id).unwrap().closed().is_none());
    raw.world.clients[raw.agent].command(Command::Close { conversation: raw.id });
    raw.world.pass(20_000);
    assert!(raw.world.relay.governance(&raw.id).unwrap().closed().is_some());
    assert_eq!(raw.world.phase(raw.agent, &raw.id), Some(Phase::Closed));
}

#[test]
fn a_handshake_is_answered_once_also_when_its_session_is_long_gone() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let mut raw = Raw::new(34);
    raw.say(&Raw::text(1, "one"));
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let roster = raw.governance.current().roster_hash;
    let begin = |raw: &mut Raw, generation, one_time| {
        let mut bundle = raw.world.relay.bundle(&device.hash()).unwrap();
        bundle.one_time = bundle.one_time.filter(|_| one_time);
        let bundle = bundle.verify(&device, raw.world.now().wall_ms).unwrap();
        let (session, announcement) = announce(raw, generation, &bundle);
        raw.inject(announcement);
        session
    };
    // On the last-resort pair alone; the relay keeps the second message of the first flight back.
    let mut weak = begin(&mut raw, 1, false);
    let seal = |raw: &mut Raw, session: &mut Session, counter, text| {
        let content = Raw::text(counter, text).encode().unwrap();
        Item::Envelope(session.encrypt(&content, 1, roster, &mut raw.rng).unwrap().encode())
    };
    let first = seal(&mut raw, &mut weak, 2, "two");
    let kept_back = seal(&mut raw, &mut weak, 4, "late");
    raw.inject(first);
    let mut next = begin(&mut raw, 2, true);
    let third = seal(&mut raw, &mut next, 3, "three");
    raw.inject(third);
    assert_eq!(raw.shown(), ["one", "two", "three"]);
    let weak_starts = raw.world.clients[raw.agent].transcript(&raw.id).unwrap();
    assert_eq!(weak_starts.iter().map(|m| m.weak_start).collect::<Vec<_>>(), [false, true, false]);

    raw.world.clock += 32 * DAY;
    raw.world.settle();
    let mut renewed = raw.world.org.certificate("mira", "Mira", &["support"], device);
    renewed.not_before += 20 * DAY;
    renewed.not_after += 20 * DAY;
    let chain = raw.world.org.chain(&renewed);
    raw.world.clients[raw.agent].command(Command::InstallCertificate { chain });
    raw.world.pass(2 * 60 * 60 * 1000);
    raw.world.clients[raw.agent].take_events();
    raw.inject(kept_back);
    assert_eq!(raw.problems(), ["set_aside"]);
    assert_eq!(raw.shown(), ["one", "two", "three"]);
}

/// The relay answers a request for prekeys late, when the peer's own handshake has come: there is nothing to replace.
#[test]
fn prekeys_that_are_not_needed_any_more_begin_no_session() {
    let mut raw = Raw::with(35, true);
    raw.world.clients[raw.agent].command(Command::Accept { conversation: raw.id });
    // The relay has no prekeys of the customer for now; the agent has no session and asks.
    raw.world.relay.hold_fetches = true;
    let (agent, id) = (raw.agent, raw.id);
    raw.world.say(agent, id, "anybody?");
    raw.world.pass(5_000);
    assert!(raw.world.relay.counts.contains_key("FetchPrekeys"), "it asked");
    raw.say(&Raw::text(1, "here I am"));
    raw.world.relay.publish_for(&raw.secret, &mut raw.rng);
    let posted = raw.world.relay.counts.get("PostStatement").copied();
    raw.world.relay.hold_fetches = false;
    raw.world.relay.answer_fetches();
    raw.world.pass(5_000);
    assert_eq!(raw.world.relay.counts.get("PostStatement").copied(), posted, "no reset");
    assert_eq!(raw.shown(), ["here I am"]);
}

/// A relay that was restored from a backup delivers an earlier reset after a later one.
#[test]
fn an_earlier_reset_that_comes_again_is_no_alarm() {
    let mut raw = Raw::new(37);
    raw.say(&Raw::text(1, "hello"));
    let (current, peer) = (raw.governance.current().statement, raw.agent_device());
    let resets = [1, 2].map(|generation| {
        let (old, new) = (raw.session.id(), SessionId([generation; 16]));
        let action = Action::Reset { current, peer, old, new, generation: u32::from(generation) };
        let statement = Statement {
            root: raw.world.org.root_hash(),
            conversation: raw.id,
            epoch: 1,
            signer: raw.secret.hash(),
            time: 0,
            expires: u64::MAX,
            action,
        };
        Item::Statement(StatementItem { statement: statement.sign(&raw.secret), agent: None, consent: None })
    });
    for item in [&resets[0], &resets[1], &resets[0], &resets[1]] {
        raw.inject(item.clone());
    }
    assert_eq!(raw.problems(), [""; 0]);
}

/// A relay that says after each upload that nothing is left makes a device neither busy nor forgetful.
#[test]
fn a_relay_that_wants_ever_more_prekeys_gets_a_days_supply() {
    let mut raw = Raw::new(38);
    let device = raw.agent_device();
    raw.world.relay.claims_no_prekeys = true;
    let count = PrekeyCount { req: None, one_time_left: 0 };
    raw.world.relay.push(&device, count);
    raw.world.pass(3 * 60 * 60 * 1000);
    let uploads = raw.world.relay.counts["PublishPrekeys"];
    assert!(uploads <= 14, "{uploads}");
    let kept = raw.world.clients[raw.agent].rows.keys().filter(|n| n.0[0] == 0x06).count();
    assert!((300..=402).contains(&kept), "{kept}");
    // The pair that was handed out first is still there.
    raw.say(&Raw::text(1, "hello"));
    assert_eq!(raw.shown(), ["hello"]);
    // The next day brings new ones, and for days nothing that was handed out is dropped.
    raw.world.clock += 24 * 60 * 60 * 1000;
    raw.world.relay.push(&device, PrekeyCount { req: None, one_time_left: 0 });
    raw.world.pass(60 * 60 * 1000);
    assert!(raw.world.relay.counts["PublishPrekeys"] > uploads);
}

/// A last-resort pair serves until the rotation after its own, and its secret for as long as a first flight may wait.
#[test]
fn last_resort_pairs_end_whatever_the_relay_says_of_its_mailboxes() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let mut world = World::new(39);
    world.relay.limits.mailbox_ttl = 360 * DAY;
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let bundle = world.relay.bundle(&device.hash()).unwrap();
    let now = world.now().wall_ms;
    assert!(bundle.verify(&device, now + 14 * DAY - 10_000).is_ok());
    assert!(bundle.verify(&device, now + 14 * DAY).is_err());
    let customer = world.add_customer();
    world.conversation(customer);
    for _ in 0..15 {
        world.clock += 7 * DAY;
        world.pass(2 * 60 * 60 * 1000);
    }
    let kept = world.clients[customer].rows.keys().filter(|n| n.0[0] == 0x06).count();
    assert!((5 + 6..=5 + 8).contains(&kept), "44 days of weekly pairs: {kept}");
}
