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
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// What was taken and has not leaked away at this time, and how much leaks away in which period.
    taken: f64,
    most: f64,
    period: Duration,
    at: Instant,
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
    fn now(&self, now: Instant) -> f64 {
        let leaked = now.duration_since(self.at).as_secs_f64() / self.period.as_secs_f64() * self.most;
        (self.taken - leaked).max(0.0)
    }
}

/// What is taken of a key now, with one more share. At today's rate: it may have changed since.
fn with<K: Eq + Hash>(levels: &HashMap<K, Level>, now: Instant, share: &Share<K>) -> f64 {
    let level = levels.get(&share.key).map(|level| Level { period: share.period, ..*level });
    level.map_or(0.0, |level| level.now(now)) + real(share.amount)
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
            let (taken, most, period) = (with(&levels, now, share), real(share.most), share.period);
            levels.insert(share.key, Level { taken, most, period, at: now });
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
        levels.retain(|_, level| level.now(now) > 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing_and_it_leaks_away() {
        let (hour, begun) = (Duration::from_secs(3_600), Instant::now());
        let budget = Budget::new();
        let share = |key: u8, amount| Share { key, amount, most: 10, period: hour };
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
        let share = |amount, period| Share { key: 1u8, amount, most: 24, period };
        budget.take(begun, &[share(24, hour)]).unwrap();
        let later = begun + hour;
        budget.take(later, &[share(2, 24 * hour)]).unwrap_err();
        budget.take(later, &[share(1, 24 * hour)]).unwrap();
        budget.take(later + hour, &[share(24, hour)]).unwrap();
    }
}
