//! An agent's device whose certificate is revoked or has ended: nothing leaves for it, nothing of it counts (§7.6).

use sealdesk_client::testing::World;
use sealdesk_client::{Command, Corrupt, Event, Input, LinkState, MessageState, Phase};
use sealdesk_protocol::crypto::certificate::{
    DEVICE_LIFE, ISSUER_LIFE, IssuerCertificate, RevocationList, Revoked, SignedRevocations, certificate_id,
};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::Code;
use sealdesk_protocol::wire::envelope::Envelope;

/// A list that revokes the agent's device.
fn revoke(world: &mut World, agent: usize) -> SignedRevocations {
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Device(device)]);
    world.org.revocations.clone().unwrap()
}

/// The same, brought to the customer, who is connected.
fn revoke_now(world: &mut World, agent: usize, customer: usize, id: &ConversationId) {
    let list = revoke(world, agent);
    let own = world.clients[customer].engine.own_device(id).unwrap();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
}

#[test]
fn closing_does_not_release_what_was_held_back() {
    let (mut world, agent, customer, id) = World::talking(110);
    revoke_now(&mut world, agent, customer, &id);
    let before = world.relay.envelopes.len();
    world.say(customer, id, "my card is 4111");
    world.pass(1_000);
    world.clients[customer].command(Command::Close { conversation: id });
    world.settle();
    let closing = |world: &World| world.clients[customer].engine.conversation(&id).unwrap().closing;
    assert!(closing(&world), "what was written has a moment to leave");
    world.pass(60_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Closed));
    assert!(!closing(&world));
    assert_eq!(world.relay.envelopes.len(), before);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Undelivered, "it never will be");
    assert_eq!(world.problems(customer), ["certificate_revoked"], "told once");
}

#[test]
fn what_was_sealed_before_does_not_leave_after_it() {
    for expired in [false, true] {
        let (mut world, agent, customer, id) = World::talking(111);
        world.clients[customer].input(Input::Online(false));
        for n in 0..3 {
            world.say(customer, id, &format!("offline {n}"));
        }
        world.settle();
        let before = world.relay.envelopes.len();
        if expired {
            world.clock += DEVICE_LIFE;
        } else {
            world.relay.revocations = Some(revoke(&mut world, agent));
        }
        world.clients[customer].input(Input::Online(true));
        world.pass(60_000);
        let why = if expired { "certificate_expired" } else { "certificate_revoked" };
        assert_eq!(world.problems(customer), [why]);
        assert_eq!(world.relay.envelopes.len(), before, "{why}");
        assert!(world.texts(customer, &id).iter().all(|t| t.2 == MessageState::Waiting));
    }
}

#[test]
fn a_revoked_device_is_not_heard_and_gets_no_answer() {
    let (mut world, agent, customer, id) = World::talking(112);
    world.say(customer, id, "hello");
    world.say(agent, id, "hi");
    world.pass(2_000);
    revoke_now(&mut world, agent, customer, &id);
    let mailbox = world.clients[agent].engine.agent_public().unwrap().mailbox();
    let to_thief = |world: &World| {
        let sent = world.relay.envelopes.iter().map(|e| Envelope::decode(e).unwrap());
        sent.filter(|e| e.mailbox == mailbox).count()
    };
    let before = to_thief(&world);
    let told = world.clients[customer].events.len();
    // The test's relay still carries what the thief of the keys says.
    world.say(agent, id, "please confirm your password");
    world.clients[agent].command(Command::Typing { conversation: id, on: true });
    world.clients[customer].command(Command::Typing { conversation: id, on: true });
    world.clients[customer].command(Command::MarkRead { conversation: id, counter: 1 });
    world.pass(60_000);
    let texts: Vec<String> = world.texts(customer, &id).into_iter().map(|t| t.1).collect();
    assert_eq!(texts, ["hello", "hi"]);
    // Both ways of asking who can read say it, also after a restart.
    for _ in 0..2 {
        let view = world.clients[customer].engine.conversation(&id).unwrap();
        let refused: Vec<_> = view.readers.iter().map(|r| (r.me, r.refused)).collect();
        assert_eq!(refused.len(), 2);
        assert!(refused.contains(&(true, None)) && refused.contains(&(false, Some("certificate_revoked"))));
        world.restart(customer);
        world.pass(1_000);
    }
    assert_eq!(to_thief(&world), before, "no receipt, no read mark");
    let own_typing = world.relay.counts.get("SendEphemeral").copied().unwrap_or(0);
    assert_eq!(own_typing, 1, "the agent's alone");
    let typing = |e: &Event| matches!(e, Event::Typing { .. });
    assert!(!world.clients[customer].events[told..].iter().any(typing));
    assert!(!world.relay.counts.contains_key("FetchPrekeys"), "nor a session");
}

