//! What a false agent's device may try on a customer's engine, and renewed certificates.

use chacha20::ChaCha20Rng;
use sealdesk_client::testing::World;
use sealdesk_client::{Event, Input, LinkState, MessageState, Phase};
use sealdesk_protocol::conversation::Head;
use sealdesk_protocol::conversation::content::{
    Content, Kind, ProfileSignature, StaleEpoch, Text, first_head, next_head,
};
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::crypto::certificate::{CertificateChain, DEVICE_LIFE, Revoked};
use sealdesk_protocol::crypto::handshake::Preamble;
use sealdesk_protocol::crypto::identity::{DeviceSecret, SigningSecret, mailbox_of};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret};
use sealdesk_protocol::ids::{ConversationId, HeadHash, RosterHash, StatementHash};
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{Code, Ephemeral, Item, StatementItem};

/// An agent's device made by hand, in a conversation with a customer's engine.
struct Raw {
    world: World,
    customer: usize,
    id: ConversationId,
    session: Session,
    secret: DeviceSecret,
    /// Signed into its statements.
    time: u64,
    rng: ChaCha20Rng,
    /// The customer's first content: its profile.
    profile: Vec<u8>,
    /// And the second.
    hello: Vec<u8>,
}

impl Raw {
    /// The customer wrote "hello" (its counter is 2, after the profile).
    fn new(seed: u64) -> (Self, Vec<u8>) {
        let mut world = World::new(seed);
        world.add_agent("mira", "Mira");
        world.pass(2_000);
        let mut rng = rng(seed + 900);
        let secret = DeviceSecret::generate(&mut rng);
        let pair = PrekeySecret::generate(PrekeyKind::LastResort, 0, u64::MAX, &mut rng);
        let bundle = PrekeyBundle { last_resort: pair.publish(&secret), one_time: None };
        world.relay.substitute_chain = Some(world.org.agent_chain("mira", "Mira", secret.public()));
        world.relay.substitute_bundle = Some(bundle);
        let customer = world.add_customer();
        let id = world.conversation(customer);
        world.say(customer, id, "hello");
        world.pass(3_000);
        let mut envelopes = world.relay.envelopes.iter().map(|e| Envelope::decode(e).unwrap());
        let (first, second) = (envelopes.next().unwrap(), envelopes.next().unwrap());
        let preamble = Preamble::decode(first.preamble().unwrap()).unwrap();
        let initiator = world.relay.governance(&id).unwrap().current().roster.customer().device;
        let verified = preamble.verify(&initiator).unwrap();
        let now = world.now().wall_ms;
        let accepted = Session::accept(&secret, &verified, &pair, None, &|_| false, &first, now).unwrap();
        let (mut session, profile) = (accepted.session, accepted.opened.content);
        let hello = session.decrypt(&second, now).unwrap().content;
        (Self { world, customer, id, session, secret, time: 0, rng, profile, hello: hello.clone() }, hello)
    }

    fn say(&mut self, kind: &Kind) {
        self.say_with(kind, Vec::new());
    }

    fn say_with(&mut self, kind: &Kind, heads: Vec<Head>) {
        self.say_counted(0, kind, heads);
    }

    fn say_counted(&mut self, counter: u64, kind: &Kind, heads: Vec<Head>) {
        let governance = self.world.relay.governance(&self.id).unwrap().clone();
        let roster = governance.current().roster_hash;
        let content = Content::new(counter, 1, heads, kind).encode().unwrap();
        let envelope = self.session.encrypt(&content, 1, roster, &mut self.rng).unwrap();
        self.inject(Item::Envelope(envelope.encode()));
    }

    fn inject(&mut self, item: Item) {
        let device = self.world.clients[self.customer].engine.own_device(&self.id).unwrap();
        self.world.relay.inject(mailbox_of(&device), item);
        self.world.pass(2_000);
    }

    fn note(&mut self, action: impl FnOnce(StatementHash) -> Action) {
        self.note_with(None, action);
    }

    /// A note of this device on epoch 1, and a certificate that comes along.
    fn note_with(&mut self, agent: Option<CertificateChain>, action: impl FnOnce(StatementHash) -> Action) {
        let current = self.world.relay.governance(&self.id).unwrap().epochs()[0].statement;
        let statement = Statement {
            root: self.world.org.root_hash(),
            conversation: self.id,
            epoch: 1,
            signer: self.secret.hash(),
            time: self.time,
            expires: u64::MAX,
            action: action(current),
        };
        let statement = statement.sign(&self.secret);
        self.inject(Item::Statement(StatementItem { statement, agent, consent: None }));
    }

