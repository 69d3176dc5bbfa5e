//! What every store has to do, as one suite over any engine. `open` opens the same store again and again; each time the
//! one before has been dropped.

use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, MailboxId, PrekeyId};

use super::*;

mod quotas;

const HOUR: u64 = 3_600_000;
const FAR: u64 = u64::MAX / 4;
const BOX: MailboxId = MailboxId([1; 16]);
const DEVICE: DeviceKeyHash = DeviceKeyHash([2; 32]);
const CONVERSATION: ConversationId = ConversationId([3; 32]);

/// Quota that `open` has to set.
pub(crate) const QUOTA: Quota = Quota { items: 8, bytes: 1_000, share_items: 5, share_bytes: 600 };
/// One of which a sixteenth is something.
pub(crate) const PARTS: Quota = Quota { items: 320, bytes: 1 << 30, share_items: 16, share_bytes: 1 << 20 };

fn item(mailbox: MailboxId, id: u8, bytes: &[u8]) -> Append {
    // Each item has a sender of its own.
    let part = Part::Of(DeviceKeyHash([id; 32]));
    Append { mailbox, part, id: [id; 16], bytes: bytes.to_vec(), expires_ms: FAR }
}

fn from(sender: u8, id: u8, bytes: &[u8]) -> Append {
    of(Part::Of(DeviceKeyHash([sender; 32])), id, bytes)
}

fn of(part: Part, id: u8, bytes: &[u8]) -> Append {
    Append { part, ..item(BOX, id, bytes) }
}

fn pair(id: u8, expires_ms: u64) -> Prekey {
    Prekey { id: PrekeyId([id; 32]), bytes: vec![id; 40], expires_ms }
}

async fn contents<S: Store>(store: &S, mailbox: MailboxId) -> Vec<(u64, Vec<u8>)> {
    let items = store.read(mailbox, 0, 100, 1 << 20).await.unwrap();
    items.into_iter().map(|item| (item.seq, item.bytes.to_vec())).collect()
}

/// Runs every check. A name that starts with `wide:` asks for the store of the rest of the name, without quotas; one that
/// starts with `parts:`, with [`PARTS`].
pub(crate) async fn conformance<S: Store>(open: impl Fn(&str) -> S) {
    mailboxes(&open).await;
    quotas::quotas(&open).await;
    quotas::shares(&open).await;
    quotas::parts(&open).await;
    prekeys(&open).await;
    conversations(&open).await;
    long_values(&open).await;
    announcements(&open).await;
    expiry(&open).await;
    the_rest(&open).await;
    concurrent(&open).await;
}

async fn mailboxes<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("mailboxes");
    let first = store.append(item(BOX, 1, b"one")).await.unwrap();
    assert_eq!(first, Appended { seq: 1, fresh: true });
    store.append(item(BOX, 2, b"two")).await.unwrap();
    let again = store.append(item(BOX, 1, b"one")).await.unwrap();
    assert_eq!(again, Appended { seq: 1, fresh: false }, "the same id is stored once");
    store.append(item(MailboxId([9; 16]), 1, b"elsewhere")).await.unwrap();
    assert_eq!(contents(&store, BOX).await, [(1, b"one".to_vec()), (2, b"two".to_vec())]);
    assert_eq!(store.read(BOX, 1, 100, 1 << 20).await.unwrap().len(), 1, "after a position");
    assert_eq!(store.read(BOX, 0, 100, 1).await.unwrap().len(), 1, "at least one, however large");
    store.ack(BOX, 1).await.unwrap();
    store.ack(BOX, 1).await.unwrap();
    drop(store);

    let store = open("mailboxes");
    assert_eq!(contents(&store, BOX).await, [(2, b"two".to_vec())]);
    let late = store.append(item(BOX, 1, b"one")).await.unwrap();
    assert_eq!(late, Appended { seq: 1, fresh: false }, "an acknowledged id is not delivered again");
    store.ack(BOX, u64::MAX).await.unwrap();
    drop(store);

    let store = open("mailboxes");
    let next = store.append(item(BOX, 3, b"three")).await.unwrap();
    assert_eq!(next.seq, 3, "positions are not used twice, even when the mailbox was empty");
    assert_eq!(contents(&store, MailboxId([9; 16])).await.len(), 1);
}

