//! What a false customer may try on an agent's engine: forks, equivocation, forged receipts, missing consent.

use sealdesk_client::Command;
use sealdesk_client::MessageState;
use sealdesk_client::testing::World;
use sealdesk_protocol::conversation::ConsentReceipt;
use sealdesk_protocol::conversation::Governance;
use sealdesk_protocol::conversation::Roster;
use sealdesk_protocol::conversation::VerifiedStatement;
use sealdesk_protocol::conversation::content::Content;
use sealdesk_protocol::conversation::content::Kind;
use sealdesk_protocol::conversation::content::ProfileSignature;
use sealdesk_protocol::conversation::content::first_head;
use sealdesk_protocol::conversation::content::next_head;
use sealdesk_protocol::conversation::conversation_id;
use sealdesk_protocol::conversation::statements;
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::conversation::statements::Head;
use sealdesk_protocol::conversation::statements::Statement;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::ids::HeadHash;
use sealdesk_protocol::ids::RosterHash;
use sealdesk_protocol::session::Binding;
use sealdesk_protocol::session::Session;
use sealdesk_protocol::testing::handle;
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::Item;
use sealdesk_protocol::wire::StatementItem;
use sealdesk_protocol::wire::envelope::Envelope;

use crate::raw::{Raw, consent, open_statement};

#[test]
fn a_message_for_another_roster_is_a_fork() {
    let mut raw = Raw::new(20);
    raw.say(&Raw::text(1, "fine"));
    assert_eq!(raw.shown(), ["fine"]);
    let content = Raw::text(2, "seen by others").encode().unwrap();
    let envelope = raw.seal_for(&content, 1, RosterHash([9; 32]));
    raw.inject(Item::Envelope(envelope.encode()));
    assert_eq!(raw.shown(), ["fine"]);
    assert_eq!(raw.problems(), ["fork"]);
    // It was not receipted: the number is still free for an honest message.
    raw.say(&Raw::text(2, "honest"));
    assert_eq!(raw.shown(), ["fine", "honest"]);
}

#[test]
fn a_message_of_an_unknown_epoch_is_held_back() {
    let mut raw = Raw::new(21);
    let content = Raw::text(1, "from the future").encode().unwrap();
    let envelope = raw.seal_for(&content, 2, RosterHash([9; 32]));
    raw.inject(Item::Envelope(envelope.encode()));
    assert!(raw.shown().is_empty() && raw.problems().is_empty());
    raw.world.restart(raw.agent);
    raw.world.pass(1_000);
    assert!(raw.shown().is_empty());
}

#[test]
fn one_number_with_two_contents_is_an_alarm() {
    let mut raw = Raw::new(22);
    raw.say(&Raw::text(1, "one"));
    raw.say(&Raw::text(1, "another"));
    assert_eq!(raw.shown(), ["one"]);
    assert_eq!(raw.problems(), ["equivocation"]);
    // Also for contents that wait for an earlier one.
    raw.say(&Raw::text(3, "three"));
    raw.say(&Raw::text(3, "not three"));
    assert_eq!(raw.problems(), ["equivocation", "equivocation"]);
    raw.say(&Raw::text(2, "two"));
    assert_eq!(raw.shown(), ["one", "two", "three"]);
}

#[test]
fn receipts_count_only_for_what_was_sent_as_it_was_sent() {
    let mut raw = Raw::new(23);
    raw.say(&Raw::text(1, "hello"));
    let (agent, id) = (raw.agent, raw.id);
    raw.world.say(agent, id, "answer");
    raw.world.pass(1_000);
    let device = raw.agent_device();
    let receipt = |counter, hash: HeadHash, device: DeviceKeyHash| {
        Content::new(0, 1, vec![Head { device, counter, hash }], &Kind::Receipt(()))
    };
    let state = |raw: &Raw| raw.world.texts(agent, &id).into_iter().find(|m| m.0).unwrap().2;
    // Wrong hash; more than was sent; another device's number.
    raw.say(&receipt(1, HeadHash([1; 32]), device));
    raw.say(&receipt(9, HeadHash([1; 32]), device));
    assert_eq!(raw.problems(), ["bad_receipt", "bad_receipt"]);
    let sent = raw.world.clients[agent].transcript(&id).unwrap().into_iter().find(|m| m.mine).unwrap();
    let heads = vec![Head {
        device: raw.secret.hash(),
        counter: 1,
        hash: next_head(&first_head(&id, &raw.secret.hash()), 1, &Raw::text(1, "hello").encode().unwrap()),
    }];
    let frozen = Content::new(1, sent.time, heads, &sent.kind).encode().unwrap();
    let right = next_head(&first_head(&id, &device), 1, &frozen);
    raw.say(&receipt(1, right, DeviceKeyHash([3; 32])));
    assert_eq!(state(&raw), MessageState::Sent, "an entry that names another device is no receipt");
    raw.say(&receipt(1, right, device));
    assert_eq!(state(&raw), MessageState::Delivered);
}

