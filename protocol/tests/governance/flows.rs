//! What a statement changes, and who may sign it when.

use sealdesk_protocol::conversation::governance::{Effect, MAX_EPOCHS, MAX_GENERATION, MAX_OFFERS};
use sealdesk_protocol::conversation::statements::History;
use sealdesk_protocol::conversation::*;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::*;
use sealdesk_protocol::testing::handle;

use crate::cast::*;

#[test]
fn open_is_the_customers_and_its_id_commits_to_the_device() {
    let c = cast();
    assert!(!c.opened().is_accepted());
    let by_agent = c.statement(&c.mira, 1, c.open_action());
    assert_eq!(Governance::open(ROOT, &verified(&by_agent, &c.mira)), Err(Refusal::Signer));
    let second_epoch = c.signed(&c.customer, 2, c.open_action());
    assert_eq!(Governance::open(ROOT, &second_epoch), Err(Refusal::Epoch));
    let foreign = c.signed(&c.customer, 1, c.open_action());
    assert_eq!(Governance::open(RootHash([8; 32]), &foreign), Err(Refusal::Foreign));
    let mut stolen = c.statement(&c.customer, 1, c.open_action());
    stolen.conversation = ConversationId([5; 32]);
    assert_eq!(Governance::open(ROOT, &verified(&stolen, &c.customer)), Err(Refusal::Identity));
    let crowded = c.roster("mira", &c.mira).with_supervisor(handle("sven"), c.sven.public()).unwrap();
    let action = Action::Open {
        roster: crowded,
        topic: handle("general"),
        language: "en".into(),
        consent: [1; 32],
        nonce: NONCE,
    };
    assert_eq!(Governance::open(ROOT, &c.signed(&c.customer, 1, action)), Err(Refusal::Roster));
    let note = c.signed(&c.customer, 1, Action::Accept { current: StatementHash([0; 32]) });
    assert_eq!(Governance::open(ROOT, &note), Err(Refusal::Gap));
}

#[test]
fn only_the_named_agent_device_accepts_and_only_once() {
    let c = cast();
    let mut g = c.opened();
    let current = g.current().statement;
    for other in [&c.nils, &c.customer] {
        let accept = c.signed(other, 1, Action::Accept { current });
        assert_eq!(g.apply(&accept, Some(NOW)), Err(Refusal::Signer));
    }
    let early = c.signed(&c.mira, 1, Action::Accept { current: StatementHash([3; 32]) });
    assert_eq!(g.apply(&early, Some(NOW)), Err(Refusal::Gap));
    let wrong_epoch = c.signed(&c.mira, 2, Action::Accept { current });
    assert_eq!(g.apply(&wrong_epoch, Some(NOW)), Err(Refusal::Epoch));
    let accept = c.signed(&c.mira, 1, Action::Accept { current });
    assert_eq!(g.apply(&accept, Some(NOW)), Ok(Effect::Accepted));
    assert_eq!(g.apply(&accept, Some(NOW)), Err(Refusal::Known));
    let mut again = c.statement(&c.mira, 1, Action::Accept { current });
    again.time += 1;
    assert_eq!(g.apply(&verified(&again, &c.mira), Some(NOW)), Err(Refusal::Assignment));
}