/// A certificate that merely ended: what came meanwhile is shown when it is renewed.
#[test]
fn a_device_is_heard_again_when_its_certificate_is_renewed() {
    let (mut world, agent, customer, id) = World::talking(113);
    let device = world.clients[agent].engine.agent_public().unwrap();
    world.clients[customer].input(Input::Online(false));
    world.settle();
    world.say(agent, id, "one");
    world.say(agent, id, "two");
    world.pass(2_000);
    world.clients[agent].input(Input::Online(false));
    world.clock += DEVICE_LIFE;
    world.clients[customer].input(Input::Online(true));
    world.pass(20 * 60_000);
    assert!(world.texts(customer, &id).is_empty());
    assert_eq!(world.problems(customer), ["certificate_expired"], "no gap, no reset");
    let mut body = world.org.certificate("mira", "Mira", &["support"], device);
    body.not_before += DEVICE_LIFE / 2;
    body.not_after += DEVICE_LIFE / 2;
    world.relay.renewed = Some(world.org.chain(&body));
    world.pass(11 * 60_000);
    let texts: Vec<String> = world.texts(customer, &id).into_iter().map(|t| t.1).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(world.resolved(customer), [(Some(id), "certificate_expired")], "told that it holds no longer");
}

/// One under a revoked issuer may be certified anew, and then what waits is sent.
#[test]
fn only_a_device_that_is_revoked_itself_is_gone_for_good() {
    for gone in [true, false] {
        let (mut world, agent, customer, id) = World::talking(121);
        let now = world.org.now;
        let device = world.clients[agent].engine.agent_public().unwrap().hash();
        let (_, issuer) = world.org.next_issuer(7);
        let revoked = if gone { Revoked::Device(device) } else { Revoked::Issuer(certificate_id(&issuer)) };
        world.org.revoke(1, now, vec![revoked]);
        let own = world.clients[customer].engine.own_device(&id).unwrap();
        let list = world.org.revocations.clone().unwrap();
        world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
        world.pass(1_000);
        let reader = world.clients[customer].engine.conversation(&id).unwrap().readers.remove(1);
        assert_eq!((reader.refused, reader.gone), (Some("certificate_revoked"), gone));
        let hint = world.clients[customer].events.iter().find_map(|event| match event {
            Event::Problem { problem, .. } => Some(problem.hint.clone()),
            _ => None,
        });
        assert_eq!(hint.unwrap().starts_with("Start a new conversation"), gone);
    }
}

/// Another is named then.
#[test]
fn whoever_has_not_accepted_is_not_gone_for_good() {
    let mut world = World::new(122);
    let agent = world.add_agent("mira", "Mira");
    world.clients[agent].command(Command::SetAvailability { available: true, capacity: 5, manual: true });
    world.pass(2_000);
    let customer = world.add_customer();
    let id = world.conversation(customer);
    world.pass(2_000);
    assert_eq!(world.phase(customer, &id), Some(Phase::Assigned));
    revoke_now(&mut world, agent, customer, &id);
    world.say(customer, id, "to whom?");
    world.pass(2_000);
    let reader = world.clients[customer].engine.conversation(&id).unwrap().readers.remove(1);
    assert_eq!((reader.refused, reader.gone), (Some("certificate_revoked"), false));
}

