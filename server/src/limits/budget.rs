//! Rates that are used up together or not at all: what is refused for one of them takes nothing of the others. What was
//! taken leaks away evenly, as in the generic cell rate algorithm.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Exceeded;

/// So much of a key within a period, at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share<K> {
    pub(super) key: K,
    pub(super) amount: u64,
    pub(super) most: u64,
    pub(super) period: Duration,
    /// The longest period that this key is used with: it is not forgotten before.
    pub(super) longest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// What was taken and has not leaked away at this time.
    taken: f64,
    at: Instant,
    /// How much leaks away at least, in which period.
    most: f64,
    longest: Duration,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Budget<K> {
    levels: Mutex<HashMap<K, Level>>,
}

#[expect(clippy::cast_precision_loss, reason = "bytes of attachments are far below 2^52")]
fn real(amount: u64) -> f64 {
    amount as f64
}

impl Level {
    fn now(&self, now: Instant, most: f64, period: Duration) -> f64 {
        let leaked = now.duration_since(self.at).as_secs_f64() / period.as_secs_f64() * most;
        (self.taken - leaked).max(0.0)
    }
}

/// What is taken of a key now, with one more share. At today's rate: it may have changed since.
fn with<K: Eq + Hash>(levels: &HashMap<K, Level>, now: Instant, share: &Share<K>) -> f64 {
    let taken = levels.get(&share.key).map_or(0.0, |level| level.now(now, real(share.most), share.period));
    taken + real(share.amount)
}

fn fit<K: Eq + Hash>(levels: &HashMap<K, Level>, now: Instant, shares: &[Share<K>]) -> bool {
    shares.iter().all(|share| with(levels, now, share) <= real(share.most))
}

impl<K: Copy + Eq + Hash> Budget<K> {
    pub(super) fn new() -> Self {
        Self { levels: Mutex::default() }
    }

    /// Takes all of them.
    ///
    /// # Errors
    /// `Exceeded`: one would have too much; nothing was taken.
    pub(super) fn take(&self, now: Instant, shares: &[Share<K>]) -> Result<(), Exceeded> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if !fit(&levels, now, shares) {
            return Err(Exceeded);
        }
        for share in shares {
            let (taken, most) = (with(&levels, now, share), real(share.most));
            levels.insert(share.key, Level { taken, at: now, most, longest: share.longest });
        }
        Ok(())
    }

    /// Whether all of them could be taken now; takes none.
    pub(super) fn has(&self, now: Instant, shares: &[Share<K>]) -> bool {
        fit(&self.levels.lock().unwrap_or_else(PoisonError::into_inner), now, shares)
    }

    /// Gives back what was taken for something that did not come about.
    pub(super) fn give_back(&self, shares: &[Share<K>]) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        for share in shares {
            if let Some(level) = levels.get_mut(&share.key) {
                level.taken = (level.taken - real(share.amount)).max(0.0);
            }
        }
    }

    /// Forgets what has leaked away.
    pub(super) fn tidy(&self, now: Instant) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.retain(|_, level| level.now(now, level.most, level.longest) > 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing_and_it_leaks_away() {
        let (hour, begun) = (Duration::from_secs(3_600), Instant::now());
        let budget = Budget::new();
        let share = |key: u8, amount| Share { key, amount, most: 10, period: hour, longest: hour };
        budget.take(begun, &[share(1, 10), share(2, 4)]).unwrap();
        for _ in 0..100 {
            budget.take(begun, &[share(3, 6), share(1, 1)]).unwrap_err();
        }
        assert!(budget.has(begun, &[share(3, 10)]) && !budget.has(begun, &[share(3, 10), share(1, 1)]));
        budget.take(begun, &[share(3, 10)]).unwrap();
        budget.give_back(&[share(3, 4), share(9, 1)]);
        budget.take(begun, &[share(3, 5)]).unwrap_err();
        budget.take(begun, &[share(3, 4)]).unwrap();
        // A tenth of an hour gives a tenth back.
        let later = begun + hour / 10;
        budget.take(later, &[share(1, 2)]).unwrap_err();
        budget.take(later, &[share(1, 1), share(2, 7)]).unwrap();
        budget.tidy(later + hour);
        assert_eq!(budget.levels.lock().unwrap().len(), 0);
        budget.take(later + hour, &[share(1, 10)]).unwrap();
        budget.tidy(later + hour);
        assert_eq!(budget.levels.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_rate_may_change() {
        let (hour, begun) = (Duration::from_secs(3_600), Instant::now());
        let budget = Budget::new();
        let day = 24 * hour;
        let share = |amount, period| Share { key: 1u8, amount, most: 24, period, longest: day };
        budget.take(begun, &[share(24, hour)]).unwrap();
        let later = begun + hour;
        budget.tidy(later);
        budget.take(later, &[share(2, 24 * hour)]).unwrap_err();
        budget.take(later, &[share(1, 24 * hour)]).unwrap();
        budget.take(later + hour, &[share(24, hour)]).unwrap();
        // Half of the number leaks away half as fast.
        let half = Share { most: 12, ..share(1, hour) };
        budget.take(later + 2 * hour, &[half]).unwrap_err();
        budget.take(later + 3 * hour, &[half]).unwrap();
        budget.tidy(later + 3 * hour + day);
        assert_eq!(budget.levels.lock().unwrap().len(), 0);
    }
}
