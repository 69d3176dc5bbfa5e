//! A backup is of one moment, and what comes back from it is no older than it says.

use super::*;

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
