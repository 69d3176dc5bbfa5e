//! What readers see: two layers in memory over sled. All of it is durable.
//!
//! ```text
//! active   writes of the journal that is being written
//! resting  writes of the journal that is being brought into sled
//! sled     everything older
//! ```
//!
//! The newest layer that knows a key decides; a removal is known as well. Most messages are delivered and acknowledged
//! while they are in the active layer, and never reach sled.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::keys::{self, prefix};
use crate::store::StoreError;

/// Writes by key; `None`: removed.
pub(super) type Layer = BTreeMap<Vec<u8>, Option<Bytes>>;
/// A key and its value.
pub(super) type Entry = (Vec<u8>, Bytes);

/// Entries that a long reading takes before it lets writers in.
const PAGE: usize = 512;

#[derive(Debug, Default)]
struct Upper {
    active: Layer,
    resting: Arc<Layer>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Layers {
    tree: sled::Tree,
    upper: RwLock<Upper>,
}

/// Adds one write to a layer. A position of a mailbox is used once only, so an item that was stored within this layer
/// and is removed again is in no layer below: nothing has to be remembered of it.
pub(super) fn absorb(layer: &mut Layer, key: Vec<u8>, value: Option<Bytes>) {
    if value.is_none() && key.first() == Some(&prefix::ITEM) && matches!(layer.get(&key), Some(Some(_))) {
        layer.remove(&key);
    } else {
        layer.insert(key, value);
    }
}

impl Layers {
    pub(super) fn over(tree: sled::Tree) -> Self {
        Self { tree, upper: RwLock::default() }
    }