#[test]
fn the_customer_reassigns_before_acceptance_and_not_after() {
    let c = cast();
    let mut g = c.opened();
    let previous = g.current().statement;
    let reassign =
        |signer: &DeviceSecret, roster: Roster| c.signed(signer, 2, Action::Reassign { previous, roster });
    let to_nils = c.roster("nils", &c.nils);
    assert_eq!(g.apply(&reassign(&c.mira, to_nils.clone()), None), Err(Refusal::Signer));
    assert_eq!(g.apply(&reassign(&c.customer, c.roster("mira", &c.mira)), None), Err(Refusal::Roster));
    let crowded = to_nils.with_supervisor(handle("sven"), c.sven.public()).unwrap();
    assert_eq!(g.apply(&reassign(&c.customer, crowded), None), Err(Refusal::Roster));
    let other_customer = Roster::of(c.sven.public(), handle("nils"), c.nils.public()).unwrap();
    assert_eq!(g.apply(&reassign(&c.customer, other_customer), None), Err(Refusal::Roster));

    let good = reassign(&c.customer, to_nils.clone());
    assert_eq!(g.apply(&good, None), Ok(Effect::Reassigned { from: c.mira.hash() }));
    assert_eq!(g.current().number, 2);
    let names: Vec<_> = g.could_have_read().iter().filter_map(|m| m.agent.clone()).collect();
    assert_eq!(names, [handle("mira"), handle("nils")]);
    // The old agent's acceptance comes too late; a second successor of epoch 1 is a fork.
    let late = c.signed(&c.mira, 1, Action::Accept { current: previous });
    assert_eq!(g.apply(&late, None), Err(Refusal::Assignment));
    let mut fork = c.statement(&c.customer, 2, Action::Reassign { previous, roster: to_nils.clone() });
    fork.time += 1;
    assert_eq!(g.apply(&verified(&fork, &c.customer), None), Err(Refusal::Fork));
    assert_eq!(g.apply(&c.signed(&c.customer, 1, c.open_action()), None), Err(Refusal::Known));

    // Whoever may not sign it at all makes no fork: the alarm is the customer's two successors alone.
    let stranger = c.statement(&c.mira, 2, Action::Reassign { previous, roster: to_nils });
    assert_eq!(g.apply(&verified(&stranger, &c.mira), None), Err(Refusal::Signer));
    let mut second = c.statement(&c.mira, 1, c.open_action());
    second.time += 1;
    assert_eq!(g.apply(&verified(&second, &c.mira), None), Err(Refusal::Signer));

    let mut accepted = c.accepted();
    assert_eq!(accepted.apply(&good, None), Err(Refusal::Assignment));
}

#[test]
fn expiry_is_judged_at_the_swap_and_not_again() {
    let c = cast();
    let mut g = c.opened();
    let mut reassign = c.statement(
        &c.customer,
        2,
        Action::Reassign { previous: g.current().statement, roster: c.roster("nils", &c.nils) },
    );
    reassign.expires = NOW;
    let reassign = verified(&reassign, &c.customer);
    assert_eq!(g.clone().apply(&reassign, Some(NOW + 1)), Err(Refusal::Expired));
    assert!(g.clone().apply(&reassign, Some(NOW)).is_ok());
    assert!(g.apply(&reassign, None).is_ok(), "a customer who was offline does not judge it again");
}

#[test]
fn closing_ends_everything_but_resets_and_countersignatures() {
    let c = cast();
    let mut g = c.accepted();
    let current = g.current().statement;
    let stranger = c.signed(&c.nils, 1, Action::Close { current, heads: vec![] });
    assert_eq!(g.apply(&stranger, None), Err(Refusal::Signer));
    let close = c.signed(&c.customer, 1, Action::Close { current, heads: vec![] });
    assert_eq!(g.apply(&close, None), Ok(Effect::Closed));
    assert_eq!(g.closed().unwrap().by, c.customer.hash());
    assert_eq!(g.apply(&close, None), Err(Refusal::Known));
    let second = c.signed(&c.mira, 1, Action::Close { current, heads: vec![] });
    assert_eq!(g.apply(&second, None), Err(Refusal::Closed));
    let join = Action::Join {
        previous: current,
        roster: g.current().roster.with_supervisor(handle("sven"), c.sven.public()).unwrap(),
    };
    assert_eq!(g.apply(&c.signed(&c.sven, 2, join), None), Err(Refusal::Closed));
    let countersign = c.signed(&c.customer, 1, Action::Countersign { current });
    assert_eq!(g.apply(&countersign, None), Ok(Effect::Countersigned));
    assert!(g.is_countersigned());
    let reset = Action::Reset {
        current,
        peer: c.mira.hash(),
        old: SessionId([1; 16]),
        new: SessionId([2; 16]),
        generation: 1,
    };
    assert!(g.apply(&c.signed(&c.customer, 1, reset), None).is_ok());
}

