//! Whose address something came from, without keeping it: the HMAC of its prefix under a key that lives in memory and
//! is renewed every day.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Exceeded;
use super::budget::{Budget, Share};
use crate::clock::{DAY_MS, now_ms};

/// A /48 may do as much as this many /64.
pub(super) const WIDE: u32 = 16;

/// Pseudonyms of an address' prefixes, for one day: what one customer or attacker usually has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Of the IPv4 address, or the IPv6 /64.
    pub(super) own: [u8; 16],
    /// Of the IPv6 /48: whoever has one has 65,536 of the others.
    pub(super) wide: Option<[u8; 16]>,
}

/// The key of the day, and what is made with it.
#[derive(Default)]
pub(super) struct Pseudonyms(Mutex<Option<DailyKey>>);

struct DailyKey {
    day: u64,
    key: Zeroizing<[u8; 32]>,
}

impl Pseudonyms {
    /// The pseudonyms of an address' prefixes: the address (IPv4), or its /64 and its /48 (IPv6).
    pub(super) fn prefix(&self, address: IpAddr) -> Prefix {
        match address.to_canonical() {
            IpAddr::V4(v4) => Prefix { own: self.pseudonym(&v4.octets()), wide: None },
            IpAddr::V6(v6) => {
                let (own, wide) = (&v6.octets()[..8], &v6.octets()[..6]);
                Prefix { own: self.pseudonym(own), wide: Some(self.pseudonym(wide)) }
            }
        }
    }

    fn pseudonym(&self, prefix: &[u8]) -> [u8; 16] {
        let day = now_ms() / DAY_MS;
        let mut daily = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if daily.as_ref().is_none_or(|key| key.day != day) {
            let mut key = Zeroizing::new([0; 32]);
            // Without randomness all prefixes of the day would share the zero key: still no address is kept.
            let _ = getrandom::fill(key.as_mut());
            *daily = Some(DailyKey { day, key });
        }
        let mut out = [0; 16];
        if let Some(key) = daily.as_ref()
            && let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.key.as_ref())
        {
            mac.update(prefix);
            out.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        }
        out
    }
}

/// A rate of one address prefix, and of the wider one around it: together, or not at all.
#[derive(Debug)]
pub(super) struct ByPrefix {
    budget: Budget<(bool, [u8; 16])>,
    most: u64,
    period: Duration,
}

impl ByPrefix {
    pub(super) fn new(most: u32, period: Duration) -> Self {
        Self { budget: Budget::new(), most: most.max(1).into(), period }
    }

    pub(super) fn check(&self, now: Instant, prefix: &Prefix) -> Result<(), Exceeded> {
        let Self { most, period, .. } = *self;
        let share = |key, most| Share { key, amount: 1, most, period, longest: period };
        let mut shares = vec![share((false, prefix.own), most)];
        shares.extend(prefix.wide.map(|wide| share((true, wide), most * u64::from(WIDE))));
        self.budget.take(now, &shares)
    }

    pub(super) fn tidy(&self, now: Instant) {
        self.budget.tidy(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_pseudonyms_of_their_prefix() {
        let one = Pseudonyms::default();
        let of = |text: &str| one.prefix(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"), "one /64");
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        let other = Pseudonyms::default();
        assert_ne!(of("192.0.2.1"), other.prefix("192.0.2.1".parse().unwrap()), "the key is random");
        one.0.lock().unwrap().as_mut().unwrap().day -= 1;
        let yesterday = one.0.lock().unwrap().as_ref().unwrap().key.clone();
        of("192.0.2.1");
        assert_ne!(*yesterday, *one.0.lock().unwrap().as_ref().unwrap().key, "renewed each day");
    }

    #[test]
    fn a_48_has_a_limit_of_its_own_and_takes_nothing_of_a_64_when_it_refuses() {
        let (hour, begun) = (Duration::from_secs(3_600), Instant::now());
        let limit = ByPrefix::new(2, hour);
        let of = |n: u8| Prefix { own: [n; 16], wide: Some([9; 16]) };
        for n in 0..16 {
            limit.check(begun, &of(n)).unwrap();
            limit.check(begun, &of(n)).unwrap();
            limit.check(begun, &of(n)).unwrap_err();
        }
        for _ in 0..100 {
            limit.check(begun, &of(16)).unwrap_err();
        }
        limit.check(begun, &Prefix { wide: Some([8; 16]), ..of(17) }).unwrap();
        let later = begun + hour / 16;
        limit.check(later, &of(16)).unwrap();
        limit.check(later, &of(16)).unwrap();
        limit.check(later, &of(16)).unwrap_err();
        limit.tidy(begun + 2 * hour);
        limit.check(begun + 2 * hour, &of(0)).unwrap();
    }
}
