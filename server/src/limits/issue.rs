//! How many bundles of a device's prekeys are issued. Beyond a limit none is given at all, so that draining somebody's
//! one-time pairs does not push others down to the last resort.
//!
//! ```text
//! assignments of a conversation        an hour: whatever its customer signs
//! of a device to a conversation        an hour
//! of a device, for each purpose        an hour: about as many as it keeps here
//!   of these to an address prefix      one part of eight; a wider prefix two
//! ```
//!
//! A prefix gets its part in an hour of a device that is connected and makes new pairs, and in a day of one that is away
//! and has no more than those that lie here. A conversation that several agents had before counts to its prefix once for
//! each of them: all their statements go into the next one's mailbox.

use std::time::{Duration, Instant};

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use super::budget::{Budget, Share};
use super::{Exceeded, HOUR, Prefix};
use crate::config;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What one address prefix gets of a device's bundles: one part of so many.
const PREFIX_SHARE: u64 = 8;
/// Pairs that a device leaves here when it goes, as the limit's default has it: whoever set a higher one has no more.
const SUPPLY: u64 = 100;
/// Parts of a wider prefix. Not as many as elsewhere: it would have them all.
const WIDE_SHARES: u64 = 2;

/// What a bundle is for. Each has a budget of its own, so that resets do not take an agent out of assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A conversation is given to the device.
    Assignment,
    /// Another listed device begins a new session.
    Reset,
}

/// One bundle.
#[derive(Clone, Copy, Debug)]
pub struct Issue {
    /// For which conversation.
    pub conversation: ConversationId,
    /// Whose.
    pub device: DeviceKeyHash,
    /// What for.
    pub purpose: Purpose,
    /// Of whoever asks. None: an agent who claims, of which an agent makes no more than it has room for.
    pub prefix: Option<Prefix>,
    /// The device is connected.
    pub connected: bool,
    /// Agents who had the conversation before.
    pub earlier: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Conversation(ConversationId),
    Device(ConversationId, DeviceKeyHash),
    All(Purpose, DeviceKeyHash),
    Prefix(Purpose, DeviceKeyHash, [u8; 16]),
    Wide(Purpose, DeviceKeyHash, [u8; 16]),
}

/// What was issued. See the module's text.
#[derive(Debug)]
pub(super) struct Issued {
    budget: Budget<Key>,
    assignments: u64,
    of_conversation: u64,
    of_device: u64,
}

impl Issued {
    pub(super) fn new(limits: &config::Limits) -> Self {
        Self {
            budget: Budget::new(),
            assignments: limits.assignments_per_conversation_hour.into(),
            of_conversation: limits.prekeys_per_conversation_hour.into(),
            of_device: limits.prekeys_per_device_hour.into(),
        }
    }

    /// One more.
    ///
    /// # Errors
    /// `Exceeded`: nothing was taken.
    pub(super) fn take(&self, now: Instant, issue: &Issue) -> Result<(), Exceeded> {
        self.budget.take(now, &self.shares(issue))
    }

    /// Whether there could be one more; takes nothing.
    pub(super) fn has(&self, now: Instant, issue: &Issue) -> bool {
        self.budget.has(now, &self.shares(issue))
    }

    fn shares(&self, issue: &Issue) -> Vec<Share<Key>> {
        let Issue { conversation, device, purpose, prefix, connected, earlier } = *issue;
        let share = |key, most| Share { key, amount: 1, most, period: HOUR, longest: HOUR };
        let mut shares = vec![
            share(Key::Device(conversation, device), self.of_conversation),
            share(Key::All(purpose, device), self.of_device),
        ];
        if purpose == Purpose::Assignment {
            shares.push(share(Key::Conversation(conversation), self.assignments));
        }
        if let Some(Prefix { own, wide }) = prefix {
            let (most, period) =
                if connected { (self.of_device, HOUR) } else { (self.of_device.min(SUPPLY), DAY) };
            let part = (most / PREFIX_SHARE).max(1);
            // Somebody may be named, however long the history is.
            let amount = earlier.clamp(1, part);
            let share = |key, most| Share { amount, period, longest: DAY, ..share(key, most) };
            shares.push(share(Key::Prefix(purpose, device, own), part));
            shares.extend(wide.map(|wide| share(Key::Wide(purpose, device, wide), part * WIDE_SHARES)));
        }
        shares
    }