async fn prekeys<S: Store>(open: &impl Fn(&str) -> S) {
    // Behind what was asked for before, whether anybody waits for that or not.
    let store = open("behind");
    let mailbox = MailboxId([9; 16]);
    for id in 1..=9 {
        let seq = store.append(item(mailbox, id, b"x")).await.unwrap().seq;
        drop(store.ack(mailbox, seq));
        store.count_prekeys(DEVICE).await.unwrap();
        assert_eq!(store.read(mailbox, 0, 10, 1_000).await.unwrap(), []);
    }
    let store = open("prekeys");
    assert_eq!(store.take_prekey(DEVICE, 0).await.unwrap(), None);
    assert_eq!(
        store.put_prekeys(DEVICE, None, vec![pair(1, FAR), pair(2, FAR), pair(3, 10)], 3).await.unwrap(),
        3
    );
    assert_eq!(
        store.put_prekeys(DEVICE, None, vec![pair(4, FAR)], 3).await.unwrap(),
        3,
        "no more than the cap"
    );
    let taken = store.take_prekey(DEVICE, 0).await.unwrap().unwrap();
    drop(store);

    let store = open("prekeys");
    assert_eq!(store.count_prekeys(DEVICE).await.unwrap(), 2);
    store.put_prekeys(DEVICE, None, vec![pair(taken[0], FAR)], 10).await.unwrap();
    let next = store.take_prekey(DEVICE, 20).await.unwrap().unwrap();
    assert_ne!(next, taken, "a pair that left does not come back");
    assert_eq!(store.take_prekey(DEVICE, 20).await.unwrap(), None, "expired pairs are not handed out");
    assert_eq!(store.count_prekeys(DEVICE).await.unwrap(), 0);
    assert_eq!(store.last_resort(DEVICE, 0).await.unwrap(), None);
    store
        .put_prekeys(DEVICE, Some(LastResort { bytes: vec![1], expires_ms: HOUR }), Vec::new(), 9)
        .await
        .unwrap();
    store
        .put_prekeys(DEVICE, Some(LastResort { bytes: vec![2], expires_ms: 6 * HOUR }), Vec::new(), 9)
        .await
        .unwrap();
    assert_eq!(store.last_resort(DEVICE, 0).await.unwrap(), Some(vec![2]));
    assert_eq!(store.last_resort(DEVICE, 6 * HOUR).await.unwrap(), None, "expired, swept or not");
    store.sweep(4 * HOUR, 0).await.unwrap();
    assert!(store.last_resort(DEVICE, 0).await.unwrap().is_some(), "renewed: stays");
    store.sweep(9 * HOUR, 0).await.unwrap();
    assert_eq!(store.last_resort(DEVICE, 0).await.unwrap(), None);
}

fn change(expected: u64, keep: Keep, appends: Vec<Append>) -> Swap {
    let audit = Some(AuditEntry { at_ms: 5, bytes: vec![expected as u8] });
    let (record, if_room) = (vec![expected as u8 + 1], Vec::new());
    Swap { conversation: CONVERSATION, expected, record, keep, appends, if_room, audit }
}

async fn conversations<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("conversations");
    let swapped = store.swap(change(0, Keep::Open, vec![item(BOX, 1, b"statement")])).await.unwrap();
    assert_eq!(swapped, Swapped { version: 1, positions: vec![Appended { seq: 1, fresh: true }] });
    let lost = store.swap(change(0, Keep::Open, vec![item(BOX, 2, b"refused")])).await;
    assert_eq!(lost, Err(StoreError::Conflict { current: 1 }));
    assert_eq!(contents(&store, BOX).await.len(), 1, "a refused swap stores nothing");
    let large =
        store.swap(change(1, Keep::Open, vec![item(BOX, 3, b"fits"), item(BOX, 4, &[0; 2_000])])).await;
    assert_eq!(large, Err(StoreError::MailboxFull { limit: Limit::Bytes }));
    assert_eq!(contents(&store, BOX).await.len(), 1, "all or nothing");
    assert_eq!(store.conversation(CONVERSATION).await.unwrap().unwrap().version, 1);
    assert_eq!(store.open_conversations().await.unwrap().len(), 1);
    let other = MailboxId([9; 16]);
    let if_room = vec![
        item(BOX, 3, &[0; 2_000]),
        item(other, 4, b"fits"),
        item(other, 5, &[0; 400]),
        item(BOX, 1, b"known"),
    ];
    let swap = Swap { if_room, ..change(1, Keep::Until(2 * HOUR), vec![item(other, 3, &[3; 600])]) };
    let swapped = store.swap(swap).await.unwrap();
    assert_eq!(swapped, Swapped { version: 2, positions: vec![Appended { seq: 1, fresh: true }] });
    assert_eq!(contents(&store, BOX).await.len(), 1, "no room: not stored");
    assert_eq!(contents(&store, other).await, [(1, vec![3; 600]), (2, b"fits".to_vec())]);
    drop(store);

    let store = open("conversations");
    assert_eq!(store.open_conversations().await.unwrap(), []);
    let record = store.conversation(CONVERSATION).await.unwrap().unwrap();
    assert_eq!(record, Versioned { version: 2, bytes: vec![2] });
    assert_eq!(store.audit_read(0, 10).await.unwrap().len(), 2, "written with each swap");
    store.sweep(HOUR, 0).await.unwrap();
    assert!(store.conversation(CONVERSATION).await.unwrap().is_some());
    store.sweep(4 * HOUR, 0).await.unwrap();
    assert_eq!(store.conversation(CONVERSATION).await.unwrap(), None, "dropped after its time");
    store.swap(change(0, Keep::Until(5 * HOUR), Vec::new())).await.unwrap();
    store.swap(change(1, Keep::Open, Vec::new())).await.unwrap();
    store.sweep(9 * HOUR, 0).await.unwrap();
    assert!(store.conversation(CONVERSATION).await.unwrap().is_some(), "opened in the meantime: stays");
}