#[test]
fn only_the_customer_countersigns_and_only_listed_devices_reset() {
    let c = cast();
    let mut g = c.accepted();
    let current = g.current().statement;
    let by_agent = c.signed(&c.mira, 1, Action::Countersign { current });
    assert_eq!(g.apply(&by_agent, None), Err(Refusal::Signer));
    assert!(!g.is_countersigned());
    let reset = |peer: DeviceKeyHash| Action::Reset {
        current,
        peer,
        old: SessionId([1; 16]),
        new: SessionId([2; 16]),
        generation: 1,
    };
    assert_eq!(g.apply(&c.signed(&c.nils, 1, reset(c.mira.hash())), None), Err(Refusal::Signer));
    assert_eq!(g.apply(&c.signed(&c.mira, 1, reset(c.nils.hash())), None), Err(Refusal::Signer));
    assert_eq!(g.apply(&c.signed(&c.mira, 1, reset(c.mira.hash())), None), Err(Refusal::Signer));
    let good = c.signed(&c.mira, 1, reset(c.customer.hash()));
    let effect = Effect::Reset { peer: c.customer.hash(), new: SessionId([2; 16]), generation: 1 };
    assert_eq!(g.apply(&good, None), Ok(effect));
}

#[test]
fn resets_rise_are_bounded_and_count_once() {
    let c = cast();
    let mut g = c.accepted();
    let current = g.current().statement;
    let reset = |signer: &DeviceSecret, peer: &DeviceSecret, generation| {
        let (old, new) = (SessionId([1; 16]), SessionId([generation as u8; 16]));
        c.signed(signer, 1, Action::Reset { current, peer: peer.hash(), old, new, generation })
    };
    for generation in [0, MAX_GENERATION + 1, u32::MAX] {
        let refused = g.apply(&reset(&c.customer, &c.mira, generation), None);
        assert_eq!(refused, Err(Refusal::Generation), "{generation}");
    }
    assert!(g.apply(&reset(&c.customer, &c.mira, 1), None).is_ok());
    assert_eq!(g.apply(&reset(&c.customer, &c.mira, 1), None), Err(Refusal::Known));
    // The other side may have begun one at the same time.
    assert!(g.apply(&reset(&c.mira, &c.customer, 1), None).is_ok());
    assert!(g.apply(&reset(&c.customer, &c.mira, 3), None).is_ok());
    assert_eq!(g.apply(&reset(&c.customer, &c.mira, 2), None), Err(Refusal::Generation));
    let stored = postcard::to_allocvec(&g).unwrap();
    assert_eq!(postcard::from_bytes::<Governance>(&stored).unwrap(), g);
}

#[test]
fn generations_begin_anew_with_each_epoch() {
    let c = cast();
    let mut g = c.opened();
    let reset = |epoch, current, peer: &DeviceSecret| {
        let (old, new) = (SessionId([1; 16]), SessionId([2; 16]));
        let action = Action::Reset { current, peer: peer.hash(), old, new, generation: 5 };
        c.signed(&c.customer, epoch, action)
    };
    let first = g.current().statement;
    g.apply(&reset(1, first, &c.mira), None).unwrap();
    let to_nils = Action::Reassign { previous: first, roster: c.roster("nils", &c.nils) };
    g.apply(&c.signed(&c.customer, 2, to_nils), None).unwrap();
    let back = Action::Reassign { previous: g.current().statement, roster: c.roster("mira", &c.mira) };
    g.apply(&c.signed(&c.customer, 3, back), None).unwrap();
    let third = g.current().statement;
    assert!(g.apply(&reset(3, third, &c.mira), None).is_ok());
}

#[test]
fn a_countersignature_follows_an_acceptance_and_counts_once() {
    let c = cast();
    let mut g = c.opened();
    let current = g.current().statement;
    let countersign = |time| {
        let mut statement = c.statement(&c.customer, 1, Action::Countersign { current });
        statement.time = time;
        verified(&statement, &c.customer)
    };
    assert_eq!(g.apply(&countersign(NOW), None), Err(Refusal::Assignment));
    assert!(!g.is_countersigned());
    let mut g = c.accepted();
    assert_eq!(g.apply(&countersign(NOW), None), Ok(Effect::Countersigned));
    assert_eq!(g.apply(&countersign(NOW), None), Err(Refusal::Known));
    assert_eq!(g.apply(&countersign(NOW + 1), None), Err(Refusal::Known), "a second one says the same");
}

