use super::super::SledStore;
use super::super::tests::{WIDE, open};
use super::*;
use crate::store::Store;

const BOX: MailboxId = MailboxId([1; 16]);
const FAR: u64 = u64::MAX / 4;

fn item(n: u64) -> Append {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Append { mailbox: BOX, part: Part::Reserved, id, bytes: vec![1], expires_ms: FAR }
}

/// Ids in the store, and records of them.
async fn stored(store: &SledStore) -> (usize, usize) {
    let counted = store.run(|txn| {
        let records = txn.scan(&keys::acknowledged_ids(&BOX), usize::MAX)?;
        let ids = records.iter().map(|(_, record)| Ok(id_entries(record)?.count())).sum::<Result<_, _>>()?;
        Ok((ids, records.len()))
    });
    counted.await.unwrap()
}

/// Whoever writes to somebody who reads fills no disk: what nobody remembers any more is not kept either.
#[tokio::test]
async fn only_so_many_acknowledged_ids_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = open(&path, WIDE);
    let mut next = 1;
    // At once, a few at a time, and one by one.
    for batch in [9_000, 210, 210, 1, 1, 1, 5_000] {
        let appended: Vec<_> = (next..next + batch).map(|n| store.append(item(n))).collect();
        for stored in appended {
            assert!(stored.await.unwrap().fresh);
        }
        next += batch;
        store.ack(BOX, next - 1).await.unwrap();
        let (ids, records) = stored(&store).await;
        assert!((REMEMBERED..REMEMBERED + IDS_A_RECORD).contains(&ids), "{ids} ids");
        assert!(records <= REMEMBERED / IDS_A_RECORD + 6, "{records} records");
    }
    let known = |store: &SledStore, n: u64| store.append(item(n));
    assert_eq!(known(&store, next - 1).await.unwrap(), Appended { seq: next - 1, fresh: false });
    let oldest = next - REMEMBERED as u64;
    for _ in 0..2 {
        assert_eq!(known(&store, oldest).await.unwrap(), Appended { seq: oldest, fresh: false });
        drop(store);
        store = open(&path, WIDE);
    }
    assert!(known(&store, oldest - 1).await.unwrap().fresh);
    // The memory of an earlier program, which kept all of them.
    let older = store.run(|txn| {
        for seq in 1..=1_000u64 {
            let mut record = FAR.to_be_bytes().to_vec();
            record.extend_from_slice(&seq.to_be_bytes());
            record.extend_from_slice(&[7; 16]);
            txn.put(keys::acknowledged_ids_until(&BOX, seq), record);
        }
        Ok(())
    });
    older.await.unwrap();
    drop(store);
    let store = open(&path, WIDE);
    store.append(item(next)).await.unwrap();
    let (ids, _) = stored(&store).await;
    assert!(ids < REMEMBERED + IDS_A_RECORD, "{ids} ids");
}
