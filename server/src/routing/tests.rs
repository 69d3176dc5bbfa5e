//! Decisions of a waiting conversation over time; the rest is tested over sockets.

use std::collections::HashSet;

use sealdesk_protocol::ids::{DeviceKeyHash, MailboxId};

use super::pending::{Next, Pending};

const CUSTOMER: MailboxId = MailboxId([1; 16]);
const AGENT: MailboxId = MailboxId([2; 16]);
const DEVICE: DeviceKeyHash = DeviceKeyHash([3; 32]);
const ACCEPT_MS: u64 = 60_000;

struct Clock {
    pending: Pending,
    online: HashSet<MailboxId>,
    now: u64,
}

impl Clock {
    fn new(named: Option<(DeviceKeyHash, u64)>, assigned: bool) -> Self {
        let assigned = assigned.then_some((DEVICE, AGENT));
        let pending = Pending::for_tests(CUSTOMER, named, assigned);
        Self { pending, online: HashSet::from([CUSTOMER, AGENT]), now: 1_000_000 }
    }

    fn pass(&mut self, ms: u64) -> Option<Next> {
        self.now += ms;
        self.pending.tick(self.now, ms, ACCEPT_MS, |mailbox| self.online.contains(mailbox))
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
    let mut clock = Clock::new(Some((DEVICE, 1_000_000)), false);
    assert_eq!(clock.pass(120_000), None);
    assert_eq!(clock.pass(1), Some(Next::Withdraw));
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
fn a_reassignment_that_waits_for_the_customer_is_left_alone() {
    let mut clock = Clock::new(Some((DeviceKeyHash([4; 32]), 1_000_000)), true);
    clock.online.clear();
    assert_eq!(clock.pass(10_000_000), None);
}