    pub(super) fn tidy(&self, now: Instant) {
        self.budget.tidy(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(change: impl Fn(&mut config::Limits)) -> Issued {
        let mut limits = config::Limits::default();
        change(&mut limits);
        Issued::new(&limits)
    }

    fn prefix(own: u8, wide: Option<u8>) -> Option<Prefix> {
        Some(Prefix { own: [own; 16], wide: wide.map(|n| [n; 16]) })
    }

    fn issue(purpose: Purpose, conversation: u8, device: u8, prefix: Option<Prefix>) -> Issue {
        let (conversation, device) = (ConversationId([conversation; 32]), DeviceKeyHash([device; 32]));
        Issue { conversation, device, purpose, prefix, connected: true, earlier: 0 }
    }

    #[test]
    fn draining_fails_closed_by_conversation_device_and_prefix() {
        use Purpose::{Assignment, Reset};
        let issued = issued(|l| (l.prekeys_per_conversation_hour, l.prekeys_per_device_hour) = (2, 8));
        let now = Instant::now();
        let take = |purpose, conversation, device, from| {
            issued.take(now, &issue(purpose, conversation, device, prefix(from, None))).is_ok()
        };
        assert!(take(Assignment, 1, 3, 1));
        assert!(take(Reset, 1, 3, 1));
        assert!(!take(Reset, 1, 3, 2), "the conversation's");
        assert!(!take(Reset, 3, 3, 1), "the prefix' part");
        assert!(!take(Assignment, 3, 3, 1), "of assignments as well");
        assert!(take(Reset, 3, 4, 1), "of that device only");
        for n in 4..11 {
            assert!(take(Reset, n, 3, n));
        }
        assert!(!take(Reset, 11, 3, 11), "the device's");
        for n in 11..18 {
            assert!(take(Assignment, n, 3, n), "not eaten by resets");
        }
        assert!(!take(Assignment, 18, 3, 18), "the device's");
    }

    #[test]
    fn a_conversation_is_given_to_a_few_whatever_its_customer_signs() {
        let issued = issued(|l| l.assignments_per_conversation_hour = 3);
        let now = Instant::now();
        let take = |purpose, conversation, device| {
            issued.take(now, &issue(purpose, conversation, device, None)).is_ok()
        };
        assert!(take(Purpose::Assignment, 1, 1) && take(Purpose::Assignment, 1, 2));
        assert!(take(Purpose::Assignment, 1, 1));
        assert!(!take(Purpose::Assignment, 1, 2));
        assert!(take(Purpose::Reset, 1, 2) && take(Purpose::Assignment, 2, 2));
    }

    /// A history of several agents fills the next one's mailbox as several conversations do.
    #[test]
    fn what_comes_along_counts() {
        let issued = issued(|l| l.prekeys_per_device_hour = 80);
        let now = Instant::now();
        let with = |earlier, n| Issue { earlier, ..issue(Purpose::Assignment, n, 1, prefix(1, None)) };
        issued.take(now, &with(4, 1)).unwrap();
        issued.take(now, &with(5, 2)).unwrap();
        assert!(!issued.has(now, &with(2, 3)) && issued.has(now, &with(1, 3)));
        issued.take(now, &with(1, 3)).unwrap();
        issued.take(now, &with(1, 4)).unwrap_err();
        let long = Issue { device: DeviceKeyHash([2; 32]), ..with(30, 5) };
        issued.take(now, &long).unwrap();
    }

    /// A device that is away has no more pairs here because the limit is higher.
    #[test]
    fn a_higher_limit_gives_no_more_of_who_is_away() {
        let issued = issued(|l| l.prekeys_per_device_hour = 600);
        let now = Instant::now();
        let taken = |connected| {
            let of =
                |n| Issue { connected, ..issue(Purpose::Assignment, n, connected.into(), prefix(1, None)) };
            (0..200).filter(|n| issued.take(now, &of(*n)).is_ok()).count()
        };
        assert_eq!((taken(false), taken(true)), (12, 75));
    }

    #[test]
    fn one_address_drains_nobody_who_is_away() {
        let issued = issued(|l| l.prekeys_per_device_hour = 80);
        let begun = Instant::now();
        let count = |now, from, connected| {
            (0..100)
                .map(|n| Issue { connected, ..issue(Purpose::Assignment, n, 1, from) })
                .filter(|issue| issued.take(now, issue).is_ok())
                .count()
        };
        assert_eq!(count(begun, prefix(1, None), false), 10);
        let later = begun + 12 * HOUR;
        issued.tidy(later);
        assert_eq!(count(later, prefix(1, None), false), 5, "half of a day later");
        assert_eq!(count(later + HOUR, prefix(1, None), true), 10, "whoever is here makes new ones");
        for n in 10..12 {
            assert_eq!(count(later + 3 * HOUR, prefix(n, Some(1)), false), 10);
        }
        assert_eq!(count(later + 3 * HOUR, prefix(12, Some(1)), false), 0, "nor the wider prefix");
        assert_eq!(count(later + 3 * HOUR, prefix(13, Some(2)), false), 10);
    }
}