    fn upper(&self) -> RwLockReadGuard<'_, Upper> {
        self.upper.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Upper> {
        self.upper.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a durable group to readers, all of it at once.
    pub(super) fn show(&self, group: Layer) {
        let active = &mut self.change().active;
        group.into_iter().for_each(|(key, value)| absorb(active, key, value));
    }

    /// Puts the active layer to rest, to be brought into sled. The layer that rested before has to be gone.
    pub(super) fn rest(&self) -> Arc<Layer> {
        let mut upper = self.change();
        let resting = Arc::new(core::mem::take(&mut upper.active));
        upper.resting = Arc::clone(&resting);
        resting
    }

    /// The resting layer is in sled.
    pub(super) fn drop_resting(&self) {
        self.change().resting = Arc::default();
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let upper = self.upper();
        if let Some(known) = upper.active.get(key).or_else(|| upper.resting.get(key)) {
            return Ok(known.clone());
        }
        Ok(self.tree.get(key).map_err(failed)?.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Shows the entries of `[from, before)` in order, as they were at one moment, until `see` breaks.
    pub(super) fn visit(
        &self,
        from: &[u8],
        before: &[u8],
        mut see: impl FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if from >= before {
            return Ok(());
        }
        let upper = self.upper();
        let mut active = upper.active.range::<[u8], _>(bounds(from, before)).peekable();
        let mut resting = upper.resting.range::<[u8], _>(bounds(from, before)).peekable();
        let mut stored = self.tree.range(from..before).map(|entry| entry.map_err(failed)).peekable();
        loop {
            let heads = [
                active.peek().map(|(key, _)| key.as_slice()),
                resting.peek().map(|(key, _)| key.as_slice()),
                match stored.peek() {
                    Some(Ok((key, _))) => Some(key.as_ref()),
                    Some(Err(error)) => return Err(error.clone()),
                    None => None,
                },
            ];
            let Some(least) = heads.iter().flatten().min() else { return Ok(()) };
            let [in_active, in_resting, in_stored] = heads.map(|head| head == Some(least));
            let newest = in_active.then(|| active.next()).flatten();
            let newer = in_resting.then(|| resting.next()).flatten();
            let oldest = in_stored.then(|| stored.next()).flatten();
            let seen = match (newest.or(newer), oldest) {
                (Some((key, Some(value))), _) => see(key, value.clone()),
                (Some((_, None)), _) => ControlFlow::Continue(()),
                (None, Some(stored)) => {
                    let (key, value) = stored?;
                    see(&key, Bytes::copy_from_slice(&value))
                }
                (None, None) => return Ok(()),
            };
            if seen.is_break() {
                return Ok(());
            }
        }
    }

    /// Up to `limit` entries of `[from, before)`, as they were at one moment.
    pub(super) fn entries(&self, from: &[u8], before: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        self.visit(from, before, |key, value| {
            if found.len() < limit {
                found.push((key.to_vec(), value));
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// All entries whose keys start with `prefix`, page by page: writers are let in between.
    pub(super) fn all(&self, prefix: &[u8], mut see: impl FnMut(Entry)) -> Result<(), StoreError> {
        let (mut from, before) = (prefix.to_vec(), keys::after(prefix));
        loop {
            let page = self.entries(&from, &before, PAGE)?;
            let whole = page.len() < PAGE;
            if let Some((last, _)) = page.last() {
                from = [last.as_slice(), &[0]].concat();
            }
            page.into_iter().for_each(&mut see);
            if whole {
                return Ok(());
            }
        }
    }
}

fn bounds<'a>(from: &'a [u8], before: &'a [u8]) -> (std::ops::Bound<&'a [u8]>, std::ops::Bound<&'a [u8]>) {
    (std::ops::Bound::Included(from), std::ops::Bound::Excluded(before))
}

/// A sled error during operation: the machine's fault, final.
pub(super) fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Layers {
        let db = sled::Config::new().temporary(true).open().unwrap();
        Layers::over((*db).clone())
    }

    fn put(key: &str, value: &str) -> (Vec<u8>, Option<Bytes>) {
        (key.as_bytes().to_vec(), Some(Bytes::copy_from_slice(value.as_bytes())))
    }

    fn gone(key: &str) -> (Vec<u8>, Option<Bytes>) {
        (key.as_bytes().to_vec(), None)
    }

    fn seen(layers: &Layers) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        layers.all(b"k", |(key, value)| found.push((text(&key), text(&value)))).unwrap();
        let each = found.iter().map(|(key, _)| layers.get(key.as_bytes()).unwrap().unwrap());
        assert!(each.zip(&found).all(|(value, (_, listed))| text(&value) == *listed), "get and range agree");
        found
    }

    #[test]
    fn the_newest_layer_decides_and_removals_count() {
        let layers = layers();
        for key in ["k1", "k2", "k3", "k4"] {
            layers.tree.insert(key, "sled").unwrap();
        }
        layers.show(Layer::from([
            put("k2", "resting"),
            gone("k3"),
            put("k5", "resting"),
            put("k6", "resting"),
        ]));
        let resting = layers.rest();
        assert_eq!(resting.len(), 4);
        layers.show(Layer::from([put("k3", "active"), gone("k4"), gone("k6"), put("k7", "active")]));
        let expected =
            [("k1", "sled"), ("k2", "resting"), ("k3", "active"), ("k5", "resting"), ("k7", "active")];
        assert_eq!(seen(&layers), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(layers.get(b"k6").unwrap(), None);
        layers.drop_resting();
        assert_eq!(layers.get(b"k2").unwrap().unwrap(), "sled", "the layer is gone");
    }

    #[test]
    fn pages_join_without_gap_or_repetition() {
        let layers = layers();
        let key = |n: usize| format!("k{n:05}");
        (0..1_200).for_each(|n| drop(layers.tree.insert(key(n * 2), "sled").unwrap()));
        layers.show((0..900).map(|n| put(&key(n * 3), "active")).collect());
        let found = seen(&layers);
        let expected: std::collections::BTreeSet<String> =
            (0..1_200).map(|n| key(n * 2)).chain((0..900).map(|n| key(n * 3))).collect();
        assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), Vec::from_iter(expected));
    }

    #[test]
    fn what_came_and_went_within_a_layer_leaves_nothing() {
        let mut layer = Layer::new();
        let item = |n: u8| vec![prefix::ITEM, n];
        absorb(&mut layer, item(1), Some(Bytes::from_static(b"text")));
        absorb(&mut layer, item(1), None);
        assert!(layer.is_empty());
        absorb(&mut layer, item(2), None);
        assert_eq!(layer.get(&item(2)), Some(&None), "this one is in a layer below");
        absorb(&mut layer, vec![prefix::PREKEY], Some(Bytes::new()));
        absorb(&mut layer, vec![prefix::PREKEY], None);
        assert_eq!(layer.get(&[prefix::PREKEY][..]), Some(&None), "other keys are written again");
    }
}