#[test]
fn a_stolen_profile_signature_is_refused() {
    let mut raw = Raw::new(24);
    let profile =
        ProfileSignature { profile: *raw.secret.public().verify_key().as_bytes(), signature: [7; 64] };
    raw.say(&Content::new(1, 1, Vec::new(), &Kind::Profile(profile)));
    assert_eq!(raw.problems(), ["profile_refused"]);
    let view = raw.world.clients[raw.agent].engine.conversation(&raw.id).unwrap();
    assert_eq!(view.profile, None);
}

#[test]
fn a_second_history_is_refused_and_shown() {
    let mut raw = Raw::new(27);
    raw.say(&Raw::text(1, "hello"));
    // A second open statement of the same conversation.
    let consent = consent(&raw.world, &raw.secret, raw.id);
    let mut second = open_statement(&raw.world, raw.agent, &raw.secret, &consent);
    second.time = 7;
    let item = StatementItem { statement: second.sign(&raw.secret), agent: None, consent: Some(consent) };
    raw.inject(Item::Statement(item));
    assert_eq!(raw.problems(), ["fork"]);
    assert_ne!(statements::hash(&raw.statement), statements::hash(&second.sign(&raw.secret)));
}

#[test]
fn conversations_without_a_fitting_consent_receipt_are_refused() {
    let mut world = World::new(28);
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    let secret = DeviceSecret::generate(&mut rng(1));
    let id = conversation_id(&world.org.root_hash(), &secret.public(), &[5; 16]);
    let good = consent(&world, &secret, id);
    let elsewhere = consent(&world, &secret, ConversationId([1; 32]));
    let other = consent(&world, &DeviceSecret::generate(&mut rng(2)), id);
    let open = open_statement(&world, agent, &secret, &good).sign(&secret);
    let open_elsewhere = open_statement(&world, agent, &secret, &elsewhere).sign(&secret);
    let open_other = open_statement(&world, agent, &secret, &other).sign(&secret);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    // Another receipt of the same customer than the one that the open statement names.
    let notice = world.org.settings.notices[1].hash();
    let unnamed = ConsentReceipt {
        root: world.org.root_hash(),
        conversation: id,
        device: secret.public(),
        notice,
        language: "ar".into(),
        given: 0,
    }
    .sign(&secret);
    let tries = [
        (open.clone(), None),
        (open.clone(), Some(unnamed)),
        (open.clone(), Some(elsewhere.clone())),
        (open_elsewhere, Some(elsewhere)),
        (open_other, Some(other)),
    ];
    for (statement, consent) in tries {
        world.relay.inject(mailbox, Item::Statement(StatementItem { statement, agent: None, consent }));
        world.pass(1_000);
    }
    assert_eq!(world.problems(agent), ["consent_missing"; 5]);
    assert!(world.clients[agent].engine.conversations().is_empty());
    let item = StatementItem { statement: open, agent: None, consent: Some(good) };
    world.relay.inject(mailbox, Item::Statement(item));
    world.pass(5_000);
    assert_eq!(world.clients[agent].engine.conversations().len(), 1);
}

#[test]
fn a_roster_that_names_this_device_as_another_agent_is_refused() {
    let mut world = World::new(31);
    let agent = world.add_agent("mira", "Mira");
    world.pass(2_000);
    let secret = DeviceSecret::generate(&mut rng(1));
    let id = conversation_id(&world.org.root_hash(), &secret.public(), &[5; 16]);
    let consent = consent(&world, &secret, id);
    let mut open = open_statement(&world, agent, &secret, &consent);
    let device = world.clients[agent].engine.agent_public().unwrap();
    if let Action::Open { roster, .. } = &mut open.action {
        *roster = Roster::of(secret.public(), handle("boss"), device).unwrap();
    }
    let item = StatementItem { statement: open.sign(&secret), agent: None, consent: Some(consent) };
    world.relay.inject(device.mailbox(), Item::Statement(item));
    world.pass(1_000);
    assert_eq!(world.problems(agent), ["statement_refused"]);
    assert!(world.clients[agent].engine.conversations().is_empty());
}

#[test]
fn nor_does_a_reassignment_name_this_device_as_another_agent() {
    let mut raw = Raw::with(38, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(77)).public();
    let mut previous = raw.governance.current().statement;
    for (epoch, name, listed) in [(2, "nils", other), (3, "boss", device)] {
        let statement = Statement {
            root: raw.world.org.root_hash(),
            conversation: raw.id,
            epoch,
            signer: raw.secret.hash(),
            time: 0,
            expires: u64::MAX,
            action: Action::Reassign {
                previous,
                roster: Roster::of(raw.secret.public(), handle(name), listed).unwrap(),
            },
        }
        .sign(&raw.secret);
        previous = statements::hash(&statement);
        raw.inject(Item::Statement(StatementItem { statement, agent: None, consent: None }));
    }
    assert_eq!(raw.problems(), ["statement_refused"]);
    assert_eq!(raw.world.clients[raw.agent].engine.conversation(&raw.id).unwrap().epoch, 2);
}

