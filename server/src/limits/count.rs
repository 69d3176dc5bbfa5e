//! How many there are at a time: in all, and of one address prefix.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Exceeded, Prefix, WIDE};

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
    of_prefix: HashMap<[u8; 16], u32>,
}

/// One that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    count: Arc<Count>,
    /// Of the connection's address; none: counted in all only.
    prefix: Option<Prefix>,
}

/// Under what one is counted.
fn keys(prefix: Option<Prefix>) -> impl Iterator<Item = [u8; 16]> {
    prefix.into_iter().flat_map(|prefix| core::iter::once(prefix.own).chain(prefix.wide))
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
            let full = |key: &[u8; 16], most| held.of_prefix.get(key).is_some_and(|count| *count >= most);
            let own = prefix.is_some_and(|prefix| full(&prefix.own, self.most_of_prefix));
            let most_of_wide = self.most_of_prefix.saturating_mul(WIDE);
            let wide = prefix.and_then(|prefix| prefix.wide).is_some_and(|wide| full(&wide, most_of_wide));
            if held.total >= self.most || own || wide {
                return Err(Exceeded);
            }
            held.total += 1;
            for key in keys(prefix) {
                *held.of_prefix.entry(key).or_default() += 1;
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
            for key in keys(self.prefix) {
                if let Some(count) = held.of_prefix.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        held.of_prefix.remove(&key);
                    }
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
        let of = |own: u8| Some(Prefix { own: [own; 16], wide: None });
        let (a, b) = (of(1), of(2));
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

        let count = Count::new(100, 1);
        let of = |own: u8| Some(Prefix { own: [own; 16], wide: Some([99; 16]) });
        let held: Vec<_> = (0..16).map(|own| count.admit(of(own)).unwrap()).collect();
        assert_eq!(count.admit(of(16)).unwrap_err(), Exceeded, "of the prefix around it");
        drop(held);
        assert!(count.admit(of(16)).is_ok());
        assert!(count.held.lock().unwrap().of_prefix.is_empty());
    }
}