/// The relay has the organisation's newer keys first.
#[test]
fn a_refused_list_is_told_and_so_is_that_it_counts_now() {
    let (mut world, _, customer, id) = World::talking(119);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    let older = world.org.verified();
    world.org.settings.version += 1;
    let changed = world.org.verified();
    world.org.rotate(7);
    let newer = world.org.verified();
    let (_, given_up) = world.org.next_issuer(9);
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Issuer(certificate_id(&given_up))]);
    let list = world.org.revocations.clone().unwrap();
    for _ in 0..2 {
        world.relay.push(&own, sealdesk_protocol::wire::Revocations { list: list.clone() });
        world.pass(1_000);
    }
    assert_eq!(world.problems(customer), ["revocations_refused"; 2]);
    let update = |world: &mut World, org: &sealdesk_protocol::org::VerifiedOrg| {
        let id = world.clients[customer].command(Command::UpdateOrg { org: Box::new(org.clone()) });
        world.pass(1_000);
        let failed = world.clients[customer].events.iter().find_map(|event| match event {
            Event::Failed { id: of, problem } if *of == id => Some(problem.text.clone()),
            _ => None,
        });
        (world.resolved(customer), failed)
    };
    let nothing = (Vec::new(), None);
    assert_eq!(update(&mut world, &older), nothing, "the same one once more takes nothing back");
    assert_eq!(update(&mut world, &changed), nothing, "nor does another under which the list does not count");
    let resolved = vec![(None, "revocations_refused")];
    assert_eq!(update(&mut world, &newer), (resolved.clone(), None));
    // It was kept, and is in force: an issuer that it revokes signs no org.json any more.
    let refused = "org.json's issuer certificate is refused: the certificate was revoked.".to_owned();
    assert_eq!(update(&mut world, &newer), (resolved, Some(refused)));
}

/// What never verifies is overtaken by what the relay brings next, also where that is known here already.
#[test]
fn a_foreign_list_is_forgotten_with_the_next_that_counts() {
    for known in [false, true] {
        let (mut world, _, customer, id) = World::talking(123);
        let own = world.clients[customer].engine.own_device(&id).unwrap();
        let now = world.org.now;
        let push = |world: &mut World, list: &SignedRevocations| {
            world.relay.push(&own, sealdesk_protocol::wire::Revocations { list: list.clone() });
            world.pass(1_000);
        };
        let mut other = sealdesk_protocol::testing::TestOrg::new(99, now);
        other.revoke(9, now, Vec::new());
        world.org.revoke(1, now, Vec::new());
        let good = world.org.revocations.clone().unwrap();
        if known {
            push(&mut world, &good);
        }
        push(&mut world, &other.revocations.clone().unwrap());
        assert_eq!(world.problems(customer), ["revocations_refused"]);
        assert!(world.resolved(customer).is_empty());
        push(&mut world, &good);
        assert_eq!(world.resolved(customer), [(None, "revocations_refused")]);
    }
}

/// The issuer's certificate is newer than this device's clock thinks possible.
#[test]
fn a_list_that_is_taken_in_the_end_is_refused_no_longer() {
    let (mut world, _, customer, id) = World::talking(120);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    world.org.next_issuer(7);
    let early: IssuerCertificate = world.org.issuer_certificate.peek(4096).unwrap();
    let not_before = world.now().wall_ms + 60 * 60_000;
    world.org.issuer_certificate = IssuerCertificate { not_before, ..early }.sign(&world.org.root);
    world.org.revoke(1, not_before, Vec::new());
    let list = world.org.revocations.clone().unwrap();
    let push = |world: &mut World| {
        world.relay.push(&own, sealdesk_protocol::wire::Revocations { list: list.clone() });
        world.pass(1_000);
    };
    push(&mut world);
    assert_eq!(world.problems(customer), ["revocations_refused"]);
    assert!(world.resolved(customer).is_empty());
    world.pass(2 * 60 * 60_000);
    push(&mut world);
    assert_eq!(world.problems(customer), ["revocations_refused"]);
    assert_eq!(world.resolved(customer), [(None, "revocations_refused")]);
}

