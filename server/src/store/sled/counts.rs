//! How much is held: read in place, or on a thread of its own where that takes long.

use sealdesk_protocol::ids::DeviceKeyHash;

use super::keys::{self, prefix};
use super::layers::Layers;
use super::prekeys;
use crate::store::{StoreError, StoreStats};

/// One-time pairs of a device.
pub(super) fn pairs(layers: &Layers, device: &DeviceKeyHash) -> Result<usize, StoreError> {
    let mut count = 0;
    layers.all(&prekeys::held(device), |_| count += 1)?;
    Ok(count)
}

/// Everything, by reading all of it.
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
    use sealdesk_protocol::ids::PrekeyId;

    use super::super::tests::open;
    use super::*;
    use crate::store::conformance::QUOTA;
    use crate::store::{Prekey, Store};

    /// Each device that connects asks for it, and all of them after a restart.
    #[tokio::test]
    async fn pairs_are_counted_without_the_committer() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store"), QUOTA);
        let device = DeviceKeyHash([2; 32]);
        let pair = |n| Prekey { id: PrekeyId([n; 32]), bytes: vec![4], expires_ms: u64::MAX / 4 };
        store.put_prekeys(device, vec![pair(1), pair(2)], 5).await.unwrap();
        store.put_prekeys(DeviceKeyHash([3; 32]), vec![pair(3)], 5).await.unwrap();
        let (free, held) = std::sync::mpsc::channel::<()>();
        let busy = store.run(move |_| {
            // An error means that it is free.
            let _ = held.recv();
            Ok(())
        });
        let count = futures_util::FutureExt::now_or_never(store.count_prekeys(device));
        drop(free);
        busy.await.unwrap();
        assert_eq!(count.unwrap().unwrap(), 2);
    }

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