#[test]
fn offers_are_bounded_and_a_takeover_does_not_speak_for_the_agent() {
    let c = cast();
    let mut g = c.accepted();
    let roster = g.current().roster.with_supervisor(handle("sven"), c.sven.public()).unwrap();
    let join = Action::Join { previous: g.current().statement, roster };
    g.apply(&c.signed(&c.sven, 2, join), None).unwrap();
    let current = g.current().clone();
    let offer = |signer: &DeviceSecret, n: usize| {
        let action = Action::Offer {
            current: current.statement,
            agent: handle("nils"),
            device: c.nils.public(),
            heads: vec![Head { device: c.mira.hash(), counter: 9, hash: HeadHash([0; 32]) }],
            history: History::None,
            reason: n.to_string(),
        };
        c.signed(signer, 2, action)
    };
    let take = |g: &Governance, offer: StatementHash| {
        let roster = c.roster("nils", &c.nils).with_supervisor(handle("sven"), c.sven.public()).unwrap();
        let previous = g.current().statement;
        c.signed(&c.nils, 3, Action::AcceptOffer { previous, roster, offer })
    };
    for (signer, verdict) in [(&c.mira, Verdict::Accept), (&c.sven, Verdict::Stale)] {
        let mut g = g.clone();
        let offer = offer(signer, 0);
        g.apply(&offer, None).unwrap();
        g.apply(&take(&g, offer.hash()), None).unwrap();
        assert_eq!(g.roster_check(&c.mira.hash(), 2, &current.roster_hash, 9), verdict);
    }
    for n in 0..MAX_OFFERS {
        g.apply(&offer(&c.mira, n), None).unwrap();
    }
    assert_eq!(g.apply(&offer(&c.mira, MAX_OFFERS), None), Err(Refusal::Offer));
}

#[test]
fn a_handover_needs_a_standing_offer_and_the_offered_device() {
    let c = cast();
    let current = c.accepted().current().statement;
    let head =
        |device: &DeviceSecret, counter| Head { device: device.hash(), counter, hash: HeadHash([0; 32]) };
    let offer_action = || Action::Offer {
        current,
        agent: handle("nils"),
        device: c.nils.public(),
        heads: vec![head(&c.mira, 3), head(&c.customer, 5)],
        history: History::Transcript,
        reason: "knows invoices".into(),
    };
    let mut not_accepted = c.opened();
    assert_eq!(not_accepted.apply(&c.signed(&c.mira, 1, offer_action()), None), Err(Refusal::Assignment));

    let mut g = c.accepted();
    assert_eq!(g.apply(&c.signed(&c.customer, 1, offer_action()), None), Err(Refusal::Signer));
    let offer = c.signed(&c.mira, 1, offer_action());
    assert_eq!(g.apply(&offer, None), Ok(Effect::Offered));
    let take = |signer: &DeviceSecret, roster: Roster| {
        c.signed(signer, 2, Action::AcceptOffer { previous: current, roster, offer: offer.hash() })
    };
    assert_eq!(g.apply(&take(&c.sven, c.roster("sven", &c.sven)), None), Err(Refusal::Signer));
    assert_eq!(g.apply(&take(&c.nils, c.roster("sven", &c.sven)), None), Err(Refusal::Signer));
    let crowded = c.roster("nils", &c.nils).with_supervisor(handle("sven"), c.sven.public()).unwrap();
    assert_eq!(g.apply(&take(&c.nils, crowded), None), Err(Refusal::Roster));

    // An offer that expired before the swap is not taken any more.
    let mut brief = c.statement(&c.mira, 1, offer_action());
    brief.expires = NOW;
    let brief = verified(&brief, &c.mira);
    let mut late = c.accepted();
    late.apply(&brief, None).unwrap();
    let action =
        Action::AcceptOffer { previous: current, roster: c.roster("nils", &c.nils), offer: brief.hash() };
    let take_brief = c.signed(&c.nils, 2, action);
    assert_eq!(late.clone().apply(&take_brief, Some(NOW + 1)), Err(Refusal::Expired));
    assert!(late.apply(&take_brief, Some(NOW)).is_ok());

    // Withdrawn by somebody else: no. By its signer: the accept is refused.
    let withdraw =
        |signer: &DeviceSecret| c.signed(signer, 1, Action::Withdraw { current, offer: offer.hash() });
    assert_eq!(g.clone().apply(&withdraw(&c.nils), None), Err(Refusal::Signer));
    let mut withdrawn = g.clone();
    assert_eq!(withdrawn.apply(&withdraw(&c.mira), None), Ok(Effect::Withdrawn));
    assert_eq!(withdrawn.apply(&take(&c.nils, c.roster("nils", &c.nils)), None), Err(Refusal::Offer));
    // Repeating the offer does not bring it back.
    assert_eq!(withdrawn.apply(&offer, None), Err(Refusal::Known));
    assert_eq!(withdrawn.apply(&take(&c.nils, c.roster("nils", &c.nils)), None), Err(Refusal::Offer));

    assert_eq!(
        g.apply(&take(&c.nils, c.roster("nils", &c.nils)), None),
        Ok(Effect::HandedOver { from: c.mira.hash() })
    );
    // What the leaving agent sent up to the offer still counts; what comes above does not.
    let old = g.epochs()[0].roster_hash;
    assert_eq!(g.roster_check(&c.mira.hash(), 1, &old, 3), Verdict::Accept);
    assert_eq!(g.roster_check(&c.mira.hash(), 1, &old, 4), Verdict::Stale);
    assert_eq!(g.roster_check(&c.customer.hash(), 1, &old, 1), Verdict::Stale);
}