    /// Under which name the customer sees this device.
    fn name(&self) -> Option<String> {
        let view = self.world.clients[self.customer].engine.conversation(&self.id).unwrap();
        view.readers.into_iter().find(|r| r.device == self.secret.hash()).unwrap().name
    }

    /// Contents of an epoch that never comes: they wait with the customer.
    fn say_for_never(&mut self, counters: core::ops::Range<u64>) {
        let mailbox = mailbox_of(&self.world.clients[self.customer].engine.own_device(&self.id).unwrap());
        for counter in counters {
            let content = Content::new(counter, 1, Vec::new(), &text("never")).encode().unwrap();
            let envelope = self.session.encrypt(&content, 99, RosterHash([9; 32]), &mut self.rng).unwrap();
            self.world.relay.inject(mailbox, Item::Envelope(envelope.encode()));
        }
        self.world.pass(20_000);
    }

    /// The conversation goes to another agent.
    fn replaced(&mut self, agent: &str) -> usize {
        self.world.relay.substitute_chain = None;
        self.world.relay.substitute_bundle = None;
        let next = self.world.add_agent(agent, agent);
        self.world.pass(2_000);
        let device = self.world.clients[next].engine.agent_public().unwrap();
        self.world.relay.preferred = vec![device.hash()];
        self.world.relay.reassign(&self.id);
        self.world.pass(3_000);
        next
    }

    /// Rows of this kind in the customer's vault.
    fn rows(&self, kind: u8) -> usize {
        self.world.clients[self.customer].rows.keys().filter(|name| name.0[0] == kind).count()
    }

    fn shown(&self) -> Vec<String> {
        self.world.texts(self.customer, &self.id).into_iter().filter(|m| !m.0).map(|m| m.1).collect()
    }
}

#[test]
fn only_the_current_statement_makes_a_customer_seal_anew() {
    let (mut raw, hello) = Raw::new(40);
    let before = raw.world.relay.envelopes.len();
    raw.say(&Kind::StaleEpoch(StaleEpoch { counter: 2, current: StatementHash([1; 32]) }));
    assert_eq!(raw.world.relay.envelopes.len(), before, "an unknown statement is no reason");
    let current = raw.world.relay.governance(&raw.id).unwrap().current().statement;
    raw.say(&Kind::StaleEpoch(StaleEpoch { counter: 2, current }));
    let again: Vec<Vec<u8>> = raw.world.relay.envelopes[before..]
        .iter()
        .map(|e| raw.session.decrypt(&Envelope::decode(e).unwrap(), 0).unwrap().content)
        .collect();
    assert_eq!(again, [hello], "the same bytes under the same counter");
}

#[test]
fn read_marks_and_typing_of_a_device_without_acceptance_claim_nothing() {
    let (mut raw, _) = Raw::new(41);
    raw.say(&Kind::Read(2));
    assert_eq!(raw.world.texts(raw.customer, &raw.id)[0].2, MessageState::Sent, "read is what was delivered");
}

#[test]
fn receipts_of_a_device_without_acceptance_do_not_empty_the_outbox() {
    let (mut raw, hello) = Raw::new(43);
    let device = raw.world.clients[raw.customer].engine.own_device(&raw.id).unwrap();
    let head = next_head(&next_head(&first_head(&raw.id, &device), 1, &raw.profile), 2, &hello);
    raw.say_with(&Kind::Receipt(()), vec![Head { device, counter: 2, hash: head }]);
    assert_eq!(
        raw.world.texts(raw.customer, &raw.id)[0].2,
        MessageState::Sent,
        "not delivered to anybody who accepted"
    );
    // It never accepts: the next agent gets everything.
    raw.world.relay.substitute_chain = None;
    raw.world.relay.substitute_bundle = None;
    raw.world.add_agent("nils", "Nils");
    raw.world.pass(2_000);
    let id = raw.id;
    let nils = raw.world.clients.len() - 1;
    raw.world.relay.preferred = vec![raw.world.clients[nils].engine.agent_public().unwrap().hash()];
    raw.world.relay.reassign(&id);
    raw.world.pass(10_000);
    assert_eq!(raw.world.texts(nils, &id).iter().map(|t| t.1.as_str()).collect::<Vec<_>>(), ["hello"]);
    assert_eq!(raw.world.texts(raw.customer, &id)[0].2, MessageState::Delivered);
}

