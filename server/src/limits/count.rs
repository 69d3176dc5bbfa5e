//! How many there are at a time: in all, and of one address prefix.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Exceeded, Prefix};

/// Counts what its permits hold.
#[derive(Debug)]
pub(super) struct Count {
    most: u32,
    most_of_prefix: u32,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: u32,
    of_prefix: HashMap<Prefix, u32>,
}

/// One that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    count: Arc<Count>,
    /// Of the connection's address; none: counted in all only.
    prefix: Option<Prefix>,
}

impl Count {
    /// At most so many.
    pub(super) fn new(most: u32, most_of_prefix: u32) -> Arc<Self> {
        Arc::new(Self { most, most_of_prefix, held: Mutex::default() })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more; without a prefix it counts in all only.
    ///
    /// # Errors
    /// `Exceeded`.
    pub(super) fn admit(self: &Arc<Self>, prefix: Option<Prefix>) -> Result<Permit, Exceeded> {
        self.with(|held| {
            let own = prefix.map_or(0, |prefix| held.of_prefix.get(&prefix).copied().unwrap_or_default());
            if held.total >= self.most || own >= self.most_of_prefix {
                return Err(Exceeded);
            }
            held.total += 1;
            if let Some(prefix) = prefix {
                held.of_prefix.insert(prefix, own + 1);
            }
            Ok(Permit { count: Arc::clone(self), prefix })
        })
    }

    /// How many are held now.
    pub(super) fn total(&self) -> u32 {
        self.with(|held| held.total)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.with(|held| {
            held.total -= 1;
            if let Some(prefix) = self.prefix
                && let Some(own) = held.of_prefix.get_mut(&prefix)
            {
                *own -= 1;
                if *own == 0 {
                    held.of_prefix.remove(&prefix);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_in_all_and_by_prefix_until_dropped() {
        let count = Count::new(3, 2);
        let (a, b) = (Some(Prefix([1; 16])), Some(Prefix([2; 16])));
        let held = [count.admit(a).unwrap(), count.admit(a).unwrap()];
        assert_eq!(count.admit(a).unwrap_err(), Exceeded, "of its prefix");
        let third = count.admit(b).unwrap();
        assert_eq!(count.admit(b).unwrap_err(), Exceeded, "in all");
        drop(held);
        drop(third);
        let nameless = [count.admit(None).unwrap(), count.admit(None).unwrap(), count.admit(None).unwrap()];
        assert_eq!(count.admit(None).unwrap_err(), Exceeded, "in all");
        drop(nameless);
        assert_eq!(count.total(), 0);
        assert!(count.held.lock().unwrap().of_prefix.is_empty());
    }
}
