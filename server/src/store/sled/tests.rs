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

fn restored_to(from: &Path, folder: &Path) -> Result<(u64, u64), BackupError> {
    restore(from, folder, || Ok(()), |_| Ok(()))
}

#[tokio::test]
async fn restore_raises_the_epoch_and_voids_one_time_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let (mailbox, device) = (MailboxId([1; 16]), DeviceKeyHash([2; 32]));
    let pair = Prekey { id: PrekeyId([3; 32]), bytes: vec![4], expires_ms: FAR };
    let store = open(&path, QUOTA);
    let item = Append { mailbox, part: Part::Reserved, id: [5; 16], bytes: vec![6], expires_ms: FAR };
    store.append(item).await.unwrap();
    store.put_prekeys(device, None, vec![pair.clone()], 5).await.unwrap();
    store
        .put_prekeys(device, Some(LastResort { bytes: vec![7], expires_ms: FAR }), Vec::new(), 9)
        .await
        .unwrap();
    store.backup(&copy).await.unwrap();
    let before = store.epoch();
    drop(store);

    assert!(matches!(restored_to(&copy, &path), Err(BackupError::NotEmpty(_))), "nothing is overwritten");
    let restored = folder.path().join("restored");
    let (_, epoch) = restored_to(&copy, &restored).unwrap();
    std::fs::rename(&restored, folder.path().join("lost")).unwrap();
    let error = SledStore::open(&options(&restored, QUOTA)).unwrap_err().to_string();
    assert!(error.contains("damaged or missing"), "{error}");
    std::fs::remove_dir_all(&restored).ok();
    std::fs::rename(folder.path().join("lost"), &restored).unwrap();
    let store = open(&restored, QUOTA);
    assert_eq!(u64::from(store.epoch()), epoch);
    assert!(store.epoch() > before);
    assert_eq!(store.read(mailbox, 0, 9, 99).await.unwrap().len(), 1);
    assert_eq!(store.take_prekey(device, 0).await.unwrap(), None, "voided");
    store.put_prekeys(device, None, vec![pair], 5).await.unwrap();
    assert_eq!(store.count_prekeys(device).await.unwrap(), 0, "a voided pair is not taken back");
    assert_eq!(store.last_resort(device, 0).await.unwrap(), Some(vec![7]));
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

#[tokio::test]
async fn a_damaged_backup_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let store = open(&folder.path().join("store"), QUOTA);
    let pair = LastResort { bytes: vec![7; 100], expires_ms: FAR };
    store.put_prekeys(DeviceKeyHash([2; 32]), Some(pair), Vec::new(), 0).await.unwrap();
    store.backup(&copy).await.unwrap();
    let whole = std::fs::read(&copy).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&copy, &bent).unwrap();
        let target = folder.path().join("target");
        assert!(matches!(restored_to(&copy, &target), Err(BackupError::Damaged(_))), "byte {at}");
        assert!(!target.exists());
    }
    std::fs::write(&copy, &whole[..whole.len() - 40]).unwrap();
    assert!(
        matches!(restored_to(&copy, &folder.path().join("target")), Err(BackupError::Damaged(_))),
        "cut short"
    );
}

/// A backup holds all that was stored before it was asked for, and nothing later; writers go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment_while_writers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let store = Arc::new(open(&folder.path().join("store"), WIDE));
    let mailbox = MailboxId([1; 16]);
    let append = |n: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        store.append(Append { mailbox, part: Part::Reserved, id, bytes: vec![7; 500], expires_ms: FAR })
    };
    for n in 0..200 {
        append(n).await.unwrap();
    }
    store.ack(mailbox, 50).await.unwrap();
    let backup = store.backup(&copy);
    let later = futures_util::future::join_all((200..400).map(append));
    let (backup, later) = tokio::join!(backup, later);
    backup.unwrap();
    assert!(later.into_iter().all(|stored| stored.is_ok()));
    let restored = folder.path().join("restored");
    restored_to(&copy, &restored).unwrap();
    let copied = open(&restored, WIDE).read(mailbox, 0, usize::MAX, usize::MAX).await.unwrap();
    assert_eq!(copied.iter().map(|item| item.seq).collect::<Vec<_>>(), (51..=200).collect::<Vec<_>>());
    assert_eq!(store.read(mailbox, 0, usize::MAX, usize::MAX).await.unwrap().len(), 350);
}

