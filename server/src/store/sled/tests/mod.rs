use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealdesk_protocol::ids::{DeviceKeyHash, MailboxId, PrekeyId};

use super::*;
use crate::store::conformance::{PARTS, QUOTA, conformance};
use crate::store::{Keep, Part};

mod backups;
mod journal;
mod killed;

const FAR: u64 = u64::MAX / 4;
/// Folder in which the child of the kill -9 test writes.
const CHILD_FOLDER: &str = "SEALDESK_TEST_STORE";

/// So short that it turns many times in each test.
const JOURNAL: u64 = 8 << 10;

fn options(folder: &Path, quota: Quota) -> Options {
    Options {
        folder: folder.to_path_buf(),
        cache_bytes: 8 << 20,
        journal_bytes: JOURNAL,
        journal_age: JOURNAL_AGE,
        quota,
    }
}

pub(super) fn open(folder: &Path, quota: Quota) -> SledStore {
    SledStore::open(&options(folder, quota)).unwrap()
}

pub(super) const WIDE: Quota =
    Quota { items: 1 << 40, bytes: 1 << 40, share_items: 1 << 40, share_bytes: 1 << 40 };

#[tokio::test]
async fn passes_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    conformance(|name| match name.split_once(':') {
        Some(("wide", name)) => open(&folder.path().join(name), WIDE),
        Some((_, name)) => open(&folder.path().join(name), PARTS),
        None => open(&folder.path().join(name), QUOTA),
    })
    .await;
}

#[tokio::test]
async fn a_record_that_does_not_decode_keeps_nothing_else_from_expiring() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"), QUOTA);
    let (device, hour) = (|n| DeviceKeyHash([n; 32]), 3_600_000);
    for n in [1, 3] {
        store.put_device(device(n), DeviceRecord::default(), hour).await.unwrap();
    }
    let key = keys::key(prefix::DEVICE, &[device(2).as_bytes()]);
    let bad = store.run(move |txn| {
        txn.put(key.clone(), b"bad".to_vec());
        txn.put(keys::expiry(keys::bucket(hour), &key), Vec::new());
        txn.put(vec![prefix::EXPIRY, 0], Vec::new());
        Ok(())
    });
    bad.await.unwrap();
    store.sweep(9 * hour, 0).await.unwrap();
    for n in [1, 3] {
        assert_eq!(store.device(device(n)).await.unwrap(), None);
    }
    assert!(!store.sweep(9 * hour, 0).await.unwrap().more);
}

#[tokio::test]
async fn a_panic_in_the_stores_thread_is_a_failure_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"), QUOTA);
    store.fall().await.unwrap_err();
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.health().is_ok() {
        assert!(Instant::now() < deadline, "a store that writes nothing any more says that it is well");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_store_in_use_names_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _held = open(&path, QUOTA);
    let error = SledStore::open(&options(&path, QUOTA)).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    assert!(error.contains("stop that relay first"), "{error}");
}

#[test]
fn an_unusable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    let error = SledStore::open(&options(&file.join("store"), QUOTA)).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
}

/// An upload is refused as a whole, for instance when too much waits for the disk.
#[tokio::test]
async fn the_last_resort_is_not_taken_without_the_one_time_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, device) = (open(&folder.path().join("store"), QUOTA), DeviceKeyHash([2; 32]));
    let last_resort = || Some(LastResort { bytes: vec![7], expires_ms: FAR });
    let pair = |bytes| vec![Prekey { id: PrekeyId([3; 32]), bytes, expires_ms: FAR }];
    let refused = store.put_prekeys(device, last_resort(), pair(vec![0; 257 << 20]), 5).await;
    assert_eq!(refused, Err(StoreError::Busy));
    // After everything that was asked for before.
    assert_eq!(store.count_prekeys(device).await, Ok(0));
    assert_eq!(store.last_resort(device, 0).await.unwrap(), None);
    assert_eq!(store.put_prekeys(device, last_resort(), pair(vec![4]), 5).await, Ok(1));
    assert_eq!(store.last_resort(device, 0).await.unwrap(), Some(vec![7]));
}

/// What sled does not flush stays empty, however large the items and records are.
#[tokio::test]
async fn no_leaf_goes_to_a_file_of_its_own() {
    use sealdesk_protocol::ids::ConversationId;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path, WIDE);
    for n in 0..200u8 {
        let mailbox = MailboxId([n % 2; 16]);
        let large =
            Append { mailbox, part: Part::Reserved, id: [n; 16], bytes: vec![n; 60_000], expires_ms: FAR };
        let swap = Swap {
            conversation: ConversationId([n; 32]),
            expected: 0,
            record: vec![n; 96_000],
            keep: Keep::Open,
            appends: vec![large],
            if_room: Vec::new(),
            audit: None,
        };
        store.swap(swap).await.unwrap();
    }
    let files = std::fs::read_dir(path.join("blobs")).unwrap().count();
    assert_eq!(files, 0);
}

#[tokio::test]
async fn a_store_that_begins_anew_has_an_epoch_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"), QUOTA);
    let now = u32::try_from(crate::clock::now_ms() / 1_000).unwrap();
    assert!(store.epoch() + 60 > now && store.epoch() <= now, "seconds: {}", store.epoch());
}