#[test]
fn a_renewed_certificate_is_fetched_and_has_to_be_the_same_devices() {
    let (mut world, agent, customer, id) = World::talking(42);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let other = DeviceSecret::generate(&mut rng(5)).public();
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    let renew = |world: &mut World, device| {
        let mut body = world.org.certificate("mira", "Mira", &["support"], device);
        body.not_before += DEVICE_LIFE / 2;
        body.not_after += DEVICE_LIFE / 2;
        world.org.chain(&body)
    };
    world.relay.renewed = Some(renew(&mut world, other));
    world.clock += DEVICE_LIFE;
    world.say(customer, id, "after the end");
    world.pass(60_000);
    assert!(world.problems(customer).contains(&"certificate_expired"));
    assert_eq!(
        world.texts(customer, &id)[0].2,
        MessageState::Waiting,
        "another device's certificate does not help"
    );
    // Nor does the same device's under another name.
    let mut boss = world.org.certificate("boss", "Boss", &["support"], device);
    boss.not_before += DEVICE_LIFE / 2;
    boss.not_after += DEVICE_LIFE / 2;
    world.relay.renewed = Some(world.org.chain(&boss));
    world.disconnect_all();
    world.pass(60_000);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Waiting);
    world.relay.renewed = Some(renew(&mut world, device));
    world.disconnect_all();
    world.say(customer, id, "again");
    world.pass(60_000);
    let states: Vec<MessageState> = world.texts(customer, &id).into_iter().map(|m| m.2).collect();
    assert_eq!(states, [MessageState::Sent, MessageState::Sent]);
}

fn text(text: &str) -> Kind {
    Kind::Text(Text(text.into()))
}

#[test]
fn an_agent_is_heard_from_its_acceptance_on() {
    let (mut raw, _) = Raw::new(44);
    raw.say_counted(1, &text("before the acceptance"), Vec::new());
    assert!(raw.shown().is_empty());
    raw.world.pass(20 * 60_000);
    assert_eq!(raw.world.problems(raw.customer), [""; 0], "nothing is missing: no gap, no reset");
    raw.note(|current| Action::Accept { current });
    assert_eq!(raw.shown(), ["before the acceptance"]);
    raw.say_counted(2, &text("after it"), Vec::new());
    assert_eq!(raw.shown(), ["before the acceptance", "after it"]);
}

/// A thief of the agent's keys decides when the conversation ends, not what leaves then.
#[test]
fn a_close_by_a_revoked_device_releases_nothing() {
    let (mut raw, _) = Raw::new(45);
    raw.note(|current| Action::Accept { current });
    let own = raw.world.clients[raw.customer].engine.own_device(&raw.id).unwrap();
    let now = raw.world.org.now;
    raw.world.org.revoke(1, now, vec![Revoked::Device(raw.secret.hash())]);
    let list = raw.world.org.revocations.clone().unwrap();
    raw.world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    raw.world.pass(1_000);
    let (customer, id, before) = (raw.customer, raw.id, raw.world.relay.envelopes.len());
    raw.world.say(customer, id, "my card is 4111");
    raw.world.pass(1_000);
    raw.note(|current| Action::Close { current, heads: Vec::new() });
    raw.world.pass(60_000);
    assert_eq!(raw.world.phase(customer, &id), Some(Phase::Closed));
    assert_eq!(raw.world.relay.envelopes.len(), before);
}

/// A device that is certified for two agents is shown as the one whom the customer's statement lists.
#[test]
fn a_note_does_not_rename_its_signer() {
    let (mut raw, _) = Raw::new(46);
    let boss = raw.world.org.agent_chain("boss", "The Boss", raw.secret.public());
    raw.note_with(Some(boss), |current| Action::Accept { current });
    assert_eq!(raw.world.phase(raw.customer, &raw.id), Some(Phase::Active));
    assert_eq!(raw.name().unwrap(), "Mira");
}