/// What came and went before the journal was long never reaches sled; what stays does.
#[tokio::test]
async fn what_was_delivered_in_time_costs_sled_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = SledStore::open(&Options { journal_bytes: 1 << 20, ..options(&path, WIDE) }).unwrap();
    let (quick, slow) = (MailboxId([1; 16]), MailboxId([2; 16]));
    for n in 0..100u8 {
        for mailbox in [quick, slow] {
            store
                .append(Append {
                    mailbox,
                    part: Part::Reserved,
                    id: [n; 16],
                    bytes: vec![n; 500],
                    expires_ms: FAR,
                })
                .await
                .unwrap();
        }
        store.ack(quick, u64::from(n) + 1).await.unwrap();
    }
    store.backup(&folder.path().join("copy")).await.unwrap();
    let items = store.db.scan_prefix([prefix::ITEM]).keys().map(|key| key.unwrap());
    let owners: Vec<u8> = items.map(|key| key[1]).collect();
    assert_eq!(owners, vec![2; 100]);
    assert_eq!(store.stats().await.unwrap().items, 100);
}

/// What was acknowledged after it had reached sled is gone after a restart too.
#[tokio::test]
async fn an_acknowledged_item_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let wide = Options { journal_bytes: 1 << 20, ..options(&path, WIDE) };
    let store = SledStore::open(&wide).unwrap();
    let mailbox = MailboxId([1; 16]);
    store
        .append(Append { mailbox, part: Part::Reserved, id: [1; 16], bytes: vec![1; 600], expires_ms: FAR })
        .await
        .unwrap();
    store.backup(&folder.path().join("copy")).await.unwrap();
    assert_eq!(store.db.scan_prefix([prefix::ITEM]).count(), 1, "a backup brings everything into sled");
    store.ack(mailbox, 1).await.unwrap();
    drop(store);
    let store = SledStore::open(&wide).unwrap();
    assert_eq!(store.read(mailbox, 0, 10, 1_000).await.unwrap(), []);
    assert_eq!(store.db.scan_prefix([prefix::ITEM]).count(), 0);
}

/// On a quiet relay too, what was delivered leaves the disk with the journal, an hour after it came.
#[tokio::test]
async fn an_old_journal_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let old = Options { journal_bytes: 1 << 20, journal_age: Duration::ZERO, ..options(&path, WIDE) };
    let store = SledStore::open(&old).unwrap();
    let mailbox = MailboxId([1; 16]);
    let text = b"sealed, and delivered long ago";
    store
        .append(Append { mailbox, part: Part::Reserved, id: [1; 16], bytes: text.to_vec(), expires_ms: FAR })
        .await
        .unwrap();
    store.ack(mailbox, 1).await.unwrap();
    let lies =
        |name: &str| std::fs::read(path.join(name)).unwrap().windows(text.len()).any(|bytes| bytes == text);
    let begun = Instant::now();
    while lies("journal-0") || lies("journal-1") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still there");
        // What the clock asks for each minute.
        store.sweep(0, 0).await.unwrap();
    }
    // Nothing else is lost by it.
    store
        .append(Append { mailbox, part: Part::Reserved, id: [2; 16], bytes: vec![2], expires_ms: FAR })
        .await
        .unwrap();
    for _ in 0..20 {
        store.sweep(0, 0).await.unwrap();
    }
    drop(store);
    let store = open(&path, WIDE);
    assert_eq!(store.read(mailbox, 0, 10, 1_000).await.unwrap().len(), 1);
}

