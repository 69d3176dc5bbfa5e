//! What the journal keeps, and for how long.

use super::*;

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