/// A renewed certificate has another name; the one before is still valid.
#[test]
fn an_earlier_certificate_does_not_come_back() {
    let (mut raw, _) = Raw::new(47);
    let before = raw.world.org.certificate("mira", "Mira", &["support"], raw.secret.public());
    let mut renewed =
        raw.world.org.certificate("mira", "Mira (night shift)", &["support"], raw.secret.public());
    renewed.not_before += 1_000;
    let (before, renewed) = (raw.world.org.chain(&before), raw.world.org.chain(&renewed));
    raw.note_with(Some(renewed), |current| Action::Accept { current });
    assert_eq!(raw.name().unwrap(), "Mira (night shift)");
    raw.note_with(Some(before), |current| Action::Close { current, heads: Vec::new() });
    assert_eq!(raw.world.phase(raw.customer, &raw.id), Some(Phase::Closed));
    assert_eq!(raw.name().unwrap(), "Mira (night shift)");
}

#[test]
fn a_profile_is_the_customers_alone() {
    let (mut raw, _) = Raw::new(48);
    raw.note(|current| Action::Accept { current });
    let key = SigningSecret::generate(&mut rng(7));
    let body = [raw.id.as_bytes(), &raw.secret.hash().as_bytes()[..]].concat();
    let signature = key.sign(labels::PROFILE, &body);
    let profile = ProfileSignature { profile: *key.verify_key().as_bytes(), signature };
    raw.say_counted(1, &Kind::Profile(profile), Vec::new());
    assert!(raw.world.problems(raw.customer).contains(&"profile_refused"));
    assert_eq!(raw.world.clients[raw.customer].engine.conversation(&raw.id).unwrap().profile, None);
}

/// After a reassignment its typing shows nobody, and its refusals make nothing be sealed anew.
#[test]
fn a_former_agents_typing_and_refusals_count_for_nothing() {
    let (mut raw, _) = Raw::new(49);
    raw.say(&Kind::Receipt(()));
    let own = raw.world.clients[raw.customer].engine.own_device(&raw.id).unwrap();
    let typing = |raw: &mut Raw| {
        let content = Content::new(0, 1, Vec::new(), &Kind::Typing(true)).encode().unwrap();
        let envelope = raw.session.encrypt_ephemeral(&content, &mut raw.rng).unwrap().encode();
        raw.world.relay.push(&own, Ephemeral { envelope });
        raw.world.settle();
        let shown = |e: &Event| matches!(e, Event::Typing { .. });
        raw.world.clients[raw.customer].take_events().iter().filter(|e| shown(e)).count()
    };
    assert_eq!(typing(&mut raw), 1);
    let epoch = raw.world.relay.governance(&raw.id).unwrap().current().clone();
    let (past, named) = (epoch.roster_hash, epoch.statement);
    raw.world.relay.substitute_chain = None;
    raw.world.relay.substitute_bundle = None;
    let nils = raw.world.add_agent("nils", "Nils");
    raw.world.pass(2_000);
    let device = raw.world.clients[nils].engine.agent_public().unwrap();
    raw.world.clients[nils].input(Input::Online(false));
    raw.world.settle();
    raw.world.relay.preferred = vec![device.hash()];
    raw.world.relay.reassign(&raw.id);
    raw.world.pass(3_000);
    let current = raw.world.relay.governance(&raw.id).unwrap().current().statement;
    assert_eq!(typing(&mut raw), 0);
    let before = raw.world.relay.envelopes.len();
    let stale = Kind::StaleEpoch(StaleEpoch { counter: 2, current });
    let content = Content::new(0, 1, Vec::new(), &stale).encode().unwrap();
    let envelope = raw.session.encrypt(&content, 1, past, &mut raw.rng).unwrap();
    raw.inject(Item::Envelope(envelope.encode()));
    assert_eq!(raw.world.relay.envelopes.len(), before);

    // Nor does it begin a session, which would cost the customer a one-time pair.
    let customer = raw.world.relay.governance(&raw.id).unwrap().current().roster.customer().device;
    let bundle = raw.world.relay.bundle(&own).unwrap();
    assert!(bundle.one_time.is_some());
    let bundle = bundle.verify(&customer, raw.world.now().wall_ms).unwrap();
    let binding = Binding { conversation: raw.id, statement: named, generation: 0 };
    let mut session = Session::initiate(&raw.secret, &bundle, binding, &mut raw.rng).unwrap();
    let envelope = session.encrypt(b"x", 1, past, &mut raw.rng).unwrap();
    let (pairs, sessions) = (raw.rows(0x06), raw.rows(0x09));
    assert!(pairs > 0);
    raw.inject(Item::Envelope(envelope.encode()));
    assert_eq!((raw.rows(0x06), raw.rows(0x09)), (pairs, sessions));
}