/// What was delivered before a restart does not outlast it, however quiet the relay is afterwards.
#[tokio::test]
async fn opening_empties_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let wide = Options { journal_bytes: 1 << 20, ..options(&path, WIDE) };
    let mailbox = MailboxId([1; 16]);
    let text = b"sealed, and delivered before the restart";
    for round in 0..2u8 {
        let store = SledStore::open(&wide).unwrap();
        let item =
            Append { mailbox, part: Part::Reserved, id: [round; 16], bytes: text.to_vec(), expires_ms: FAR };
        let stored = store.append(item).await.unwrap();
        store.ack(mailbox, stored.seq).await.unwrap();
    }
    let lies =
        |name: &str| std::fs::read(path.join(name)).unwrap().windows(text.len()).any(|bytes| bytes == text);
    assert!(lies("journal-0") || lies("journal-1"), "it was written there");
    drop(SledStore::open(&wide).unwrap());
    assert!(!lies("journal-0") && !lies("journal-1"));
}

/// A store whose journal misses something that was acknowledged does not open, and says what to do.
#[tokio::test]
async fn a_damaged_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = SledStore::open(&Options { journal_bytes: 1 << 20, ..options(&path, WIDE) }).unwrap();
    for n in 0..3u8 {
        let item = Append {
            mailbox: MailboxId([1; 16]),
            part: Part::Reserved,
            id: [n; 16],
            bytes: vec![n; 600],
            expires_ms: FAR,
        };
        store.append(item).await.unwrap();
    }
    drop(store);
    let journal = path.join("journal-0");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let error = SledStore::open(&options(&path, WIDE)).unwrap_err().to_string();
    assert!(error.contains("journal-0 is damaged; restore a backup"), "{error}");
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

/// The child of the test below: appends from many tasks and prints what was acknowledged, until it is killed.
#[test]
#[ignore = "run by survives_kill_9 as its child"]
fn kill_9_child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&folder), WIDE));
        let round: u64 = std::env::var("SEALDESK_TEST_ROUND").unwrap().parse().unwrap();
        let writers = (0..32u8).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0u64.. {
                    let mut id = [writer; 16];
                    id[..8].copy_from_slice(&n.to_be_bytes());
                    id[8] = round as u8;
                    let mailbox = MailboxId([writer; 16]);
                    let bytes = vec![writer; 300];
                    let stored = store
                        .append(Append { mailbox, part: Part::Reserved, id, bytes, expires_ms: FAR })
                        .await
                        .unwrap();
                    // One write call per line, so that the parent sees whole lines.
                    let line = format!("@ {writer} {}\n", stored.seq);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut acknowledged: HashMap<u8, u64> = HashMap::new();
    for round in 0..4u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sled::tests::kill_9_child", "--ignored", "--nocapture"])
            .env(CHILD_FOLDER, &path)
            .env("SEALDESK_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut note = |line: &str| {
            if let Some((writer, seq)) = line.strip_prefix("@ ").and_then(|rest| rest.split_once(' ')) {
                let seq: u64 = seq.parse().unwrap();
                let last = acknowledged.insert(writer.parse().unwrap(), seq).unwrap_or(0);
                assert!(seq > last, "positions rise");
                seen += 1;
            }
            seen
        };
        while let Some(Ok(line)) = lines.next() {
            if note(&line) >= 300 + round * 500 {
                break;
            }
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| {
            note(&line);
        });
        child.wait().unwrap();

        let begun = Instant::now();
        let store = open(&path, WIDE);
        assert!(begun.elapsed() < Duration::from_secs(60), "recovery takes a bounded time");
        for (writer, last) in &acknowledged {
            let items = store.read(MailboxId([*writer; 16]), 0, usize::MAX, usize::MAX).await.unwrap();
            let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
            assert!(seqs.len() as u64 >= *last, "writer {writer}: {} of {last}", seqs.len());
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "in order, none twice");
        }
    }
    assert_eq!(acknowledged.len(), 32);
}

#[tokio::test]
async fn a_store_that_begins_anew_has_an_epoch_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"), QUOTA);
    let now = u32::try_from(crate::clock::now_ms() / 1_000).unwrap();
    assert!(store.epoch() + 60 > now && store.epoch() <= now, "seconds: {}", store.epoch());
}
