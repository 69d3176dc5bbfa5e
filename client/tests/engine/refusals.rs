//! Every refusal: what a malicious relay, a false agent or a false customer may try.

use chacha20::ChaCha20Rng;
use sealdesk_client::testing::World;
use sealdesk_client::{Command, Event, LinkState, MessageState, Phase};
use sealdesk_protocol::conversation::content::{
    Content, Kind, ProfileSignature, Text, first_head, next_head,
};
use sealdesk_protocol::conversation::statements::{Action, Head, Statement};
use sealdesk_protocol::conversation::{
    ConsentReceipt, Governance, Roster, VerifiedStatement, conversation_id, statements,
};
use sealdesk_protocol::crypto::certificate::{DEVICE_LIFE, Revoked};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, HeadHash, RosterHash, SessionId};
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::testing::{TestOrg, handle, rng};
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{Item, StatementItem};

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

/// A customer made by hand, who can say anything to an agent's engine.
struct Raw {
    world: World,
    agent: usize,
    secret: DeviceSecret,
    id: ConversationId,
    statement: SignedBytes,
    governance: Governance,
    session: Session,
    rng: ChaCha20Rng,
}

fn consent(world: &World, secret: &DeviceSecret, id: ConversationId) -> SignedBytes {
    let notice = world.org.settings.notices[0].hash();
    let root = world.org.root_hash();
    ConsentReceipt {
        root,
        conversation: id,
        device: secret.public(),
        notice,
        language: "en".into(),
        given: 0,
    }
    .sign(secret)
}

fn open_statement(world: &World, agent: usize, secret: &DeviceSecret, consent: &SignedBytes) -> Statement {
    let device = world.clients[agent].engine.agent_public().unwrap();
    let root = world.org.root_hash();
    Statement {
        root,
        conversation: conversation_id(&root, &secret.public(), &[5; 16]),
        epoch: 1,
        signer: secret.hash(),
        time: 0,
        expires: u64::MAX,
        action: Action::Open {
            roster: Roster::of(secret.public(), handle("mira"), device).unwrap(),
            topic: handle("general"),
            language: "en".into(),
            consent: consent.digest(),
            nonce: [5; 16],
        },
    }
}

impl Raw {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let agent = world.add_agent("mira", "Mira");
        world.pass(2_000);
        let mut rng = rng(seed + 500);
        let secret = DeviceSecret::generate(&mut rng);
        let root = world.org.root_hash();
        let id = conversation_id(&root, &secret.public(), &[5; 16]);
        let consent = consent(&world, &secret, id);
        let statement = open_statement(&world, agent, &secret, &consent).sign(&secret);
        let verified = VerifiedStatement::verify(&statement, &secret.public()).unwrap();
        let governance = Governance::open(root, &verified).unwrap();
        let device = world.clients[agent].engine.agent_public().unwrap();
        let bundle = world.relay.bundle(&device.hash()).unwrap();
        let bundle = bundle.verify(&device, world.now().wall_ms).unwrap();
        let binding = Binding { conversation: id, statement: verified.hash(), generation: 0 };
        let session = Session::initiate(&secret, &bundle, binding, &mut rng).unwrap();
        let now = world.now().wall_ms;
        let topic = handle("general");
        world.relay.host(secret.public(), topic, consent, statement.clone(), now).unwrap();
        world.pass(3_000);
        Self { world, agent, secret, id, statement, governance, session, rng }
    }

    fn inject(&mut self, item: Item) {
        let mailbox = self.world.clients[self.agent].engine.agent_public().unwrap().mailbox();
        self.world.relay.inject(mailbox, item);
        self.world.pass(1_000);
    }

    fn seal_for(&mut self, content: &[u8], epoch: u32, roster: RosterHash) -> Envelope {
        self.session.encrypt(content, epoch, roster, &mut self.rng).unwrap()
    }

    fn say(&mut self, content: &Content) {
        let roster = self.governance.current().roster_hash;
        let envelope = self.seal_for(&content.encode().unwrap(), 1, roster);
        self.inject(Item::Envelope(envelope.encode()));
    }

    fn text(counter: u64, text: &str) -> Content {
        Content::new(counter, 1, Vec::new(), &Kind::Text(Text(text.into())))
    }

    fn shown(&self) -> Vec<String> {
        self.world.texts(self.agent, &self.id).into_iter().filter(|m| !m.0).map(|m| m.1).collect()
    }

    fn problems(&self) -> Vec<&'static str> {
        self.world.problems(self.agent)
    }

    fn agent_device(&self) -> DeviceKeyHash {
        self.world.clients[self.agent].engine.agent_public().unwrap().hash()
    }
}

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
    raw.say(&receipt(1, HeadHash([1; 32]), DeviceKeyHash([3; 32])));
    assert_eq!(state(&raw), MessageState::Sent);
    let sent = raw.world.clients[agent].transcript(&id).unwrap().into_iter().find(|m| m.mine).unwrap();
    let heads = vec![Head {
        device: raw.secret.hash(),
        counter: 1,
        hash: next_head(&first_head(&id, &raw.secret.hash()), 1, &Raw::text(1, "hello").encode().unwrap()),
    }];
    let frozen = Content::new(1, sent.time, heads, &sent.kind).encode().unwrap();
    raw.say(&receipt(1, next_head(&first_head(&id, &device), 1, &frozen), device));
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
    let tries = [
        (open.clone(), None),
        (open.clone(), Some(elsewhere.clone())),
        (open_elsewhere, Some(elsewhere)),
        (open_other, Some(other)),
    ];
    for (statement, consent) in tries {
        world.relay.inject(mailbox, Item::Statement(StatementItem { statement, agent: None, consent }));
        world.pass(1_000);
    }
    assert_eq!(world.problems(agent), ["consent_missing"; 4]);
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
fn a_message_of_a_past_epoch_is_answered_and_not_shown() {
    let mut world = World::new(32);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: false });
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
    let stale = session.encrypt(&Raw::text(1, "old").encode().unwrap(), 1, past, &mut rng).unwrap();
    let current = governance.current().roster_hash;
    let good = session.encrypt(&Raw::text(1, "old").encode().unwrap(), 2, current, &mut rng).unwrap();
    let agent_chain = None;
    for item in [
        Item::Statement(StatementItem { statement: opened, agent: agent_chain, consent: Some(consent) }),
        Item::Statement(StatementItem { statement: reassign, agent: None, consent: None }),
        Item::Envelope(stale.encode()),
    ] {
        world.relay.inject(device.mailbox(), item);
    }
    world.pass(1_000);
    assert!(world.texts(agent, &id).is_empty());
    world.relay.inject(device.mailbox(), Item::Envelope(good.encode()));
    world.pass(1_000);
    assert_eq!(world.texts(agent, &id).len(), 1, "the same content, sealed for the current epoch");
    let answers = world.relay.envelopes.iter().filter_map(|bytes| {
        let opened = session.decrypt(&Envelope::decode(bytes).unwrap(), 0).ok()?;
        Content::decode(&opened.content).unwrap().kind().ok()
    });
    let answers: Vec<Kind> = answers.collect();
    assert!(
        answers
            .iter()
            .any(|k| matches!(k, Kind::StaleEpoch(s) if s.counter == 1 && s.current == verified.hash())),
        "{answers:?}"
    );
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