/// The signer chooses the time of a close: one in the far future keeps no browser connected.
#[test]
fn a_close_of_the_far_future_ends_the_connection() {
    let (mut raw, _) = Raw::new(50);
    raw.world.clients[raw.customer].take_events();
    raw.time = u64::MAX - 1;
    raw.note(|current| Action::Accept { current });
    // What the customer wrote is receipted, so that nothing keeps it.
    let device = raw.world.clients[raw.customer].engine.own_device(&raw.id).unwrap();
    let mut head = next_head(&first_head(&raw.id, &device), 1, &raw.profile);
    head = next_head(&head, 2, &raw.hello);
    raw.say_with(&Kind::Receipt(()), vec![Head { device, counter: 2, hash: head }]);
    raw.note(|current| Action::Close { current, heads: Vec::new() });
    raw.world.pass(20 * 60_000);
    let off = |e: &Event| matches!(e, Event::Link { state: LinkState::Offline, .. });
    assert!(raw.world.clients[raw.customer].events.iter().any(off));
}

/// What a replaced agent left, and sends without end, takes no room from the one who answers now.
#[test]
fn a_former_agents_contents_that_wait_take_nothing_from_the_next_one() {
    const HELD: u8 = 0x0e;
    let (mut raw, _) = Raw::new(51);
    raw.say_for_never(2..302);
    assert_eq!(raw.rows(HELD), 256);
    let nils = raw.replaced("nils");
    assert_eq!(raw.world.phase(raw.customer, &raw.id), Some(Phase::Active));
    assert_eq!(raw.rows(HELD), 0, "there is no epoch in which it could have a place");
    // The next one's contents come in the wrong order.
    raw.world.clients[raw.customer].input(Input::Online(false));
    raw.world.settle();
    let before = raw.world.relay.envelopes.len();
    raw.world.say(nils, raw.id, "one");
    raw.world.say(nils, raw.id, "two");
    raw.world.settle();
    let [one, two] = &raw.world.relay.envelopes[before..] else { panic!("two contents") };
    let (one, two) = (one.clone(), two.clone());
    raw.world.relay.forget_items();
    raw.world.clients[raw.customer].input(Input::Online(true));
    raw.inject(Item::Envelope(two));
    assert_eq!(raw.rows(HELD), 1);
    raw.say_for_never(302..402);
    assert_eq!(raw.rows(HELD), 33, "an eighth");
    raw.inject(Item::Envelope(one));
    assert_eq!(raw.shown(), ["one", "two"]);
}

/// The relay delivers a text and says that it does not: the agent's receipt is the truth, and no false one.
#[test]
fn a_receipt_outweighs_that_a_content_was_given_up() {
    for restarts in [false, true] {
        let (mut raw, hello) = Raw::new(52);
        let (customer, id) = (raw.customer, raw.id);
        raw.note(|current| Action::Accept { current });
        raw.world.relay.refuse_sends = Some(Code::Closed);
        raw.world.say(customer, id, "in time");
        raw.world.pass(1_000);
        raw.note(|current| Action::Close { current, heads: Vec::new() });
        raw.world.pass(30_000);
        let state = |raw: &Raw| raw.world.texts(customer, &id).into_iter().rfind(|m| m.0).unwrap().2;
        assert_eq!(state(&raw), MessageState::Undelivered);
        if restarts {
            raw.world.restart(customer);
            raw.world.pass(1_000);
        }
        let sent =
            raw.world.clients[customer].transcript(&id).unwrap().into_iter().rfind(|m| m.mine).unwrap();
        let late = Content::new(3, sent.time, Vec::new(), &sent.kind).encode().unwrap();
        let device = raw.world.clients[customer].engine.own_device(&id).unwrap();
        let mut hash = first_head(&id, &device);
        for (counter, bytes) in (1..).zip([&raw.profile, &hello, &late]) {
            hash = next_head(&hash, counter, bytes);
        }
        let receipt = |hash| vec![Head { device, counter: 3, hash }];
        if !restarts {
            raw.say_with(&Kind::Receipt(()), receipt(HeadHash([1; 32])));
            assert_eq!(raw.world.problems(customer).last(), Some(&"bad_receipt"));
        }
        let told = raw.world.problems(customer).len();
        raw.say_with(&Kind::Receipt(()), receipt(hash));
        assert_eq!(raw.world.problems(customer).len(), told);
        let expected = if restarts { MessageState::Undelivered } else { MessageState::Delivered };
        assert_eq!(state(&raw), expected);
    }
}
