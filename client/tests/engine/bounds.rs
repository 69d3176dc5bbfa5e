//! What one customer or a lying relay can make a device keep, and what never gets lost by it.

use sealdesk_client::testing::World;
use sealdesk_client::{Command, MessageState};
use sealdesk_protocol::conversation::VerifiedStatement;
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::crypto::certificate::Revoked;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::RosterHash;
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::testing::{handle, rng};
use sealdesk_protocol::wire::{Code, Item, StatementItem};

use crate::raw::Raw;

const DAY: u64 = 24 * 60 * 60 * 1000;

#[test]
fn one_generation_is_one_session() {
    let mut raw = Raw::new(80);
    raw.say(&Raw::text(1, "first"));
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let bundle = raw.world.relay.bundle(&device.hash()).unwrap();
    let bundle = bundle.verify(&device, raw.world.now().wall_ms).unwrap();
    let statement = raw.governance.current().statement;
    let binding = Binding { conversation: raw.id, statement, generation: 0 };
    let second = Session::initiate(&raw.secret, &bundle, binding, &mut raw.rng).unwrap();
    let first = core::mem::replace(&mut raw.session, second);
    raw.say(&Raw::text(2, "in a second session"));
    assert_eq!(raw.problems(), ["set_aside"]);
    raw.session = first;
    raw.say(&Raw::text(2, "second"));
    assert_eq!(raw.shown(), ["first", "second"]);
}

#[test]
fn contents_that_wait_are_bounded_in_bytes() {
    let mut raw = Raw::new(81);
    let long = "x".repeat(39 * 1024);
    for counter in 2..40 {
        let content = Raw::text(counter, &long).encode().unwrap();
        let envelope = raw.seal_for(&content, 2, RosterHash([9; 32]));
        let mailbox = raw.world.clients[raw.agent].engine.agent_public().unwrap().mailbox();
        raw.world.relay.inject(mailbox, Item::Envelope(envelope.encode()));
    }
    raw.world.pass(5_000);
    let refused = raw.problems().len();
    assert!((10..20).contains(&refused), "1 MiB of 38 waits, the rest is set aside: {refused}");
}

/// Statements of one customer whose predecessor is missing, as many as one may keep waiting, do not push out another's.
#[test]
fn one_customer_does_not_push_out_what_others_wait_for() {
    let mut raw = Raw::new(82);
    let mailbox = raw.world.clients[raw.agent].engine.agent_public().unwrap().mailbox();
    let orphan = |signer: &DeviceSecret, conversation, time| {
        let current = sealdesk_protocol::ids::StatementHash([7; 32]);
        let action = Action::Close { current, heads: Vec::new() };
        let root = raw.world.org.root_hash();
        let statement = Statement {
            root,
            conversation,
            epoch: 1,
            signer: signer.hash(),
            time,
            expires: u64::MAX,
            action,
        };
        Item::Statement(StatementItem { statement: statement.sign(signer), agent: None, consent: None })
    };
    let stranger = DeviceSecret::generate(&mut rng(5));
    let other = sealdesk_protocol::ids::ConversationId([3; 32]);
    let mut items = vec![orphan(&raw.secret, raw.id, 0)];
    items.extend((0..400).map(|time| orphan(&stranger, other, time)));
    // Names that are invented anew each time fill no more than one small budget.
    items.extend((0..400u16).map(|n| {
        let mut id = [4; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        orphan(&stranger, sealdesk_protocol::ids::ConversationId(id), 0)
    }));
    items.into_iter().for_each(|item| raw.world.relay.inject(mailbox, item));
    raw.world.pass(20_000);
    // What is over the bound was quarantined; the first customer goes on.
    raw.say(&Raw::text(1, "still here"));
    assert_eq!(raw.shown(), ["still here"]);
}

#[test]
fn a_long_chain_in_reverse_is_applied_without_nesting() {
    let mut raw = Raw::with(83, true);
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let mut governance = raw.governance.clone();
    let mut chain = Vec::new();
    for epoch in 2..=250 {
        let other = DeviceSecret::generate(&mut rng(1_000 + u64::from(epoch)));
        let (name, listed) = if epoch % 2 == 0 { ("nils", other.public()) } else { ("mira", device) };
        let roster =
            sealdesk_protocol::conversation::Roster::of(raw.secret.public(), handle(name), listed).unwrap();
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
        chain.push(statement);
    }
    let mailbox = device.mailbox();
    for statement in chain.into_iter().rev() {
        let item = StatementItem { statement, agent: None, consent: None };
        raw.world.relay.inject(mailbox, Item::Statement(item));
    }
    raw.world.pass(20_000);
    let view = raw.world.clients[raw.agent].engine.conversation(&raw.id).unwrap();
    assert_eq!(view.epoch, 250);
}

#[test]
fn a_content_that_expired_or_was_refused_is_sent_again_and_those_after_it_arrive() {
    let (mut world, agent, customer, id) = World::talking(84);
    world.clients[agent].input(sealdesk_client::Input::Online(false));
    world.settle();
    world.say(customer, id, "anybody?");
    world.pass(2_000);
    world.relay.forget_items();
    world.clock += 31 * DAY;
    world.pass(2 * 60 * 60_000);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Undelivered);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let mut body = world.org.certificate("mira", "Mira", &["support"], device);
    body.not_before = world.now().wall_ms;
    body.not_after = body.not_before + 10 * DAY;
    let chain = world.org.chain(&body);
    world.clients[agent].command(sealdesk_client::Command::InstallCertificate { chain: chain.clone() });
    world.relay.renewed = Some(chain);
    world.clients[agent].input(sealdesk_client::Input::Online(true));
    world.say(customer, id, "and now?");
    world.pass(3 * 60 * 60_000);
    let texts: Vec<String> = world.texts(agent, &id).into_iter().map(|t| t.1).collect();
    assert_eq!(texts, ["anybody?", "and now?"]);
    let states: Vec<MessageState> = world.texts(customer, &id).into_iter().map(|t| t.2).collect();
    assert_eq!(states, [MessageState::Delivered, MessageState::Delivered]);
}