#[test]
fn supervisors_join_and_leave_by_their_own_signature() {
    let c = cast();
    let mut g = c.accepted();
    let before = g.current().clone();
    let joined = before.roster.with_supervisor(handle("sven"), c.sven.public()).unwrap();
    let join = |signer: &DeviceSecret| {
        c.signed(signer, 2, Action::Join { previous: before.statement, roster: joined.clone() })
    };
    assert_eq!(g.apply(&join(&c.mira), None), Err(Refusal::Signer));
    let same = Action::Join { previous: before.statement, roster: before.roster.clone() };
    assert_eq!(g.apply(&c.signed(&c.sven, 2, same), None), Err(Refusal::Roster));
    assert_eq!(g.apply(&join(&c.sven), None), Ok(Effect::Joined(c.sven.hash())));
    let previous = g.current().statement;
    let leave = Action::Leave { previous, roster: before.roster.clone() };
    assert_eq!(g.apply(&c.signed(&c.mira, 3, leave.clone()), None), Err(Refusal::Signer));
    assert_eq!(g.apply(&c.signed(&c.sven, 3, leave), None), Ok(Effect::Left(c.sven.hash())));
    assert_eq!(g.could_have_read().len(), 3);
}

#[test]
fn the_verdict_on_a_message_follows_epoch_roster_and_sender() {
    let c = cast();
    let mut g = c.opened();
    let first = g.current().clone();
    let (mira, customer) = (c.mira.hash(), c.customer.hash());
    assert_eq!(g.roster_check(&mira, 1, &first.roster_hash, 1), Verdict::Accept);
    assert_eq!(g.roster_check(&mira, 1, &RosterHash([0; 32]), 1), Verdict::Fork);
    assert_eq!(g.roster_check(&c.nils.hash(), 1, &first.roster_hash, 1), Verdict::NotListed);
    assert_eq!(g.roster_check(&mira, 2, &first.roster_hash, 1), Verdict::Hold);
    let to_nils = Action::Reassign { previous: first.statement, roster: c.roster("nils", &c.nils) };
    g.apply(&c.signed(&c.customer, 2, to_nils), None).unwrap();
    assert_eq!(g.roster_check(&customer, 1, &first.roster_hash, 1), Verdict::Stale);
    assert_eq!(g.roster_check(&mira, 1, &first.roster_hash, 1), Verdict::Stale);
    let second = g.current().roster_hash;
    assert_eq!(g.roster_check(&mira, 2, &second, 1), Verdict::NotListed);
    assert_eq!(g.roster_check(&c.nils.hash(), 2, &second, 1), Verdict::Accept);
}

#[test]
fn epochs_are_bounded() {
    let c = cast();
    let mut g = c.opened();
    for epoch in 2..=MAX_EPOCHS + 1 {
        let (name, device) = if epoch % 2 == 0 { ("nils", &c.nils) } else { ("mira", &c.mira) };
        let action = Action::Reassign { previous: g.current().statement, roster: c.roster(name, device) };
        let outcome = g.apply(&c.signed(&c.customer, epoch, action), None);
        assert_eq!(outcome.is_ok(), epoch <= MAX_EPOCHS, "epoch {epoch}");
    }
}