#[test]
fn a_message_of_a_past_epoch_is_answered_and_not_shown() {
    let mut world = World::new(32);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    world.pass(2_000);
    let mut rng = rng(9);
    let secret = DeviceSecret::generate(&mut rng);
    let before = DeviceSecret::generate(&mut rng).public();
    let root = world.org.root_hash();
    let id = conversation_id(&root, &secret.public(), &[5; 16]);
    let consent = consent(&world, &secret, id);
    let mut open = open_statement(&world, agent, &secret, &consent);
    let device = world.clients[agent].engine.agent_public().unwrap();
    if let Action::Open { roster, .. } = &mut open.action {
        *roster = Roster::of(secret.public(), handle("gone"), before).unwrap();
    }
    let opened = open.sign(&secret);
    let verified = VerifiedStatement::verify(&opened, &secret.public()).unwrap();
    let mut governance = Governance::open(root, &verified).unwrap();
    let past = governance.current().roster_hash;
    let reassign = Statement {
        epoch: 2,
        action: Action::Reassign {
            previous: verified.hash(),
            roster: Roster::of(secret.public(), handle("mira"), device).unwrap(),
        },
        ..open
    }
    .sign(&secret);
    let verified = VerifiedStatement::verify(&reassign, &secret.public()).unwrap();
    governance.apply(&verified, None).unwrap();
    let bundle = world.relay.bundle(&device.hash()).unwrap();
    let bundle = bundle.verify(&device, world.now().wall_ms).unwrap();
    let binding = Binding { conversation: id, statement: verified.hash(), generation: 0 };
    let mut session = Session::initiate(&secret, &bundle, binding, &mut rng).unwrap();
    let current = governance.current().roster_hash;
    let first = session.encrypt(&Raw::text(1, "first").encode().unwrap(), 2, current, &mut rng).unwrap();
    let stale = session.encrypt(&Raw::text(2, "old").encode().unwrap(), 1, past, &mut rng).unwrap();
    let good = session.encrypt(&Raw::text(2, "old").encode().unwrap(), 2, current, &mut rng).unwrap();
    let agent_chain = None;
    for item in [
        Item::Statement(StatementItem { statement: opened, agent: agent_chain, consent: Some(consent) }),
        Item::Statement(StatementItem { statement: reassign, agent: None, consent: None }),
        Item::Envelope(first.encode()),
        Item::Envelope(stale.encode()),
    ] {
        world.relay.inject(device.mailbox(), item);
    }
    world.pass(1_000);
    assert_eq!(world.texts(agent, &id).len(), 1);
    world.relay.inject(device.mailbox(), Item::Envelope(good.encode()));
    world.pass(1_000);
    assert_eq!(world.texts(agent, &id).len(), 2, "the same content, sealed for the current epoch");
    let answers = world.relay.envelopes.iter().filter_map(|bytes| {
        let opened = session.decrypt(&Envelope::decode(bytes).unwrap(), 0).ok()?;
        let content = Content::decode(&opened.content).unwrap();
        assert!(content.heads.is_empty(), "nothing is receipted before the acceptance");
        content.kind().ok()
    });
    let answers: Vec<Kind> = answers.collect();
    assert!(
        answers
            .iter()
            .any(|k| matches!(k, Kind::StaleEpoch(s) if s.counter == 2 && s.current == verified.hash())),
        "{answers:?}"
    );
}

/// A content that waits is judged when its turn comes, also when an envelope that waited with it fills the gap before it.
#[test]
fn a_content_that_waited_is_judged_when_its_turn_comes() {
    let mut raw = Raw::with(36, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(77)).public();
    let mut statements = Vec::new();
    let mut governance = raw.governance.clone();
    for (epoch, name, listed) in [(2, "nils", other), (3, "mira", device)] {
        let roster = Roster::of(raw.secret.public(), handle(name), listed).unwrap();
        let statement = Statement {
            root: raw.world.org.root_hash(),
            conversation: raw.id,
            epoch,
            signer: raw.secret.hash(),
            time: 0,
            expires: u64::MAX,
            action: Action::Reassign { previous: governance.current().statement, roster },
        }
        .sign(&raw.secret);
        let verified = VerifiedStatement::verify(&statement, &raw.secret.public()).unwrap();
        governance.apply(&verified, None).unwrap();
        statements.push(Item::Statement(StatementItem { statement, agent: None, consent: None }));
    }
    let second = raw.seal_for(&Raw::text(2, "seen by others").encode().unwrap(), 3, RosterHash([9; 32]));
    raw.inject(Item::Envelope(second.encode()));
    let bundle = raw.world.relay.bundle(&device.hash()).unwrap();
    let bundle = bundle.verify(&device, raw.world.now().wall_ms).unwrap();
    let binding = Binding { conversation: raw.id, statement: governance.current().statement, generation: 0 };
    raw.session = Session::initiate(&raw.secret, &bundle, binding, &mut raw.rng).unwrap();
    let first = raw.seal_for(&Raw::text(1, "first").encode().unwrap(), 3, governance.current().roster_hash);
    raw.inject(Item::Envelope(first.encode()));
    assert!(raw.shown().is_empty());
    statements.into_iter().for_each(|item| raw.inject(item));
    assert_eq!(raw.shown(), ["first"]);
    assert_eq!(raw.problems(), ["fork"]);
}
