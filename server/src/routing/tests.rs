//! Decisions of a waiting conversation over time; the rest is tested over sockets.

use std::collections::HashSet;

use sealdesk_protocol::crypto::certificate::CertificateChain;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};

use super::pending::{Next, Pending, Times};
use super::{AgentRecord, Availability, HOUR_MS, Routing};
use crate::config;
use crate::relay::record::{Nominee, Record, tests::record};

const CUSTOMER: MailboxId = MailboxId([1; 16]);
const AGENT: MailboxId = MailboxId([2; 16]);
const DEVICE: DeviceKeyHash = DeviceKeyHash([3; 32]);
const TIMES: Times = Times { accept_ms: 60_000, sign_ms: 120_000 };

struct Clock {
    pending: Pending,
    online: HashSet<MailboxId>,
}

impl Clock {
    fn new(named: Option<(DeviceKeyHash, u64)>, assigned: bool) -> Self {
        let assigned = assigned.then_some((DEVICE, AGENT));
        let pending = Pending::for_tests(CUSTOMER, named, assigned);
        Self { pending, online: HashSet::from([CUSTOMER, AGENT]) }
    }

    fn pass(&mut self, ms: u64) -> Option<Next> {
        self.pending.tick(ms, TIMES, |mailbox| self.online.contains(mailbox))
    }
}

#[test]
fn a_customer_who_waits_is_served_and_one_who_left_is_forgotten() {
    let mut clock = Clock::new(None, false);
    assert_eq!(clock.pass(1), Some(Next::Name));
    clock.online.remove(&CUSTOMER);
    assert_eq!(clock.pass(599_999), None, "no prekeys are spent on somebody who is not there");
    assert_eq!(clock.pass(2), Some(Next::Withdraw));
    clock.online.insert(CUSTOMER);
    assert_eq!(clock.pass(1), Some(Next::Name));
    clock.online.remove(&CUSTOMER);
    assert_eq!(clock.pass(1_000), None, "counted anew");
}

#[test]
fn an_agent_who_is_named_and_not_signed_is_given_back() {
    // Whatever the wall clock says now of the time when it was named; and whether the customer is there or not.
    for (named_ms, present) in [(0, true), (u64::MAX, true), (u64::MAX, false)] {
        let mut clock = Clock::new(Some((DEVICE, named_ms)), false);
        if !present {
            clock.online.remove(&CUSTOMER);
        }
        assert_eq!(clock.pass(120_000), None);
        assert_eq!(clock.pass(1), Some(Next::Withdraw));
    }
}

#[test]
fn the_time_to_accept_runs_only_while_the_agent_is_online() {
    let mut clock = Clock::new(None, true);
    assert_eq!(clock.pass(59_999), None);
    clock.online.remove(&AGENT);
    assert_eq!(clock.pass(600_000), Some(Next::NameIfOnline));
    clock.online.insert(AGENT);
    assert_eq!(clock.pass(1), Some(Next::Lapse(DEVICE)));
}

#[test]
fn a_further_agent_is_given_back_when_the_customer_looks_on_and_does_not_sign() {
    let mut clock = Clock::new(Some((DeviceKeyHash([4; 32]), 1_000_000)), true);
    clock.online.clear();
    assert_eq!(clock.pass(10_000_000), None, "the customer is not there");
    clock.online.insert(CUSTOMER);
    assert_eq!(clock.pass(120_000), None);
    assert_eq!(clock.pass(1), Some(Next::Withdraw));
}

#[test]
fn a_second_agent_who_stays_away_lapses_while_the_customer_waits() {
    let mut clock = Clock::new(None, true);
    clock.pending.reassigned_for_tests();
    clock.online.clear();
    assert_eq!(clock.pass(600_000), None, "nobody waits");
    clock.online.insert(CUSTOMER);
    assert_eq!(clock.pass(59_999), None);
    clock.online.insert(AGENT);
    assert_eq!(clock.pass(1), None, "back: counted anew");
    clock.online.remove(&AGENT);
    assert_eq!(clock.pass(59_999), None);
    assert_eq!(clock.pass(1), Some(Next::Lapse(DEVICE)));
}

#[test]
fn nobody_is_named_for_a_customer_who_is_away() {
    let mut clock = Clock::new(None, true);
    clock.online.clear();
    assert_eq!(clock.pass(1), None);
    clock.online.insert(AGENT);
    assert_eq!(clock.pass(60_000), Some(Next::Lapse(DEVICE)));
    clock.pending.lapsed_for_tests();
    assert_eq!(clock.pass(1), None);
    clock.online.insert(CUSTOMER);
    assert_eq!(clock.pass(1), Some(Next::NameIfOnline));
}

#[test]
fn whoever_claimed_and_went_away_loses_it_to_the_next_who_claims() {
    let mut clock = Clock::new(None, true);
    clock.online.remove(&AGENT);
    clock.pass(59_999);
    assert!(!clock.pending.claimable());
    clock.pass(1);
    assert!(clock.pending.claimable());
    clock.online.insert(AGENT);
    clock.pass(1);
    assert!(!clock.pending.claimable(), "back in time after all");
}

#[test]
fn an_open_conversation_in_which_nothing_is_said_is_no_load() {
    let routing = Routing::new(&config::Routing { idle_hours: 2, ..Default::default() });
    let agent: Handle = "mira".parse().unwrap();
    let held = record();
    let chain = CertificateChain { issuer: held.consent.clone(), device: held.consent.clone() };
    let mira = AgentRecord {
        agent: agent.clone(),
        mailbox: AGENT,
        teams: vec![held.team.clone()],
        serves: true,
        valid_until: u64::MAX,
        chain: chain.clone(),
        availability: Some(Availability { available: true, capacity: 1 }),
        turn: 0,
    };
    routing.upsert(DEVICE, mira.clone());
    let rng = &mut rand_core::UnwrapErr(getrandom::SysRng);
    let device = sealdesk_protocol::crypto::identity::DeviceSecret::generate(rng);
    let last_resort = PrekeySecret::generate(PrekeyKind::LastResort, 0, 1, rng).publish(&device);
    let bundle = PrekeyBundle { last_resort, one_time: None };
    let nominee = Nominee { agent, device: DEVICE, chain, bundle, named_ms: 0 };
    let (one, other) = (ConversationId([1; 32]), ConversationId([2; 32]));
    routing.note(one, &Record { nominee: Some(nominee), ..held.clone() }, 1_000);
    routing.note(other, &held, 1_000);
    let has_room = |now| !routing.candidates(&other, now, |_| true).unwrap().is_empty();
    assert!(!has_room(1_000 + 2 * HOUR_MS));
    assert!(has_room(1_001 + 2 * HOUR_MS), "silent for too long");
    routing.active(&one, 3 * HOUR_MS);
    assert!(!has_room(4 * HOUR_MS), "counts again with the next message");
    routing.note(one, &Record { closed_ms: Some(1), ..held }, 4 * HOUR_MS);
    assert!(has_room(4 * HOUR_MS));
    // Cut off, after it came back with other certificates.
    let newer = CertificateChain { device: record().consent, ..mira.chain.clone() };
    routing.upsert(DEVICE, AgentRecord { chain: newer.clone(), ..mira.clone() });
    routing.retire(&DEVICE, &mira.chain);
    assert!(has_room(4 * HOUR_MS));
    routing.retire(&DEVICE, &newer);
    assert!(!has_room(4 * HOUR_MS));
}
