//! How much is held, by reading all of it: on a thread of its own.

use super::keys::{self, prefix};
use super::layers::Layers;
use crate::store::{StoreError, StoreStats};

/// All numbers.
pub(super) fn all(layers: &Layers, db: &sled::Db) -> Result<StoreStats, StoreError> {
    let count = |kind: u8, counts: fn(&[u8]) -> bool| {
        let mut number = 0;
        layers.all(&[kind], |(key, _)| number += u64::from(counts(&key)))?;
        Ok::<u64, StoreError>(number)
    };
    Ok(StoreStats {
        items: count(prefix::ITEM, keys::is_first_piece)?,
        open_conversations: count(prefix::OPEN, |_| true)?,
        prekeys: count(prefix::PREKEY, |_| true)?,
        blobs: count(prefix::BLOB, |_| true)?,
        disk_bytes: db.size_on_disk().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use crate::store::Store;
    use crate::store::conformance::QUOTA;

    /// Counting takes no thread that others wait for.
    #[test]
    fn numbers_are_counted_on_a_thread_for_that() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = open(&folder.path().join("store"), QUOTA);
            let (free, held) = std::sync::mpsc::channel::<()>();
            let holds = tokio::task::spawn_blocking(move || held.recv());
            let mut stats = store.stats();
            assert!(futures_util::FutureExt::now_or_never(&mut stats).is_none());
            drop(free);
            assert_eq!(stats.await.unwrap().items, 0);
            holds.await.unwrap().unwrap_err();
        });
    }
}