/// Values of every size that the relay stores, whole after reopening and gone after removal.
async fn long_values<S: Store>(open: &impl Fn(&str) -> S) {
    let sizes = [1, 6_135, 6_136, 6_137, 12_288, 65_000, 100_000];
    let bytes = |size: usize| (0..size).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
    let store = open("long");
    for (size, version) in sizes.iter().rev().zip(0..) {
        let conversation = Swap { record: bytes(*size), ..change(version, Keep::Open, Vec::new()) };
        store.swap(conversation).await.unwrap();
        let stored = store.conversation(CONVERSATION).await.unwrap().unwrap();
        assert!(stored.bytes == bytes(*size), "a record of {size} bytes, shorter than the one before");
    }
    drop(store);
    let store = open("wide:long");
    for (id, size) in sizes.iter().enumerate() {
        store.append(item(BOX, id as u8, &bytes(*size))).await.unwrap();
    }
    let short = Append { expires_ms: HOUR, ..item(BOX, 99, &bytes(20_000)) };
    store.append(short).await.unwrap();
    drop(store);

    let store = open("wide:long");
    let read = contents(&store, BOX).await;
    assert_eq!(read.iter().map(|(_, item)| item.len()).collect::<Vec<_>>(), [&sizes[..], &[20_000]].concat());
    assert!(read.iter().all(|(_, item)| *item == bytes(item.len())));
    assert_eq!(store.stats().await.unwrap().items, 8);
    assert_eq!(store.read(BOX, 0, 3, usize::MAX).await.unwrap().len(), 3);
    assert_eq!(store.sweep(4 * HOUR, 0).await.unwrap().items, 1);
    store.ack(BOX, 5).await.unwrap();
    assert!(contents(&store, BOX).await == [(6, bytes(65_000)), (7, bytes(100_000))]);
    store.ack(BOX, 8).await.unwrap();
    assert_eq!(contents(&store, BOX).await, []);
    store.swap(change(7, Keep::Until(HOUR), Vec::new())).await.unwrap();
    store.sweep(4 * HOUR, 0).await.unwrap();
    assert_eq!(store.conversation(CONVERSATION).await.unwrap(), None);
}

async fn announcements<S: Store>(open: &impl Fn(&str) -> S) {
    let (store, id) = (open("announcements"), BlobId([1; 16]));
    let expires_ms = HOUR;
    let blob = BlobRecord { capability: [0; 32], uploader: DEVICE, length: 1, complete: false, expires_ms };
    let stale = store.announce(change(1, Keep::Open, Vec::new()), id, blob.clone()).await;
    assert_eq!(stale, Err(StoreError::Conflict { current: 0 }));
    assert_eq!(store.blob(id).await.unwrap(), None, "nor the attachment");
    let swapped = store.announce(change(0, Keep::Open, Vec::new()), id, blob.clone()).await.unwrap();
    assert_eq!(store.conversation(CONVERSATION).await.unwrap().unwrap().version, swapped.version);
    assert_eq!(store.blob(id).await.unwrap(), Some(blob));
}