/// The key of an issuer that was renewed long ago, in a thief's hands, with the relay on his side.
#[test]
fn an_earlier_issuer_takes_no_revocation_back() {
    let (mut world, agent, customer, id) = World::talking(114);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    let (old_key, old_certificate) = world.org.next_issuer(7);
    let now = world.org.now;
    world.org.revoke(2, now, vec![Revoked::Device(device)]);
    let list = world.org.revocations.clone().unwrap();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
    assert_eq!(world.problems(customer), ["certificate_revoked"]);
    let before = world.relay.envelopes.len();
    for number in [3, u64::MAX] {
        let list = RevocationList { root: world.org.root_hash(), number, issued: now, revoked: Vec::new() };
        let list = SignedRevocations { issuer: old_certificate.clone(), list: list.sign(&old_key) };
        world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
        world.say(customer, id, "to whom?");
        world.pass(5_000);
        assert_eq!(world.relay.envelopes.len(), before, "{number}");
    }
    // Nothing is frozen either: the issuer in office goes on.
    world.org.revoke(3, now, Vec::new());
    let list = world.org.revocations.clone().unwrap();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(5_000);
    assert_eq!(world.texts(agent, &id).len(), 2);
}

/// An issuer whose time is over, and that was never renewed: the signer chooses the time of signing, the reader's clock
/// decides.
#[test]
fn an_expired_issuer_signs_no_new_list() {
    let (mut world, agent, customer, id) = World::talking(115);
    let list = revoke(&mut world, agent);
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    world.clock += ISSUER_LIFE;
    world.pass(5_000);
    world.clients[customer].take_events();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
    assert_eq!(world.problems(customer), ["revocations_refused"]);
}

/// The relay brought the list; the file beside the vault is still the revoked issuer's, of the version that was seen.
#[test]
fn a_vault_does_not_open_under_the_file_of_a_revoked_issuer() {
    let (mut world, _, customer, id) = World::talking(116);
    let stolen = world.org.verified();
    let issuer = certificate_id(&world.org.issuer_certificate);
    world.org.next_issuer(8);
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Issuer(issuer)]);
    let list = world.org.revocations.clone().unwrap();
    let own = world.clients[customer].engine.own_device(&id).unwrap();
    world.relay.push(&own, sealdesk_protocol::wire::Revocations { list });
    world.pass(1_000);
    let at = world.now();
    world.clients[customer].set_org(stolen);
    assert_eq!(world.clients[customer].reopen(at), Err(Corrupt::OrganisationRollback));
    let honest = world.org.verified();
    world.clients[customer].set_org(honest);
    assert_eq!(world.clients[customer].reopen(at), Ok(()));
}

/// After a change of the root every agent is certified anew, a moment later than the customers hear of it.
#[test]
fn a_renewed_certificate_is_soon_asked_for() {
    let (mut world, agent, customer, id) = World::talking(115);
    let device = world.clients[agent].engine.agent_public().unwrap();
    world.clients[customer].input(Input::Online(false));
    world.settle();
    world.say(agent, id, "one");
    world.pass(2_000);
    world.clients[agent].input(Input::Online(false));
    world.clock += DEVICE_LIFE;
    world.clients[customer].input(Input::Online(true));
    world.pass(7_000);
    assert!(world.texts(customer, &id).is_empty());
    let mut body = world.org.certificate("mira", "Mira", &["support"], device);
    body.not_before += DEVICE_LIFE / 2;
    body.not_after += DEVICE_LIFE / 2;
    world.relay.renewed = Some(world.org.chain(&body));
    world.pass(30_000);
    assert_eq!(world.texts(customer, &id).len(), 1);
}

fn last_link(world: &World, client: usize) -> LinkState {
    let links = world.clients[client].events.iter().rev().find_map(|event| match event {
        Event::Link { state, .. } => Some(state.clone()),
        _ => None,
    });
    links.unwrap()
}