/// Whatever reason the relay gives, as long as this device knows better.
#[test]
fn one_refused_envelope_does_not_end_a_conversation() {
    for code in [Code::TooLarge, Code::NotListed, Code::Closed, Code::UnknownConversation] {
        let (mut world, agent, customer, id) = World::talking(85);
        world.relay.refuse_sends = Some(code);
        world.say(customer, id, "refused once");
        world.pass(2_000);
        assert_eq!(world.texts(customer, &id)[0].2, MessageState::Undelivered);
        world.relay.refuse_sends = None;
        world.say(customer, id, "after it");
        world.pass(20 * 60_000);
        let texts: Vec<String> = world.texts(agent, &id).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["refused once", "after it"], "{code:?}");
    }
}

/// The relay says that it is closed before the close statement has come: then it does end.
#[test]
fn a_refused_envelope_of_a_closed_conversation_is_given_up_when_the_close_comes() {
    let (mut world, agent, customer, id) = World::talking(88);
    world.relay.refuse_sends = Some(Code::Closed);
    world.say(customer, id, "too late");
    world.pass(2_000);
    world.clients[agent].command(Command::Close { conversation: id });
    world.pass(30_000);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Undelivered);
    assert!(!world.clients[customer].engine.has_unsent());
}

#[test]
fn revocations_survive_a_restart_with_an_older_org_json() {
    let (mut world, _, customer, _) = World::talking(86);
    let before = world.org.verified();
    let now = world.org.now;
    world.org.revoke(4, now, vec![Revoked::Device(DeviceSecret::generate(&mut rng(1)).hash())]);
    let newer = world.org.verified();
    assert_eq!(newer.revocations().number(), 4);
    world.clients[customer].command(sealdesk_client::Command::UpdateOrg { org: Box::new(newer) });
    world.settle();
    world.clients[customer].set_org(before);
    let now = world.now();
    let refused = world.clients[customer].reopen(now);
    assert!(matches!(refused, Err(sealdesk_client::Corrupt::OrganisationRollback)), "{refused:?}");
}

#[test]
fn a_list_that_may_not_follow_locks_nobody_out() {
    let (mut world, _, customer, _) = World::talking(87);
    let before = world.org.verified();
    let now = world.org.now;
    // A second issuer revokes the first one; whoever stole the first one's key signs a later, empty list.
    let thief = world.org.verified();
    let first = sealdesk_protocol::crypto::certificate::certificate_id(&world.org.issuer_certificate);
    let second = sealdesk_protocol::crypto::identity::SigningSecret::generate(&mut rng(88));
    let certificate = sealdesk_protocol::crypto::certificate::IssuerCertificate {
        root: world.org.root_hash(),
        root_version: 1,
        key: second.verify_key(),
        serial: 2,
        not_before: now,
        not_after: now + DAY,
    }
    .sign(&world.org.root);
    let old_certificate = core::mem::replace(&mut world.org.issuer_certificate, certificate);
    let old_issuer = core::mem::replace(&mut world.org.issuer, second);
    world.org.revoke(5, now, vec![Revoked::Issuer(first)]);
    let honest = world.org.verified();
    let update = |world: &mut World, org: &sealdesk_protocol::org::VerifiedOrg| {
        world.clients[customer].take_events();
        world.clients[customer].command(sealdesk_client::Command::UpdateOrg { org: Box::new(org.clone()) });
        world.settle();
        world.problems(customer)
    };
    assert_eq!(update(&mut world, &honest), ["certificate_revoked"], "the agent's is under the first issuer");
    // The stolen key's settings without any list, and with a later one.
    assert_eq!(update(&mut world, &thief), ["org_refused"]);
    world.org.issuer_certificate = old_certificate;
    world.org.issuer = old_issuer;
    world.org.revoke(6, now, Vec::new());
    let stolen = world.org.verified();
    assert_eq!(update(&mut world, &stolen), ["org_refused"]);
    world.clients[customer].set_org(honest);
    let at = world.now();
    assert!(world.clients[customer].reopen(at).is_ok(), "the vault still opens");
    world.clients[customer].set_org(before);
    assert!(world.clients[customer].reopen(at).is_err(), "not with the revoked issuer's file");
}

#[test]
fn so_much_may_be_written_without_a_receipt() {
    let (mut world, _, customer, id) = World::talking(97);
    world.clients[customer].input(sealdesk_client::Input::Online(false));
    world.settle();
    let command = |n: usize| Command::Send { conversation: id, kind: Kind::Text(Text(format!("text {n}"))) };
    for n in 0..1_000 {
        world.clients[customer].command(command(n));
    }
    world.settle();
    assert_eq!(world.problems(customer), [""; 0]);
    world.clients[customer].command(command(1_000));
    world.settle();
    assert_eq!(world.problems(customer), ["too_many_waiting"]);
    world.clients[customer].input(sealdesk_client::Input::Online(true));
    world.pass(30_000);
    world.clients[customer].command(command(1_001));
    world.pass(5_000);
    assert_eq!(world.texts(customer, &id).last().unwrap().2, MessageState::Delivered);
}