async fn expiry<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("expiry");
    store.append(Append { expires_ms: HOUR, ..item(BOX, 1, b"old") }).await.unwrap();
    store.append(Append { expires_ms: 9 * HOUR, ..item(BOX, 2, b"young") }).await.unwrap();
    let blob = |hours| BlobRecord {
        capability: [0; 32],
        uploader: DEVICE,
        length: 1,
        complete: true,
        expires_ms: hours * HOUR,
    };
    store.put_blob(BlobId([1; 16]), blob(1)).await.unwrap();
    store.put_blob(BlobId([2; 16]), blob(1)).await.unwrap();
    store.put_blob(BlobId([2; 16]), blob(9)).await.unwrap();
    assert_eq!(store.blob_bytes().await.unwrap(), 2, "each once");
    let record = DeviceRecord { vault: None, last_seen_day: 1 };
    store.put_device(DEVICE, record, HOUR).await.unwrap();
    store.audit_append(AuditEntry { at_ms: 1, bytes: vec![1] }).await.unwrap();
    assert_eq!(store.sweep(HOUR, 0).await.unwrap(), Swept::default());
    let swept = store.sweep(4 * HOUR, 2).await.unwrap();
    assert_eq!(swept, Swept { items: 1, blobs: vec![(BlobId([1; 16]), 1)], more: false });
    assert_eq!(contents(&store, BOX).await, [(2, b"young".to_vec())]);
    assert_eq!(store.blob(BlobId([2; 16])).await.unwrap(), Some(blob(9)), "renewed: stays");
    assert_eq!(store.blob(BlobId([1; 16])).await.unwrap(), None);
    assert_eq!(store.blob_bytes().await.unwrap(), 1);
    assert_eq!(store.device(DEVICE).await.unwrap(), None);
    assert_eq!(store.audit_read(0, 10).await.unwrap(), []);
    let forgotten = store.append(item(BOX, 1, b"again")).await.unwrap();
    assert_eq!(forgotten, Appended { seq: 3, fresh: true }, "the memory of an id ends with its expiry");
}

async fn the_rest<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("rest");
    let epoch = store.epoch();
    let device = DeviceSecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let vault = Some(SignedGeneration::sign("relay.test", &device, 7));
    let record = DeviceRecord { vault, last_seen_day: 20_000 };
    store.put_device(DEVICE, record, FAR).await.unwrap();
    let lower = Some(SignedGeneration::sign("relay.test", &device, 5));
    store.put_device(DEVICE, DeviceRecord { vault: lower, last_seen_day: 1 }, FAR).await.unwrap();
    store.put_agent(DEVICE, vec![1], FAR).await.unwrap();
    store.put_agent(DEVICE, vec![2], FAR).await.unwrap();
    assert_eq!(store.organisation().await.unwrap(), None);
    store.put_organisation(vec![7; 20_000]).await.unwrap();
    store.put_organisation(vec![8; 30]).await.unwrap();
    for n in 0..3 {
        let number = store.audit_append(AuditEntry { at_ms: n, bytes: vec![n as u8] }).await.unwrap();
        assert_eq!(number, n + 1);
    }
    let after = store.audit_read(1, 10).await.unwrap();
    assert_eq!(after.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
    drop(store);

    let store = open("rest");
    assert_eq!(store.epoch(), epoch, "only a restore changes the epoch");
    assert_eq!(store.organisation().await.unwrap(), Some(vec![8; 30]));
    for n in 0..1_300 {
        store.audit_append(AuditEntry { at_ms: 5, bytes: vec![n as u8] }).await.unwrap();
    }
    let mut rounds = 0;
    while store.sweep(0, 6).await.unwrap().more {
        rounds += 1;
    }
    assert!(rounds >= 2 && store.audit_read(0, 10).await.unwrap().is_empty(), "old entries go in one round");
    assert_eq!(store.device(DEVICE).await.unwrap(), Some(record), "the highest generation stays");
    assert_eq!(store.agents().await.unwrap(), [(DEVICE, vec![2])]);
    assert_eq!(store.audit_append(AuditEntry { at_ms: 9, bytes: vec![] }).await.unwrap(), 1_304);
    assert_eq!(store.health(), Ok(()));
    assert_eq!(store.stats().await.unwrap().items, 0);
}

/// Many callers at once: no position twice, one winner of each swap, each pair once.
async fn concurrent<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("concurrent");
    let pairs = (0..20).map(|id| pair(id, FAR)).collect();
    store.put_prekeys(DEVICE, None, pairs, 100).await.unwrap();
    let takes = futures_util::future::join_all((0..30).map(|_| store.take_prekey(DEVICE, 0))).await;
    let mut taken: Vec<_> = takes.into_iter().filter_map(Result::unwrap).collect();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 20);

    let swaps =
        futures_util::future::join_all((0..10).map(|_| store.swap(change(0, Keep::Open, Vec::new())))).await;
    assert_eq!(swaps.iter().filter(|swap| swap.is_ok()).count(), 1);

    let appends = (0..8).map(|id| store.append(item(BOX, id, b"x")));
    let mut seqs: Vec<u64> =
        futures_util::future::join_all(appends).await.into_iter().map(|stored| stored.unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=8).collect::<Vec<u64>>());
}