/// An agent whose certificate was revoked, and not its device, comes back with another one.
#[test]
fn only_a_device_that_was_revoked_itself_is_refused_for_good() {
    let (mut world, agent, ..) = World::talking(121);
    let device = world.clients[agent].engine.agent_public().unwrap();
    let push = |world: &mut World, revoked: Vec<Revoked>| {
        let number = world.org.revocations.as_ref().map_or(1, |_| 2);
        let now = world.org.now;
        world.org.revoke(number, now, revoked);
        world.relay.revocations = world.org.revocations.clone();
        let list = world.org.revocations.clone().unwrap();
        world.relay.push(&device.hash(), sealdesk_protocol::wire::Revocations { list });
        world.pass(2_000);
    };
    let issuer = certificate_id(&world.org.issuer_certificate);
    world.org.next_issuer(9);
    push(&mut world, vec![Revoked::Issuer(issuer)]);
    let state = last_link(&world, agent);
    assert!(matches!(&state, LinkState::Uncertified(why) if why.code == "own_certificate"), "{state:?}");
    world.pass(10 * 60_000);
    assert_eq!(last_link(&world, agent), state, "nothing is tried with it");
    let chain = world.org.agent_chain("mira", "Mira", device);
    world.clients[agent].command(Command::InstallCertificate { chain });
    world.pass(2_000);
    assert_eq!(last_link(&world, agent), LinkState::Online);

    push(&mut world, vec![Revoked::Device(device.hash())]);
    let state = last_link(&world, agent);
    assert!(matches!(&state, LinkState::Refused(why) if why.code == "device_revoked"), "{state:?}");
    // Neither does another one help it, and whoever installs one is told so.
    let told = |world: &World| world.problems(agent).iter().filter(|code| **code == "device_revoked").count();
    let before = told(&world);
    let chain = world.org.agent_chain("mira", "Mira", device);
    world.clients[agent].command(Command::InstallCertificate { chain });
    world.pass(1_000);
    assert_eq!(told(&world), before + 1);
}

/// The certificate has ended, and a newer one is waited for; then org.json says that none counts any more.
#[test]
fn a_device_that_is_revoked_after_its_certificate_ended_waits_for_none() {
    let (mut world, agent, ..) = World::talking(123);
    let device = world.clients[agent].engine.agent_public().unwrap().hash();
    world.clock += DEVICE_LIFE;
    world.pass(1_000);
    let state = last_link(&world, agent);
    assert!(matches!(&state, LinkState::Uncertified(why) if why.code == "own_certificate"), "{state:?}");
    let now = world.org.now;
    world.org.revoke(1, now, vec![Revoked::Device(device)]);
    let org = Box::new(world.org.verified());
    world.clients[agent].command(Command::UpdateOrg { org });
    world.pass(3 * 60 * 60 * 1000);
    let state = last_link(&world, agent);
    assert!(matches!(&state, LinkState::Refused(why) if why.code == "device_revoked"), "{state:?}");
    assert_eq!(world.problems(agent).iter().filter(|code| **code == "device_revoked").count(), 1);
}

/// The relay alone says that something was revoked: its word is not tried out, and a newer certificate is.
#[test]
fn a_certificate_that_the_relay_refuses_is_tried_again_and_one_that_it_calls_revoked_is_not() {
    for (code, tries) in [(Code::CertificateRefused, 2..20), (Code::Revoked, 0..1)] {
        let (mut world, agent, ..) = World::talking(122);
        let device = world.clients[agent].engine.agent_public().unwrap();
        world.relay.refuse_agents = Some(code);
        world.disconnect_all();
        world.pass(2_000);
        let before = world.relay.counts["Authenticate"];
        world.pass(5 * 60_000);
        let tried = world.relay.counts["Authenticate"] - before;
        assert!(tries.contains(&tried), "{code:?}: {tried}");
        let told =
            |state: &LinkState| matches!(state, LinkState::Uncertified(why) if why.code == code.as_str());
        assert!(told(&last_link(&world, agent)), "{code:?}");
        world.relay.refuse_agents = None;
        let chain = world.org.agent_chain("mira", "Mira", device);
        world.clients[agent].command(Command::InstallCertificate { chain });
        world.pass(1_000);
        assert_eq!(last_link(&world, agent), LinkState::Online, "{code:?}");
    }
}
